"""A model by name: everything that can be wrong is told before the first call, and a key is never shown."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from agenticflow.agents.model import ModelAbilities, ModelRequest, ToolSpec, permission, user
from agenticflow.app.models import GuardedModel, ModelGuards, model_from
from agenticflow.app.wiring import ModelChoice
from agenticflow.errors import ConfigurationError, InvalidInput, ModelCallsForbidden
from agenticflow.integrations.models.anthropic import AnthropicModel
from agenticflow.integrations.models.openai import ChatCompletionsModel
from agenticflow.testing.model_kit import Says
from agenticflow.testing.model_kit.place import said
from tests.conformance.model_servers.chat import ChatServer
from tests.conformance.model_servers.messages import MessagesServer

ASKED = ModelRequest(messages=(user("hello"),))


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(variable, f"the key of {variable}")
    monkeypatch.delenv("LOCAL_MODEL_API_KEY", raising=False)


@pytest.mark.parametrize(
    ("name", "kind", "identity", "base_url"),
    [
        ("openai:gpt-5", ChatCompletionsModel, "openai:gpt-5", "https://api.openai.com/v1"),
        ("anthropic:claude-sonnet-5", AnthropicModel, "anthropic:claude-sonnet-5", "https://api.anthropic.com"),
        ("huggingface:org/m:fast", ChatCompletionsModel, "huggingface:org/m:fast", "https://router.huggingface.co/v1"),
        ("local:qwen3:8b", ChatCompletionsModel, "local:qwen3:8b", "http://localhost:11434/v1"),
        ("local:q?base_url=http%3A//h:8000/v1", ChatCompletionsModel, "local:q", "http://h:8000/v1"),
    ],
)
def test_a_name_says_provider_and_model(name: str, kind: type, identity: str, base_url: str) -> None:
    model = model_from(name)
    assert isinstance(model, GuardedModel)
    assert isinstance(model.model, kind)
    assert model.identity == model.model.identity == identity
    assert getattr(model.model, "base_url", None) == base_url


def test_who_asks_the_same_server_shares_its_breaker() -> None:
    same = [model_from(name) for name in ("openai:gpt-5", "openai:gpt-5-mini")]
    other = model_from("openai:gpt-5?base_url=http://localhost:1/v1")
    breakers = [model.breaker.name for model in (*same, other) if isinstance(model, GuardedModel)]
    assert breakers == ["model openai", "model openai", "model openai http://localhost:1/v1"]


async def test_the_key_comes_from_the_environment_and_goes_to_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", " secret-1 \n")
    for server, name in (
        (ChatServer([Says(said("hi"))]), "local:m"),
        (MessagesServer([Says(said("hi"))]), "anthropic:m"),
    ):
        async with server.running():
            path = "/v1" if name == "local:m" else ""
            model = model_from(f"{name}?base_url={server.url}{path}&key_env=MY_KEY&stream=false")
            assert (await model.respond(ASKED)).text == "hi"
            assert "secret-1" in (server.headers[0].get("authorization", "") + server.headers[0].get("x-api-key", ""))
            assert not server.bodies[0].get("stream")
            await model.close()
            given = model_from(f"{name}?base_url={server.url}{path}", api_key="given-1")
            assert (await given.respond(ASKED)).text == "hi"
            assert server.bodies[1]["stream"]
            assert "given-1" in str(server.headers[1])
            await given.close()


async def test_limits_are_called_what_the_server_calls_them() -> None:
    server = ChatServer([Says(said("hi"))])
    limited = ModelRequest(messages=ASKED.messages, max_output_tokens=5)
    async with server.running():
        for provider, field in (("openai", "max_completion_tokens"), ("local", "max_tokens")):
            model = model_from(f"{provider}:m?base_url={server.url}/v1")
            await model.respond(limited)
            assert server.bodies[-1][field] == 5
            await model.close()


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("OPENAI_API_KEY", "openai:gpt-5"),
        ("ANTHROPIC_API_KEY", "anthropic:claude"),
        ("HF_TOKEN", "huggingface:org/m"),
        ("NO_SUCH_KEY", "local:qwen3?key_env=NO_SUCH_KEY"),
    ],
)
def test_a_missing_key_is_told_with_the_variable(monkeypatch: pytest.MonkeyPatch, variable: str, name: str) -> None:
    for value in (None, "", "  "):
        if value is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, value)
        with pytest.raises(
            ConfigurationError, match=f"needs a key, and the environment variable {variable} is not set"
        ):
            model_from(name)


WITHOUT_CLIENTS = """
import sys
sys.modules["openai"] = sys.modules["anthropic"] = sys.modules["httpx2"] = None  # as if they were not installed
from agenticflow.app.models import embedder_from, model_from
from agenticflow.errors import ConfigurationError
try:
    embedder_from("openai:m", 4, api_key="k")
