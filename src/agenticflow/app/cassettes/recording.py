"""Recording a cassette from a store. Reads only, in pages, beside whoever owns the store; a run that is open is recorded up to now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Final

import msgspec

from agenticflow.app.cassettes.form import MAX_BLOBS, Cassette, CassetteEvent, demand_size
from agenticflow.app.cassettes.hiding import Hiding
from agenticflow.app.cassettes.spelling import pack, references
from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.engine import RunChild
from agenticflow.core.events import EventMetadata
from agenticflow.core.values import MAX_AT_HAND_BYTES, Values
from agenticflow.errors import BoundExceeded, CorruptStore, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.guest import KIND, WorkflowGuest
from agenticflow.orchestration.state import RunState
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.store import Store

__all__ = ["record_cassette"]

PAGE_EVENTS: Final = 1_000
MAX_LEFT_OUT: Final = 1_000


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
    hiding = Hiding()
    state, left_out = _fold(row.stream_id, found, blobs)
    events = tuple(_event(event, payload, hiding) for event, payload in zip(found, payloads, strict=True))
    shown = {name: _hidden(data, f"blobs.{name}", hiding) for name, data in blobs.items()}
    return Cassette(
        release=release,
        workflow_id=row.execution_id,
        run_no=row.run_no,
        name=str(hiding.hide(row.name, "name")),
        status=state.status.value,
        events=events,
        blobs=shown,
        left_out=tuple(left_out),
        redacted=tuple(hiding.places),
        redacted_count=hiding.count,
    )


def _event(event: StoredEvent, payload: object, hiding: Hiding) -> CassetteEvent:
    cause = ""
    if event.metadata:
        cause = msgspec.msgpack.decode(event.metadata, type=EventMetadata).causation_id or ""
    before = hiding.count
    hidden = hiding.hide(payload, f"events[{event.version}]")
    data = event.data if hiding.count == before else pack(hidden)
    return CassetteEvent(event.version, event.event_type, event.timestamp, cause, data, event.schema_version)


def _hidden(data: bytes, place: str, hiding: Hiding) -> bytes:
    before = hiding.count
    hidden = hiding.hide(codec.decode(data), place)
    return data if hiding.count == before else pack(hidden)


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
