"""A model by name: ``openai:gpt-5``, ``anthropic:claude-sonnet-5``, ``huggingface:org/model``, ``local:qwen3?base_url=http://…/v1``.

Everything that can be wrong before the first call is told then: the provider, an option, the extra, the key.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from agenticflow.agents.memory import Embedder
from agenticflow.agents.memory.embedding import MAX_DIMENSION
from agenticflow.agents.model.permission import permission
from agenticflow.agents.model.port import Model
from agenticflow.app.models.guarding import USUAL_GUARDS, GuardedModel, ModelGuards
from agenticflow.app.wiring import ModelChoice, open_embedder, open_model
from agenticflow.config import load_settings
from agenticflow.errors import ConfigurationError

__all__ = ["embedder_from", "model_from"]


class _Provider(msgspec.Struct, frozen=True):
    """What is known of a provider before it is asked."""

    wire: str
    base_url: str
    key_variable: str
    needs_key: bool = True
    limit_field: str = "max_tokens"
    cannot: tuple[str, ...] = ()
    options: tuple[str, ...] = ("base_url", "key_env", "stream", "without")


_PROVIDERS: Final[Mapping[str, _Provider]] = {
    "openai": _Provider("chat", "https://api.openai.com/v1", "OPENAI_API_KEY", limit_field="max_completion_tokens"),
    "anthropic": _Provider("messages", "https://api.anthropic.com", "ANTHROPIC_API_KEY", cannot=("temperature",)),
    "huggingface": _Provider("chat", "https://router.huggingface.co/v1", "HF_TOKEN"),
    # where Ollama listens, the one that most people run
    "local": _Provider("chat", "http://localhost:11434/v1", "LOCAL_MODEL_API_KEY", needs_key=False),
    # whatever it reaches, by a name of its own; keys and addresses are its own business
    "pydantic-ai": _Provider("pydantic-ai", "", "", needs_key=False, options=("stream", "without")),
}
_OPTIONS: Final = ("base_url", "key_env", "stream", "without")
_ABILITIES: Final = ("tools", "output_schemas", "temperature", "images", "files")
_EXAMPLES: Final = "write openai:gpt-5, anthropic:claude-sonnet-5, huggingface:org/model, local:qwen3 or pydantic-ai:groq:llama-3.3-70b"
_EMBEDDERS: Final = "write openai:text-embedding-3-small, huggingface:org/model or local:nomic-embed-text"
_DIMENSIONS: Final[Mapping[str, int]] = {
    "text-embedding-3-small": 1_536,
    "text-embedding-3-large": 3_072,
    "text-embedding-ada-002": 1_536,
}


def model_from(name: str, *, guards: ModelGuards = USUAL_GUARDS, api_key: str | None = None) -> Model:
    """Return the model called ``provider:model?option=…``, guarded.

    Options are ``base_url=`` (another server of the same wire format), ``key_env=`` (the environment variable that holds the key),
    ``stream=false`` (for servers that answer in one piece only) and ``without=`` (what the model cannot do, with commas between:
    ``tools``, ``output_schemas``, ``temperature``, ``images``, ``files``). ``api_key`` is for programs that have it from elsewhere.
    ``pydantic-ai:provider:model`` asks through Pydantic AI, which finds key and address by itself.

    Raises ``ConfigurationError`` for an unknown provider or option, for an extra that is not installed, and for a key that is not there.
    """
    provider, choice = _chosen(name, _OPTIONS, api_key)
    own = choice.base_url != provider.base_url
    place = f"{choice.provider} {choice.base_url}" if own else choice.provider
    if provider.wire == "pydantic-ai":
        place = f"{choice.provider} {choice.name.partition(':')[0]}"  # each of its providers fails by itself
    return GuardedModel(open_model(choice), guards, place=place)


def embedder_from(
    name: str, dimension: int | None = None, *, shortens: bool = False, api_key: str | None = None
) -> Embedder:
    """Return the embedding model called ``provider:model?option=…``, for ``MemoryStore(embedder=…)``.

    Options are ``base_url=`` and ``key_env=``, as for ``model_from``. ``dimension`` is how many numbers its vectors have;
    of OpenAI's that is known. ``shortens`` asks it for shorter vectors than its own, where it can make them. It is asked once, within a
    minute: repeating is the business of who stores and searches.

    Raises ``ConfigurationError`` for an unknown provider or option, a dimension that is not known, an extra that is not installed, and for
    a key that is not there.
    """
    provider, choice = _chosen(name, ("base_url", "key_env"), api_key)
    if provider.wire != "chat":
        raise ConfigurationError(f"{choice.provider} has no embedding models", hint=_EMBEDDERS)
    known = dimension if dimension is not None else _DIMENSIONS.get(choice.name)
    if known is None or isinstance(known, bool) or not isinstance(known, int) or not 1 <= known <= MAX_DIMENSION:
        raise ConfigurationError(
            f"the dimension of {choice.provider}:{choice.name} is {known!r:.60}",
            hint=f"give how many numbers its vectors have, 1 to {MAX_DIMENSION:,}: embedder_from({name!r:.80}, 768)",
        )
    return open_embedder(choice, known, shortens=shortens)


def _chosen(name: str, known_options: Sequence[str], api_key: str | None) -> tuple[_Provider, ModelChoice]:
    if not isinstance(name, str):
        raise ConfigurationError(f"a model is chosen by name, not by {name!r:.60}", hint=_EXAMPLES)
    provider_name, _, rest = name.partition(":")
    provider = _PROVIDERS.get(provider_name)
    model, _, query = rest.partition("?")
    if provider is None or not model:
        known = ", ".join(_PROVIDERS)
        raise ConfigurationError(f"no model is known for {name!r}; providers are {known}", hint=_EXAMPLES)
    options = _options(name, query, [option for option in known_options if option in provider.options])
    base_url = options.get("base_url", provider.base_url)
    if "base_url" in provider.options:
        _check_address(name, base_url)
    if api_key is not None and "key_env" not in provider.options:
        raise ConfigurationError(f"{name!r} takes no api_key", hint="Pydantic AI reads the key from the environment")
    if load_settings().settings.models.forbid_calls:
        permission.is_forbidden = True
    return provider, ModelChoice(
        provider=provider_name,
        name=model,
        wire=provider.wire,
        base_url=base_url,
        api_key=api_key or _key(name, provider, options),
        is_streaming=options.get("stream", "true") == "true",
        limit_field=provider.limit_field,
        cannot=frozenset({*_cannot(name, options.get("without", "")), *provider.cannot}),
    )


def _options(name: str, query: str, known: Sequence[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        option, _, value = pair.partition("=")
        value = unquote(value)
        if option not in known or not value or (option == "stream" and value not in ("true", "false")):
            # a pair that is not known may be a key: only its name is shown
            raise ConfigurationError(
                f"the model {name.partition('?')[0]!r} has the unknown option {option!r}, or no right value for it",
                hint=f"there are {', '.join(known)}; a key comes from the environment, never from a name",
            )
        options[option] = value
    return options


def _cannot(name: str, written: str) -> set[str]:
    abilities = set(filter(None, written.split(",")))
    if not abilities <= set(_ABILITIES):
        raise ConfigurationError(
            f"the model {name.partition('?')[0]!r} is without {written!r}", hint=f"there are {', '.join(_ABILITIES)}"
        )
    return abilities


def _check_address(name: str, base_url: str) -> None:
    try:
        parts = urlsplit(base_url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        is_address = False
    if not is_address:
        raise ConfigurationError(
            f"base_url of the model {name.partition('?')[0]!r} is no address of a server",
            hint="write base_url=http://localhost:8000/v1, without user and password",
        )


def _key(name: str, provider: _Provider, options: Mapping[str, str]) -> str:
    variable = options.get("key_env", provider.key_variable)
    key = os.environ.get(variable, "").strip() if variable else ""
    if key:
        return key
    if provider.needs_key or "key_env" in options:
        raise ConfigurationError(
            f"the model {name.partition('?')[0]!r} needs a key, and the environment variable {variable} is not set",
            hint=f"set {variable}, or name another variable with key_env=",
        )
    return "none"  # the clients demand one; a server of one's own does not look at it
