"""Tasks that can never run: what a definition says there, no run will ever do.

``unreachable`` looks at a definition whose names and order are sound (``validation.validate`` sees to that) and names every task that no
run can start, with the reason. It claims nothing it cannot be sure of: what a condition over results comes to only the run knows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter

from agenticflow.errors import AgenticFlowError
from agenticflow.orchestration.conditions import parse_condition
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition

__all__ = ["unreachable"]


def unreachable(definition: WorkflowDefinition) -> list[str]:
    """Return, in words, every task that can never run; empty when each may."""
    search = _Search(definition.tasks)
    return [f"task {task_id!r} can never run: {why}" for task_id, why in search.reasons().items()]


class _Search:
    """Goes through the tasks in the order in which they can run, so that each finds what is known of those it waits for."""

    def __init__(self, tasks: Iterable[TaskDefinition]) -> None:
        self._tasks = {task.task_id: task for task in tasks}
        self._primaries = {task.fallback: task for task in self._tasks.values() if task.fallback is not None}
        self._ways = _ways(self._tasks.values())
        self._cancelled = {task_id for task in self._tasks.values() for task_id in task.cancels}
        self._has_rest = any(task.cancel_rest for task in self._tasks.values())
        self._never: dict[str, str] = {}
        self._optional: set[str] = set()
        """Tasks that may end without being completed and still count as met."""

    def reasons(self) -> dict[str, str]:
        """Return why each task that never runs does not, in the order of the definition."""
        waits = {
            task_id: [*task.dependencies, *([self._primaries[task_id].task_id] if task_id in self._primaries else [])]
            for task_id, task in self._tasks.items()
        }
        for task_id in TopologicalSorter(waits).static_order():
            task = self._tasks.get(task_id)
            if task is None:  # told elsewhere
                continue
            if self._may_be_skipped(task):
                self._optional.add(task_id)
            why = next(self._reasons_of(task), None)
            if why is not None:
                self._never[task_id] = why
        return {task_id: self._never[task_id] for task_id in self._tasks if task_id in self._never}

    def _reasons_of(self, task: TaskDefinition) -> Iterator[str]:
        if task.when is not None and _constant(task.when) is False:
            yield f"its condition {task.when!r} never holds"
        yield from self._choice_reasons(task)
        yield from self._fallback_reasons(task)
        yield from self._dependency_reasons(task)

    def _choice_reasons(self, task: TaskDefinition) -> Iterator[str]:
        for choice_id, way, hidden_by in self._ways.get(task.task_id, ()):
            if choice_id not in task.dependencies:
                continue
            if hidden_by is not None:
                yield f"choice {choice_id!r} comes to {hidden_by!r} first, and that way is always open"
            elif way is not None and _constant(way) is False:
                yield f"the condition {way!r} of choice {choice_id!r} never holds"

    def _fallback_reasons(self, task: TaskDefinition) -> Iterator[str]:
        primary = self._primaries.get(task.task_id)
        if primary is None:
            return
        if primary.task_id in self._never:
            yield f"it is the fallback of task {primary.task_id!r}, which never runs"
        elif primary.delay_seconds is not None:
            yield f"it is the fallback of the timer {primary.task_id!r}, which never fails"
        elif primary.signal is not None and primary.total_timeout_seconds is None:
            yield f"it is the fallback of task {primary.task_id!r}, which waits for a signal without a time limit"

    def _dependency_reasons(self, task: TaskDefinition) -> Iterator[str]:
        known = [self._tasks[one] for one in task.dependencies if one in self._tasks]
        if not known or len(known) != len(task.dependencies):
            return
        if task.join != "settled" and all(one.task_id in self._never for one in known):
            yield f"it depends on {_listed(known)}, which never {'run' if len(known) > 1 else 'runs'}"
        if task.join == "all":
            for one in known:
                if _ends_run(one) and one.task_id not in self._optional:
                    yield f"it depends on {one.task_id!r}, whose end ends the run"
                if task.task_id in one.cancels and one.task_id not in self._optional:
                    yield f"it depends on {one.task_id!r}, which cancels it"
        elif task.join != "settled" and len(known) > 1:
            needs = 1 if task.join == "any" else task.join
            most = self._most_completed(known)
            if most < needs:
                yield f"it waits for {needs} of its dependencies, and at most {most} of them can be completed in one run"

    def _most_completed(self, tasks: Iterable[TaskDefinition]) -> int:
        """Return how many of ``tasks`` can be completed in one run: ways out of one choice exclude each other."""
        count, taken = 0, set[str]()
        for task in tasks:
            if task.task_id in self._never or _ends_run(task):
                continue
            choice = self._exclusive_choice(task)
            if choice is None:
                count += 1
            elif choice not in taken:
                taken.add(choice)
                count += 1
        return count

    def _exclusive_choice(self, task: TaskDefinition) -> str | None:
        for choice_id, _, _ in self._ways.get(task.task_id, ()):
            if not self._tasks[choice_id].choose_many:
                return choice_id
        return None

    def _may_be_skipped(self, task: TaskDefinition) -> bool:
        inner = [one for one in task.dependencies if one in self._tasks]
        return (
            task.when is not None
            or task.on_failure == "skip"
            or task.task_id in self._ways
            or task.task_id in self._primaries
            or task.task_id in self._cancelled
            or self._has_rest
            or (bool(inner) and all(one in self._optional for one in inner))
        )


def _ways(tasks: Iterable[TaskDefinition]) -> dict[str, list[tuple[str, str | None, str | None]]]:
    """Return the ways that lead to each task: the choice, its condition, and what an exclusive choice comes to first, always."""
    found: dict[str, list[tuple[str, str | None, str | None]]] = {}
    for task in tasks:
        always: str | None = None
        for choice in task.choices:
            found.setdefault(choice.then, []).append((task.task_id, choice.when, always))
            is_open = choice.when is not None and _constant(choice.when) is True
            if is_open and always is None and not task.choose_many:
                always = choice.then
    return found


def _constant(text: str) -> bool | None:
    """Return what a condition without references comes to; ``None`` when only the run knows."""
    try:
        condition = parse_condition(text)
        return None if condition.references else condition.holds(dict[str, object]().__getitem__)
    except AgenticFlowError:  # told elsewhere, with what is wrong with it
        return None


def _ends_run(task: TaskDefinition) -> bool:
    return task.ends_run or task.continue_with is not None


def _listed(tasks: Iterable[TaskDefinition]) -> str:
    return " and ".join(repr(task.task_id) for task in tasks)
