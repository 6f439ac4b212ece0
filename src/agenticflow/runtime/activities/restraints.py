"""What holds a process of a handler to the bounds of its function: the kernel. Used in the child, around one call.

Memory: the soft limit on data (``RLIMIT_DATA``: everything private and writable, whatever maps it) is set to what the process has before
the call plus the bound, so that an allocation beyond it fails. Processor time: a profiling timer interrupts the call when it has used what
it may, however many threads used it; a call that does not let itself be interrupted, because it is deep in C or catches everything, is
killed by the kernel a second later (``RLIMIT_CPU``). Only soft limits are changed, and they are put back.
"""

from __future__ import annotations

import math
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from agenticflow.errors import ResourceLimitExceeded
from agenticflow.resilience.bounds import ResourceBounds

if sys.platform != "win32":
    import resource

__all__ = ["bounds_in_force", "bounds_of", "can_enforce", "enter_child", "is_child", "restrained", "set_bounds"]

_BOUNDS: Final = "__resource_bounds__"
_STATUS: Final = Path("/proc/self/status")
_DATA: Final = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)
REPEAT_SECONDS: Final = 0.05
"""How often a call is interrupted again that went on."""
KILL_AFTER_SECONDS: Final = 1


class _CpuTimeUsed(BaseException):
    """Interrupts a call; no ``except Exception`` of the function keeps it."""


class _Child:
    is_one = False
    is_counting = False
    """Whether the call that runs is held to processor time."""
    bounds: ResourceBounds | None = None
    """Of the call that runs."""


def enter_child() -> None:
    """This process was made to perform calls: what is bounded runs right here."""
    _Child.is_one = True


def is_child() -> bool:
    """Whether this process was made to perform calls."""
    return _Child.is_one


def bounds_in_force() -> ResourceBounds | None:
    """Return the bounds of the call that this process performs."""
    return _Child.bounds


def set_bounds(function: object, bounds: ResourceBounds) -> None:
    """Let ``function`` carry ``bounds``."""
    setattr(function, _BOUNDS, bounds)


def bounds_of(function: object) -> ResourceBounds | None:
    """Return the bounds that ``function`` carries, or what it is decorated with does."""
    bounds = getattr(function, _BOUNDS, None)
    return bounds if isinstance(bounds, ResourceBounds) else None


def can_enforce() -> bool:
    """Whether this machine can hold a process to memory and processor time: Linux can."""
    return sys.platform == "linux" and _STATUS.exists()


@contextmanager
def restrained(bounds: ResourceBounds | None, name: str) -> Iterator[None]:
    """Hold this process to ``bounds`` meanwhile. Raises ``ResourceLimitExceeded`` when one of them is passed."""
    _Child.bounds = bounds
    try:
        with _kept(bounds or ResourceBounds(), name):
            yield
    finally:
        _Child.bounds = None


@contextmanager
def _kept(bounds: ResourceBounds, name: str) -> Iterator[None]:
    try:
        with _memory(bounds.max_memory_bytes), _processor(bounds.max_cpu_seconds):
            yield
    except MemoryError as error:
        if bounds.max_memory_bytes is None:
            raise
        raise ResourceLimitExceeded(
            f"{name!r} needed more than its bound of {bounds.max_memory_bytes:,} bytes of memory",
            hint="give it less to do at once, or raise max_memory",
        ) from error
    except _CpuTimeUsed as error:
        raise ResourceLimitExceeded(
            f"{name!r} used more than its bound of {bounds.max_cpu_seconds:g} s of processor time",
            hint="give it less to do at once, or raise max_cpu_time",
        ) from error


@contextmanager
def _memory(max_bytes: int | None) -> Iterator[None]:
    if max_bytes is None:
        yield
        return
    found = _DATA.search(_STATUS.read_text())
    assert found is not None, "Linux tells VmData of every process"
    with _soft_limit(resource.RLIMIT_DATA, int(found[1]) * 1_024 + max_bytes):
        yield


@contextmanager
def _processor(max_seconds: float | None) -> Iterator[None]:
    if max_seconds is None:
        yield
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    kill_at = math.ceil(used.ru_utime + used.ru_stime + max_seconds) + KILL_AFTER_SECONDS
    # Never put back: a signal that comes a moment late would end the process by default, and is ignored by ours.
    signal.signal(signal.SIGPROF, _interrupt)
    with _soft_limit(resource.RLIMIT_CPU, kill_at):
        _Child.is_counting = True
        signal.setitimer(signal.ITIMER_PROF, max_seconds, REPEAT_SECONDS)
        try:
            yield
        finally:
            try:
                _Child.is_counting = False
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    if _Child.is_counting:
        raise _CpuTimeUsed


@contextmanager
def _soft_limit(kind: int, limit: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(kind)
    known: list[Any] = [value for value in (limit, soft, hard) if value != resource.RLIM_INFINITY]
    resource.setrlimit(kind, (min(known), hard))
    try:
        yield
    finally:
        resource.setrlimit(kind, (soft, hard))
