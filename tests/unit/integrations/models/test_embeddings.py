"""An embedder behind an HTTP server: what is asked, what comes back, and every way in which that goes wrong."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow import MemoryStore, open_store
from agenticflow.app.models import embedder_from
from agenticflow.errors import (
    AgenticFlowError,
    ConfigurationError,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelCallsForbidden,
    ModelRateLimited,
    ModelRequestRefused,
    ModelUnavailable,
)
from agenticflow.integrations.models.openai import EmbeddingsModel
from agenticflow.testing.model_kit import BreaksOff, Garbles, Refuses, Says
from agenticflow.testing.model_kit.place import said
from tests.conformance.model_servers.embeddings import EmbeddingsServer

ANSWER = Says(said("vectors"))


async def test_what_is_remembered_is_found_through_the_server() -> None:
    server = EmbeddingsServer([ANSWER])
    store = await open_store("memory:")
    async with server.running():
        embedder = embedder_from(f"local:letters?base_url={server.url}/v1", 4)
        plain = MemoryStore(store, agent_id="x")
        for key, value in (("1", "aab"), ("2", "b"), ("3", "ccc")):
            await plain.store(key, value)
        memory = MemoryStore(store, agent_id="x", embedder=embedder)
        found = await memory.search("ab", limit=2)
        assert [match.entry.key for match in found] == ["1", "2"]
        assert server.bodies[1] == {
            "model": "letters",
            "input": ["1\naab", "2\nb", "3\nccc"],
            "encoding_format": "float",
        }
        await embedder.close()
        await embedder.close()


async def test_shorter_vectors_are_asked_for_only_when_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    server = EmbeddingsServer([ANSWER])
    async with server.running():
        embedder = embedder_from(f"openai:e?base_url={server.url}/v1", 4, shortens=True)
        assert await embedder.embed(["d", "a"]) == [[0, 0, 0, 1], [1, 0, 0, 0]]
        assert server.bodies[0]["dimensions"] == 4
        assert server.headers[0]["authorization"] == "Bearer secret-1"
        assert (embedder.identity, "secret-1" in repr(embedder)) == ("openai:e/4", False)
        await embedder.close()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Refuses(500, "oops"), ModelUnavailable),
        (Refuses(429, "slow down", retry_after="7"), ModelRateLimited),
        (Refuses(401, "who are you"), ModelAccessDenied),
        (Refuses(400, "no such model"), ModelRequestRefused),
        (Garbles(b"{"), ModelAnswerGarbled),
        (Garbles(b"[]"), ModelAnswerGarbled),
        (Garbles(b'{"data": null}'), ModelAnswerGarbled),
        (Garbles(b'{"data": [{"index": 0, "embedding": ["x"]}]}'), ModelAnswerGarbled),
        (Garbles(b'{"data": [{"index": 0}]}'), ModelAnswerGarbled),
        (BreaksOff(said("vectors"), 5), ModelUnavailable),
    ],
)
async def test_what_goes_wrong_is_one_of_our_errors(answer: Any, error: type[AgenticFlowError]) -> None:
    server = EmbeddingsServer([answer])
    async with server.running():
        embedder = EmbeddingsModel("local", "letters", 4, base_url=f"{server.url}/v1", api_key="none")
        with pytest.raises(error) as caught:
            await embedder.embed(["a"])
        assert caught.value.__cause__ is not None
        assert len(server.bodies) == 1, "it is asked once"
        if isinstance(caught.value, ModelRateLimited):
            assert caught.value.retry_after_seconds == 7
        await embedder.close()


async def test_an_answer_without_end_is_left() -> None:
    server = EmbeddingsServer([ANSWER])
    async with server.running():
        embedder = EmbeddingsModel("local", "m", 4, base_url=f"{server.url}/v1", api_key="none", max_body_bytes=100)
        with pytest.raises(AgenticFlowError, match="100"):
            await embedder.embed(["a"])
        await embedder.close()


async def test_a_real_one_is_not_asked_in_tests() -> None:
    embedder = EmbeddingsModel("openai", "m", 4, base_url="https://api.openai.com/v1", api_key="none")
    with pytest.raises(ModelCallsForbidden):
        await embedder.embed(["a"])
    await embedder.close()


def test_the_dimension_of_known_models_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret-1")
    assert embedder_from("openai:text-embedding-3-small").identity == "openai:text-embedding-3-small/1536"
    assert embedder_from("openai:text-embedding-3-large", 256, shortens=True).dimension == 256
    assert embedder_from("local:nomic-embed-text", 768, api_key="k").max_batch == 64


@pytest.mark.parametrize(
    ("name", "dimension", "words"),
    [
        ("local:unheard-of", None, "the dimension of local:unheard-of is None"),
        ("local:m", 0, "is 0"),
        ("local:m", True, "is True"),
        ("local:m", 10_000, "is 10000"),
        ("anthropic:claude", 4, "anthropic has no embedding models"),
        ("letters", 4, "no model is known for 'letters'"),
        ("local:m?stream=false", 4, "unknown option 'stream'"),
    ],
)
def test_a_wrong_name_is_told(name: str, dimension: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        embedder_from(name, dimension, api_key="k")
