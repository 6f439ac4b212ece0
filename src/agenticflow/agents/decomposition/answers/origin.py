"""Whose plan an answer holds: the model's own, or one that stands in what it was told and that it only repeats. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from agenticflow.agents.decomposition.answers.finding import find_plan, plans_in, tasks_of

__all__ = ["foreign_to"]


def foreign_to(answer: object, mark: str, told: object, max_chars: int) -> str:
    """Return, in words, why ``answer`` is not one to the request with this ``mark``; empty when it may be.

    ``told`` is all that came from elsewhere: the request, what came with it, results and errors. A plan that stands there counts only when
    the model says by the mark that it is its answer; so does none that bears another mark.
    """
    words = answer if isinstance(answer, str) else msgspec.json.encode(answer).decode()
    if mark in words:
        return ""
    value = find_plan(answer, max_chars).value
    if value is None:
        return ""  # why it is none is told by whoever reads it
    given = value.get("answer_to", answer.get("answer_to") if isinstance(answer, Mapping) else None)
    if given is not None:
        return f"it answers something else: its answer_to is {given!r:.60}; repeat answer_to as it is in the document"
    tasks = tasks_of(value)
    if any(tasks == tasks_of(plan) for plan in _plans_within(told)):
        return "it only repeats a plan that stands in the request; when that is what to do, repeat answer_to as well"
    return ""


def _plans_within(told: object) -> Iterator[Mapping[str, object]]:
    """Yield the plans in all texts and data of ``told``."""
    left = [told]
    while left:
        one = left.pop()
        if isinstance(one, str):
            yield from plans_in(one)
        elif isinstance(one, Mapping):
            yield from plans_in(one)
            left += one.values()
        elif isinstance(one, Sequence) and not isinstance(one, (bytes, bytearray)):
            yield from plans_in(one)
            left += one
