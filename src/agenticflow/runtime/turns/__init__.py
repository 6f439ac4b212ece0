"""Turns: what the commands of an execution come to, committed in one piece, and what follows from that for other executions."""
