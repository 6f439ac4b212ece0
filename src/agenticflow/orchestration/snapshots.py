"""A run's state as bytes and back, so that a long history does not have to be folded from its beginning.

A snapshot is a cache: a form this code does not know is refused, and the host folds from the first event instead.
"""

from __future__ import annotations

from collections import deque
from operator import attrgetter

import msgspec

from agenticflow.core import codec
from agenticflow.core.engine import Permit
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import CorruptStore
from agenticflow.orchestration.approvals.requests import Request
from agenticflow.orchestration.facts import (
    CompensationStarted,
    PlanClosed,
    PlannedStep,
    WorkflowCancelRequested,
    WorkflowFailed,
)
from agenticflow.orchestration.ledger import Planning
from agenticflow.orchestration.plan import Node, decode_plan
from agenticflow.orchestration.planning.growing import GrowingPlan
from agenticflow.orchestration.replanning.terms import Replanning
from agenticflow.orchestration.state import Heard, Phase, RunState, TaskRecord, TaskStatus, WorkflowStatus
from agenticflow.orchestration.suspicion.suspects import Suspect

__all__ = ["restore", "take"]

FORM = 5
READ = (4, FORM)
"""Forms that mean the same to this code: in form 4 a task has one open request at most."""


class _Task(msgspec.Struct, array_like=True):
    key: str
    node: int
    index: int | None
    status: TaskStatus
    is_blocked: bool
    attempt: int
    attempts_before: int
    performer_id: str
    permits: tuple[Permit, ...]
    question: str
    undoes: str | None
    token: int
    scheduled_at: int
    ended_at: int
    deadline: int | None
    due: int
    errors: list[ErrorInfo] | None
    value: bytes | None
    items: list[bytes] | None
    done: int
    failed: int


class _Planned(msgspec.Struct, array_like=True):
    steps: list[PlannedStep]
    settled: list[str]
    driven: int
    patches: list[str]
    closed: PlanClosed | None


class _Run(msgspec.Struct):
    form: int
    plan: bytes
    tasks: list[_Task]
    ready: list[str]
    fields: dict[str, object]
    unmet: list[int]
    live: bytes
    below_failed: bytes
    timers: list[tuple[int, int, int, str]]
    lingering: list[tuple[int, str, int]]
    signals: dict[str, list[bytes]]
    waiting: dict[str, list[str]]
    next_item: dict[str, int]
    kept: dict[str, bytes]
    generations: dict[str, int]
    completed: dict[int, int]
    barred: list[int]
    to_cancel: dict[int, str]
    surplus: list[str]
    again: dict[str, list[str]]
    undecided: list[str]
    undoable: list[str]
    feedback: list[Heard]
    parent: tuple[str, str, int] | None
    phase: int
    outcome: WorkflowStatus | None
    cancel: WorkflowCancelRequested | None
    problem: WorkflowFailed | None
    undoing: CompensationStarted | None
    requests: list[Request]
    answered: dict[str, dict[str, Request]]
    planned: _Planned | None = None
    suspects: dict[str, Suspect] = {}
    replanning: Replanning | None = None
    answers: dict[str, dict[str, bytes]] = {}


_PLAIN = (
    "version",
    "workflow_id",
    "run_no",
    "input",
    "seed",
    "fingerprint",
    "started_by",
    "started_at",
    "ended_at",
    "deadline",
    "final",
    "first_generation",
    "depth",
    "is_paused",
    "active",
    "in_flight",
    "held",
    "unknown",
    "last_success",
)
_as_task = attrgetter(*("node.index" if name == "node" else name for name in _Task.__struct_fields__))


def take(state: RunState) -> bytes:
    """Return ``state`` as bytes."""
    run = _Run(
        form=FORM,
        plan=state.laid_out.encoded,
        tasks=[],
        ready=[record.key for record in state.ready],
        fields={name: getattr(state, name) for name in _PLAIN},
        unmet=state.unmet,
        live=bytes(state.has_live_dependency),
        below_failed=bytes(state.has_failed_dependency),
        timers=state.timers,
        lingering=[(token, key, until) for token, (key, until) in state.lingering.items()],
        signals={name: list(values) for name, values in state.signals.items()},
        waiting={name: list(keys) for name, keys in state.waiting.items()},
        next_item=state.next_item,
        kept=state.kept,
        generations=state.generations,
        completed=state.completed,
        barred=sorted(state.barred),
        to_cancel=state.to_cancel,
        surplus=list(state.surplus),
        again={key: list(items) for key, items in state.again.items()},
        undecided=list(state.undecided),
        undoable=state.undoable,
        feedback=state.feedback,
        parent=state.parent,
        phase=state.phase.value,
        outcome=state.outcome,
        cancel=state.cancel,
        problem=state.problem if isinstance(state.problem, WorkflowFailed) else None,
        undoing=state.problem if isinstance(state.problem, CompensationStarted) else None,
        requests=[request for asked in state.requests.values() for request in asked.values()],
        answered=state.answered,
        planned=_planned(state),
        suspects=state.suspects,
        replanning=state.replanning,
        answers=state.answers,
    )
    # Tuples in the order of _Task's fields are what an array-like struct looks like on the wire, at a third of the cost.
    form = msgspec.structs.asdict(run)
    form["tasks"] = [_as_task(record) for record in state.tasks.values()]
    return codec.encode(form)


