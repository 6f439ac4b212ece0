"""How each fact changes the state of a run: the fold.

One function per fact, found by the fact's type. Nothing is decided here and nothing can fail, except that a large value has to be
fetched first (``BlobMissing``), which is raised before anything has changed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.results import OutcomeKind
from agenticflow.errors import InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import facts as a
from agenticflow.orchestration.endings import (
    bar_others,
    complete,
    did_not_stand_in,
    end_container,
    end_map_if_over,
    fail,
    keep_error,
    match_signals,
    next_items,
    next_undo,
    stop_waiting,
    take_ready,
)
from agenticflow.orchestration.inbox import folding as inbox
from agenticflow.orchestration.interventions.feedback import feedback_given
from agenticflow.orchestration.interventions.relaying import modified
from agenticflow.orchestration.interventions.taking import result_given, retry_requested, skipped
from agenticflow.orchestration.ledger import Planning
from agenticflow.orchestration.lookups import lookup
from agenticflow.orchestration.plan import Node, decode_plan
from agenticflow.orchestration.planning.folding import patch_marked, plan_closed, steps_planned
from agenticflow.orchestration.planning.growing import GrowingPlan
from agenticflow.orchestration.quarantine import folding as quarantine
from agenticflow.orchestration.repair import answering as repair
from agenticflow.orchestration.replanning import facts as p
from agenticflow.orchestration.state import (
    DEADLINE,
    GRACE,
    IN_FLIGHT,
    LINGER,
    RETRY,
    TIMER,
    TOTAL,
    Phase,
    RunState,
    TaskRecord,
    TaskStatus,
    WorkflowStatus,
)
from agenticflow.orchestration.statuses import READY, SCHEDULED
from agenticflow.orchestration.suspicion import facts as u
from agenticflow.orchestration.undoing.folding import course_of, lay_out

__all__ = ["evolve"]
_NOT_IN_WORK: Final = frozenset(
    {
        *(TaskStatus.READY, TaskStatus.RETRYING, TaskStatus.WAITING, TaskStatus.EXPANDED),
        TaskStatus.QUARANTINED,
    }
)
"""Open, and nobody is about them: they end with the run."""


def evolve(state: RunState, fact: Fact, version: int, at: int) -> None:
    """Take ``fact``, event ``version`` of the run's stream recorded at ``at``, into ``state``."""
    _CHANGES[type(fact)](state, fact, version, at)
    state.version = version
    if state.timers:
        state.drop_stale_timers()


def _started(state: RunState, fact: f.WorkflowStarted, version: int, at: int) -> None:
    plan = decode_plan(state.values.resolve(bytes(fact.definition)))
    kept = _mapping(state, bytes(fact.kept), "kept results")
    signals = _mapping(state, bytes(fact.signals), "signals")
    if plan.definition.code:
        plan = GrowingPlan(plan)
        state.planning = Planning()
    state.plan = plan
    state.phase = Phase.RUNNING
    if signals:
        state.signals = {name: deque(values) for name, values in signals.items()}
    state.workflow_id, state.run_no = fact.workflow_id, fact.run_no
    state.input, state.seed, state.fingerprint = bytes(fact.input), fact.seed, fact.fingerprint
    state.started_by, state.started_at, state.deadline = fact.started_by, at, fact.deadline
    state.parent, state.depth, state.first_generation = fact.parent, fact.depth, fact.first_generation
    if fact.generations:
        state.generations = dict(fact.generations)
    state.kept = kept
    state.unmet = plan.unmet.copy()
    state.has_live_dependency = bytearray(len(plan.nodes))
    state.has_failed_dependency = bytearray(len(plan.nodes))
    state.version = version
    if fact.deadline is not None:
        state.add_timer(fact.deadline, DEADLINE, "")
    kept_nodes = [node for node in plan.nodes if node.task.task_id in kept] if kept else []
    for node in kept_nodes:
        record = state.tasks[node.task.task_id] = TaskRecord(node.task.task_id, node, node.performer_id)
        record.status, record.value, record.ended_at = TaskStatus.COMPLETED, kept[record.key], at
        if node.choices:
            chosen = codec.decode(kept[record.key])
            bar_others(state, node, chosen if isinstance(chosen, list) else [chosen])
    for index in plan.roots:
        if plan.nodes[index].task.task_id not in state.tasks:
            state.make_ready(plan.nodes[index])
    for node in kept_nodes:
        state.settle(node, TaskStatus.COMPLETED)
        if node.rest:
            state.cancel_soon(node.rest, node.task.task_id)


