"""What a person changes in a run that goes on: tasks skipped, tried again or given a result, feedback, other tasks."""
