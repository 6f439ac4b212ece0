"""The file: what is in a cassette, how it is written, and how it is read by whoever did not write it."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from agenticflow.app.cassettes.spelling import pack, read, spell
from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.errors import AgenticFlowError, BoundExceeded, InvalidInput
from agenticflow.orchestration.facts import FACTS

__all__ = ["MAX_CASSETTE_BYTES", "Cassette", "CassetteEvent", "demand_size", "parse_cassette"]

FORMAT: Final = "agenticflow-cassette"
FORMAT_VERSION: Final = 1
MAX_CASSETTE_BYTES: Final = 32 * 1024 * 1024
MAX_BLOBS: Final = 10_000


class CassetteEvent(msgspec.Struct, frozen=True):
    """One recorded event."""

    version: int
    """From 1, without gaps."""
    event_type: str
    at: int
    """When it was recorded, in nanoseconds since the epoch."""
    cause: str
    """The command that made it true, by name; of an end of work the event that ordered it, as ``<stream>@<version>``."""
    data: bytes
    """The encoded payload."""
    schema_version: int = 1

    @property
    def fact(self) -> Fact:
        """The payload, decoded. Raises ``CorruptStore``."""
        return FACTS.decode(self.event_type, self.data, self.schema_version)


class Cassette(msgspec.Struct, frozen=True, kw_only=True):
    """One run, as it was recorded."""

    release: str
    """Of the program that exported it."""
    workflow_id: str
    run_no: int
    name: str
    status: str
    events: tuple[CassetteEvent, ...]
    blobs: dict[str, bytes] = {}
    """Encoded large values, by what the references to them say."""
    left_out: tuple[str, ...] = ()
    """In words, what belongs to the run and is not in here."""
    redacted: tuple[str, ...] = ()
    """Where something was hidden, the first thousand places."""
    redacted_count: int = 0

    def to_json(self) -> str:
        """Return the file. Raises ``BoundExceeded`` above ``MAX_CASSETTE_BYTES``."""
        said = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "release": self.release,
            "workflow_id": self.workflow_id,
            "run_no": self.run_no,
            "name": self.name,
            "status": self.status,
            "left_out": list(self.left_out),
            "redacted": list(self.redacted),
            "redacted_count": self.redacted_count,
            "events": [
                {
                    "version": event.version,
                    "type": event.event_type,
                    "schema_version": event.schema_version,
                    "at": event.at,
                    "cause": event.cause,
                    "payload": spell(codec.decode(event.data)),
                }
                for event in self.events
            ],
            "blobs": {name: spell(codec.decode(data)) for name, data in sorted(self.blobs.items())},
        }
        text = json.dumps(said, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        demand_size(len(text.encode()))
        return text


def demand_size(size: int) -> None:
    """Raise ``BoundExceeded`` for a cassette of ``size`` bytes that is too large."""
    if size > MAX_CASSETTE_BYTES:
        raise BoundExceeded(
            f"the cassette has {size:,} bytes or more, above the limit of {MAX_CASSETTE_BYTES:,}",
            hint="export a smaller run of the workflow; for a copy of everything there is `agenticflow store backup`",
        )


class _Event(msgspec.Struct):
    version: int
    type: str
    at: int
    cause: str
    payload: dict[str, Any]
    schema_version: int = 1


class _File(msgspec.Struct):
    release: str
    workflow_id: str
    run_no: int
    name: str
    status: str
    events: list[_Event]
    blobs: dict[str, Any] = {}
    left_out: list[str] = []
    redacted: list[str] = []
    redacted_count: int = 0


def parse_cassette(data: bytes | str, name: str = "the file") -> Cassette:
    """Return the cassette in ``data``; ``name`` is what an error calls it. Raises ``InvalidInput`` for what is none, or is damaged."""
    if len(data) > MAX_CASSETTE_BYTES:
        raise InvalidInput(f"{name} has {len(data):,} bytes, a cassette has at most {MAX_CASSETTE_BYTES:,}")
    try:
        said = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(name, f"it is no JSON: {error}") from error
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise InvalidInput(f"{name} is no cassette", hint="`agenticflow runs export RUN --out FILE` writes one")
    if said.get("format_version") != FORMAT_VERSION:
        raise InvalidInput(
            f"{name} is a cassette of format {said.get('format_version')!r:.20}, this program reads format {FORMAT_VERSION}",
            hint="replay it with the release that wrote it, or a later one",
        )
    try:
        return _cassette(msgspec.convert(said, _File))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError, AgenticFlowError) as error:
        # msgspec's own errors are ValueErrors too
        raise _damaged(name, str(error)) from error


def _cassette(file: _File) -> Cassette:
    if not file.events:
        raise ValueError("it has no events")
    if len(file.blobs) > MAX_BLOBS:
        raise ValueError(f"it has {len(file.blobs):,} large values, above the limit of {MAX_BLOBS:,}")
    events: list[CassetteEvent] = []
    for number, said in enumerate(file.events, 1):
        if said.version != number:
            raise ValueError(f"event {number} is missing: there is {said.version} in its place")
        event = CassetteEvent(
            said.version, said.type, said.at, said.cause, pack(read(said.payload)), said.schema_version
        )
        try:
            _ = event.fact
        except AgenticFlowError as error:
            raise ValueError(f"event {number}: {error.message}") from error
        events.append(event)
    if events[0].event_type != "workflow_started":
        raise ValueError(f"it begins with {events[0].event_type!r:.50}, not with 'workflow_started'")
    return Cassette(
        release=file.release,
        workflow_id=file.workflow_id,
        run_no=file.run_no,
        name=file.name,
        status=file.status,
        events=tuple(events),
        blobs={name: pack(read(value)) for name, value in file.blobs.items()},
        left_out=tuple(file.left_out),
        redacted=tuple(file.redacted),
        redacted_count=file.redacted_count,
    )


def _damaged(name: str, why: str) -> InvalidInput:
    return InvalidInput(f"{name} is damaged: {why}"[:1_000], hint="export the run again: `agenticflow runs export`")
