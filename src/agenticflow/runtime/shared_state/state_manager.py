"""Shared state that several agents, tasks and processes modify at once, without losing an update.

Modifications of one key take turns within a manager; between managers and processes the version of the key is the fence: who computed on an
old value is refused by the store and computes again on the new one. Every value a key ever had is an event.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final, NamedTuple

import msgspec

from agenticflow.core import codec
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.ids import check_id
from agenticflow.core.values import reference_in, store_form
from agenticflow.errors import BoundExceeded, CommandRefused, ConcurrencyConflict, CorruptStore, InvalidInput
from agenticflow.runtime.shared_state.facts import STATE_FACTS, ModifyState, StateModified, check_key, stream_of_state
from agenticflow.runtime.shared_state.folds import PAGE_EVENTS, Folds
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.store import Store

__all__ = ["ModificationFunction", "StateChange", "StateManager", "VersionedState"]

MAX_CONFLICTS: Final = 1_000
"""Each is somebody else's success, so they end; who loses that often in a row is told."""
MAX_WAITING: Final = 10_000

ModificationFunction = Callable[[Any], Any | Awaitable[Any]]
"""Takes the current state (``None`` at first), returns the new one. May run again; must do nothing but compute."""


class VersionedState(NamedTuple):
    """A state and its version: ``state, version = await manager.get_state("analyst", "plan")``."""

    state: Any
    version: int
    """How often the key was modified; 0 for one that never was."""


class StateChange(msgspec.Struct, frozen=True):
    """One modification, as history tells it."""

    version: int
    state: Any
    at: int
    """When it was recorded, in nanoseconds since the epoch."""
    event_id: str
    """``<stream>@<version of the stream>``."""


class _Turns:
    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


