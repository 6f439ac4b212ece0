"""Checks of single values: what they equal, how long texts are, how large numbers are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from fractions import Fraction
from math import isfinite
from operator import ge, gt, le, lt
from typing import Final

from agenticflow.core.json_schema.parts import Check, Path, Run
from agenticflow.core.json_schema.patterns import Pattern
from agenticflow.core.json_schema.words import closest, short

__all__ = ["BOUNDS", "bound", "const", "enum", "multiple_of", "pattern", "sameness", "size"]

BOUNDS: Final[dict[str, tuple[Callable[[float, float], bool], str]]] = {
    "minimum": (lt, "below the minimum"),
    "maximum": (gt, "above the maximum"),
    "exclusiveMinimum": (le, "not above"),
    "exclusiveMaximum": (ge, "not below"),
}


def sameness(value: object) -> Hashable:
    """Return what is equal where JSON sees no difference: 1 is 1.0, true is not 1, a tuple is a list. Costs one walk through ``value``."""
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, (int, float, str)) or value is None:
        return value
    if isinstance(value, (list, tuple)):
        return ("array", *map(sameness, value))
    if isinstance(value, Mapping):
        return ("object", frozenset((name, sameness(inner)) for name, inner in value.items()))
    return ("other", id(value))


def const(wanted: object) -> Check:
    """Take what is the same as ``wanted``."""
    key = sameness(wanted)

    def check(value: object, path: Path, run: Run) -> None:
        if sameness(value) != key:
            run.tell(path, f"is {short(value)}, not {short(wanted)}")

    return check


def enum(choices: Sequence[object]) -> Check:
    """Take what is the same as one of ``choices``."""
    keys = frozenset(map(sameness, choices))

    def check(value: object, path: Path, run: Run) -> None:
        if sameness(value) in keys:
            return
        close = closest(value, choices)
        words = f"is {short(value)}, not one of {', '.join(map(short, choices))}"
        run.tell(path, f"{words}; did you mean {close!r}?" if close else words)

    return check


def size(least: int | None, most: int | None, unit: str) -> Check:
    """Take what has so many characters, items or fields."""

    def check(value: Sequence[object], path: Path, run: Run) -> None:
        count = len(value)
        if least is not None and count < least:
            run.tell(path, f"has {count:,} {unit}, below the least of {least:,}")
        if most is not None and count > most:
            run.tell(path, f"has {count:,} {unit}, above the most of {most:,}")

    return check


def pattern(made: Pattern, written: str) -> Check:
    """Take texts in which the pattern is found."""

    def check(value: str, path: Path, run: Run) -> None:
        if not run.finds(made, value):
            run.tell(path, f"is {short(value)}, which does not match {short(written)}")

    return check


def bound(keyword: str, limit: float) -> Check:
    """Take numbers within ``limit``."""
    is_wrong, words = BOUNDS[keyword]

    def check(value: float, path: Path, run: Run) -> None:
        if is_wrong(value, limit):
            run.tell(path, f"is {short(value)}, {words} {short(limit)}")

    return check


def multiple_of(factor: float) -> Check:
    """Take numbers that are multiples of ``factor`` as they are written: 0.3 is one of 0.1."""
    step = _written(factor)

    def check(value: float, path: Path, run: Run) -> None:
        if (isinstance(value, float) and not isfinite(value)) or (_written(value) / step).denominator != 1:
            run.tell(path, f"is {short(value)}, not a multiple of {short(factor)}")

    return check


def _written(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))