def _planned(state: RunState) -> _Planned | None:
    planning = state.planning
    if planning is None or not isinstance(state.plan, GrowingPlan):
        return None
    return _Planned(state.plan.steps, planning.settled, planning.driven, list(planning.patches), planning.closed)


def restore(stream_id: str, data: bytes) -> RunState:
    """Return the state in ``data``. Raises ``CorruptStore`` when it is none of this form."""
    try:
        return _restore(stream_id, msgspec.msgpack.decode(data, type=_Run))
    except (msgspec.DecodeError, LookupError, ValueError) as error:
        raise CorruptStore(f"the snapshot of {stream_id!r} cannot be read: {error}") from error


def _record(node: Node, saved: _Task) -> TaskRecord:
    """Return the record as it was saved."""
    return TaskRecord(
        key=saved.key,
        node=node,
        performer_id=saved.performer_id,
        index=saved.index,
        status=saved.status,
        undoes=saved.undoes,
        is_blocked=saved.is_blocked,
        attempt=saved.attempt,
        attempts_before=saved.attempts_before,
        permits=saved.permits,
        question=saved.question,
        token=saved.token,
        scheduled_at=saved.scheduled_at,
        ended_at=saved.ended_at,
        deadline=saved.deadline,
        due=saved.due,
        errors=saved.errors,
        value=saved.value,
        items=saved.items,
        done=saved.done,
        failed=saved.failed,
    )


def _restore(stream_id: str, run: _Run) -> RunState:
    if run.form not in READ:
        known = ", ".join(map(str, READ))
        raise CorruptStore(f"the snapshot of {stream_id!r} has form {run.form}, this program knows {known}")
    state = RunState(stream_id)
    state.plan = decode_plan(run.plan)
    if (planned := run.planned) is not None:
        state.plan = plan = GrowingPlan(state.plan)
        for step in planned.steps:
            plan.grow(step)
        state.planning = planning = Planning()
        planning.settled, planning.driven, planning.closed = planned.settled, planned.driven, planned.closed
        planning.patches = dict.fromkeys(planned.patches)
    for name in _PLAIN:
        setattr(state, name, run.fields[name])
    for saved in run.tasks:
        node = state.plan.nodes[saved.node]
        state.tasks[saved.key] = _record(node.undo or node if saved.undoes is not None else node, saved)
    state.ready = deque(state.tasks[key] for key in run.ready)
    state.unmet = run.unmet
    state.has_live_dependency = bytearray(run.live)
    state.has_failed_dependency = bytearray(run.below_failed)
    state.timers = run.timers
    state.lingering = {token: (key, until) for token, key, until in run.lingering}
    state.signals = {name: deque(values) for name, values in run.signals.items()}
    state.waiting = {name: deque(keys) for name, keys in run.waiting.items()}
    state.deliverable = {name: None for name in state.signals if state.signals[name] and state.waiting.get(name)}
    state.next_item = run.next_item
    state.kept = run.kept
    state.generations = run.generations
    state.completed = run.completed
    state.barred = set(run.barred)
    state.to_cancel = run.to_cancel
    state.surplus = dict.fromkeys(run.surplus)
    state.again = {key: deque(items) for key, items in run.again.items()}
    state.undecided = dict.fromkeys(run.undecided)
    state.undoable = run.undoable
    state.feedback = run.feedback
    state.parent = run.parent
    state.phase = Phase(run.phase)
    state.outcome = run.outcome
    state.cancel = run.cancel
    state.problem = run.problem or run.undoing
    for request in run.requests:
        state.requests.setdefault(request.task_key, {})[request.key] = request
    state.answered = run.answered
    state.suspects = run.suspects
    state.replanning = run.replanning
    state.answers = run.answers
    return state
