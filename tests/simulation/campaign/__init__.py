"""The project's own campaign: random workflows of up to 20 tasks, each played by one random schedule."""
