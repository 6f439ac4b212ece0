"""Journals from the side of the attempts that write them: each has a desk, which opens the journal when it is first used.

What may be written is decided by ``resilience.journal``; here commands are handed to the host, and handed again while the store is away
for a moment. Nothing is kept in memory beyond the attempt.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import msgspec

from agenticflow.core.clocks import Clock
from agenticflow.core.context import effect_key
from agenticflow.core.decider import Command
from agenticflow.core.journal import CallEffect, Entry, Fingerprint
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import (
    CommandRefused,
    ConcurrencyConflict,
    DefinitionError,
    OutcomeUnknown,
    StoreUnavailable,
    TaskCancelled,
    TemporaryError,
)
from agenticflow.resilience.journal import (
    EndCall,
    ForgetCalls,
    JournalState,
    OpenJournal,
    StartCall,
    WithdrawCall,
    journal_of,
)
from agenticflow.runtime.actors import Answer
from agenticflow.runtime.host import Host

__all__ = ["Desk", "Journals"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
RETRY_SECONDS: Final = 0.2
STORE_SECONDS: Final = 60.0
"""How long a store that is away keeps a call waiting."""
THREAD_SECONDS: Final = 2 * STORE_SECONDS
"""How long a thread waits for the event loop."""
SETTLE_SECONDS: Final = 5.0
"""How long stopping waits for what is being recorded."""


class Journals:
    """The journals of one store."""

    def __init__(self, host: Host, clock: Clock) -> None:
        self._host = host
        self._clock = clock
        self.loop = asyncio.get_running_loop()
        self.writing: set[asyncio.Task[Answer]] = set()
        """What is being recorded."""
        self._desks: dict[str, int] = {}
        """How many desks each journal in memory has."""

    def desk(self, *, workflow_id: str, run_no: int, task_key: str, generation: int, token: int, attempt: int) -> Desk:
        """Return the desk of one attempt. Nothing is read or written yet."""
        parent = (f"workflow-{workflow_id}/{run_no}", task_key, token)
        journal = journal_of(workflow_id, effect_key(workflow_id, task_key, generation), parent)
        opening = OpenJournal(now=0, parent=parent, run_no=run_no, attempt=attempt)
        return Desk(self, journal.stream_id, opening)

    async def settle(self) -> None:
        """Return when what is being recorded is, or the store has not come back for a while."""
        if self.writing:
            await asyncio.wait(set(self.writing), timeout=SETTLE_SECONDS)

    def came(self, stream_id: str) -> None:
        """A desk is used for the first time."""
        self._desks[stream_id] = self._desks.get(stream_id, 0) + 1

    def left(self, stream_id: str) -> None:
        """A desk is closed: forget what the journal says when it was the last."""
        left = self._desks.pop(stream_id) - 1
        if left:
            self._desks[stream_id] = left
        elif (actor := self._host.actors.get(stream_id)) is not None and actor.is_idle:
            del self._host.actors[stream_id]

    async def state(self, stream_id: str) -> JournalState:
        """Return what the journal says. Raises ``StoreUnavailable``."""
        waited = 0.0
        while True:
            try:
                state: JournalState = await self._host.read(stream_id)
            except TemporaryError as error:
                waited = await self._wait(stream_id, error, waited)
            else:
                return state

    async def value(self, stream_id: str, data: bytes) -> bytes:
        """Return the encoded value behind ``data``, fetched when it is large."""
        while True:
            state = await self.state(stream_id)
            try:
                return state.values.resolve(data)
            except BlobMissing as missing:
                await self._host.fetch(stream_id, missing)

    async def submit(self, stream_id: str, command: Command) -> Answer:
        """Have ``command`` recorded; asked again while the store is away, which no command minds."""
        waited = 0.0
        while True:
            try:
                return await self._host.submit(stream_id, msgspec.structs.replace(command, now=self._clock.now_ns()))
            except (ConcurrencyConflict, OutcomeUnknown, TemporaryError) as error:
                waited = await self._wait(stream_id, error, waited)

    async def _wait(
        self, stream_id: str, error: ConcurrencyConflict | OutcomeUnknown | TemporaryError, waited: float
    ) -> float:
        if self._host.is_closing or waited >= STORE_SECONDS:
            raise error
        log.warning("cannot reach the journal %s, trying again: %s", stream_id, error)
        await asyncio.sleep(RETRY_SECONDS)
        return waited + RETRY_SECONDS


class Desk:
    """Where one attempt writes its journal (``core.journal.JournalDesk``)."""

    def __init__(self, journals: Journals, stream_id: str, opening: OpenJournal) -> None:
        self._journals = journals
        self._stream_id = stream_id
        self._command = opening
        self._task_key = opening.parent[1]
        self._opening: asyncio.Task[int] | None = None
        self._writing: set[asyncio.Task[Answer]] = set()
        self._is_closed = False
        self.is_superseded = False

    async def find(self, key: str) -> Entry | None:
        await self._opened()
        entry = (await self._journals.state(self._stream_id)).entries.get(key)
        if entry is None or entry.value is None:
            return entry
        value = await self._journals.value(self._stream_id, entry.value)
        return msgspec.structs.replace(entry, value=value)

    async def start(self, key: str, fingerprint: Fingerprint) -> None:
        opening = await self._opened()
        await self._write(StartCall(now=0, opening=opening, key=key, fingerprint=fingerprint))

    async def end(
        self,
        key: str,
        fingerprint: Fingerprint,
        effect: CallEffect,
        *,
        value: bytes | None = None,
        error: ErrorInfo | None = None,
        is_given: bool = False,
    ) -> None:
        opening = await self._opened()
        stored, blobs = (None, ()) if value is None else store_form(value)
        await self._write(
            EndCall(
                now=0,
                blobs=blobs,
                opening=opening,
                key=key,
                fingerprint=fingerprint,
                effect=effect,
                value=stored,
                error=error,
                is_given=is_given,
            )
        )

    async def withdraw(self, key: str) -> None:
        opening = await self._opened()
        await self._write(WithdrawCall(now=0, opening=opening, key=key))

    async def forget(self, key: str) -> None:
        opening = await self._opened()
        await self._write(ForgetCalls(now=0, opening=opening, key=key))

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        loop = self._journals.loop
        try:
            if _running_loop() is loop:
                raise DefinitionError(
                    f"the handler of {self._task_key!r} runs on the event loop and would wait for itself",
                    hint="write await context.journal.call(…)",
                )
            future = asyncio.run_coroutine_threadsafe(work, loop)
        except (DefinitionError, RuntimeError) as error:
            work.close()
            if isinstance(error, DefinitionError):
                raise
            raise TaskCancelled(f"the engine that performed {self._task_key!r} has stopped") from error
        try:
            return future.result(THREAD_SECONDS)
        except concurrent.futures.TimeoutError as error:
            future.cancel()
            raise StoreUnavailable(
                f"the journal of {self._task_key!r} was out of reach for {THREAD_SECONDS:g} s"
            ) from error
        except concurrent.futures.CancelledError as error:
            raise TaskCancelled(f"the attempt of {self._task_key!r} is over") from error

    def close(self) -> None:
        self._is_closed = True
        if self._opening is None:
            return
        self._opening.cancel()
        # What is being recorded is finished, and only then is the journal forgotten here.
        if self._writing:
            for task in self._writing:
                task.add_done_callback(self._written)
        else:
            self._journals.left(self._stream_id)

    def _written(self, task: asyncio.Task[Answer]) -> None:
        self._writing.discard(task)
        if not self._writing:
            self._journals.left(self._stream_id)

    async def _opened(self) -> int:
        """Return the version at which the journal was opened in the name of this attempt."""
        if self._is_closed:
            raise TaskCancelled(f"the attempt of {self._task_key!r} is over: its journal takes nothing more")
        if self._opening is None:
            self._journals.came(self._stream_id)
            self._opening = self._journals.loop.create_task(self._open())
        elif self._opening.done() and not self.is_superseded and self._opening.exception() is not None:
            self._opening = self._journals.loop.create_task(self._open())  # the store may be back
        # Not the caller's: several calls may wait for it, and one of them may be cancelled.
        return await asyncio.shield(self._opening)

    async def _open(self) -> int:
        try:
            return (await self._journals.submit(self._stream_id, self._command)).version
        except CommandRefused as refused:
            raise self._superseded() from refused

    def _superseded(self) -> TaskCancelled:
        self.is_superseded = True
        return TaskCancelled(
            f"another attempt has opened the journal of {self._task_key!r}: this one was superseded",
            hint="end: nothing of it counts any more",
        )

    async def _write(self, command: Command) -> None:
        """Have ``command`` recorded, also when whoever asks is cancelled meanwhile: what was done and paid for is kept."""
        journals = self._journals
        task = journals.loop.create_task(journals.submit(self._stream_id, command))
        for writing in (self._writing, journals.writing):
            writing.add(task)
            task.add_done_callback(writing.discard)
        try:
            await asyncio.shield(task)
        except CommandRefused as refused:
            if (await journals.state(self._stream_id)).opening == await self._opened():
                raise
            raise self._superseded() from refused


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
