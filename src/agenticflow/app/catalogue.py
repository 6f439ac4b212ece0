"""The event catalogue of the whole package: every fact of every room, generated, as data, as text, as JSON and as a page."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec

import agenticflow
from agenticflow.core.catalogue import EventKind, catalogue_of
from agenticflow.core.decider import Fact

__all__ = ["catalogue_as_json", "catalogue_as_markdown", "catalogue_as_text", "event_catalogue"]

NO_FACTS: Final = ("app", "cli", "client", "demos", "deployment", "integrations", "server", "testing")
"""Rooms that record nothing of their own; adapters among them may need what is not installed."""
STREAMS: Final[Mapping[str, str]] = {
    "orchestration": "workflow-<workflow id>/<run no>",
    "agents": "agent-<agent id>",
    "resilience": "gate-<key>/<run no>",
}
"""The usual stream of a room's facts; a fact that is recorded elsewhere names its own."""
FIRST: Final = ("orchestration", "agents", "communication")
"""Rooms in the order of the catalogue; the others come after them."""


def event_catalogue() -> tuple[EventKind, ...]:
    """Return an entry for every event the engine can record, in the order of the rooms and, within one, as declared.

    Programs' own events are not in it; what they look like is the business of a ``SchemaRegistry``.
    """
    return catalogue_of(_facts())


def catalogue_as_text(kinds: Iterable[EventKind] | None = None) -> str:
    """Return the catalogue for a terminal: a paragraph for each event. An optional field has a question mark."""
    paragraphs: list[str] = []
    for kind in event_catalogue() if kinds is None else kinds:
        lines = [
            f"{kind.event_type}  (since {kind.since}, version {kind.schema_version}, stream {kind.stream})",
            f"  {kind.summary}",
        ]
        lines += [f"    {field.name}{'' if field.is_required else '?'}: {field.type}" for field in kind.fields]
        paragraphs.append("\n".join(lines))
    return "\n\n".join(paragraphs)


def catalogue_as_json(kinds: Iterable[EventKind] | None = None) -> str:
    """Return the catalogue as a JSON list of objects with the fields of ``EventKind``."""
    return json.dumps(msgspec.to_builtins(list(event_catalogue() if kinds is None else kinds)), indent=2)


def catalogue_as_markdown(kinds: Iterable[EventKind] | None = None) -> str:
    """Return the catalogue for a page: a table for each stream. An optional field has a question mark."""
    tables: dict[str, list[str]] = {}
    for kind in event_catalogue() if kinds is None else kinds:
        rows = tables.setdefault(kind.stream, [])
        fields = ", ".join(f"`{field.name}`{'' if field.is_required else '?'} {field.type}" for field in kind.fields)
        version = "" if kind.schema_version == 1 else f", version {kind.schema_version}"
        rows.append(f"| `{kind.event_type}` | {kind.since}{version} | {fields or '–'} | {kind.summary} |")
    head = "| event type | since | payload | what has happened |\n|---|---|---|---|"
    return "\n\n".join(f"### On `{stream}`\n\n{head}\n" + "\n".join(rows) for stream, rows in tables.items())


def _facts() -> Iterator[tuple[type[Fact], str]]:
    """Yield every fact that a module of a room declares, with the usual stream of the room."""
    found = [module.name for module in pkgutil.iter_modules(agenticflow.__path__) if module.ispkg]
    rooms = [*FIRST, *sorted(set(found) - set(FIRST) - set(NO_FACTS))]
    for room in rooms:
        package = importlib.import_module(f"agenticflow.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"agenticflow.{room}."):
            for thing in vars(importlib.import_module(module.name)).values():
                is_fact = isinstance(thing, type) and issubclass(thing, Fact) and hasattr(thing, "event_type")
                if is_fact and thing.__module__ == module.name:
                    yield thing, STREAMS.get(room, "")
