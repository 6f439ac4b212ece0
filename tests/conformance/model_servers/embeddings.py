"""The embeddings wire format, as a server speaks it: a vector counts letters."""

from __future__ import annotations

from typing import Any

from agenticflow.agents.model import ModelResponse
from agenticflow.testing.model_kit import Seen
from tests.conformance.model_servers.chat import ChatServer

LETTERS = "abcd"


class EmbeddingsServer(ChatServer):
    """Gives the vectors in another order than the texts came in, with their numbers, as the format allows."""

    def read(self, body: dict[str, Any]) -> Seen:
        return Seen(messages=())

    def whole(self, response: ModelResponse) -> dict[str, Any]:
        body = self.bodies[-1]
        assert body["encoding_format"] == "float"
        rows = [
            {"object": "embedding", "index": index, "embedding": [float(text.count(letter)) for letter in LETTERS]}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return {"object": "list", "model": body["model"], "data": rows[::-1], "usage": usage}
