"""An agent that asks a model, seen from outside: how it is run, how it serves as a tool, and the doors to whoever drives its loop."""
