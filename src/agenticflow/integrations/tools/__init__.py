"""Tools that need a library of their own: one foreign world to a module, imported when it is chosen."""
