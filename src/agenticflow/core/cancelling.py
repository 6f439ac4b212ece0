"""Why work is told to stop: one vocabulary for handlers and tools."""

from __future__ import annotations

import enum
from collections.abc import Callable

__all__ = ["CancelReason", "Told"]


class CancelReason(enum.StrEnum):
    """Why a handler, or a tool, is told to stop."""

    CANCELLED = "cancelled"
    """Somebody cancelled its task, or the call; the run goes on."""
    UNNEEDED = "unneeded"
    """The run ends, or goes on, without what would come of it: another task, or the function of the run, decided that."""
    ABORTED = "aborted"
    """Somebody aborted the run, or the run that it is a part of ends."""
    TIMEOUT = "timeout"
    """A time limit passed: of the attempt, the task or the run."""
    STALLED = "stalled"
    """It reported no progress for too long."""
    LIMIT = "limit"
    """The history of the run is as long as it may be."""
    DRAIN = "drain"
    """The engine stops. Work that may run again does so after the next start."""


Told = Callable[[], CancelReason | None]
"""Says why whoever waits for a call was told to stop; ``None`` while nobody has told it."""
