"""Dead letters of runs: tasks that have lost too many processes, and wait for a person."""
