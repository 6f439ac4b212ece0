"""A model's words, read as a decomposition: what can be mended is mended and noted, the rest is told in words."""

from agenticflow.agents.decomposition.answers.reading import Reading, read_answer

__all__ = ["Reading", "read_answer"]
