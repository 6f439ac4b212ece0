"""The form of answers: JSON found in a model's words, held to a schema, made into a type."""

from agenticflow.agents.model.outputs.closing import closed
from agenticflow.agents.model.outputs.drafts import Draft, Drafts
from agenticflow.agents.model.outputs.expected import Expected
from agenticflow.agents.model.outputs.extraction import candidates

__all__ = ["Draft", "Drafts", "Expected", "candidates", "closed"]
