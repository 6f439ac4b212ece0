"""Who waits for whom: by the strategy where nothing is said, checked for cycles, and without what follows anyway. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from agenticflow.agents.decomposition.decomposition import PlannedTask, Strategy
from agenticflow.orchestration.graph import find_cycle

__all__ = ["Waits", "cycle_problems", "follows_anyway", "levels_of", "ordered", "waits_for"]

Waits = dict[str, list[str]]
"""Of each task, in order, those that it waits for."""


def ordered(strategy: Strategy, tasks: Sequence[PlannedTask]) -> Waits:
    """Return who waits for whom. What the tasks say counts; where none says anything, the strategy does."""
    ids = [task.id for task in tasks]
    if strategy is Strategy.PARALLEL or any(task.dependencies for task in tasks):
        return {task.id: list(task.dependencies) for task in tasks}
    if strategy is Strategy.HIERARCHICAL and len(ids) > 2:
        between = ids[1:-1]
        return {ids[0]: [], **{one: [ids[0]] for one in between}, ids[-1]: between}
    return {one: ids[number - 1 : number] if number else [] for number, one in enumerate(ids)}


def cycle_problems(waits: Waits) -> list[str]:
    """Return, in words, the tasks that wait for each other, with the way round, and those that wait for them in vain."""
    cycle = find_cycle(waits)
    if not cycle:
        return []
    problems = [f"tasks wait for each other: {' -> '.join(cycle)}"]
    stuck = set(cycle)
    is_growing = True
    while is_growing:
        more = [one for one in waits if one not in stuck and any(other in stuck for other in waits[one])]
        problems += [f"task {one!r} can never start: it waits for what waits for itself" for one in more]
        stuck.update(more)
        is_growing = bool(more)
    return problems


def follows_anyway(waits: Waits) -> dict[str, set[str]]:
    """Return of each task the direct dependencies that follow from others of it (the transitive reduction is without them)."""
    above: dict[str, set[str]] = {}
    for level in levels_of(waits):
        for one in level:
            above[one] = {other for direct in waits[one] for other in (direct, *above[direct])}
    return {
        one: {direct for direct in waits[one] if any(direct in above[other] for other in waits[one] if other != direct)}
        for one in waits
    }


def levels_of(waits: Mapping[str, Collection[str]]) -> list[list[str]]:
    """Return the tasks in levels: what stands in one can start when those before are done. There are no cycles."""
    unmet = {one: len(others) for one, others in waits.items()}
    behind: dict[str, list[str]] = {one: [] for one in waits}
    for one, others in waits.items():
        for other in others:
            behind[other].append(one)
    levels: list[list[str]] = []
    level = [one for one, count in unmet.items() if not count]
    while level:
        levels.append(level)
        following: list[str] = []
        for done in level:
            for one in behind[done]:
                unmet[one] -= 1
                if not unmet[one]:
                    following.append(one)
        level = following
    return levels


def waits_for(waits: Mapping[str, Collection[str]], one: str, other: str) -> bool:
    """Return whether ``one`` waits for ``other``, directly or not; there may be cycles."""
    seen, stack = {one}, list(waits[one])
    while stack:
        at = stack.pop()
        if at == other:
            return True
        if at not in seen:
            seen.add(at)
            stack.extend(waits[at])
    return False
