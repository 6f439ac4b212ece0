"""How long what is over is kept: the policy as data, what applying it has freed, and what still refers to a large value.

Nothing here looks at a clock or a store. A policy touches closed runs and ``topic-…`` streams, nothing else: open runs, agents,
subscriptions and dead letters are not its business.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from agenticflow.errors import InvalidInput

__all__ = ["KEEP_ALL", "TOPIC_STREAMS", "Compacted", "Family", "RetentionPolicy", "family_of", "references_within"]

TOPIC_STREAMS: Final = "topic-"
_DAY_NS: Final = 86_400_000_000_000
_MAX_DAYS: Final = 100_000
_KEPT_CHARS: Final = 100
_CUT_CHARS: Final = 141
"""Of the id of a sub-workflow that would be too long: what is kept, ``~`` and a hash."""
# A reference is a msgpack extension of 28 bytes: 20 of hash, 8 of size (core.codec). Looked for anywhere in the bytes: a value that only
# looks like one keeps a blob too long, which is harmless; one that is missed would lose it.
_REFERENCE: Final = re.compile(rb"(?=\xc7\x1c\x07(.{20}).{8})", re.DOTALL)


class RetentionPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What ``compact`` may archive and delete. Everything left out stays as it is.

    Raises ``InvalidInput`` for numbers that make no sense.
    """

    archive_after_days: float | None = None
    """A run that ended longer ago is compressed and leaves the log of all events; its own stream reads as before."""
    delete_after_days: float | None = None
    """A chain of runs of which all ended longer ago is deleted, with its large values and its place in the index; a sub-workflow not
    before its parent is due."""
    keep_last: int = 0
    """The newest ended runs of each workflow name that are neither archived nor deleted, however old."""
    topic_events: int | None = None
    """The newest events that each ``topic-…`` stream keeps; older ones are deleted."""

    def __post_init__(self) -> None:
        for name in ("archive_after_days", "delete_after_days"):
            days: float | None = getattr(self, name)
            if days is not None and not 0 <= days <= _MAX_DAYS:
                raise InvalidInput(
                    f"{name}={days!r} makes no sense", hint=f"give 0 to {_MAX_DAYS:,} days, or leave it out"
                )
        for name in ("keep_last", "topic_events"):
            count: int | None = getattr(self, name)
            if count is not None and count < 0:
                raise InvalidInput(f"{name}={count!r} makes no sense", hint="give 0 or more")

    def archives_before(self, now: int) -> int | None:
        """Return the moment at or before which an ended run is archived; ``None`` for never. What is deleted is archived first."""
        found = [days for days in (self.archive_after_days, self.delete_after_days) if days is not None]
        return _before(min(found), now) if found else None

    def deletes_before(self, now: int) -> int | None:
        """Return the moment at or before which an ended chain is deleted; ``None`` for never."""
        return None if self.delete_after_days is None else _before(self.delete_after_days, now)


KEEP_ALL: Final = RetentionPolicy()
"""Archives and deletes nothing."""


class Compacted(msgspec.Struct):
    """What ``compact`` did."""

    archived_runs: int = 0
    archived_events: int = 0
    archived_bytes: int = 0
    """Size of the archived events before, and …"""
    archive_bytes: int = 0
    """… after compression."""
    deleted_runs: int = 0
    deleted_events: int = 0
    """Events of topic streams."""
    snapshots: int = 0
    blobs: int = 0
    blob_bytes: int = 0
    values: int = 0
    """Values that had expired."""
    freed_bytes: int = 0
    """By how much the file, and the folder of large values, is smaller now."""
    free_bytes: int = 0
    """Room inside the file that is used again before it grows."""
    longest_pause_seconds: float = 0.0
    """The longest time for which commits had to wait for one step."""


class Family(msgspec.Struct, frozen=True):
    """Executions that another one may be a part of."""

    names: tuple[str, ...]
    """Ids that they have exactly."""
    beginning: str
    """How the id of another one begins; empty when there is none."""


def family_of(execution_id: str) -> Family:
    """Return what ``execution_id`` may be a sub-workflow of: its id is that of its parent and the task's key, with ``~`` between.

    A long id is cut (``orchestration.guest.child_id``). An id that only looks like one is kept too long, which is harmless.
    """
    names = tuple(execution_id[:end] for end, character in enumerate(execution_id) if end and character == "~")
    is_cut = len(execution_id) == _CUT_CHARS and execution_id[_KEPT_CHARS] == "~"
    return Family(names, execution_id[:_KEPT_CHARS] if is_cut else "")


def references_within(data: bytes) -> set[str]:
    """Return the names of all blobs that ``data`` may refer to, also deep inside."""
    return {found.hex() for found in _REFERENCE.findall(data)} if b"\xc7\x1c\x07" in data else set()


def _before(days: float, now: int) -> int:
    return now - int(days * _DAY_NS)
