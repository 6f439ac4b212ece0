"""Named places at every durability boundary, where a test can stop the world.

In production ``reach`` is one look at a global that is ``None``. ``agenticflow.testing`` puts a function there that kills the process,
or raises, at a chosen arrival; ``POINTS`` lists every name that runs pass, so that a search can be complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

__all__ = ["FILE_POINTS", "POINTS", "REACTION_POINTS", "UPKEEP_POINTS", "reach", "watch"]

POINTS: Final = (
    "store.before_commit",
    "store.after_commit",
    "store.before_ack",
    "host.decided",
    "host.committed",
    "host.dispatched",
    "host.snapshot",
    "host.loaded",
    "host.recovering",
    "host.recovered",
    "worker.before_intent",
    "worker.after_intent",
    "worker.before_handler",
    "worker.after_handler",
    "worker.before_report",
    "worker.after_report",
    "gates.before_release",
    "children.before_launch",
    "children.before_report",
    "timers.due",
    "logbook.before_commit",
    "logbook.after_commit",
)

UPKEEP_POINTS: Final = (
    "backup.copied",
    "backup.named",
    "restore.prepared",
    "restore.kept",
    "restore.cleared",
    "restore.named",
)
"""Those that no run passes: where a store's file is copied and put back."""

FILE_POINTS: Final = ("blob.written", "blob.named", "blob.synced", "blob.forgotten", "blob.copied")
"""Those of a store that keeps large values in files, where a file and its row are not both on disk."""

REACTION_POINTS: Final = ("reactions.before_handler", "reactions.before_commit", "reactions.after_commit")
"""Those that an agent passes that reacts to an event."""

_watcher: Callable[[str], None] | None = None


def reach(point: str) -> None:
    """The program has arrived at ``point``."""
    if _watcher is not None:
        _watcher(point)


def watch(watcher: Callable[[str], None] | None) -> None:
    """Have ``watcher`` called at every point from now on; ``None`` ends it. For tests."""
    global _watcher  # noqa: PLW0603 - one process, one watcher
    _watcher = watcher
