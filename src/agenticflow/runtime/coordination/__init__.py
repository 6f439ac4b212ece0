"""What executions have to do with each other: children of a parent, and keys that only some may hold at once."""
