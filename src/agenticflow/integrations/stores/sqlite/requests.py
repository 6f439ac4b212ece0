"""What the writer of a SQLite store is asked for, and what it has to know of that before it writes it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import apsw
import msgspec

from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError
from agenticflow.integrations.stores.sqlite.batch import Batch
from agenticflow.integrations.stores.sqlite.values import DeleteValue, PutValue
from agenticflow.storage.commits import Commit
from agenticflow.storage.retention import references_within
from agenticflow.storage.rows import Blob, Snapshot, ValueRow

__all__ = ["Job", "Request", "Waiting", "brings_blobs", "events_in", "references_of", "refused", "write_of"]


class Job(msgspec.Struct, frozen=True):
    """Work on the file between two transactions of commits."""

    work: Callable[[apsw.Connection], object]
    is_transaction: bool
    forgets_heads: bool


Request = Commit | tuple[Commit, ...] | PutValue | DeleteValue | Job
"""A tuple holds commits that follow from each other: each only behind the one before it."""
Waiting = tuple[Request, "asyncio.Future[Any]", int]
"""What to write, whom to tell, and its size in bytes."""


def events_in(request: Request) -> int:
    """Return how many events it writes, as far as that is bounded by a transaction."""
    if type(request) is Commit:  # nearly always
        return len(request.events)
    return sum(len(commit.events) for commit in request) if isinstance(request, tuple) else 1


def brings_blobs(request: Request) -> bool:
    """Whether it has large values to be kept."""
    if isinstance(request, tuple):
        return any(map(brings_blobs, request))
    return isinstance(request, Commit) and any(isinstance(row, Blob) for row in request.rows)


def write_of(row: ValueRow) -> PutValue | DeleteValue:
    """Return the write of a value that comes with a commit."""
    if row.value is None:
        return DeleteValue(row.namespace, row.key, ANY_VERSION)
    return PutValue(row.namespace, row.key, row.value, row.now, None, ANY_VERSION)


def references_of(commit: Commit) -> set[str]:
    """Return the names of all blobs that the commit brings or refers to."""
    found: set[str] = set()
    for event in commit.events:
        found |= references_within(event.data) | references_within(event.metadata)
    for row in commit.rows:
        if isinstance(row, Blob):
            found.add(row.hash)
        if isinstance(row, Blob | Snapshot):
            found |= references_within(row.data)
        elif isinstance(row, ValueRow) and row.value is not None:
            found |= references_within(row.value)
    return found


def refused(waiting: list[Waiting], error: AgenticFlowError) -> Batch:
    """Return the answers of requests that were not written, because of ``error``."""
    batch = Batch()
    batch.answers = [(answer, error) for _, answer, _ in waiting]
    return batch
