"""What can be set, with its type, default and meaning: one field for each setting, and nothing else knows more.

Everything derived comes from here: the names in files and in the environment, what is accepted, the JSON Schema, the reference page. A new
setting is one annotated field, and the place in ``app`` or an entry point that reads it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from agenticflow.observability.logs import LogSettings

__all__ = [
    "DEFAULT_STORE",
    "EngineSettings",
    "Field",
    "MetricsSettings",
    "ModelSettings",
    "Settings",
    "fields",
    "json_schema",
]

DEFAULT_STORE: Final = "sqlite:///.agenticflow/state.db"
VARIABLES: Final = "AGENTICFLOW_"
"""What the name of every environment variable of ours begins with."""


class EngineSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an orchestrator is made with, unless its arguments say otherwise."""

    max_concurrency: Annotated[int, Meta(ge=1, le=100_000, description="attempts in work at once in this process")] = (
        1_000
    )
    max_threads: Annotated[int, Meta(ge=1, le=1_000, description="threads for handlers that are not async")] = 32
    drain_seconds: Annotated[
        float, Meta(ge=0, le=86_400, description="how long running handlers may end at a stop")
    ] = 10.0
    max_lost_processes: Annotated[
        int,
        Meta(
            ge=2, le=1_000, description="processes that may die while a task is in work, before it is put in quarantine"
        ),
    ] = 3


class MetricsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured."""

    enabled: Annotated[bool, Meta(description="measure the engine; read with `agenticflow metrics`")] = False


class ModelSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What holds for language models."""

    forbid_calls: Annotated[bool, Meta(description="refuse to ask real models, as tests do")] = False
    prices: Annotated[str, Meta(description="file with what models cost, for budgets: YAML or JSON; empty: none")] = ""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting. Made by ``load_settings``; ``Settings()`` is the defaults."""

    profile: Annotated[
        Literal["development", "testing", "staging", "production"], Meta(description="which defaults to begin with")
    ] = "development"
    store: Annotated[str, Meta(min_length=1, description="where events are kept: a URL")] = DEFAULT_STORE
    durability: Annotated[
        Literal["full", "normal"], Meta(description="of that store, when it is a SQLite file and its URL does not say")
    ] = "full"
    engine: EngineSettings = EngineSettings()
    log: LogSettings = LogSettings()
    metrics: MetricsSettings = MetricsSettings()
    models: ModelSettings = ModelSettings()

    @property
    def store_url(self) -> str:
        """The store to open, with its durability."""
        if self.durability == "full" or not self.store.startswith("sqlite:") or "durability=" in self.store:
            return self.store
        return f"{self.store}{'&' if '?' in self.store else '?'}durability={self.durability}"


class Field(msgspec.Struct, frozen=True):
    """One setting: ``engine.max_threads``."""

    key: str
    type: Any
    default: object
    meaning: str
    accepts: str
    """In words: what a value must be."""

    @property
    def variable(self) -> str:
        """Its name in the environment: ``AGENTICFLOW_ENGINE__MAX_THREADS``."""
        return VARIABLES + self.key.replace(".", "__").upper()


@cache
def fields() -> dict[str, Field]:
    """Return every setting by its key, in order."""
    return {field.key: field for field in _walk(Settings, "")}


def _walk(kind: type[msgspec.Struct], before: str) -> Iterator[Field]:
    types = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for field in msgspec.structs.fields(kind):
        inner = types[field.name]
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            yield from _walk(inner, f"{before}{field.name}.")
        else:
            info: Any = msgspec.inspect.type_info(inner)
            schema = info.extra_json_schema or {} if isinstance(info, msgspec.inspect.Metadata) else {}
            bare = info.type if isinstance(info, msgspec.inspect.Metadata) else info
            yield Field(
                f"{before}{field.name}", inner, field.default, schema.get("description", ""), _accepts(bare, inner)
            )


def _accepts(info: Any, annotated: Any) -> str:
    match info:
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return f"a whole number from {info.ge:,} to {info.le:,}"
        case msgspec.inspect.FloatType():
            return f"a number from {info.ge:g} to {info.le:,g}"
        case msgspec.inspect.LiteralType():
            words = get_args(get_args(annotated)[0])  # in the order in which they are written
            return " or ".join((", ".join(words[:-1]), words[-1]))
        case _:
            return "a text that is not empty" if info.min_length else "a text"


def json_schema() -> dict[str, object]:
    """Return the JSON Schema of a settings file; editors complete and check it."""
    schema: dict[str, object] = msgspec.json.schema(Settings)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "agenticflow settings", **schema}