def _mapping(state: RunState, data: bytes, what: str) -> dict[str, Any]:
    if data == codec.NULL:
        return {}
    found = codec.decode(state.values.resolve(data)) or {}
    if not isinstance(found, dict):
        raise InvariantError(f"the {what} of run {state.stream_id!r} are no mapping")
    return found


def _scheduled(state: RunState, fact: f.TaskScheduled, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    if record.status is READY:
        take_ready(state, fact.task_key)
    state.set_status(record, SCHEDULED)
    record.attempt = fact.attempt
    record.token = version
    record.scheduled_at = at
    record.deadline = None
    if fact.permits:
        record.permits = fact.permits
    if fact.total_deadline is not None:
        state.add_timer(fact.total_deadline, TOTAL, fact.task_key)


def _task_started(state: RunState, fact: f.TaskStarted, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    state.set_status(record, TaskStatus.RUNNING)
    record.deadline = fact.deadline


def _completed(state: RunState, fact: f.TaskCompleted, version: int, at: int) -> None:
    complete(state, state.tasks[fact.task_key], bytes(fact.result), at, is_undoable=fact.is_undoable)


def _expanded(state: RunState, fact: f.MapExpanded, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    template = record.node.for_each
    elements = template.resolve(lookup(state)) if template is not None else []
    if not isinstance(elements, list):
        raise InvariantError(f"the map {fact.task_key!r} of run {state.stream_id!r} was expanded over no list")
    take_ready(state, fact.task_key)
    record.items = [codec.encode(element) for element in elements]
    state.set_status(record, TaskStatus.EXPANDED)
    state.next_item[record.key] = 0
    if not _had_enough(state, record):
        next_items(state, record)
    end_map_if_over(state, record, at)


def _had_enough(state: RunState, container: TaskRecord) -> bool:
    """Take the items that are kept when they are enough: what the others saw of the map stays as it was, and nothing of it runs again."""
    enough = container.node.task.enough
    if enough is None or not state.kept:
        return False
    keys = [f"{container.key}[{index}]" for index in range(len(container.items or ()))]
    kept = {index: state.kept[key] for index, key in enumerate(keys) if key in state.kept}
    if len(kept) < enough:
        return False
    for index, value in kept.items():
        record = state.tasks[keys[index]] = TaskRecord(keys[index], container.node, container.node.performer_id, index)
        record.status, record.value = TaskStatus.COMPLETED, value
    container.done = len(kept)
    return True


def _loop_continued(state: RunState, fact: f.LoopContinued, version: int, at: int) -> None:
    container = state.tasks[fact.task_key]
    if container.status is TaskStatus.READY:
        take_ready(state, fact.task_key)
        state.set_status(container, TaskStatus.EXPANDED)
    state.undecided.pop(fact.task_key, None)
    key = f"{fact.task_key}[{fact.iteration}]"
    if (waiting := state.tasks.get(key)) is not None:
        # Its delay is over, and now it has to wait for a place among ``max_parallel``.
        state.set_status(waiting, TaskStatus.READY)
        state.queue(waiting)
        return
    record = state.tasks[key] = TaskRecord(key, container.node, container.node.performer_id, fact.iteration)
    if (value := state.kept.get(key)) is not None:
        record.status, record.value, record.ended_at = TaskStatus.COMPLETED, value, at
        container.done += 1
        state.undecided[container.key] = None
    elif fact.due is not None:
        state.set_status(record, TaskStatus.WAITING)
        record.due = fact.due
        state.add_timer(fact.due, TIMER, key)
    else:
        state.queue(record)


def _loop_ended(state: RunState, fact: f.LoopEnded, version: int, at: int) -> None:
    container = state.tasks[fact.task_key]
    del state.undecided[fact.task_key]
    container.value = state.tasks[f"{fact.task_key}[{container.done - 1}]"].value
    end_container(state, container, TaskStatus.COMPLETED, at)


def _retry(state: RunState, fact: f.TaskRetryScheduled, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    state.set_status(record, TaskStatus.RETRYING)
    keep_error(record, fact.error)
    record.due = fact.retry_at
    state.add_timer(fact.retry_at, RETRY, fact.task_key)
    _linger(state, record, fact.grace_until)


def _failed(state: RunState, fact: f.TaskFailed, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    if record.status is TaskStatus.READY and fact.token:
        state.ready.remove(record)  # its limit passed while it waited for its turn
    elif record.status is TaskStatus.READY:
        take_ready(state, fact.task_key)
    elif record.status is TaskStatus.WAITING and record.node.task.signal is not None:
        stop_waiting(state, record)
    state.undecided.pop(fact.task_key, None)
    fail(state, record, fact.error, at)
    _linger(state, record, fact.grace_until)


def _reassigned(state: RunState, fact: f.TaskReassigned, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    keep_error(record, fact.error)
    _linger(state, record, fact.grace_until)
    state.set_status(record, TaskStatus.READY)
    record.performer_id = fact.performer_id
    record.attempts_before = record.attempt
    state.queue(record)


def _linger(state: RunState, record: TaskRecord, grace_until: int | None) -> None:
    if grace_until is not None:
        state.lingering[record.token] = (record.key, grace_until)
        state.add_timer(grace_until, LINGER, str(record.token))


def _skipped(state: RunState, fact: f.TaskSkipped, version: int, at: int) -> None:
    if fact.decided_by:
        skipped(state, fact, version, at)
        return
    record = take_ready(state, fact.task_key)
    state.set_status(record, TaskStatus.SKIPPED)
    record.ended_at = at
    state.settle(record.node, TaskStatus.SKIPPED)
    if record.node.is_alternative:
        did_not_stand_in(state, record.node)


def _task_cancelled(state: RunState, fact: f.TaskCancelled, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    state.set_status(record, TaskStatus.CANCELLED)
    record.ended_at = at


def _tasks_cancelled(state: RunState, fact: f.TasksCancelled, version: int, at: int) -> None:
    by_id, nodes = state.laid_out.by_id, state.laid_out.nodes
    state.version = version
    closed: list[Node] = []
    unqueued: set[str] = set()
    for key in fact.task_keys:
        record = state.tasks.get(key)
        if record is None:
            node = nodes[by_id[key]]
            record = state.tasks[key] = TaskRecord(key, node, node.performer_id)
        elif record.status is TaskStatus.READY:
            unqueued.add(key)
        elif record.status is TaskStatus.WAITING and record.node.task.signal is not None:
            stop_waiting(state, record)
        elif record.status in IN_FLIGHT:
            _linger(state, record, fact.grace_until)
        state.set_status(record, TaskStatus.CANCELLED)
        record.ended_at = at
        state.undecided.pop(key, None)
        state.surplus.pop(key.partition("[")[0], None)
        if record.index is None:
            closed.append(record.node)
    if unqueued:
        state.ready = deque(record for record in state.ready if record.key not in unqueued)
    state.to_cancel.clear()
    for node in closed:
        state.settle(node, TaskStatus.SKIPPED)
        if node.is_alternative:
            did_not_stand_in(state, node)


def _unknown(state: RunState, fact: f.TaskOutcomeUnknown, version: int, at: int) -> None:
    state.set_status(state.tasks[fact.task_key], TaskStatus.UNKNOWN)


def _late(state: RunState, fact: f.TaskLateOutcome, version: int, at: int) -> None:
    state.lingering.pop(fact.token, None)
    record = state.tasks[fact.task_key]
    if (
        fact.kind is OutcomeKind.SUCCEEDED
        and record.node.can_be_undone(fact.is_undoable)
        and record.status is not TaskStatus.COMPLETED
    ):
        # It advances nothing, but it has happened: it is undone with the rest.
        record.value = bytes(fact.result)
        state.undoable.append(record.key)


def _compensation_started(state: RunState, fact: f.CompensationStarted, version: int, at: int) -> None:
    course = course_of(state, fact)
    state.phase = Phase.COMPENSATING
    state.problem = fact if course is None else f.CompensationStarted(error=fact.error)
    state.is_paused = False
    state.ready.clear()
    _ask_nobody(state)
    if course is not None:
        lay_out(state, course, at)
    next_undo(state)


def _rerun(state: RunState, fact: f.TaskRerunRequested, version: int, at: int) -> None:
    record = state.tasks[fact.task_key]
    state.set_status(record, TaskStatus.READY)
    state.generations[fact.task_key] = fact.generation
    state.suspects.pop(fact.task_key, None)
    record.attempt = record.attempts_before = 0
    state.close_requests(fact.task_key)
    state.answered.pop(fact.task_key, None)
    state.answers.pop(fact.task_key, None)
    state.forget_total_limit(fact.task_key)
    state.queue(record)


def _timer_set(state: RunState, fact: f.TimerSet, version: int, at: int) -> None:
    record = take_ready(state, fact.task_key)
    state.set_status(record, TaskStatus.WAITING)
    record.due = fact.due
    state.add_timer(fact.due, TIMER, fact.task_key)


def _timer_fired(state: RunState, fact: f.TimerFired, version: int, at: int) -> None:
    complete(state, state.tasks[fact.task_key], codec.NULL, at)


def _signal_awaited(state: RunState, fact: f.SignalAwaited, version: int, at: int) -> None:
    record = take_ready(state, fact.task_key)
    state.set_status(record, TaskStatus.WAITING)
    record.token = version
    state.waiting.setdefault(fact.signal, deque()).append(fact.task_key)
    if fact.total_deadline is not None:
        state.add_timer(fact.total_deadline, TOTAL, fact.task_key)
    match_signals(state, fact.signal)


def _choice_made(state: RunState, fact: f.ChoiceMade, version: int, at: int) -> None:
    record = take_ready(state, fact.task_key)
    bar_others(state, record.node, fact.chosen)
    given = list(fact.chosen) if record.node.task.choose_many else fact.chosen[0]
    complete(state, record, codec.encode(given), at)


def _signal_received(state: RunState, fact: f.SignalReceived, version: int, at: int) -> None:
    state.signals.setdefault(fact.signal, deque()).append(bytes(fact.value))
    match_signals(state, fact.signal)


def _paused(state: RunState, fact: f.WorkflowPaused, version: int, at: int) -> None:
    state.is_paused = True


def _resumed(state: RunState, fact: f.WorkflowResumed, version: int, at: int) -> None:
    state.is_paused = False
    state.version = version
    for record in state.tasks.values():
        if record.status is TaskStatus.RETRYING:
            state.add_timer(record.due, RETRY, record.key)
        elif record.status is TaskStatus.WAITING and record.index is not None and record.key not in state.requests:
            state.add_timer(record.due, TIMER, record.key)


def _cancel_requested(state: RunState, fact: f.WorkflowCancelRequested, version: int, at: int) -> None:
    state.phase = Phase.CANCELLING
    state.cancel = fact
    for record in state.tasks.values():
        if record.status in _NOT_IN_WORK:
            state.set_status(record, TaskStatus.CANCELLED)
            record.ended_at = at
    state.ready.clear()
    state.waiting.clear()
    state.deliverable.clear()
    state.undecided.clear()
    state.to_cancel.clear()
    state.surplus.clear()
    _ask_nobody(state)
    state.add_timer(fact.grace_until, GRACE, "")


def _ask_nobody(state: RunState) -> None:
    """What handlers that ran with some of their answers have left open needs none any more."""
    for key in list(state.requests):
        state.close_requests(key)


def _continuing(state: RunState, fact: f.WorkflowContinuing, version: int, at: int) -> None:
    state.phase = Phase.CONTINUING
    _ask_nobody(state)


def _ended(status: WorkflowStatus) -> Callable[[RunState, Any, int, int], None]:
    def end(state: RunState, fact: Fact, version: int, at: int) -> None:
        state.phase = Phase.ENDED
        state.outcome = status
        state.ended_at = at
        _ask_nobody(state)
        if isinstance(fact, f.WorkflowFailed):
            state.problem = fact

    return end


_CHANGES: Final[dict[type[Fact], Callable[[RunState, Any, int, int], None]]] = {
    f.WorkflowStarted: _started,
    f.TaskScheduled: _scheduled,
    f.TaskStarted: _task_started,
    f.TaskCompleted: _completed,
    f.TaskRetryScheduled: _retry,
    f.TaskFailed: _failed,
    f.TaskReassigned: _reassigned,
    f.TaskSkipped: _skipped,
    f.TaskCancelled: _task_cancelled,
    f.TasksCancelled: _tasks_cancelled,
    f.ChoiceMade: _choice_made,
    f.LoopContinued: _loop_continued,
    f.LoopEnded: _loop_ended,
    f.TaskOutcomeUnknown: _unknown,
    f.TaskLateOutcome: _late,
    f.TaskRerunRequested: _rerun,
    f.TaskRetryRequested: retry_requested,
    f.TaskResultGiven: result_given,
    f.MapExpanded: _expanded,
    f.TimerSet: _timer_set,
    f.TimerFired: _timer_fired,
    f.SignalAwaited: _signal_awaited,
    f.SignalReceived: _signal_received,
    f.FeedbackGiven: feedback_given,
    f.WorkflowModified: modified,
    f.ApprovalRequired: inbox.required,
    f.ApprovalGranted: inbox.granted,
    f.ApprovalRejected: inbox.rejected,
    a.ApprovalAnswered: inbox.answered,
    a.ApprovalEscalated: inbox.escalated,
    a.ApprovalDelegated: inbox.delegated,
    a.TaskInterrupted: inbox.interrupted,
    a.TaskInterruptedAgain: inbox.interrupted_again,
    a.InterruptWithdrawn: inbox.withdrawn,
    a.InterruptRefused: inbox.refused,
    a.InterruptAnswered: inbox.interrupt_answered,
    a.AnswersKept: inbox.kept,
    f.WorkflowPaused: _paused,
    f.WorkflowResumed: _resumed,
    f.WorkflowCancelRequested: _cancel_requested,
    f.WorkflowContinuing: _continuing,
    f.WorkflowContinued: _ended(WorkflowStatus.CONTINUED),
    f.CompensationStarted: _compensation_started,
    f.WorkflowCompensated: _ended(WorkflowStatus.COMPENSATED),
    f.WorkflowCompleted: _ended(WorkflowStatus.COMPLETED),
    f.WorkflowFailed: _ended(WorkflowStatus.FAILED),
    f.WorkflowCancelled: _ended(WorkflowStatus.CANCELLED),
    f.StepsPlanned: steps_planned,
    f.PatchMarked: patch_marked,
    f.PlanClosed: plan_closed,
    u.ProcessLost: quarantine.lost,
    u.AttemptsInterrupted: quarantine.interrupted,
    u.TaskQuarantined: quarantine.quarantined,
    p.ReplanAgreed: repair.agreed,
    p.ReplanRequested: repair.requested,
    p.ReplanRefused: repair.refused,
}
