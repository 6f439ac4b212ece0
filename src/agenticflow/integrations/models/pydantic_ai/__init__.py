"""Whatever model Pydantic AI reaches, at our port: ``pydantic-ai:groq:…``, ``pydantic-ai:google:…`` and the others of its providers."""

from agenticflow.integrations.models.pydantic_ai.model import PydanticAIModel

__all__ = ["PydanticAIModel"]
