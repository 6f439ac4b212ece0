"""Store backends beside the memory reference."""
