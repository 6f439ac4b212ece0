"""The turn loop of an agent that asks a model: what is recorded of it, and how it decides. Pure.

A loop is an execution of its own, child of the task that it works for: a model's answer is an event, a call of a tool is asked for before
and has exactly one result after. Who performs it is ``app.loops``; nothing here asks a model or runs a tool.
"""
