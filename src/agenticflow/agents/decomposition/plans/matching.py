"""Who does which task: by capabilities, the best first, and so that work is shared out. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final

import msgspec

from agenticflow.agents.capabilities import CapabilityMatcher, CapabilityRegistry
from agenticflow.agents.decomposition.decomposition import PlannedTask
from agenticflow.agents.decomposition.notes import Notes
from agenticflow.agents.decomposition.plans.doers import ANY_TASK, Doer
from agenticflow.errors import AgentNotFoundError, NoHealthyAgentError

__all__ = ["Assigned", "assign"]

_LISTED: Final = 20


class Assigned(msgspec.Struct, frozen=True):
    """A task with whoever does it, and the type of the handler that does."""

    task: PlannedTask
    doer: Doer
    handler_type: str


class _Choosing:
    """Who takes the next task: one that has been given some already has that much in its queue."""

    def __init__(self, doers: Sequence[Doer], vocabulary: CapabilityRegistry | None) -> None:
        self._vocabulary = vocabulary or CapabilityRegistry()
        self.doers = {doer.agent_id: doer for doer in doers}
        self.known = sorted({name for doer in doers for name in self._vocabulary.expand(doer.capabilities)})
        self._given: Counter[str] = Counter()

    def matcher(self, among: Iterable[Doer]) -> CapabilityMatcher:
        replace = msgspec.structs.replace
        return CapabilityMatcher(
            [
                replace(one.candidate, queued=one.candidate.queued + self._given[one.agent_id])
                if self._given[one.agent_id]
                else one.candidate
                for one in among
            ],
            capabilities=self._vocabulary,
        )

    def has(self, doer: Doer, capabilities: Iterable[str]) -> bool:
        held = self._vocabulary.expand(doer.capabilities)
        return all(name in held for name in capabilities)

    def take(self, doer: Doer) -> None:
        self._given[doer.agent_id] += 1


def assign(
    tasks: Sequence[PlannedTask], doers: Sequence[Doer], notes: Notes, vocabulary: CapabilityRegistry | None = None
) -> list[Assigned]:
    """Return each task with its agent; what nobody can do is a problem."""
    choosing = _Choosing(doers, vocabulary)
    assigned: list[Assigned] = []
    for task in tasks:
        mended = _known_capabilities(task, choosing, notes)
        if mended is None:
            continue
        doer = _named(mended, choosing, notes) or _by_capability(mended, choosing, notes)
        if doer is None:
            continue
        handler_type = doer.handler_type(mended.type, mended.capabilities)
        if handler_type is None:
            notes.problems.append(
                f"task {task.id!r}: {doer.agent_id!r} could do it, and has no handler for {task.type!r}; it has "
                f"{_listed(doer.handlers)}"
            )
            continue
        if handler_type not in (mended.type, ANY_TASK):
            notes.repairs.append(f"task {task.id!r} of type {task.type!r} is done by {doer.agent_id}.{handler_type}")
        choosing.take(doer)
        assigned.append(Assigned(mended, doer, handler_type))
    return assigned


def _known_capabilities(task: PlannedTask, choosing: _Choosing, notes: Notes) -> PlannedTask | None:
    """Return the task with capabilities that somebody has, as far as they were only spelt otherwise."""
    spelt: list[str] = []
    for name in task.capabilities:
        if name in choosing.known:
            spelt.append(name)
            continue
        same = [known for known in choosing.known if _folded(known) == _folded(name)]
        if len(same) == 1:
            notes.repairs.append(f"task {task.id!r} needs {name!r}: {same[0]!r} was taken")
            spelt.append(same[0])
            continue
        close = get_close_matches(name, choosing.known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {_listed(choosing.known)}"
        notes.problems.append(f"task {task.id!r}: nobody has the capability {name!r:.60}; {hint}")
        return None
    if tuple(spelt) == task.capabilities:
        return task
    return msgspec.structs.replace(task, capabilities=tuple(dict.fromkeys(spelt)))


def _named(task: PlannedTask, choosing: _Choosing, notes: Notes) -> Doer | None:
    """Return the agent that the task itself names, when that one can do it."""
    if not task.agent:
        return None
    doer = choosing.doers.get(task.agent)
    if doer is None:
        why = f"there is no agent {task.agent!r:.60}"
    elif not doer.candidate.is_available:
        why = f"agent {task.agent!r} is not in service"
    elif not choosing.has(doer, task.capabilities):
        why = f"agent {task.agent!r} cannot do it"
    else:
        return doer
    notes.repairs.append(f"task {task.id!r}: {why}, and another was looked for")
    return None


def _by_capability(task: PlannedTask, choosing: _Choosing, notes: Notes) -> Doer | None:
    able = [one for one in choosing.doers.values() if one.handler_type(task.type, task.capabilities) is not None]
    if task.capabilities:
        # Whoever has a handler for it comes first; of the others the matcher says at least what is missing.
        for among in (able, list(choosing.doers.values())):
            ranked = choosing.matcher(among).rank(task.capabilities)
            if ranked:
                return choosing.doers[ranked[0].agent_id]
        try:
            choosing.matcher(choosing.doers.values()).find_best_agent(task.capabilities)
        except (AgentNotFoundError, NoHealthyAgentError) as error:
            notes.problems.append(f"task {task.id!r}: {error.message}; {error.hint}")
        return None
    exact = [one for one in choosing.doers.values() if task.type in one.handlers]
    ranked = choosing.matcher(exact).rank([task.type], minimum_coverage=0.0)
    if ranked:
        if not task.agent:
            notes.repairs.append(f"task {task.id!r} says no capabilities: {ranked[0].agent_id!r} does {task.type!r}")
        return choosing.doers[ranked[0].agent_id]
    who = f"; there is no agent {task.agent!r:.60}" if task.agent and task.agent not in choosing.doers else ""
    types = {name for one in choosing.doers.values() for name in one.handlers}
    notes.problems.append(
        f"task {task.id!r} says no capabilities, and nobody in service does {task.type!r:.60}{who}; there are {_listed(types)}"
    )
    return None


def _folded(name: str) -> str:
    return "".join(char for char in name.casefold() if char.isalnum())


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _LISTED} more" if len(ordered) > _LISTED else ""
    return ", ".join(map(repr, ordered[:_LISTED])) + more if ordered else "none"
