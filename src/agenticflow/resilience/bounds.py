"""What one call may need, as data: memory, processor time, time, company; and how people write it: ``"1GB"``, ``"30s"``. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["ResourceBounds", "parse_bytes", "parse_seconds"]

BYTES: Final[Mapping[str, int]] = {
    "b": 1,
    **{f"{letter}b": 1_000**power for power, letter in enumerate("kmgt", start=1)},
    **{f"{letter}ib": 1_024**power for power, letter in enumerate("kmgt", start=1)},
}
SECONDS: Final[Mapping[str, float]] = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3_600.0}
MAX_BYTES: Final = 1_024**5
MAX_SECONDS: Final = 1e9
MAX_CONCURRENT: Final = 100_000
_QUANTITY: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]+)\s*", re.ASCII)


class ResourceBounds(msgspec.Struct, frozen=True, kw_only=True):
    """What one call may need; ``None`` is no bound."""

    max_memory_bytes: int | None = None
    """Beyond what its process had before the call."""
    max_cpu_seconds: float | None = None
    timeout_seconds: float | None = None
    max_concurrent: int | None = None

    @classmethod
    def written(
        cls,
        *,
        max_memory: str | int | None = None,
        max_cpu_time: str | float | timedelta | None = None,
        timeout: str | float | timedelta | None = None,
        max_concurrent: int | None = None,
    ) -> ResourceBounds:
        """Return the bounds as people write them. Raises ``DefinitionError``, also when nothing is bounded."""
        if max_concurrent is not None and (
            isinstance(max_concurrent, bool)
            or not isinstance(max_concurrent, int)
            or not 1 <= max_concurrent <= MAX_CONCURRENT
        ):
            raise DefinitionError(
                f"max_concurrent is {max_concurrent!r}", hint=f"give a whole number from 1 to {MAX_CONCURRENT:,}"
            )
        bounds = cls(
            max_memory_bytes=None if max_memory is None else parse_bytes(max_memory, "max_memory"),
            max_cpu_seconds=None if max_cpu_time is None else parse_seconds(max_cpu_time, "max_cpu_time"),
            timeout_seconds=None if timeout is None else parse_seconds(timeout, "timeout"),
            max_concurrent=max_concurrent,
        )
        if bounds == cls():
            raise DefinitionError(
                "these bounds bound nothing", hint='give max_memory="1GB", max_cpu_time="30s", timeout="60s"'
            )
        return bounds

    @property
    def needs_process(self) -> bool:
        """Whether only a process of its own can be held to them."""
        return self.max_memory_bytes is not None or self.max_cpu_seconds is not None


def parse_bytes(given: str | int, name: str = "a size") -> int:
    """Return the bytes of ``"1GB"`` (1,000,000,000), ``"512MiB"`` (512 * 1024 * 1024), ``"1.5 kB"``, or of a number of bytes.

    Raises ``DefinitionError`` that names what is wrong: the number, the unit, or the range.
    """
    if isinstance(given, str):
        number, unit = _split(given, name, BYTES, '"1GB"', "a number of bytes")
        size = number * BYTES[unit]
    elif isinstance(given, int) and not isinstance(given, bool):
        size = float(given)
    else:
        raise DefinitionError(f"{name} is {given!r:.60}", hint='write it like "1GB", or as a number of bytes')
    if not 1 <= size <= MAX_BYTES:
        raise DefinitionError(f"{name} is {given!r:.60}", hint="give at least 1 byte and at most 1,024 TiB")
    return int(size)


def parse_seconds(given: str | float | timedelta, name: str = "a time") -> float:
    """Return the seconds of ``"30s"``, ``"500ms"``, ``"5m"`` or ``"5min"``, ``"2h"``, of a number of seconds or a ``timedelta``.

    Raises ``DefinitionError`` that names what is wrong: the number, the unit, or the range.
    """
    if isinstance(given, str):
        number, unit = _split(given, name, SECONDS, '"30s"', "a number of seconds")
        seconds = number * SECONDS[unit]
    elif isinstance(given, timedelta):
        seconds = given.total_seconds()
    elif isinstance(given, (int, float)) and not isinstance(given, bool):
        seconds = float(given)
    else:
        raise DefinitionError(f"{name} is {given!r:.60}", hint='write it like "30s", or as a number of seconds')
    if not 0 < seconds <= MAX_SECONDS or math.isnan(seconds):
        raise DefinitionError(f"{name} is {given!r:.60}", hint=f"give more than 0 and at most {MAX_SECONDS:,.0f} s")
    return seconds


def _split(text: str, name: str, units: Mapping[str, float], example: str, plain: str) -> tuple[float, str]:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        raise DefinitionError(
            f"{name} is {text!r:.60}, which is no number with a unit", hint=f"write it like {example}, or as {plain}"
        )
    unit = found[2].lower()
    if unit not in units:
        raise DefinitionError(
            f"{name} is {text!r:.60}, and there is no unit {found[2]!r:.20}",
            hint=f"there are {', '.join(units)}; write it like {example}",
        )
    return float(found[1]), unit
