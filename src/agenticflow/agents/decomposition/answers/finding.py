"""The one decomposition in a model's words: as JSON, in a fence, between words, with the slips that models make. Pure.

An answer that breaks off is never completed: a plan without its last tasks looks sound and is not. Nor is one of several chosen: words of a
request that the model repeats may hold another.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from agenticflow.agents.model.outputs import candidates

__all__ = ["Found", "find_plan", "plans_in", "tasks_of"]

WRAPPINGS: Final = ("decomposition", "plan", "workflow", "result", "answer", "value")
"""Fields in which models put the whole."""
_TASKS: Final = ("tasks", "steps", "subtasks")
_FENCE: Final = re.compile(r"^\s*```[\w-]*[ \t]*\r?\n(.*?)\r?\n?```\s*$", re.DOTALL)
_TEXT: Final = r'"(?:[^"\\]|\\.)*"'
_SLIPS: Final = re.compile(
    _TEXT + r"|(?P<comma>,)(?=\s*[}\]])|(?P<comment>//[^\n]*)|(?P<word>\b(?:True|False|None)\b)", re.DOTALL
)
_WORDS: Final = {"True": "true", "False": "false", "None": "null"}
_BEGINS: Final = re.compile(r'\{\s*"|\[\s*\{')
_TOKENS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|"|[{}\[\]]', re.DOTALL)


class Found:
    """What was found: ``value``, a mapping that holds tasks, unless there are ``problems``."""

    __slots__ = ("problems", "repairs", "value")

    def __init__(self) -> None:
        self.value: Mapping[str, object] | None = None
        self.repairs: list[str] = []
        self.problems: list[str] = []


def find_plan(answer: object, max_chars: int) -> Found:
    """Return the mapping with tasks in ``answer``: words, or data that somebody has read already."""
    found = Found()
    if isinstance(answer, str):
        _in_words(answer, max_chars, found)
        return found
    plan = _unwrapped(answer, found.repairs)
    if plan is None:
        found.problems.append(f"it holds no tasks: it is a {_kind(answer)}")
    found.value = plan
    return found


def plans_in(told: object) -> list[Mapping[str, object]]:
    """Return the plans that stand in a text, or the one that data is."""
    if isinstance(told, str):
        return [plan for plan, _ in _plans(told)]
    plan = _unwrapped(told, [])
    return [] if plan is None else [plan]


def tasks_of(plan: Mapping[str, object]) -> object:
    """Return what a plan has under the first of the names that models give its tasks."""
    return next(plan[name] for name in _TASKS if name in plan)


def _in_words(text: str, max_chars: int, found: Found) -> None:
    if len(text) > max_chars:
        found.problems.append(f"it is longer than {max_chars:,} characters")
        return
    if not text.strip():
        found.problems.append("it is empty")
        return
    fence = _FENCE.match(text)
    inner = fence[1] if fence else text
    if _breaks_off(inner):
        found.problems.append("its JSON breaks off in the middle: what is missing cannot be known")
        return
    plans = _plans(inner)
    if not plans:
        mended = _SLIPS.sub(_mend, inner)
        plans = _plans(mended) if mended != inner else []
        if plans:
            found.repairs.append("slips in its JSON were mended: a comma too many, a comment, or a word of Python")
            inner = mended
    if not plans:
        found.problems.append(
            "there is JSON in it, but no tasks" if any(candidates(inner)) else "there is no JSON in it"
        )
        return
    if len(plans) > 1:
        found.problems.append(f"it holds {len(plans)} different plans, and does not say which one is meant")
        return
    value, notes = plans[0]
    if fence or inner.strip()[:1] not in "{[" or inner.strip()[-1:] not in "}]":
        found.repairs.append("the JSON was taken from a fence" if fence else "the JSON was taken from between words")
    found.repairs += notes
    found.value = value


def _plans(text: str) -> list[tuple[Mapping[str, object], list[str]]]:
    """Return the different plans in ``text``, each with what was mended."""
    plans: list[tuple[Mapping[str, object], list[str]]] = []
    for value in candidates(text):
        notes: list[str] = []
        plan = _unwrapped(value, notes)
        if plan is not None and all(plan != other for other, _ in plans):
            plans.append((plan, notes))
    return plans


def _unwrapped(value: object, notes: list[str]) -> Mapping[str, object] | None:
    """Return the mapping that holds tasks: ``value`` itself, or what it is wrapped in."""
    if isinstance(value, list):
        if not value or not all(isinstance(one, Mapping) and _is_task(one) for one in value):
            return None
        notes.append("a bare list was taken as its tasks")
        return {"tasks": value}
    if not isinstance(value, Mapping):
        return None
    if any(name in value for name in _TASKS):
        return value
    for name in WRAPPINGS:
        inner = value.get(name)
        if isinstance(inner, Mapping) and any(key in inner for key in _TASKS):
            notes.append(f"it was taken out of {name!r}")
            return inner
    return None


def _is_task(value: Mapping[str, object]) -> bool:
    return any(name in value for name in ("type", "task_type", "capabilities"))


def _mend(match: re.Match[str]) -> str:
    if match["comma"] or match["comment"]:
        return ""
    return _WORDS[match["word"]] if match["word"] else match[0]


def _breaks_off(text: str) -> bool:
    """Return whether JSON begins in ``text`` and does not end."""
    at = 0
    while (begin := _BEGINS.search(text, at)) is not None:
        depth = 0
        for token in _from(text, begin.start()):
            if token[0][0] == '"':
                if len(token[0]) == 1:
                    return True  # a text that does not end
                continue
            depth += 1 if token[0] in "{[" else -1
            if depth <= 0:
                at = token.end()
                break
        else:
            return True
    return False


def _from(text: str, at: int) -> Iterator[re.Match[str]]:
    return _TOKENS.finditer(text, at)


def _kind(value: object) -> str:
    return {"dict": "mapping", "NoneType": "null"}.get(type(value).__name__, type(value).__name__)
