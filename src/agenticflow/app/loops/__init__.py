"""Loops of agents at work: models are asked, tools called, people asked, and everything that comes of it recorded before it counts."""
