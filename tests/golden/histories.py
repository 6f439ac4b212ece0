"""Golden histories as files: how bytes become readable, how a history is loaded, what is remembered of its final state."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from agenticflow.core import codec
from agenticflow.orchestration.guest import WorkflowGuest, run_output
from agenticflow.orchestration.state import RunState, WorkflowStatus
from agenticflow.runtime.actors import run_row
from agenticflow.storage.commits import Commit, NewEvent, StoredEvent
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import Blob, RunRow
from agenticflow.storage.store import Store
from agenticflow.testing.crashes.record import fold_stored

ROOT: Final = Path(__file__).parent


@dataclass(frozen=True)
class History:
    """One recorded stream."""

    release: str
    scenario: str
    stream_id: str
    events: tuple[StoredEvent, ...]
    payloads: tuple[object, ...]
    """As they read in the file."""
    final: dict[str, Any] | None
    """What the run was when recording ended; ``None`` for streams that are no runs."""
    blobs: dict[str, bytes]

    def __str__(self) -> str:
        return f"{self.release} {self.scenario} {self.stream_id}"


def histories() -> list[History]:
    """Return every stream of every release."""
    return [history for file in sorted(ROOT.glob("v*/*.json")) for history in load(file)]


def load(file: Path) -> list[History]:
    """Return the streams in ``file``."""
    data = json.loads(file.read_text(encoding="utf-8"))
    blobs = {name: zlib.decompress(base64.b64decode(text)) for name, text in data["blobs"].items()}
    found: list[History] = []
    for stream in data["streams"]:
        events = tuple(
            StoredEvent(
                stream["stream_id"],
                event["version"],
                event["version"],
                event["type"],
                base64.b64decode(event["data"]),
                event["timestamp"],
                codec.encode(event["metadata"]) if event["metadata"] else b"",
                event["schema_version"],
            )
            for event in stream["events"]
        )
        payloads = tuple(event["payload"] for event in stream["events"])
        found.append(History(data["release"], file.stem, stream["stream_id"], events, payloads, stream["final"], blobs))
    return found


def plain(data: bytes) -> object:
    """Return what ``data`` says, as JSON can say it: bytes and references to blobs have a form of their own."""
    return _plain(codec.decode(data))


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, codec.BlobRef):
        return {"$blob": value.hash, "bytes": value.size}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


async def store_of(histories: Sequence[History]) -> MemoryStore:
    """Return a store that holds these streams, as it would have been left behind."""
    store = MemoryStore()
    for history in histories:
        events = [
            NewEvent(event.event_type, event.data, event.timestamp, event.metadata, event.schema_version)
            for event in history.events
        ]
        rows: list[Blob | RunRow] = [Blob(name, data) for name, data in history.blobs.items()]
        if rows:
            await store.commit(Commit(stream_id=history.stream_id, rows=rows))
        rows = []
        if history.final is not None:
            state = await fold_stored(store, history.stream_id, history.events)
            rows.append(run_row(history.stream_id, WorkflowGuest(), state, len(events)))
        await store.commit(Commit(stream_id=history.stream_id, events=events, rows=rows))
    return store


async def final_of(store: Store, stream_id: str, events: Sequence[StoredEvent]) -> dict[str, object]:
    """Fold ``events`` and return what later releases must find, too."""
    return describe(await fold_stored(store, stream_id, events))


def describe(state: RunState) -> dict[str, object]:
    """Return everything a user could see of a run."""
    guest = WorkflowGuest()
    tasks = {
        record.key: {
            "status": record.status.value,
            "attempt": record.attempt,
            "token": record.token,
            "generation": state.generations.get(record.key, 0),
            "scheduled_at": record.scheduled_at,
            "ended_at": record.ended_at,
            "deadline": record.deadline,
            "due": record.due,
            "errors": [str(error) for error in record.errors or ()],
            "items": None if record.items is None else [plain(item) for item in record.items],
            "value": None if record.value is None else plain(record.value),
        }
        for record in state.tasks.values()
    }
    recovery = guest.recover(state, state.started_at)
    final: dict[str, object] = {
        "summary": msgspec.to_builtins(guest.summary(state)),
        "version": state.version,
        "last_success": state.last_success,
        "problem": None if state.problem is None else state.problem.error.message,
        "tasks": tasks,
        "signals": {name: [plain(value) for value in values] for name, values in state.signals.items() if values},
        "open_work": [_described(effect) for effect in recovery.effects],
    }
    if state.outcome is WorkflowStatus.COMPLETED:
        final["output"] = _plain(codec.decode(codec.encode(run_output(state))))
    return final


FIRST_FIELDS: Final = frozenset(
    {"task_key", "token", "attempt", "performer_id", "task_type", "effect", "timeout_seconds", "deadline", "generation"}
)
"""What an order of work said in the first release; what came later is told only where it says something."""


def _described(effect: msgspec.Struct) -> dict[str, object]:
    said = msgspec.to_builtins(effect)
    unsaid = {
        field.name
        for field in msgspec.structs.fields(effect)
        if field.name not in FIRST_FIELDS and getattr(effect, field.name) == field.default
    }
    return {name: value for name, value in said.items() if name not in unsaid}


def initial(history: History) -> RunState:
    """Return the state before the first event, with all large values at hand."""
    state = WorkflowGuest().initial(history.stream_id)
    for name, data in history.blobs.items():
        state.values.put(name, data)
    return state
