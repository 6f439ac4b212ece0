"""What the commands for people who look at runs do: watch, draw, tell the time, follow events."""
