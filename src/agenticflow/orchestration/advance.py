"""What follows from the state of a run alone: what is ready starts, what is not wanted is cancelled, loops go on, a finished run ends.

Pure, and asked after every command until it has nothing more to say; everything it says goes into the same commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.engine import EffectClass, Permit
from agenticflow.core.results import ErrorInfo
from agenticflow.core.types import MAX_INLINE_BYTES, MAX_RUN_EVENTS
from agenticflow.errors import InvalidInput, InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.inbox.asking import ask
from agenticflow.orchestration.lookups import lookup, lookup_after
from agenticflow.orchestration.repair.asking import ask_for_a_plan, is_asking
from agenticflow.orchestration.state import CANCELLABLE, Phase, RunState, TaskRecord, TaskStatus, takes_place
from agenticflow.orchestration.statuses import RUNNING

__all__ = [
    "GRACE_SECONDS",
    "MAX_KEYS_PER_FACT",
    "MAX_LISTED",
    "NANOSECONDS",
    "advance",
    "first_attempt",
    "never_started",
    "open_keys",
    "room_of",
]

NANOSECONDS: Final = 1_000_000_000
GRACE_SECONDS: Final = 10.0
MAX_IN_FLIGHT: Final = 8_192
"""Attempts of one run scheduled and not ended; bounds one decision to well under the largest commit."""
MAX_LISTED: Final = 100
MAX_MAP_ITEMS: Final = MAX_RUN_EVENTS // 3
HISTORY_RESERVE: Final = 2 * MAX_IN_FLIGHT + 100
"""Events kept free so that a run at its limit can still record the end of everything in flight."""
MAX_KEYS_PER_FACT: Final = 500
MAX_KEY_CHARS: Final = 200

Facts = Sequence[Fact]


def advance(state: RunState, now: int) -> Facts:
    """Return what follows from ``state``; empty when it is settled."""
    if state.phase is not RUNNING:
        return _advance_to_the_end(state, now) if state.is_open else ()
    if state.version > MAX_RUN_EVENTS - HISTORY_RESERVE and (state.ready or state.active or state.unknown):
        reason = f"the history reached {state.version:,} events, close to the limit of {MAX_RUN_EVENTS:,}"
        return [_stop_everything("history_limit", reason, now)]
    if state.planning is not None and (closed := state.planning.closed) is not None:
        return _end_planned(state, closed, now)
    if state.final is not None:
        cause: f.CancelCause = "continued" if state.continuation is not None else "completed"
        return [_stop_everything(cause, f"task {state.final!r} ends the run", now)]
    if (state.to_cancel or state.surplus) and (cancelled := _cancel(state, now)):
        return cancelled
    if state.undecided:
        return [_decide_loop(state, state.tasks[key], now) for key in state.undecided]
    if state.deliverable:
        name = next(iter(state.deliverable))
        record = state.tasks[state.waiting[name][0]]
        return (f.TaskCompleted(record.key, record.token, msgspec.Raw(state.signals[name][0])),)
    if state.ready:
        return () if state.is_paused else _start_ready(state, now)
    if state.planning is not None:
        return () if state.planner is None else state.planner.plan(state)
    if not state.active and not state.unknown and not state.lingering and not is_asking(state):
        return (_end(state, now),)
    return ()


def _advance_to_the_end(state: RunState, now: int) -> Facts:
    """Return what follows when nothing new starts."""
    if state.phase is Phase.CANCELLING:
        return _end_cancelled(state, now) if not state.in_flight and not state.lingering else ()
    if state.phase is Phase.COMPENSATING:
        return _compensate(state, now)
    return ()


def _compensate(state: RunState, now: int) -> Facts:
    """One after the other, the last completed first; what cannot be undone waits for a person, and everything before it with it."""
    if state.ready:
        return [f.TaskScheduled(record.key, record.attempt + 1) for record in state.ready]
    if state.active or state.unknown or state.lingering:
        return ()
    return (f.WorkflowCompensated(),)


def never_started(record: TaskRecord) -> bool:
    """Whether the intent to start was never recorded, though it would have been: then the work has certainly not happened."""
    return record.status is TaskStatus.SCHEDULED and record.node.task.effect is EffectClass.AT_MOST_ONCE


def _stop_everything(cause: f.CancelCause, reason: str, now: int) -> Fact:
    return f.WorkflowCancelRequested(cause, "engine", reason, now + int(GRACE_SECONDS * NANOSECONDS))


# --- what is not wanted any more ----------------------------------------------------------------------------------------


def _cancel(state: RunState, now: int) -> Facts:
    grace = now + int(GRACE_SECONDS * NANOSECONDS)
    keys: dict[str, list[str]] = {}
    for index, by in state.to_cancel.items():
        keys.setdefault(by, []).extend(open_keys(state, index))
    for by in state.surplus:
        keys.setdefault(by, []).extend(state.open_items(state.tasks[by]))
    return [
        f.TasksCancelled(tuple(found[start : start + MAX_KEYS_PER_FACT]), by, grace)
        for by, found in keys.items()
        for start in range(0, len(found), MAX_KEYS_PER_FACT)
    ]


def open_keys(state: RunState, index: int) -> list[str]:
    """Return what of a node can be cancelled: a task that was not looked at yet too, a map or loop with all it has in work."""
    key = state.laid_out.nodes[index].task.task_id
    record = state.tasks.get(key)
    if record is None or record.status in CANCELLABLE:
        return [key]
    return [*state.open_items(record), key] if record.status is TaskStatus.EXPANDED else []


# --- loops --------------------------------------------------------------------------------------------------------------


def _decide_loop(state: RunState, record: TaskRecord, now: int) -> Fact:
    """An iteration has ended: there is another, or the loop has its end."""
    task, until = record.node.task, record.node.until
    if until is None:
        raise InvariantError(f"task {record.key!r} of run {state.stream_id!r} is no loop")
    try:
        is_done = until.holds(lookup_after(state, record))
    except InvalidInput as error:
        return _invalid(record.key, error, now)
    if is_done or (record.done >= task.iterations and task.on_limit == "complete"):
        return f.LoopEnded(record.key, record.done)
    if record.done >= task.iterations:
        message = f"task {record.key!r}: after {record.done:,} iterations {until.text} does not hold"[:1_000]
        return f.TaskFailed(record.key, 0, ErrorInfo("LoopLimit", message, "loop_limit", is_permanent=True, at=now))
    # What this run was given and has not come to is there already: it does not wait.
    is_kept = f"{record.key}[{record.done}]" in state.kept
    delay = task.repeat_delay_seconds if not is_kept else None
    return f.LoopContinued(record.key, record.done, None if not delay else now + int(delay * NANOSECONDS))


# --- what is ready ------------------------------------------------------------------------------------------------------


def room_of(state: RunState) -> int:
    """Return how many more attempts of the run may be in work."""
    limit = state.laid_out.definition.max_parallel
    room = MAX_IN_FLIGHT if limit is None else min(limit, MAX_IN_FLIGHT)
    return room - state.in_flight - (0 if limit is None else state.held)


def _start_ready(state: RunState, now: int) -> Facts:
    facts: list[Fact] = []
    room = room_of(state)
    for record in islice(state.ready, MAX_IN_FLIGHT):
        if room <= 0 and takes_place(record):
            break
        fact = _start(state, record, now)
        facts.append(fact)
        if type(fact) is f.TaskScheduled:
            room -= 1
    return facts


def _start(state: RunState, record: TaskRecord, now: int) -> Fact:
    key, node = record.key, record.node
    if record.is_blocked:
        return f.TaskSkipped(key, _why_blocked(state, record))
    if node.is_plain:
        return f.TaskScheduled(key, record.attempt + 1)
    try:
        if record.index is None and record.attempt == 0:
            if node.condition is not None and not node.condition.holds(lookup(state)):
                return f.TaskSkipped(key, f"its condition does not hold: {node.condition.text}"[:500])
            if node.for_each is not None:
                return _expand(state, record)
            if node.until is not None:
                return f.LoopContinued(key, 0)
            if node.choices:
                return _choose(state, record)
            if node.continue_with is not None:
                return _continue(state, record)
            if node.approval is not None:
                return ask(state, record, _total_deadline(state, record, now), now)
        return first_attempt(state, record, now)
    except InvalidInput as error:
        return _invalid(key, error, now)


def first_attempt(state: RunState, record: TaskRecord, now: int) -> Fact:
    """Return the fact that a task, item or iteration which is due now begins with. Raises ``InvalidInput``."""
    key, task = record.key, record.node.task
    if task.delay_seconds is not None:
        return f.TimerSet(key, now + int(task.delay_seconds * NANOSECONDS))
    deadline = _total_deadline(state, record, now)
    if task.signal is not None:
        return f.SignalAwaited(key, task.signal, deadline)
    permits = _permits(state, record) if record.node.permits and not record.permits else ()
    return f.TaskScheduled(key, record.attempt + 1, deadline, permits)


def _total_deadline(state: RunState, record: TaskRecord, now: int) -> int | None:
    limit = record.node.task.total_timeout_seconds
    # Somebody who asks for another try after a failure for good begins with the first agent anew, and so does the limit. A handler that
    # was interrupted in its first attempt begins that anew, and its task does not.
    is_first = record.attempt == record.attempts_before and record.performer_id == record.node.performer_id
    if limit is None or not is_first or record.key in state.answered:
        return None
    return now + int(limit * NANOSECONDS)


def _permits(state: RunState, record: TaskRecord) -> tuple[Permit, ...]:
    """Return the keys an attempt has to hold, each once, in the order in which everybody asks for them."""
    find = lookup(state, record)
    found: dict[str, Permit] = {}
    for template, limit in record.node.permits:
        key = str(template.resolve(find))
        if not 1 <= len(key) <= MAX_KEY_CHARS:
            raise InvalidInput(
                f"the lock or limit {limit.key!r} of task {record.key!r} gives a key of {len(key):,} characters",
                hint=f"keys have 1 to {MAX_KEY_CHARS} characters",
            )
        permit = Permit(key, limit.max_concurrent, limit.rate, limit.per_seconds)
        found[key] = permit if (before := found.get(key)) is None else _both(before, permit)
    return tuple(found[key] for key in sorted(found))


def _both(one: Permit, other: Permit) -> Permit:
    """Return what keeps to both: a lock of a task stays one, whatever limit has the same key."""
    counts = [count for count in (one.max_concurrent, other.max_concurrent) if count is not None]
    rated = one if other.rate is None else other
    return Permit(one.key, min(counts, default=None), rated.rate, rated.per_seconds)


def _why_blocked(state: RunState, record: TaskRecord) -> str:
    node = record.node
    if node.index in state.barred:
        return "it was not chosen"
    if node.is_alternative:
        return "what it is the fallback of has not failed"
    return "everything it depends on was skipped" if not node.needs else "too few of what it depends on were completed"


def _invalid(key: str, error: InvalidInput, now: int) -> Fact:
    return f.TaskFailed(key, 0, ErrorInfo("InvalidInput", str(error), error.code, is_permanent=True, at=now))


def _choose(state: RunState, record: TaskRecord) -> Fact:
    """Return which tasks a choice chooses. Raises ``InvalidInput`` when one has to be chosen and none can be."""
    nodes, find = state.laid_out.nodes, lookup(state)
    is_many = record.node.task.choose_many
    chosen: list[str] = []
    for index, condition in record.node.choices:
        if (condition is None and not chosen) or (condition is not None and condition.holds(find)):
            chosen.append(nodes[index].task.task_id)
            if not is_many:
                break
    if not chosen and not is_many:
        raise InvalidInput(
            f"no condition of the choice {record.key!r} holds",
            hint="give a last way without a condition, for everything else",
        )
    return f.ChoiceMade(record.key, tuple(chosen))


def _continue(state: RunState, record: TaskRecord) -> Fact:
    template = record.node.continue_with
    given = codec.encode(template.resolve(lookup(state)) if template is not None else None)
    if len(given) > MAX_INLINE_BYTES:
        raise InvalidInput(
            f"continue_with of task {record.key!r} gives {len(given):,} bytes, above the limit of {MAX_INLINE_BYTES:,}",
            hint="hand on where the data is, not the data",
        )
    return f.TaskCompleted(record.key, 0, msgspec.Raw(given))


def _expand(state: RunState, record: TaskRecord) -> Fact:
    template, enough = record.node.for_each, record.node.task.enough
    elements = template.resolve(lookup(state)) if template is not None else None
    if not isinstance(elements, list):
        raise InvalidInput(
            f"for_each of task {record.key!r} gives a {type(elements).__name__}, not a list",
            hint="point it at a list: ${task.key}",
        )
    if len(elements) > MAX_MAP_ITEMS:
        raise InvalidInput(
            f"for_each of task {record.key!r} gives {len(elements):,} items, above the limit of {MAX_MAP_ITEMS:,}",
            hint="group the items, or start a workflow per group",
        )
    if enough is not None and enough > len(elements):
        raise InvalidInput(
            f"for_each of task {record.key!r} gives {len(elements):,} items, and {enough:,} have to be completed"
        )
    return f.MapExpanded(record.key, len(elements))


# --- the end ------------------------------------------------------------------------------------------------------------


def _end(state: RunState, now: int) -> Fact:
    failed = [record for record in state.tasks.values() if record.status is TaskStatus.FAILED]
    if failed and (to_tell := [record for record in failed if not _is_tolerated(state, record)]):
        return _failed(state, to_tell, now)
    return _completed(state, now)


def _is_tolerated(state: RunState, record: TaskRecord) -> bool:
    """Whether the run may succeed although this has failed."""
    node = record.node
    while node.is_alternative:
        node = state.laid_out.nodes[state.laid_out.alternatives[node.index]]
        if state.tasks[node.task.task_id].status is not TaskStatus.FAILED:
            return True  # what it was to stand in for did not need it in the end
    if node.task.on_failure == "skip":
        return True
    # An item of a map that had enough without it, or that nobody wanted in the end.
    ended_well = (TaskStatus.COMPLETED, TaskStatus.CANCELLED, TaskStatus.SKIPPED)
    return record.index is not None and state.tasks[node.task.task_id].status in ended_well


_ENDINGS: Final[dict[str, f.CancelCause]] = {"returned": "completed", "raised": "raised", "continued": "continued"}


def _end_planned(state: RunState, closed: f.PlanClosed, now: int) -> Facts:
    """The function of a workflow as code has ended. What it left open is cancelled first."""
    if state.active or state.ready or state.unknown or state.lingering:
        return [_stop_everything(_ENDINGS[closed.how], f"its function has {closed.how}", now)]
    if closed.how == "returned":
        return (f.WorkflowCompleted(),)
    if closed.how == "continued":
        return (f.WorkflowContinuing(closed.value),)
    return (_raised(state, closed),)


def _raised(state: RunState, closed: f.PlanClosed | None) -> Fact:
    if closed is None or closed.error is None:
        raise InvariantError(f"the function of run {state.stream_id!r} has raised nothing")
    failed = [record.key for record in state.tasks.values() if record.status is TaskStatus.FAILED]
    return _undone_or_failed(state, closed.error, failed[:MAX_LISTED], [])


def _failed(state: RunState, failed: list[TaskRecord], now: int) -> Fact:
    keys = [record.key for record in failed]
    if (asks := ask_for_a_plan(state, keys, now)) is not None:
        return asks
    first = next((record.errors[-1] for record in failed if record.errors), None)
    message = f"{len(failed)} task{'s' if len(failed) > 1 else ''} failed, the first: {keys[0]!r} with {first}"
    error = ErrorInfo("WorkflowExecutionError", message[:1_000], "workflow_failed", at=now)
    return _undone_or_failed(state, error, keys[:MAX_LISTED], _remaining(state))


def _undone_or_failed(state: RunState, error: ErrorInfo, failed: list[str], remaining: list[str]) -> Fact:
    """A run that did something which can be undone undoes it before it ends."""
    if state.undoable:
        return f.CompensationStarted(error=error, failed=failed, remaining=remaining)
    return f.WorkflowFailed(error=error, failed=failed, remaining=remaining)


def _completed(state: RunState, now: int) -> Fact:
    """Every task is done; a result that cannot be made of theirs is a failure of the run, not of whoever asks for it."""
    output = state.laid_out.output
    try:
        if output is not None:
            output.resolve(lookup(state))
    except InvalidInput as error:
        problem = ErrorInfo("InvalidInput", f"the output: {error}"[:1_000], error.code, is_permanent=True, at=now)
        return _undone_or_failed(state, problem, [], [])
    return f.WorkflowCompleted()


def _end_cancelled(state: RunState, now: int) -> Facts:
    cancel = state.cancel
    if cancel is None:
        raise InvariantError(f"run {state.stream_id!r} is being cancelled for no reason")
    if cancel.cause == "abort":
        if state.undoable:
            message = f"aborted by {cancel.requested_by}" + (f": {cancel.reason}" if cancel.reason else "")
            error = ErrorInfo("WorkflowAborted", message, "aborted", is_permanent=True, at=now)
            return (f.CompensationStarted(error=error, remaining=_remaining(state)),)
        return (f.WorkflowCancelled(cancel.requested_by, cancel.reason),)
    if cancel.cause == "completed":
        return (_completed(state, now),)
    if cancel.cause == "raised":
        return (_raised(state, None if state.planning is None else state.planning.closed),)
    if cancel.cause == "continued":
        return (f.WorkflowContinuing(msgspec.Raw(state.continuation or codec.NULL)),)
    kind = "TaskTimeout" if cancel.cause == "timeout" else "BoundExceeded"
    failed = [record.key for record in state.tasks.values() if record.status is TaskStatus.FAILED]
    error = ErrorInfo(kind, cancel.reason, cancel.cause, is_permanent=True, at=now)
    return (_undone_or_failed(state, error, failed[:MAX_LISTED], _remaining(state)),)


def _remaining(state: RunState) -> list[str]:
    never_ran = (TaskStatus.READY, TaskStatus.PENDING)
    remaining: list[str] = []
    for node in state.laid_out.nodes:
        record = state.tasks.get(node.task.task_id)
        if record is None and node.is_alternative:
            continue
        if (
            record is None
            or record.status in never_ran
            or (record.status is TaskStatus.CANCELLED and record.attempt == 0)
        ):
            remaining.append(node.task.task_id)
            if len(remaining) == MAX_LISTED:
                break
    return remaining
