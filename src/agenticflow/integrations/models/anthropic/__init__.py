"""The messages wire format, through Anthropic's own client."""

from agenticflow.integrations.models.anthropic.model import AnthropicModel

__all__ = ["AnthropicModel"]
