"""What another process may ask of the process that owns a store, and how it is answered.

An operation comes in by name with plain arguments, from the owner's socket or straight from a program that has just taken the lock; its
answer is plain data. Each operation is one call of the orchestrator's own: there is no second way to steer a run. Arguments are checked
here, because they come from outside.
"""
