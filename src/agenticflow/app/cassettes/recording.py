"""Recording a cassette from a store. Reads only, in pages, beside whoever owns the store; a run that is open is recorded up to now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from agenticflow.app.cassettes.form import MAX_BLOBS, Cassette, CassetteEvent, demand_size
from agenticflow.app.cassettes.hiding import Hiding
from agenticflow.app.cassettes.spelling import pack, references
from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.engine import RunChild
from agenticflow.core.events import EventMetadata
from agenticflow.core.redaction import HIDDEN, redact_text
from agenticflow.core.values import MAX_AT_HAND_BYTES, Values
from agenticflow.errors import BoundExceeded, CorruptStore, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.guest import KIND, WorkflowGuest
from agenticflow.orchestration.state import RunState
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.store import Store

__all__ = ["record_cassette"]

PAGE_EVENTS: Final = 1_000
MAX_LEFT_OUT: Final = 1_000
_HASHES: Final = ("fingerprint", "given")


async def record_cassette(store: Store, workflow_id: str, run_no: int | None = None, *, release: str) -> Cassette:
    """Return everything of run ``run_no`` (by default the latest) that takes to replay it, secrets hidden.

    Raises ``WorkflowNotFoundError``, ``InvalidInput`` for what is no run of a workflow, ``BoundExceeded`` above what a cassette holds,
    ``CorruptStore`` when something of it cannot be read.
    """
    row = await store.get_run(workflow_id, run_no)
    if row is None:
        raise WorkflowNotFoundError(
            f"there is no run {run_no} of {workflow_id!r} in this store"
            if run_no is not None
            else f"there is no workflow {workflow_id!r} in this store",
            hint="`agenticflow runs list` shows what there is",
        )
    if row.kind != KIND:
        raise InvalidInput(
            f"{workflow_id!r} is a {row.kind}, not a workflow", hint="`agenticflow runs list` shows them"
        )
    found: list[StoredEvent] = []
    size = 0
    while page := await store.read_page(row.stream_id, found[-1].version if found else 0, PAGE_EVENTS):
        size += sum(len(event.data) for event in page)
        demand_size(size)
        found.extend(page)
    payloads = [codec.decode(event.data) for event in found]
    blobs = await _blobs(store, payloads, size)
    state, left_out = _fold(row.stream_id, found, blobs)
    hiding = Hiding()
    shown = _hidden_blobs(blobs, payloads, hiding)
    events = tuple(_event(event, payload, hiding) for event, payload in zip(found, payloads, strict=True))
    return Cassette(
        release=release,
        workflow_id=redact_text(row.execution_id),
        run_no=row.run_no,
        name=redact_text(row.name),
        status=state.status.value,
        events=_without_hashes(events) if hiding.count else events,
        blobs=shown,
        left_out=tuple(map(redact_text, left_out)),
        redacted=tuple(hiding.places),
        redacted_count=hiding.count,
    )


def _event(event: StoredEvent, payload: object, hiding: Hiding) -> CassetteEvent:
    cause = ""
    if event.metadata:
        cause = msgspec.msgpack.decode(event.metadata, type=EventMetadata).causation_id or ""
        name, at, token = cause.rpartition("@")
        cause = f"{redact_text(name)}{at}{token}"
    place, before = f"events[{event.version}]", hiding.changes
    hidden: object = payload
    if isinstance(payload, dict):
        parts: dict[object, object] = {}
        for key, value in payload.items():
            hiding.keeps_references = key == "definition"
            parts[key] = hiding.hide(value, f"{place}.{key}", str(key))
        hiding.keeps_references = False
        hidden = parts
    data = event.data if hiding.changes == before else pack(hidden)
    return CassetteEvent(event.version, event.event_type, event.timestamp, cause, data, event.schema_version)


def _hidden_blobs(blobs: dict[str, bytes], payloads: Sequence[object], hiding: Hiding) -> dict[str, bytes]:
    """Return the large values without secrets, those that had some under the hash of what is left."""
    started = payloads[0] if payloads else None
    definition = started.get("definition") if isinstance(started, dict) else None
    shown: dict[str, bytes] = {}
    done: set[str] = set()

    def hide(name: str) -> None:
        if name in done:
            return
        done.add(name)
        data = blobs[name]
        for reference in references(codec.decode(data)):
            hide(reference.hash)
        hiding.keeps_references = isinstance(definition, codec.BlobRef) and definition.hash == name
        hidden = hiding.hide_encoded(data, f"blobs[{len(done)}]")
        hiding.keeps_references = False
        if hidden is not data:
            hiding.renamed[name] = codec.BlobRef(codec.content_hash(hidden), len(hidden))
            name = hiding.renamed[name].hash
        shown[name] = hidden

    for name in blobs:
        hide(name)
    return shown


def _without_hashes(events: Iterable[CassetteEvent]) -> tuple[CassetteEvent, ...]:
    """Leave out what a hidden value can be found by, by trying: hashes of the input, and of answers."""
    cleaned: list[CassetteEvent] = []
    for event in events:
        payload = codec.decode(event.data)
        if isinstance(payload, dict) and any(payload.get(name) for name in _HASHES):
            hidden = {name: HIDDEN if name in _HASHES and value else value for name, value in payload.items()}
            event = msgspec.structs.replace(event, data=pack(hidden))
        cleaned.append(event)
    return tuple(cleaned)


async def _blobs(store: Store, payloads: Iterable[object], size: int) -> dict[str, bytes]:
    """Return every large value that the payloads, or large values among them, refer to."""
    blobs: dict[str, bytes] = {}
    wanted = deque(reference for payload in payloads for reference in references(payload))
    while wanted:
        reference = wanted.popleft()
        if reference.hash in blobs:
            continue
        size += reference.size
        demand_size(size)
        if len(blobs) >= MAX_BLOBS:
            raise BoundExceeded(f"the run has more than {MAX_BLOBS:,} large values", hint="export a smaller run")
        data = await store.get_blob(reference.hash)
        if data is None:
            raise CorruptStore(
                f"the value {reference.hash} ({reference.size:,} bytes) is gone", hint="run `agenticflow store verify`"
            )
        blobs[reference.hash] = data
        wanted.extend(references(codec.decode(data)))
    return blobs


def _fold(stream_id: str, found: Iterable[StoredEvent], blobs: dict[str, bytes]) -> tuple[RunState, list[str]]:
    """Return how the run stands, and which runs of sub-workflows it waited for, which are not recorded with it."""
    guest = WorkflowGuest()
    state = guest.initial(stream_id)
    state.values = Values(MAX_AT_HAND_BYTES)
    for name, data in blobs.items():
        state.values.put(name, data)
    left_out: dict[str, None] = {}
    for event in found:
        fact: Fact = guest.codec.decode(event.event_type, event.data, event.schema_version)
        guest.evolve(state, fact, event.version, event.timestamp)
        for effect in guest.effects(state, fact, event.version):
            if isinstance(effect, RunChild) and len(left_out) < MAX_LEFT_OUT:
                left_out[f"sub-workflow {effect.execution_id!r} of task {effect.task_key!r}"] = None
    return state, list(left_out)
