"""The inbox of an orchestrator: what waits for people, and their answers."""
