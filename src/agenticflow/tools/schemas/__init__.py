"""What a tool takes and gives: from type hints and docstrings to JSON Schema, and values held against it. Pure."""
