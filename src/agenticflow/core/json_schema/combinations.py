"""Checks by several schemas at once: all, any, one, none of them, and one in case of another."""

from __future__ import annotations

from collections.abc import Sequence

from agenticflow.core.json_schema.parts import EVERY_KIND, Check, Part, Path, Run, kind_of
from agenticflow.core.json_schema.words import short

__all__ = ["all_of", "any_of", "conditional", "none_of", "one_of"]


def all_of(parts: Sequence[Part]) -> Check:
    """Take what fits each of ``parts``."""

    def check(value: object, path: Path, run: Run) -> None:
        for part in parts:
            part.check(value, path, run)

    return check


def any_of(parts: Sequence[Part]) -> Check:
    """Take what fits one of ``parts`` at least."""

    def check(value: object, path: Path, run: Run) -> None:
        tried = []
        for part in parts:
            problems = run.tried(part, value, path)
            if not problems:
                return
            tried.append(problems)
        _tell_nearest(parts, tried, value, path, run)

    return check


def one_of(parts: Sequence[Part]) -> Check:
    """Take what fits just one of ``parts``."""

    def check(value: object, path: Path, run: Run) -> None:
        tried = [run.tried(part, value, path) for part in parts]
        fitting = tried.count([])
        if not fitting:
            _tell_nearest(parts, tried, value, path, run)
        elif fitting > 1:
            run.tell(path, f"is {short(value)}, which fits {fitting} forms, and only one is meant")

    return check


def none_of(part: Part) -> Check:
    """Take what does not fit ``part``."""

    def check(value: object, path: Path, run: Run) -> None:
        if not run.tried(part, value, path):
            run.tell(path, f"is {short(value)}, which it must not be")

    return check


def conditional(condition: Part, then: Part, otherwise: Part) -> Check:
    """Take what fits ``then`` where it fits ``condition``, else ``otherwise``."""

    def check(value: object, path: Path, run: Run) -> None:
        (otherwise if run.tried(condition, value, path) else then).check(value, path, run)

    return check


def _tell_nearest(parts: Sequence[Part], tried: Sequence[list[str]], value: object, path: Path, run: Run) -> None:
    """Of several forms none fits: tell what is wrong with the one that was meant, where that is plain, else a word of each."""
    kind = kind_of(value)
    of_kind = [
        problems for part, problems in zip(parts, tried, strict=True) if part.kinds is None or kind in part.kinds
    ]
    if not of_kind:
        wanted = {one for part in parts for one in part.kinds or ()}
        if "number" in wanted:
            wanted.discard("integer")
        run.tell(path, f"is {short(value)}, not {' or '.join(one for one in EVERY_KIND if one in wanted)}")
        return
    fewest = min(map(len, of_kind))
    nearest = [problems for problems in of_kind if len(problems) == fewest]
    if len(nearest) == 1:
        run.found += nearest[0]
    else:
        words = "; ".join(dict.fromkeys(problems[0] for problems in nearest))
        run.tell(path, f"fits none of {len(parts)} forms: {words}")
