"""The place a kit runs at: what a backend has to give, what it may declare, and the few words all cases share.

A backend's test is a subclass with ``open_store`` and nothing else. What it cannot do it *declares* here; a case that needs the
ability is then skipped with that reason, never by name.
"""

from __future__ import annotations

import asyncio
import unittest
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import ClassVar, Generic, TypeVar

from agenticflow.core import codec
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION, MAX_BLOB_BYTES
from agenticflow.errors import AgenticFlowError
from agenticflow.storage.commits import Commit, Committed, NewEvent, StoredEvent
from agenticflow.storage.rows import Row, RunRow
from agenticflow.storage.store import Store

__all__ = ["Caught", "Place", "collect", "commit", "everything", "fact", "refused", "run_row", "take", "versions"]

E = TypeVar("E", bound=AgenticFlowError)
T = TypeVar("T")


class Place(ABC):
    """Where the cases run. Each case has a place of its own, empty at first."""

    survives_reopen: ClassVar[bool] = True
    """Whether what was committed is there again when the store is closed and opened."""
    is_exclusive: ClassVar[bool] = True
    """Whether an open place cannot be opened a second time. Stores that many processes share say ``False``."""
    can_be_damaged: ClassVar[bool] = False
    """Whether ``damage`` can spoil the closed store, so that opening it has to notice."""
    max_blob_bytes: ClassVar[int] = MAX_BLOB_BYTES
    patience_seconds: ClassVar[float] = 60.0
    """No case waits longer than this."""

    @abstractmethod
    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        """Open the store of this place: empty the first time, with its content when it is opened again after a ``close``."""

    async def damage(self) -> object:
        """Spoil the closed store so that it cannot be used, and return what may be compared to see that it stays untouched."""
        raise NotImplementedError

    async def evidence(self) -> object:
        """Return what ``damage`` returned, as it stands now."""
        raise NotImplementedError

    @asynccontextmanager
    async def store(self, schemas: SchemaRegistry | None = None) -> AsyncIterator[Store]:
        """Open the store for the length of a case, within the time limit."""
        async with asyncio.timeout(self.patience_seconds):
            store = await self.open_store(schemas)
            try:
                yield store
            finally:
                await store.close()

    async def reopened(self, store: Store, schemas: SchemaRegistry | None = None) -> Store:
        """Close ``store`` and open it again. Skips the case where nothing survives that."""
        if not self.survives_reopen:
            raise unittest.SkipTest("this backend does not survive being closed, and declares it")
        await store.close()
        return await self.open_store(schemas)


class Caught(Generic[E]):
    """The error that ``refused`` waited for; ``error`` is there after the block."""

    def __init__(self) -> None:
        self.found: E | None = None

    @property
    def error(self) -> E:
        assert self.found is not None
        return self.found


@contextmanager
def refused(kind: type[E]) -> Iterator[Caught[E]]:
    """Demand that the block ends with an error of ``kind``."""
    caught: Caught[E] = Caught()
    try:
        yield caught
    except kind as error:
        caught.found = error
        return
    raise AssertionError(f"nothing was refused, {kind.__name__} was promised")


def fact(event_type: str = "happened", payload: object = None, timestamp: int = 1, **fields: object) -> NewEvent:
    """Return an encoded event with ``payload`` (a mapping) and ``fields`` as its metadata."""
    metadata = codec.encode(fields) if fields else b""
    return NewEvent(event_type, codec.encode({} if payload is None else payload), timestamp, metadata)


async def commit(
    store: Store,
    stream_id: str,
    *events: NewEvent,
    expected: int = ANY_VERSION,
    command_id: str | None = None,
    rows: Sequence[Row] = (),
    can_wait: bool = False,
) -> Committed:
    """Commit in one line."""
    return await store.commit(
        Commit(
            stream_id=stream_id,
            expected=expected,
            events=events,
            command_id=command_id,
            rows=rows,
            can_wait=can_wait,
        )
    )


async def versions(store: Store, stream_id: str) -> list[int]:
    """Return the versions of the stream, as read."""
    return [event.version for event in await store.read_page(stream_id, 0, 100_000)]


async def everything(store: Store) -> list[StoredEvent]:
    """Return all events of the store, in order of position."""
    found: list[StoredEvent] = []
    while page := await store.scan_page(found[-1].position if found else 0, 1_000):
        found.extend(page)
    return found


async def collect(events: AsyncIterator[T]) -> list[T]:
    """Return all that ``events`` yields."""
    return [event async for event in events]


async def take(events: AsyncIterator[T], count: int) -> list[T]:
    """Return the next ``count`` that ``events`` yields."""
    return [await anext(events) for _ in range(count)]


def run_row(
    execution_id: str, run_no: int = 1, *, kind: str = "workflow", status: str = "RUNNING", is_open: bool = True
) -> RunRow:
    """Return an index row with the fields that the cases look at."""
    return RunRow(
        stream_id=f"{kind}-{execution_id}/{run_no}",
        kind=kind,
        execution_id=execution_id,
        run_no=run_no,
        name="report",
        status=status,
        is_open=is_open,
    )
