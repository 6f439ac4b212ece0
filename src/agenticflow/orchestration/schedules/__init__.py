"""Schedules: when a workflow is to start again and again, as an execution of the engine like any other."""
