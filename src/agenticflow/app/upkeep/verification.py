"""Whether a store is sound: what the backend says of its own bytes, and whether everything derived follows from the events.

Reads only, page by page, and works beside a running owner: what looks wrong is read again before it is called wrong, because the owner
may have written between two reads.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Final

import msgspec

from agenticflow.core.decider import Fact
from agenticflow.core.events import EventPredicate
from agenticflow.core.values import BlobMissing, Values, reference_in
from agenticflow.errors import AgenticFlowError, CorruptStore
from agenticflow.orchestration.approvals.requests import approval_id, split_approval_id
from agenticflow.orchestration.facts import FACTS, WorkflowStarted
from agenticflow.orchestration.guest import KIND, WorkflowGuest, stream_of
from agenticflow.orchestration.inbox.listing import BY_PERSON, BY_WORKFLOW, EVERY, id_in, listed
from agenticflow.orchestration.quarantine import listing as letters
from agenticflow.orchestration.state import RunState
from agenticflow.runtime.actors import run_row
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = ["Verification", "verify_store"]

PAGE: Final = 2_000
INBOX_PAGE: Final = 1_000
ALWAYS: Final = 0
"""The moment for values that never expire."""
TRIES: Final = 5
"""How often a run that looks wrong is read again while its owner keeps writing to it."""


class Verification(msgspec.Struct):
    """What was looked at, and what is wrong with it, in words."""

    runs: int = 0
    events: int = 0
    blobs: int = 0
    problems: list[str] = []

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


class _Folded(msgspec.Struct):
    state: RunState
    version: int
    blobs: set[str]


async def verify_store(store: Store, progress: Callable[[int], None] | None = None) -> Verification:
    """Fold every run from its first event (not from snapshots) and compare with the index; look for every large value referred to.

    ``progress(runs so far)`` is called after each run. What cannot be read is a problem like any other; nothing is raised for it.
    """
    found = Verification(problems=[])
    verify: Callable[[], Awaitable[list[str]]] | None = getattr(store, "verify", None)
    if verify is not None:
        found.problems += await verify()
    streams: set[str] = set()
    blobs: set[str] = set()
    open_ids: set[str] = set()
    after = 0
    started = EventPredicate(event_types={WorkflowStarted.event_type})
    while page := await store.scan_page(after, PAGE, started):
        for stored in page:
            if stored.event_type == WorkflowStarted.event_type and stored.stream_id not in streams:
                streams.add(stored.stream_id)
                await _verify_run(store, stored.stream_id, found, blobs, open_ids)
                found.runs += 1
                if progress is not None:
                    progress(found.runs)
        after = page[-1].position
    async for stream_id in _runs_in_the_index_only(store, streams):
        # Archived, or begun since the events were read: else it has no events.
        if await store.read_page(stream_id, 0, 1):
            await _verify_run(store, stream_id, found, blobs, open_ids)
            found.runs += 1
            if progress is not None:
                progress(found.runs)
        elif await _row(store, stream_id) is not None:
            found.problems.append(f"the index has {stream_id!r}, which has no events")
    found.blobs = len(blobs)
    await _verify_inbox(store, open_ids, found)
    return found


async def _verify_run(store: Store, stream_id: str, found: Verification, blobs: set[str], open_ids: set[str]) -> None:
    problems: list[str] = []
    folded: _Folded | None = None
    for _ in range(TRIES):
        before = await _row(store, stream_id)
        try:
            folded = await _fold(store, stream_id)
        except AgenticFlowError as error:
            found.problems.append(f"run {stream_id!r} cannot be folded: {error}")
            return
        problems = [*_compare(stream_id, before, folded), *await _missing_in_inbox(store, folded.state)]
        after = await _row(store, stream_id)
        if not problems or (after == before and not await store.read_page(stream_id, folded.version, 1)):
            break
    found.problems += problems
    if folded is None:
        return
    found.events += folded.version
    for name in folded.blobs - blobs:
        try:
            if await store.get_blob(name) is None:
                found.problems.append(f"run {stream_id!r} refers to the value {name}, which is gone")
        except AgenticFlowError as error:
            found.problems.append(f"a value of run {stream_id!r}: {error}")
    blobs |= folded.blobs
    state = folded.state
    open_ids.update(
        approval_id(state.workflow_id, state.run_no, key, request.token)
        for key, asked in state.requests.items()
        for request in asked.values()
    )
    open_ids.update(letters.id_of(state, suspect) for suspect in state.suspects.values() if suspect.is_open)


async def _row(store: Store, stream_id: str) -> RunRow | None:
    execution_id, _, run_no = stream_id.removeprefix(f"{KIND}-").rpartition("/")
    return await store.get_run(execution_id, int(run_no)) if run_no.isdecimal() else None


def _compare(stream_id: str, row: RunRow | None, folded: _Folded) -> list[str]:
    if row is None:
        return [f"run {stream_id!r} is not in the index"]
    wanted = run_row(stream_id, WorkflowGuest(), folded.state, row.version)
    problems = [
        f"run {stream_id!r}: the index says {field} {getattr(row, field)!r}, its events say {getattr(wanted, field)!r}"
        for field in RunRow.__struct_fields__
        if getattr(row, field) != getattr(wanted, field)
    ]
    if row.version > folded.version:
        problems.append(f"run {stream_id!r}: the index knows version {row.version}, there are {folded.version} events")
    return problems


async def _missing_in_inbox(store: Store, state: RunState) -> list[str]:
    """Say which lists lack an open request of the run, or an open letter, or have it otherwise."""
    found: list[str] = []
    asked = (request for requests in state.requests.values() for request in requests.values())
    entries = [entry for request in asked for entry in listed(state, request)]
    entries += [
        entry for suspect in state.suspects.values() if suspect.is_open for entry in letters.listed(state, suspect)
    ]
    for entry in entries:
        there = await store.get_value(entry.namespace, entry.key, now=ALWAYS)
        if (None if there is None else there.value) != entry.value:
            has = "lacks" if there is None else "has otherwise"
            found.append(f"the inbox ({entry.namespace}) {has} {_name_in(entry.namespace, entry.key)!r}, which is open")
    return found


def _name_in(namespace: str, key: str) -> str:
    return id_in(EVERY if namespace == letters.LETTERS else namespace, key)


async def _verify_inbox(store: Store, open_ids: set[str], found: Verification) -> None:
    """Look for entries whose request, or letter, is not open, or not there at all."""
    for namespace in (EVERY, BY_PERSON, BY_WORKFLOW, letters.LETTERS):
        after: str | None = None
        while page := await store.list_values(namespace, now=ALWAYS, after=after, limit=INBOX_PAGE):
            for entry in page:
                name = _name_in(namespace, entry.key)
                # It may have come, or gone, since its run was looked at.
                if name not in open_ids and not await _is_open(store, name) and await _is_listed(store, entry):
                    found.problems.append(f"the inbox ({namespace}) has {name!r}, which is not open")
            after = page[-1].key


async def _is_open(store: Store, approval_id: str) -> bool:
    try:
        workflow_id, run_no, key, token = split_approval_id(approval_id)
        state = (await _fold(store, stream_of(workflow_id, run_no))).state
    except AgenticFlowError:
        return False
    suspect = state.suspects.get(key)
    is_asked = any(request.token == token for request in state.requests.get(key, {}).values())
    return is_asked or (suspect is not None and suspect.is_open and suspect.token == token)


async def _is_listed(store: Store, entry: KeyValue) -> bool:
    return await store.get_value(entry.namespace, entry.key, now=ALWAYS) is not None


async def _fold(store: Store, stream_id: str) -> _Folded:
    guest = WorkflowGuest()
    state = guest.initial(stream_id)
    state.values = Values()
    version = 0
    blobs: set[str] = set()
    while page := await store.read_page(stream_id, version, PAGE):
        for stored in page:
            fact = FACTS.decode(stored.event_type, stored.data, stored.schema_version)
            blobs.update(_references(fact))
            while True:
                try:
                    guest.evolve(state, fact, stored.version, stored.timestamp)
                    break
                except BlobMissing as missing:
                    data = await store.get_blob(missing.reference.hash)
                    if data is None:
                        raise CorruptStore(f"the value {missing.reference.hash} is gone") from None
                    state.values.put(missing.reference.hash, data)
            version = stored.version
    return _Folded(state, version, blobs)


def _references(fact: Fact) -> Iterator[str]:
    for field in fact.__struct_fields__:
        value = getattr(fact, field)
        if isinstance(value, msgspec.Raw):
            reference = reference_in(bytes(value))
            if reference is not None:
                yield reference.hash


async def _runs_in_the_index_only(store: Store, streams: set[str]) -> AsyncIterator[str]:
    after: str | None = None
    while rows := await store.list_runs(kind=KIND, after=after, limit=PAGE):
        for row in rows:
            if row.stream_id not in streams:
                yield row.stream_id
        after = rows[-1].stream_id
