"""Models by name, guarded: ``model_from("openai:gpt-5")``."""

from agenticflow.app.models.choosing import embedder_from, model_from
from agenticflow.app.models.guarding import GuardedModel, ModelGuards

__all__ = ["GuardedModel", "ModelGuards", "embedder_from", "model_from"]
