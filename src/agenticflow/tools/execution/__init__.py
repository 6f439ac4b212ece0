"""How a tool is called: one path for every call, whoever makes it."""
