"""What this process takes of its machine: memory and processor time, read from the system when somebody looks.

Linux tells all of it in ``/proc``; elsewhere what the machine has is unknown (``None``), and memory is the most the process ever had.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Final

import msgspec

from agenticflow.core.clocks import Clock, ambient

if sys.platform != "win32":
    import resource

__all__ = ["CpuFigures", "CpuMonitor", "MemoryFigures", "MemoryMonitor"]

NANOSECONDS: Final = 1_000_000_000
_KILOBYTES: Final = re.compile(r"^(\w+):\s+(\d+) kB$", re.MULTILINE)


class MemoryFigures(msgspec.Struct, frozen=True):
    """Memory, in bytes."""

    used_bytes: int
    """Of this process."""
    available_bytes: int | None
    """What the machine could still give."""
    total_bytes: int | None

    @property
    def machine_share(self) -> float | None:
        """How much of the machine's memory is in use by everybody, from 0 to 1."""
        if self.total_bytes is None or self.available_bytes is None:
            return None
        return 1 - self.available_bytes / self.total_bytes


class CpuFigures(msgspec.Struct, frozen=True):
    """Processor time."""

    used_seconds: float
    """By this process since its start."""
    share: float | None
    """Cores this process kept busy since the last look: 1 is one core; ``None`` at the first look."""
    cores: int
    load: float | None
    """Work that ran or wanted to, on the whole machine, over the last minute."""

    @property
    def machine_share(self) -> float | None:
        """The load by cores: above 1 there is more to do than the machine can."""
        return None if self.load is None else self.load / self.cores


class MemoryMonitor:
    """Looks at memory. ``proc`` is where the system tells about itself."""

    def __init__(self, proc: Path | str = "/proc") -> None:
        self._proc = Path(proc)

    def look(self) -> MemoryFigures:
        """Return how it stands now."""
        own, machine = self._read("self/status"), self._read("meminfo")
        used = own.get("VmRSS")
        return MemoryFigures(
            used_bytes=_most_ever() if used is None else used,
            available_bytes=machine.get("MemAvailable"),
            total_bytes=machine.get("MemTotal"),
        )

    def _read(self, name: str) -> dict[str, int]:
        try:
            text = (self._proc / name).read_text(encoding="ascii", errors="replace")
        except OSError:
            return {}
        return {key: int(size) * 1_024 for key, size in _KILOBYTES.findall(text)}


class CpuMonitor:
    """Looks at processor time; remembers the last look."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock
        self._last: tuple[int, float] | None = None

    def look(self) -> CpuFigures:
        """Return how it stands now."""
        times = os.times()
        used = times.user + times.system
        now = (self._clock or ambient.clock).now_ns()
        share: float | None = None
        if self._last is not None and now > self._last[0]:
            share = (used - self._last[1]) / ((now - self._last[0]) / NANOSECONDS)
        if self._last is None or share is not None:
            self._last = now, used
        return CpuFigures(used_seconds=used, share=share, cores=os.cpu_count() or 1, load=_load())


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):
        return None


def _most_ever() -> int:
    if sys.platform == "win32":
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1_024
