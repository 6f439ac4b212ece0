"""The form of answers: JSON found in a model's words, held to a schema, made into a type."""

from agenticflow.agents.model.outputs.expected import Expected
from agenticflow.agents.model.outputs.extraction import candidates
from agenticflow.agents.model.outputs.schemas import closed, misfits, schema_problems

__all__ = ["Expected", "candidates", "closed", "misfits", "schema_problems"]
