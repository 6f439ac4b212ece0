"""The chat-completions wire format, through OpenAI's own client: OpenAI, Hugging Face, and servers of one's own (docs/adr/0020)."""

from agenticflow.integrations.models.openai.embedding import EmbeddingsModel
from agenticflow.integrations.models.openai.model import ChatCompletionsModel

__all__ = ["ChatCompletionsModel", "EmbeddingsModel"]
