"""Schedules from the side of programs: created, steered and looked at, and the workflows they start."""
