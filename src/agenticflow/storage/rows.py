"""Rows that share the transaction of a commit, and the small ports that read them back.

Rows are derived from state and never the truth: ``store verify`` recomputes them. Writing goes through ``Commit.rows`` only, so that
an event and its row cannot disagree after a crash; reading goes through ``RunIndex``, ``Snapshots`` and ``Blobs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec

__all__ = ["Blob", "Blobs", "Row", "RunIndex", "RunRow", "Snapshot", "Snapshots", "ValueRow"]


class RunRow(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One execution's entry in the index: enough to list it, and to find what is open after a crash.

    Written when one of its fields changes, so ``version`` is the stream version at which the rest was last true.
    Times in nanoseconds since the epoch.
    """

    stream_id: str
    """Primary key: ``workflow-<id>/<run_no>``."""
    kind: str
    """Name of the decider that runs it."""
    execution_id: str
    """Names the chain of runs."""
    run_no: int
    name: str
    status: str
    is_open: bool
    """Whether a restart has to take it up again."""
    next_due: int | None = None
    """When its next timer is due."""
    fingerprint: str = ""
    """Hash of definition and input: two starts with the same id must agree on it."""
    started_at: int = 0
    ended_at: int | None = None
    version: int = 0


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Folded state of a stream at ``version``; the newest replaces older ones. May be lost at any time."""

    stream_id: str
    version: int
    data: bytes
    schema_version: int = 1


class Blob(msgspec.Struct, frozen=True):
    """A large value under its content hash. Stored once; storing it again changes nothing."""

    hash: str
    data: bytes


class ValueRow(msgspec.Struct, frozen=True):
    """A value by key (``storage.key_values``) that is written, or removed, with the events it follows from, whatever its version."""

    namespace: str
    key: str
    value: bytes | None
    """``None`` removes it."""
    now: int


Row = RunRow | Snapshot | Blob | ValueRow


class RunIndex(Protocol):
    """Finds executions without folding their streams."""

    async def get_run(self, execution_id: str, run_no: int | None = None, *, kind: str = "workflow") -> RunRow | None:
        """Return the row of that run, by default of the latest of its chain; ``None`` when there is none."""

    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        """Return up to ``limit`` rows that match, newest first (by first write); ``after`` is the ``stream_id`` of the last
        row of the page before."""


class Snapshots(Protocol):
    """Keeps folded states so that long streams load fast."""

    async def get_snapshot(self, stream_id: str) -> Snapshot | None:
        """Return the newest snapshot of the stream, ``None`` when there is none."""


class Blobs(Protocol):
    """Keeps large values by content hash."""

    async def get_blob(self, name: str) -> bytes | None:
        """Return the bytes whose content hash is ``name``; ``None`` when they are not here.

        Raises ``CorruptStore`` when the bytes found do not hash to their name.
        """
