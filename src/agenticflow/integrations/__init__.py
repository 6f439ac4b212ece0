"""One foreign world per file, loaded only when chosen."""