class StateManager:
    """``StateManager(store)``, over the store that the orchestrator uses.

    One per process and store is enough; several are correct and only meet more conflicts. States are plain data, as results of
    handlers are; what comes back is a copy.
    """

    def __init__(self, store: Store, *, clock: Clock | None = None, max_conflicts: int = MAX_CONFLICTS) -> None:
        if not isinstance(store, Store):
            raise InvalidInput(
                f"a StateManager works on an open store, not on a {type(store).__name__}",
                hint='write StateManager(await open_store("sqlite:///state.db"))',
            )
        if max_conflicts < 1:
            raise InvalidInput(f"max_conflicts is {max_conflicts}", hint="give at least 1")
        self._store = store
        self._clock = clock
        self._max_conflicts = max_conflicts
        self._folds = Folds(store)
        self._turns: dict[tuple[str, str], _Turns] = {}
        self._modifying: set[asyncio.Task[Any]] = set()

    async def modify_state(
        self,
        agent_id: str,
        state_key: str,
        modification_fn: ModificationFunction,
        *,
        command_id: str | None = None,
    ) -> VersionedState:
        """Replace the state under ``state_key`` by what ``modification_fn(state)`` returns; return it with its version, once it is durable.

        The function may be async. It is given a copy, and runs again when somebody else modified the key meanwhile: it must do
        nothing but compute. What it raises comes out here and changes nothing.

        With a ``command_id`` the modification happens once, however often it is asked for, also after a crash: a handler that may
        run again gives its ``context.effect_key``. A repeated call answers with the state and version of the first.

        Raises:
            ConcurrencyConflict: others were faster ``max_conflicts`` times in a row.
            NotSerializable, BoundExceeded: the new state has no form on the wire, is too large, or is one key too many.
            CommandRefused: a modification function asks for a modification; it would wait for itself.
            InvalidInput: the ids or the function make no sense, or it changed its argument in place and returned ``None``.
            OutcomeUnknown: the disk failed in the middle; ask again with the same ``command_id``.
        """
        stream_id = stream_of_state(agent_id)
        check_key(state_key)
        if not callable(modification_fn):
            raise InvalidInput(
                f"the modification of {state_key!r} is a {type(modification_fn).__name__}, not a function",
                hint='write modify_state("analyst", "count", lambda count: (count or 0) + 1)',
            )
        if command_id is not None:
            check_id(command_id, "a command")
            command_id = f"{stream_id}/{state_key}:{command_id}"
        async with self._turn(stream_id, state_key) as task:
            fold = await self._folds.recent(stream_id)
            tries = self._max_conflicts
            while True:
                seen, stored = fold.state.get(state_key)
                encoded = await self._modified(task, state_key, await self._resolved(stored), modification_fn)
                value, blobs = store_form(encoded)
                command = ModifyState(
                    now=(self._clock or ambient.clock).now_ns(),
                    key=state_key,
                    seen=seen,
                    value=value,
                    blobs=blobs,
                )
                try:
                    committed = await self._folds.commit(fold, command, command_id, tries)
                except ConcurrencyConflict:
                    # The fold knows by now what moved. When it was not this key, there is nothing to compute again.
                    tries -= 1
                    if not tries or fold.state.get(state_key)[0] == seen:
                        raise
                    continue
                if committed.is_repeated:
                    return await self._at(stream_id, committed.version)
                return VersionedState(codec.decode(encoded), seen + 1)

    async def get_state(self, agent_id: str, state_key: str) -> VersionedState:
        """Return the state under ``state_key`` with everything that was committed before the call; ``None`` at version 0 when it never
        was modified."""
        check_key(state_key)
        fold = await self._folds.current(stream_of_state(agent_id))
        version, stored = fold.state.get(state_key)
        return VersionedState(codec.decode(await self._resolved(stored)), version)

    async def list_keys(self, agent_id: str) -> list[str]:
        """Return every key that was ever modified, sorted."""
        return sorted((await self._folds.current(stream_of_state(agent_id))).state.keys)

    async def history(self, agent_id: str, state_key: str, *, from_version: int = 1) -> AsyncIterator[StateChange]:
        """Yield the modifications of ``state_key`` from ``from_version`` on, oldest first. Reads the agent's stream from its start."""
        stream_id = stream_of_state(agent_id)
        check_key(state_key)
        if isinstance(from_version, bool) or not isinstance(from_version, int):
            raise InvalidInput(f"{from_version!r:.80} is no version of {state_key!r}", hint="give a whole number")
        after = 0
        while page := await self._store.read_page(stream_id, after, PAGE_EVENTS):
            for stored in page:
                fact = _fact_in(stored)
                if fact.key == state_key and fact.version >= from_version:
                    state = codec.decode(await self._resolved(bytes(fact.value)))
                    yield StateChange(fact.version, state, stored.timestamp, f"{stream_id}@{stored.version}")
            after = page[-1].version

    @asynccontextmanager
    async def _turn(self, stream_id: str, key: str) -> AsyncIterator[asyncio.Task[Any]]:
        """Wait until no other modification of the key is under way here. The lock is dropped when nobody wants it."""
        task = asyncio.current_task()
        assert task is not None  # a coroutine that awaits a lock runs in a task
        if task in self._modifying:
            raise CommandRefused(
                f"the modification of shared state asks for a modification of {key!r} in {stream_id!r}",
                hint="a modification only computes; modify the other key before or after it",
            )
        turns = self._turns.setdefault((stream_id, key), _Turns())
        if turns.waiting >= MAX_WAITING:
            raise BoundExceeded(
                f"{turns.waiting:,} modifications of {key!r} in {stream_id!r} wait already",
                hint="modify less often, or spread the state over several keys",
            )
        turns.waiting += 1
        try:
            async with turns.lock:
                yield task
        finally:
            turns.waiting -= 1
            if not turns.waiting:
                del self._turns[stream_id, key]

    async def _modified(
        self, task: asyncio.Task[Any], key: str, encoded: bytes, modification_fn: ModificationFunction
    ) -> bytes:
        """Return the new state, encoded."""
        state = codec.decode(encoded)
        self._modifying.add(task)
        try:
            answer = modification_fn(state)
            new: object = await answer if inspect.isawaitable(answer) else answer
        finally:
            self._modifying.discard(task)
        if new is None and isinstance(state, (dict, list)) and codec.encode(state) != encoded:
            raise InvalidInput(
                f"the modification of {key!r} changed the state in place and returned None",
                hint="return the new state, which may be the changed argument",
            )
        return codec.encode(new)

    async def _resolved(self, stored: bytes) -> bytes:
        reference = reference_in(stored)
        if reference is None:
            return stored
        data = await self._store.get_blob(reference.hash)
        if data is None:
            raise CorruptStore(f"the value {reference.hash} of shared state is gone", hint="restore the store")
        return data

    async def _at(self, stream_id: str, version: int) -> VersionedState:
        page = await self._store.read_page(stream_id, version - 1, 1)
        if not page:
            raise CorruptStore(f"event {version} of {stream_id!r} is gone", hint="restore the store")
        fact = _fact_in(page[0])
        return VersionedState(codec.decode(await self._resolved(bytes(fact.value))), fact.version)


def _fact_in(stored: StoredEvent) -> StateModified:
    fact = STATE_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
    assert isinstance(fact, StateModified)  # the only type the codec knows
    return fact
