"""Checks of what holds other values: lists, and objects with their fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from agenticflow.core.json_schema.parts import MAX_PROBLEMS, Anything, Check, Part, Path, Run
from agenticflow.core.json_schema.patterns import Pattern
from agenticflow.core.json_schema.scalars import sameness
from agenticflow.core.json_schema.words import missing_words, short, unknown_words

__all__ = ["contains", "dependent", "fields", "items", "names", "needed", "required", "unique"]

Items = list[object] | tuple[object, ...]
Fields = Mapping[object, object]


def items(first: Sequence[Part], rest: Part) -> Check:
    """Take lists whose first items fit ``first``, each its own, and all others ``rest``."""
    told = len(first)
    is_rest_free = isinstance(rest, Anything)

    def check(value: Items, path: Path, run: Run) -> None:
        run.spend(len(value))
        for index, item in enumerate(value[:told] if is_rest_free else value):
            (first[index] if index < told else rest).check(item, (path, index), run)
            if len(run.found) >= MAX_PROBLEMS:
                return

    return check


def unique() -> Check:
    """Take lists that have nothing twice."""

    def check(value: Items, path: Path, run: Run) -> None:
        run.spend(len(value))
        seen = set()
        for index, item in enumerate(value):
            key = sameness(item)
            if key in seen:
                run.tell((path, index), "is there twice")
            seen.add(key)

    return check


def contains(part: Part, least: int, most: int | None) -> Check:
    """Take lists of which so many items fit ``part``."""

    def check(value: Items, path: Path, run: Run) -> None:
        run.spend(len(value))
        fitting = sum(not run.tried(part, item, path) for item in value)
        if fitting < least:
            run.tell(path, f"has {fitting:,} items that fit what it has to contain, below the least of {least:,}")
        if most is not None and fitting > most:
            run.tell(path, f"has {fitting:,} items that fit what it may contain, above the most of {most:,}")

    return check


def fields(
    known: Mapping[str, Part], patterns: Sequence[tuple[Pattern, Part]], rest: Part, *, is_closed: bool
) -> Check:
    """Take objects whose fields fit the parts of their names, of the patterns that match their names, else ``rest``."""
    is_plain = not patterns and isinstance(rest, Anything) and not is_closed

    def check(value: Fields, path: Path, run: Run) -> None:
        run.spend(len(value))
        for name, item in value.items():
            part = known.get(name)  # type: ignore[call-overload]  # a name that is no text is not known
            if part is not None:
                part.check(item, (path, name), run)
            if is_plain:
                continue
            is_told = part is not None
            for pattern, other in patterns:
                if run.finds(pattern, str(name)):
                    is_told = True
                    other.check(item, (path, name), run)
            if is_told:
                continue
            if is_closed:
                run.tell((path, name), unknown_words(name, known))
            else:
                rest.check(item, (path, name), run)

    return check


def required(wanted: Sequence[str], described: Mapping[str, object]) -> Check:
    """Take objects that have the ``wanted`` fields; ``described`` are their schemas, for the words."""

    names_wanted = tuple(wanted)

    def check(value: Fields, path: Path, run: Run) -> None:
        for name in names_wanted:
            if name not in value:
                run.tell((path, name), missing_words(described.get(name)))

    return check


def needed(by_name: Mapping[str, Sequence[str]]) -> Check:
    """Take objects that have, beside a field, those that it needs."""

    def check(value: Fields, path: Path, run: Run) -> None:
        for name, others in by_name.items():
            for other in others if name in value else ():
                if other not in value:
                    run.tell((path, other), f"is missing, and {short(name)} needs it")

    return check


def dependent(by_name: Mapping[str, Part]) -> Check:
    """Take objects that fit what is said of objects with a field."""

    def check(value: Fields, path: Path, run: Run) -> None:
        for name, part in by_name.items():
            if name in value:
                part.check(value, path, run)

    return check


def names(part: Part) -> Check:
    """Take objects whose names of fields fit ``part``."""

    def check(value: Fields, path: Path, run: Run) -> None:
        run.spend(len(value))
        for name in value:
            for words in run.tried(part, name, (path, name)):
                run.found.append(f"the name of {words}")

    return check
