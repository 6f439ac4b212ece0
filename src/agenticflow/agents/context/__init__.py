"""What an agent knows of the run it works in, and how that goes into prompts and comes out of answers."""