except ConfigurationError as error:
    print(error.message, error.hint)
for provider in ("openai", "huggingface", "local", "anthropic"):
    try:
        model_from(f"{provider}:m", api_key="k")
    except ConfigurationError as error:
        print(error.message, error.hint)
"""


def test_a_missing_extra_is_told_by_name() -> None:
    told = subprocess.run(
        [sys.executable, "-c", WITHOUT_CLIENTS], capture_output=True, text=True, timeout=60, check=True
    ).stdout.splitlines()
    assert len(told) == 5
    for line, provider in zip(told, ("openai", "openai", "huggingface", "local", "anthropic"), strict=True):
        assert f"needs the extra '{provider}', which is not installed" in line
        assert f"agenticflow[{provider}]" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gpt-5", "no model is known for 'gpt-5'"),
        ("gemini:pro", "providers are openai, anthropic, huggingface, local"),
        ("openai:", "no model is known"),
        ("openai:?stream=false", "no model is known"),
        ("", "no model is known"),
        (7, "not by 7"),
        ("openai:gpt-5?api_key=sk-secret", "unknown option 'api_key'"),
        ("openai:gpt-5?stream=perhaps", "unknown option 'stream', or no right value"),
        ("openai:gpt-5?without=tools,wings", "is without 'tools,wings'"),
        ("openai:gpt-5?base_url=", "unknown option 'base_url', or no right value"),
        ("local:m?base_url=localhost:8000", "is no address of a server"),
        ("local:m?base_url=ftp://h/v1", "is no address of a server"),
        ("local:m?base_url=http:///v1", "is no address of a server"),
        ("local:m?base_url=http://[/v1", "is no address of a server"),
        ("local:m?base_url=http://me:secret@h/v1", "is no address of a server"),
    ],
)
def test_a_wrong_name_is_told_and_shows_no_secret(name: Any, words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as caught:
        model_from(name)
    assert "secret" not in str(caught.value)
    assert caught.value.hint


def test_a_choice_does_not_show_its_key() -> None:
    choice = ModelChoice(provider="openai", name="gpt", wire="chat", base_url="http://x", api_key="secret")
    assert "secret" not in f"{choice!r} {choice}"


async def test_what_a_model_cannot_do_goes_along() -> None:
    server = ChatServer([Says(said("hi"))])
    async with server.running():
        model = model_from(f"local:m?without=temperature,tools&base_url={server.url}/v1")
        assert model.abilities == ModelAbilities(has_tools=False, has_temperature=False)
        await model.respond(ModelRequest(messages=ASKED.messages, temperature=0.5))
        with pytest.raises(InvalidInput, match="the model calls none"):
            await model.respond(ModelRequest(messages=ASKED.messages, tools=(ToolSpec("look"),)))
        assert ["temperature" in body for body in server.bodies] == [False]
        await model.close()
    assert model_from("anthropic:claude").abilities == ModelAbilities(has_temperature=False)


def test_guards_go_along() -> None:
    model = model_from("local:m?base_url=http://guards/v1", guards=ModelGuards(total_seconds=5))
    assert isinstance(model, GuardedModel)
    assert model.guards.total_seconds == 5


async def test_a_setting_forbids_real_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(permission, "is_forbidden", False)
    monkeypatch.setenv("AGENTICFLOW_MODELS__FORBID_CALLS", "true")
    model = model_from("local:m?base_url=http://127.0.0.1:9/v1")
    with pytest.raises(ModelCallsForbidden, match="'local:m'"):
        await model.respond(ASKED)


async def test_tests_never_ask_a_real_model() -> None:
    """``tests/conftest.py`` forbids it for all of them."""
    with pytest.raises(ModelCallsForbidden):
        await model_from("openai:gpt-5").respond(ASKED)
