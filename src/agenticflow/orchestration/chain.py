"""Chains of runs: what the next run of a workflow keeps of the one before."""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.core.values import reference_in
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration.inbox.answering import answers_to
from agenticflow.orchestration.state import IN_FLIGHT, Heard, Phase, RunState, TaskStatus

__all__ = ["Carried", "carry_over", "fork_of"]


class Carried(msgspec.Struct, frozen=True):
    """What the next run starts with."""

    kept: dict[str, bytes]
    """Recorded results by task key, as recorded (a large one is a reference)."""
    generations: dict[str, int]
    signals: dict[str, list[bytes]]
    """Signals that no task took, by name, in order of arrival, as recorded."""
    feedback: list[Heard] = []
    """What people said to it, oldest first."""
    answers: dict[str, dict[str, bytes]] = {}
    """What people answered to handlers that run again as the same work, by task key and key of the interrupt, as recorded."""


def carry_over(state: RunState, from_task: str | None = None) -> Carried:
    """Return what the run after ``state`` keeps.

    Without ``from_task`` every recorded result is kept, so the next run goes on after the last success. With it, the next run goes on
    at that task: a completed ``from_task`` is kept and never run again, what depends on it is (its generation rises,
    since that is an explicit "run again"); any other ``from_task`` is run, with what depends on it.

    Signals that no task took are kept too: a signal is taken once, in whichever run asks for it. So is what people said to the run, and
    what they answered to handlers that have not come to their end: a task that runs again under the same effect key does not ask again.

    At-most-once work whose outcome is unknown is not run again by itself: it has to be among what ``from_task`` asks to run again.

    Raises ``CommandRefused`` while the run is open and for unknown outcomes, ``InvalidInput`` for an unknown task.
    """
    if state.phase is not Phase.ENDED:
        raise CommandRefused(
            f"workflow {state.workflow_id!r} is {state.status}, its run has not ended",
            hint="wait for its end, or abort it first",
        )
    return _carried(state, from_task, ENDED_IN_QUESTION)


def fork_of(state: RunState, from_task: str | None = None) -> Carried:
    """Return what another workflow keeps that begins where ``state`` stands, whether that run has ended or not.

    As for ``carry_over``; at-most-once work that was in work there counts as unknown: it may have happened.
    """
    return _carried(state, from_task, ENDED_IN_QUESTION | IN_FLIGHT)


ENDED_IN_QUESTION: Final = frozenset({TaskStatus.UNKNOWN})


def _carried(state: RunState, from_task: str | None, in_question_when: frozenset[TaskStatus]) -> Carried:
    # What this run was given and has not come to (items beyond max_parallel) is kept as well.
    kept = dict(state.kept)
    for key, record in state.tasks.items():
        if record.status is TaskStatus.COMPLETED and record.value is not None:
            kept[key] = record.value
    kept |= _stood_in(state)
    generations = dict(state.generations)
    _leave_out_undone(state, kept, generations)
    again = set() if from_task is None else _run_again(state, from_task)
    unknown = [
        key
        for key, record in state.tasks.items()
        if record.status in in_question_when and record.node.task.effect is EffectClass.AT_MOST_ONCE
    ]
    # What undoes a task in vain belongs to that task: only who runs that again decides about it.
    roots = [_task_id(state.tasks[key].undoes or key) for key in unknown]
    in_question = [(key, root) for key, root in zip(unknown, roots, strict=True) if root not in again]
    if in_question:
        raise CommandRefused(
            f"nobody can say whether task {in_question[0][0]!r} of workflow {state.workflow_id!r} happened, and it must not run twice",
            hint=f"find out; if it may run again, resume with from_task={in_question[0][1]!r}",
        )
    for key in [key for key in kept if _task_id(key) in again]:
        del kept[key]
        generations[key] = generations.get(key, 0) + 1
    for key in unknown:
        generations[key] = generations.get(key, 0) + 1
    signals = {name: list(values) for name, values in state.signals.items() if values}
    answers = {
        key: answers_to(state, key)
        for key in dict.fromkeys((*state.answers, *state.answered))
        if key not in kept and generations.get(key) == state.generations.get(key)
    }
    told = {key: given for key, given in answers.items() if given}
    return Carried(kept, generations, signals, list(state.feedback), told)


def _stood_in(state: RunState) -> dict[str, bytes]:
    """Return the results of maps that stood in for others: elsewhere a map is made of its items again, but nothing would ask for this one.

    One with large items is left out, so that nothing large has to be fetched here: what it stood in for is tried again.
    """
    found: dict[str, bytes] = {}
    for index in state.laid_out.alternatives:
        record = state.tasks.get(state.laid_out.nodes[index].task.task_id)
        if record is None or record.status is not TaskStatus.COMPLETED or record.items is None:
            continue
        parts = [state.tasks.get(f"{record.key}[{item}]") for item in range(len(record.items))]
        if any(part is not None and reference_in(part.value or codec.NULL) for part in parts):
            continue
        node, value = record.node, state.result_of(record.key) or codec.NULL
        found[record.key] = value
        while node.is_alternative:
            node = state.laid_out.nodes[state.laid_out.alternatives[node.index]]
            found[node.task.task_id] = value
    return found


def _leave_out_undone(state: RunState, kept: dict[str, bytes], generations: dict[str, int]) -> None:
    """What was undone has to be done again, and is other work then; what undid it belongs to the run that did."""
    for key, record in state.tasks.items():
        if record.undoes is None:
            continue
        kept.pop(key, None)
        if record.status is TaskStatus.COMPLETED and kept.pop(record.undoes, None) is not None:
            generations[record.undoes] = generations.get(record.undoes, 0) + 1
            kept.pop(_task_id(record.undoes), None)


def _task_id(key: str) -> str:
    return key.partition("[")[0]


def _run_again(state: RunState, from_task: str) -> set[str]:
    """Return the ids of ``from_task`` (unless it is completed) and of everything that depends on it."""
    plan = state.laid_out
    if not isinstance(from_task, str) or from_task not in plan.by_id:
        raise InvalidInput(
            f"workflow {state.workflow_id!r} has no task {from_task!r:.80}",
            hint=f"it has {', '.join(list(plan.by_id)[:20])}",
        )
    record = state.tasks.get(from_task)
    stays: set[str] = set()
    if record is not None and record.status is TaskStatus.COMPLETED:
        node = record.node
        stays.add(from_task)
        while node.is_alternative:  # what it stood in for has its result
            node = plan.nodes[plan.alternatives[node.index]]
            stays.add(node.task.task_id)
    again: set[str] = set()
    seen: set[str] = set()
    if state.planning is not None:
        # A function says nothing about what depends on what: all that it asked for later runs again.
        later = {node.task.task_id for node in plan.nodes[plan.by_id[from_task] :]}
        return later - stays
    queue = deque([plan.nodes[plan.by_id[from_task]]])
    while queue:
        node = queue.popleft()
        task_id = node.task.task_id
        if task_id in seen:
            continue
        seen.add(task_id)
        if task_id not in stays:
            again.add(task_id)
        following = list(node.dependents)
        if node.fallback is not None:
            following.append(node.fallback)
        if node.is_alternative:
            following.append(plan.alternatives[node.index])
        queue.extend(plan.nodes[index] for index in following)
    return again
