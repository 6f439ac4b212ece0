"""A model's answer as a decomposition: found, mended, its names looked up. Pure, and the same for the same answer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.answers.fields import Sketch, id_from, sketch_of
from agenticflow.agents.decomposition.answers.finding import find_plan
from agenticflow.agents.decomposition.decomposition import Bounds, Decomposition, PlannedTask, Strategy
from agenticflow.agents.decomposition.notes import Notes

__all__ = ["RESERVED_IDS", "Reading", "read_answer"]

RESERVED_IDS: Final = frozenset({"context", "index", "input", "input_data", "item", "iteration", "previous", "query"})
"""What references mean otherwise, so no task is called like that."""
_STRATEGIES: Final[Mapping[str, Strategy]] = {
    **{one.value: one for one in Strategy},
    **dict.fromkeys(("serial", "sequence", "linear", "series", "chain"), Strategy.SEQUENTIAL),
    **dict.fromkeys(("concurrent", "simultaneous", "independent", "fan_out"), Strategy.PARALLEL),
    **dict.fromkeys(("hierarchy", "tree", "nested", "fan_out_fan_in", "map_reduce"), Strategy.HIERARCHICAL),
    **dict.fromkeys(("pipe", "stages", "stream"), Strategy.PIPELINE),
}
_SIGNS: Final = re.compile(r"[^a-z0-9]+")
_REFERENCE: Final = re.compile(r"\$?\$\{([^{}.\[\]]*)([.\[][^{}]*\}|\})")
MAX_REASON_CHARS: Final = 1_000


class Reading(msgspec.Struct, frozen=True):
    """What came of an answer: a decomposition and what was mended of it, or problems, in words that help whoever answers again."""

    decomposition: Decomposition | None = None
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def read_answer(
    answer: object, *, bounds: Bounds | None = None, done: Collection[str] = (), context_keys: Collection[str] = ()
) -> Reading:
    """Read a decomposition from a model's words, or from data.

    ``done`` are tasks of an earlier plan that have their results: a task may depend on them, and none may be called like one, nor like
    one of ``context_keys``, the data that came with the request.
    """
    limits = bounds or Bounds()
    found = find_plan(answer, limits.max_answer_chars)
    notes = Notes()
    notes.repairs, notes.problems = found.repairs, found.problems
    if found.value is None:
        return _rejected(notes)
    sketches = _sketches(found.value, limits, notes)
    if not sketches:
        return _rejected(notes)
    tasks = _named(sketches, done, context_keys, notes)
    strategy = _strategy(found.value.get("strategy"), tasks, notes)
    if notes.problems:
        return _rejected(notes)
    reason = found.value.get("reason")
    words = " ".join(reason.split())[:MAX_REASON_CHARS] if isinstance(reason, str) else ""
    return Reading(Decomposition(strategy, tuple(tasks), words), tuple(notes.repairs))


def _rejected(notes: Notes) -> Reading:
    return Reading(None, tuple(notes.repairs), tuple(notes.problems))


def _sketches(value: Mapping[str, object], bounds: Bounds, notes: Notes) -> list[Sketch]:
    name = next(key for key in ("tasks", "steps", "subtasks") if key in value)
    given = value[name]
    if name != "tasks":
        notes.repairs.append(f"its tasks are called {name!r}")
    if isinstance(given, Mapping):
        notes.repairs.append("its tasks are a mapping: the keys were taken as their ids")
        given = [{"id": key, **one} if isinstance(one, Mapping) else one for key, one in given.items()]
    if not isinstance(given, list):
        notes.problems.append(f"tasks is {given!r:.60}, not a list")
        return []
    if not given:
        notes.problems.append("it has no tasks")
    if len(given) > bounds.max_tasks:
        notes.problems.append(f"it has {len(given):,} tasks, the limit is {bounds.max_tasks:,}")
        return []
    sketches: list[Sketch] = []
    for number, one in enumerate(given, 1):
        if isinstance(one, Mapping):
            sketches.append(sketch_of(one, number, bounds, notes))
        else:
            notes.problems.append(f"task {number} is {one!r:.60}, not a mapping")
    return sketches


# --- names ----------------------------------------------------------------------------------------------------------------


def _named(
    sketches: Sequence[Sketch], done: Collection[str], context_keys: Collection[str], notes: Notes
) -> list[PlannedTask]:
    kept = _without_repeated(sketches, notes)
    ids = _ids(kept, done, context_keys, notes)
    lookup = _Lookup(kept, ids, done, context_keys)
    tasks: list[PlannedTask] = []
    for sketch, task_id in zip(kept, ids, strict=True):
        tasks.append(
            PlannedTask(
                sketch.type,
                sketch.capabilities,
                lookup.renamed(sketch.parameters, sketch, notes),
                lookup.dependencies_of(sketch, task_id, notes),
                sketch.retry_policy,
                task_id,
                sketch.agent,
            )
        )
    return tasks


def _without_repeated(sketches: Sequence[Sketch], notes: Notes) -> list[Sketch]:
    """Leave out what is there twice, down to its id; the same work under two ids is meant."""
    kept: list[Sketch] = []
    for sketch in sketches:
        same = next((one for one in kept if one.given_id == sketch.given_id and one.content == sketch.content), None)
        if same is None:
            kept.append(sketch)
        else:
            notes.repairs.append(f"{sketch.where} is there twice, and was left out once")
    for name, count in Counter(one.given_id for one in kept if one.given_id).items():
        if count > 1:
            notes.problems.append(f"{count} different tasks are called {name!r}")
    return kept


def _ids(sketches: Sequence[Sketch], done: Collection[str], context_keys: Collection[str], notes: Notes) -> list[str]:
    """Return an id for each: its own, or made of its type; all differ."""
    taken: set[str] = {*done, *context_keys, *RESERVED_IDS}
    for sketch in sketches:
        # Not mended: a reference to it could mean either.
        if sketch.given_id in taken:
            what = "a task that is done" if sketch.given_id in done else "something that references name already"
            notes.problems.append(f"{sketch.where} is called like {what}; give it another id")
    ids: list[str] = []
    for sketch in sketches:
        wanted = id_from(sketch.given_id or sketch.type or "task")
        made, number = wanted, 1
        while made in taken:
            number += 1
            made = f"{wanted}_{number}"
        if sketch.given_id and made != sketch.given_id:
            notes.repairs.append(f"{sketch.where} is called {made!r}: its own name cannot be an id, or is taken")
        taken.add(made)
        ids.append(made)
    return ids


class _Lookup:
    """Who is meant by a name: a task by its id, as it was written or nearly so, else all tasks of that type."""

    def __init__(
        self, sketches: Sequence[Sketch], ids: Sequence[str], done: Collection[str], context_keys: Collection[str]
    ) -> None:
        self._exact: dict[str, str] = {name: name for name in done}
        self._exact |= {sketch.given_id: made for sketch, made in zip(sketches, ids, strict=True) if sketch.given_id}
        for made in ids:
            self._exact.setdefault(made, made)
        self._known = {*ids, *done, *RESERVED_IDS, *context_keys}
        self._nearly: dict[str, list[str]] = {}
        for name, made in self._exact.items():
            same = self._nearly.setdefault(_folded(name), [])
            if made not in same:
                same.append(made)
        self._by_type: dict[str, list[str]] = {}
        for sketch, made in zip(sketches, ids, strict=True):
            self._by_type.setdefault(_folded(sketch.type), []).append(made)

    def dependencies_of(self, sketch: Sketch, task_id: str, notes: Notes) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for name in sketch.dependencies:
            meant = self._meant(name)
            if meant is None:
                close = get_close_matches(name, self._exact, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                notes.problems.append(f"{sketch.where} depends on {name!r:.60}, which does not exist{hint}")
                continue
            if meant != [name] and self._exact.get(name) is None:
                notes.repairs.append(f"{sketch.where} depends on {name!r}: {' and '.join(map(repr, meant))} was taken")
            if task_id in meant:
                meant = [one for one in meant if one != task_id]
                notes.repairs.append(f"{sketch.where} depends on itself: that was left out")
            found.update(dict.fromkeys(meant))
        return tuple(found)

    def renamed(self, value: Any, sketch: Sketch, notes: Notes) -> Any:
        """Return ``value`` with references to tasks by their ids, where they are named otherwise."""
        if isinstance(value, Mapping):
            return {key: self.renamed(one, sketch, notes) for key, one in value.items()}
        if isinstance(value, list):
            return [self.renamed(one, sketch, notes) for one in value]
        if not isinstance(value, str) or "${" not in value:
            return value
        return _REFERENCE.sub(lambda match: self._reference(match, sketch, notes), value)

    def _reference(self, match: re.Match[str], sketch: Sketch, notes: Notes) -> str:
        name, rest = match[1].strip(), match[2]
        whole = match[0].strip("${}").strip()
        if whole in self._exact and whole not in self._known:
            name, rest = whole, "}"  # an id with a point in it
        meant = None if name in self._known else self._meant(name)
        if meant is None or len(meant) != 1 or match[0].startswith("$$"):
            return match[0]
        notes.repairs.append(f"{sketch.where} refers to {name!r}: {meant[0]!r} was taken")
        return f"${{{meant[0]}{rest}"

    def _meant(self, name: str) -> list[str] | None:
        if name in self._exact:
            return [self._exact[name]]
        nearly = self._nearly.get(_folded(name), [])
        if len(nearly) == 1:
            return nearly
        of_type = self._by_type.get(_folded(name))
        return list(of_type) if of_type else None


def _folded(name: str) -> str:
    return _SIGNS.sub("_", name.casefold()).strip("_")


# --- the strategy ---------------------------------------------------------------------------------------------------------


def _strategy(given: object, tasks: Sequence[PlannedTask], notes: Notes) -> Strategy:
    known = _STRATEGIES.get(_folded(given)) if isinstance(given, str) else None
    if known is not None:
        if known.value != given:
            notes.repairs.append(f"the strategy {given!r:.60} was taken as {known.value!r}")
        return known
    said = "no strategy is given" if given is None else f"the strategy {given!r:.60} is unknown"
    if any(task.dependencies for task in tasks):
        notes.repairs.append(f"{said}: the dependencies say the order")
        return Strategy.PARALLEL
    notes.repairs.append(f"{said}: one task after the other, as listed, is never wrong")
    return Strategy.SEQUENTIAL
