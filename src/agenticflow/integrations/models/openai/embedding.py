"""An embedder behind an OpenAI-compatible ``/embeddings``: asks through the official client, maps its errors, never repeats by itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import openai

from agenticflow.agents.memory import Embedder
from agenticflow.agents.model.permission import permission
from agenticflow.errors import ModelAnswerGarbled
from agenticflow.integrations.clients import STUMBLES
from agenticflow.integrations.models.openai.model import client, mapped
from agenticflow.integrations.transport import MAX_BODY_BYTES, bound_in

__all__ = ["EmbeddingsModel"]

SILENCE_SECONDS: Final = 60.0


class EmbeddingsModel(Embedder):
    """``EmbeddingsModel("openai", "text-embedding-3-small", 1536, base_url=…, api_key=…)``.

    ``shortens`` asks the server for vectors of this dimension, which not every model can make; without it they have to have it.
    """

    def __init__(
        self,
        provider: str,
        model: str,
        dimension: int,
        *,
        base_url: str,
        api_key: str,
        shortens: bool = False,
        max_body_bytes: int = MAX_BODY_BYTES,
    ) -> None:
        self.name = f"{provider}:{model}"
        self.dimension = dimension
        self.base_url = base_url
        self._model = model
        self._options: dict[str, Any] = {"dimensions": dimension} if shortens else {}
        self._client = client(base_url, api_key, max_body_bytes=max_body_bytes, silence_seconds=SILENCE_SECONDS)

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Ask once. Raises ``ModelUnavailable`` and its kinds, ``ModelRequestRefused``, ``ModelAnswerGarbled``, ``ModelCallsForbidden``."""
        permission.demand(self.name, self.base_url)
        create: Any = self._client.embeddings.create
        try:
            answer = await create(model=self._model, input=list(texts), encoding_format="float", **self._options)
        except (openai.OpenAIError, *STUMBLES) as error:
            raise (bound_in(error) or mapped(self.name, error, has_begun=False)) from error
        try:
            return [
                one
                for _, one in sorted(
                    (int(row.index), [float(number) for number in row.embedding]) for row in answer.data
                )
            ]
        except (AttributeError, TypeError, ValueError) as error:
            raise ModelAnswerGarbled(f"{self.name!r} answered with what are no embeddings: {error}") from error

    async def close(self) -> None:
        await self._client.close()
