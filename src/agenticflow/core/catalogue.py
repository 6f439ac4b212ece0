"""The event catalogue: what is recorded, read from the payload structs themselves. Pure; nothing is listed by hand but the past.

Every fact (``core.decider.Fact``) names its event type, version and stream; its docstring says what has happened and its fields are the
payload. ``app.catalogue`` collects the facts of all rooms.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from agenticflow.core.decider import Fact
from agenticflow.errors import DefinitionError

__all__ = ["NEXT_RELEASE", "EventKind", "PayloadField", "catalogue_of", "describe_event"]

NEXT_RELEASE: Final = "0.2.0"
"""Since when there is what no release has recorded yet."""

RELEASES: Final[Mapping[str, frozenset[str]]] = {
    "0.1.0": frozenset(
        {
            "agent_state_changed",
            "map_expanded",
            "signal_awaited",
            "signal_received",
            "task_cancelled",
            "task_completed",
            "task_failed",
            "task_late_outcome",
            "task_outcome_unknown",
            "task_rerun_requested",
            "task_retry_scheduled",
            "task_scheduled",
            "task_skipped",
            "task_started",
            "timer_fired",
            "timer_set",
            "workflow_cancel_requested",
            "workflow_cancelled",
            "workflow_completed",
            "workflow_failed",
            "workflow_paused",
            "workflow_resumed",
            "workflow_started",
        }
    ),
}
"""What each release was the first to record. The past does not change: a release adds its entry and leaves the others alone."""


class PayloadField(msgspec.Struct, frozen=True):
    """One field of a payload."""

    name: str
    type: str
    """In words: ``int``, ``list of str``, ``value`` for whatever a user's program put there."""
    is_required: bool
    """Whether it always stands there; otherwise it is left out at its default."""


class EventKind(msgspec.Struct, frozen=True):
    """One entry of the catalogue. ``msgspec.to_builtins`` gives it as plain data."""

    event_type: str
    summary: str
    """What has happened, in a sentence or two."""
    stream: str
    since: str
    schema_version: int
    fields: tuple[PayloadField, ...]


def describe_event(fact: type[Fact], stream: str = "") -> EventKind:
    """Return the entry of one fact; ``stream`` is where it is recorded when it does not say so itself."""
    name = fact.event_type
    paragraph = inspect.cleandoc(fact.__doc__ or "").partition("\n\n")[0]
    kinds = msgspec.inspect.type_info(fact)
    assert isinstance(kinds, msgspec.inspect.StructType)
    return EventKind(
        event_type=name,
        summary=" ".join(paragraph.replace("``", "`").split()),
        stream=fact.stream or stream,
        since=next((release for release, types in RELEASES.items() if name in types), NEXT_RELEASE),
        schema_version=fact.schema_version,
        fields=tuple(PayloadField(field.encode_name, _words(field.type), field.required) for field in kinds.fields),
    )


def catalogue_of(facts: Iterable[tuple[type[Fact], str]]) -> tuple[EventKind, ...]:
    """Return the entries of ``facts``, each given with the usual stream of its room, in their order.

    Raises ``DefinitionError`` when two have the same event type.
    """
    found: dict[str, EventKind] = {}
    for fact, stream in facts:
        kind = describe_event(fact, stream)
        if kind.event_type in found:
            raise DefinitionError(
                f"two payloads are called {kind.event_type!r}, one of them {fact.__qualname__}",
                hint="an event type has one shape for each version",
            )
        found[kind.event_type] = kind
    return tuple(found.values())


def _words(kind: msgspec.inspect.Type) -> str:
    """Return a type as the catalogue writes it."""
    match kind:
        case msgspec.inspect.UnionType(types=types):
            # what may be null is left out when it is
            return " or ".join(_words(part) for part in types if not isinstance(part, msgspec.inspect.NoneType))
        case msgspec.inspect.LiteralType(values=values):
            return " or ".join(f"'{value}'" for value in values)
        case msgspec.inspect.EnumType(cls=cls):
            return " or ".join(f"'{member.value}'" for member in cls)
        case msgspec.inspect.ListType(item_type=item) | msgspec.inspect.VarTupleType(item_type=item):
            return f"list of {_words(item)}"
        case msgspec.inspect.TupleType(item_types=items):
            return f"[{', '.join(map(_words, items))}]"
        case msgspec.inspect.DictType(key_type=key, value_type=value):
            return f"dict of {_words(key)} to {_words(value)}"
        case msgspec.inspect.StructType(cls=cls):
            return cls.__name__
        case msgspec.inspect.RawType() | msgspec.inspect.CustomType():
            return "value"
        case _:
            return type(kind).__name__.removesuffix("Type").lower()
