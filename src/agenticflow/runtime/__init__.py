"""The imperative shell: loads, folds, decides and commits executions, and performs their activities."""
