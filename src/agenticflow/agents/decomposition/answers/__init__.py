"""A model's words, read as a decomposition: what can be mended is mended and noted, the rest is told in words."""

from agenticflow.agents.decomposition.answers.origin import foreign_to
from agenticflow.agents.decomposition.answers.reading import Reading, read_answer

__all__ = ["Reading", "foreign_to", "read_answer"]
