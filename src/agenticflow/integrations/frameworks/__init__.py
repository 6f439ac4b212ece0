"""Frameworks that people already use: theirs inside ours, and ours inside theirs. Each is a door of its own, named by whoever wants it."""
