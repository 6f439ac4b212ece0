"""What the commands for authors do: check and draw definitions, begin a project."""
