"""How runs begin: those users start, and those that are a task of another."""
