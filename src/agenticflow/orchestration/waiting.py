"""What each open branch of a run waits for: as data, and in one sentence.

Pure. A ``Wait`` comes out of the run's state, closer where the process that runs it says what it does with an attempt (in work, in a
queue, before a lock). Whoever shows why a run does not move, shows this: there is no second truth beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from shlex import quote

import msgspec

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.advance import MAX_IN_FLIGHT, room_of
from agenticflow.orchestration.approvals.requests import approval_id
from agenticflow.orchestration.guest import child_id
from agenticflow.orchestration.repair.asking import is_asking
from agenticflow.orchestration.state import IN_FLIGHT, TOTAL, Phase, RunState, TaskRecord, TaskStatus, takes_place
from agenticflow.orchestration.statuses import ENDS

__all__ = [
    "AsksForPlan",
    "AwaitsAnswer",
    "AwaitsSignal",
    "BeingCancelled",
    "DependenciesOpen",
    "HandedOut",
    "InQuarantine",
    "InQueue",
    "InWork",
    "Lost",
    "NeedsCode",
    "NeedsPermit",
    "NextRun",
    "NoRoom",
    "NotRegistered",
    "OutcomeInQuestion",
    "Paused",
    "Ready",
    "Reason",
    "Retrying",
    "SubWorkflow",
    "TimerRuns",
    "Wait",
    "branch_waits",
    "moment_of",
    "sentence",
    "unblocked_by",
    "waits_of",
    "words_of",
]


class InWork(msgspec.Struct, frozen=True, omit_defaults=True, tag="in_work"):
    """Its handler runs."""

    performer_id: str
    attempt: int
    doing: str = ""
    """What an agent that asks a model does in it now, as far as that is recorded."""


class HandedOut(msgspec.Struct, frozen=True, tag="handed_out"):
    """It is scheduled; only the process that owns the store knows whether it queues or runs."""

    performer_id: str
    attempt: int


class InQueue(msgspec.Struct, frozen=True, tag="in_queue"):
    """Its agent has as much in work as it takes."""

    performer_id: str
    ahead: int
    """Attempts that go first."""
    concurrency: int


class NeedsPermit(msgspec.Struct, frozen=True, tag="permit"):
    """Somebody else holds the lock, or the limit is reached."""

    key: str
    held_by: tuple[str, ...]
    """Streams of the runs that hold it."""
    ahead: int


class TimerRuns(msgspec.Struct, frozen=True, tag="timer"):
    """A moment has to come."""


class Retrying(msgspec.Struct, frozen=True, tag="retry"):
    """The last attempt failed, the next has its moment."""

    attempt: int
    """Number of the next one."""
    error: ErrorInfo | None


class AwaitsSignal(msgspec.Struct, frozen=True, tag="signal"):
    """Somebody has to send a signal."""

    signal: str


class AwaitsAnswer(msgspec.Struct, frozen=True, tag="approval"):
    """A person has to answer: of several questions of one handler the first."""

    question: str
    approval_id: str = ""
    people: tuple[str, ...] = ()
    """Who may answer; empty for anybody."""
    level: int = 0
    """How many steps of the escalation have come."""
    others: int = 0
    """How many more questions of the same handler are open."""


class SubWorkflow(msgspec.Struct, frozen=True, tag="sub_workflow"):
    """Another run has to end; ``waits`` is what that one waits for, as far as it was asked."""

    workflow_id: str
    waits: tuple[Wait, ...] = ()


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """Nothing new is scheduled."""


class OutcomeInQuestion(msgspec.Struct, frozen=True, tag="unknown_outcome"):
    """Nobody knows whether at-most-once work happened: its check function or a person has to say."""

    check: str = ""
    """How its check function stands, in words; empty where there is none, or nobody is asked."""


class InQuarantine(msgspec.Struct, frozen=True, tag="quarantine"):
    """It has lost too many processes: a person has to say whether it runs again."""

    losses: int
    letter_id: str


class AsksForPlan(msgspec.Struct, frozen=True, tag="replan"):
    """It would fail, and whoever plans may propose something else first."""

    number: int


class NotRegistered(msgspec.Struct, frozen=True, tag="not_registered"):
    """No agent, handler or workflow here can do it. ``words`` say which."""

    words: str


class NeedsCode(msgspec.Struct, frozen=True, tag="needs_code"):
    """The function that plans the run is not registered here, or does not repeat what is recorded. ``words`` say which."""

    words: str


class BeingCancelled(msgspec.Struct, frozen=True, tag="being_cancelled"):
    """It was told to stop and has a grace to do so."""


class NoRoom(msgspec.Struct, frozen=True, tag="no_room"):
    """As much is in work as the run, or the map, allows."""

    limit: int


class NextRun(msgspec.Struct, frozen=True, tag="next_run"):
    """This run is over but for the start of the one that goes on in its place."""

    run_no: int


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """It starts at the next decision."""


class DependenciesOpen(msgspec.Struct, frozen=True, tag="dependencies"):
    """What it depends on has not ended."""

    task_ids: tuple[str, ...]


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """It is in work by the history, and nobody in the process that runs it knows of it: a breach of liveness."""


Reason = (
    InWork
    | HandedOut
    | InQueue
    | NeedsPermit
    | TimerRuns
    | Retrying
    | AwaitsSignal
    | AwaitsAnswer
    | SubWorkflow
    | Paused
    | OutcomeInQuestion
    | InQuarantine
    | AsksForPlan
    | NotRegistered
    | NeedsCode
    | BeingCancelled
    | NoRoom
    | NextRun
    | Ready
    | DependenciesOpen
    | Lost
)


class Wait(msgspec.Struct, frozen=True):
    """What one branch waits for. Moments in nanoseconds since the epoch."""

    task_key: str
    """Empty for the run as a whole."""
    reason: Reason
    since: int | None = None
    until: int | None = None
    """When it ends by itself at the latest: the moment of a timer, a time limit, the end of a grace."""

    @property
    def is_for_others(self) -> bool:
        """Whether somebody or something from outside the engine has to give it, or a moment has to come."""
        return isinstance(
            self.reason,
            (Paused, AwaitsSignal, AwaitsAnswer, TimerRuns, Retrying, OutcomeInQuestion, InQuarantine, NotRegistered),
        )


def moment_of(nanoseconds: int) -> datetime:
    """Return a moment as people read it."""
    return datetime.fromtimestamp(nanoseconds / 1_000_000_000, UTC)


# --- what a run waits for -----------------------------------------------------------------------------------------------


def waits_of(state: RunState, held: Mapping[int, Reason] | None = None) -> list[Wait]:
    """Return what every open branch waits for, the run as a whole first.

    ``held`` is what this process does with each attempt, by token. Without it nobody is asked, and an attempt is where the history has
    it; with it, an attempt that is not there is ``Lost``.
    """
    if state.phase in (Phase.NEW, Phase.ENDED):
        return []
    if state.phase is Phase.CONTINUING:
        return [Wait("", NextRun(state.run_no + 1))]
    found: list[Wait] = []
    if state.phase is Phase.CANCELLING and state.cancel is not None:
        found.append(Wait("", BeingCancelled(), until=state.cancel.grace_until))
    elif state.is_paused:
        found.append(Wait("", Paused()))
    if state.phase is Phase.RUNNING and is_asking(state) and (asked := state.replanning) is not None:
        found.append(Wait("", AsksForPlan(asked.asked), asked.since, asked.due))
    limits = {key: due for due, _, kind, key in state.timers if kind == TOTAL}
    for record in state.tasks.values():
        if (reason := _reason(state, record, held)) is not None:
            found.append(Wait(record.key, reason, _since(state, record), _until(state, record, limits)))
    told = {wait.task_key for wait in found}
    for key, until in state.lingering.values():
        # An attempt that was given up, of a task with nothing else to wait for: the end of the run waits for it.
        if key not in told:
            found.append(Wait(key, BeingCancelled(), state.tasks[key].scheduled_at, until))
    return found


def branch_waits(state: RunState, task_key: str, held: Mapping[int, Reason] | None = None) -> list[Wait]:
    """Return what one task waits for: itself, its items, or else what it depends on, followed to where something can be done.

    Empty when it has ended. Raises ``InvalidInput`` for a task that is not there.
    """
    by_id = state.laid_out.by_id
    task_id = task_key.partition("[")[0]
    if task_key not in state.tasks and task_key not in by_id:
        raise InvalidInput(
            f"workflow {state.workflow_id!r} has no task {task_key!r:.80}", hint=f"there are {', '.join(by_id)}"
        )
    waits = waits_of(state, held)
    if not waits or (task_key in state.tasks and state.tasks[task_key].status in ENDS):
        return []
    wanted, asked = {task_id}, [task_id]
    found: list[Wait] = [wait for wait in waits if not wait.task_key]
    if task_id not in by_id:  # it undoes another
        return found + [wait for wait in waits if wait.task_key == task_key]
    while asked:
        name = asked.pop(0)
        if name in state.tasks:
            continue
        before = tuple(
            other
            for index in state.laid_out.nodes[by_id[name]].depends_on
            if (other := state.laid_out.nodes[index].task.task_id) not in state.tasks
            or state.tasks[other].status not in ENDS
        )
        found.append(Wait(name, DependenciesOpen(before)))
        asked += [other for other in before if other not in wanted]
        wanted.update(before)
    for wait in waits:
        name, bracket, _ = wait.task_key.partition("[")
        if name in wanted and (not bracket or name != task_id or task_key in (name, wait.task_key)):
            found.append(wait)
    return found


def _reason(state: RunState, record: TaskRecord, held: Mapping[int, Reason] | None) -> Reason | None:
    status, task = record.status, record.node.task
    if status in IN_FLIGHT:
        return BeingCancelled() if state.phase is Phase.CANCELLING else _reason_in_flight(state, record, held)
    if status is TaskStatus.WAITING:
        if task.signal is not None:
            return AwaitsSignal(task.signal)
        request, *others = state.requests.get(record.key, {}).values() or (None,)
        if request is None:
            return TimerRuns()
        name = approval_id(state.workflow_id, state.run_no, record.key, request.token)
        return AwaitsAnswer(request.question, name, tuple(request.people), request.level, len(others))
    if status is TaskStatus.RETRYING:
        return Retrying(record.attempt + 1, record.errors[-1] if record.errors else None)
    if status is TaskStatus.UNKNOWN:
        known = None if held is None else held.get(record.token)
        return known if isinstance(known, OutcomeInQuestion) else OutcomeInQuestion()
    if status is TaskStatus.QUARANTINED:
        suspect = state.suspects[record.key]
        name = approval_id(state.workflow_id, state.run_no, record.key, suspect.token)
        return InQuarantine(len(suspect.losses), name)
    if status is TaskStatus.READY:
        is_full = room_of(state) <= 0 and takes_place(record) and not state.is_paused
        return NoRoom(state.laid_out.definition.max_parallel or MAX_IN_FLIGHT) if is_full else Ready()
    is_waiting = record.key in state.again or state.next_item.get(record.key, 0) < len(record.items or ())
    if status is TaskStatus.EXPANDED and is_waiting:
        return NoRoom(task.max_parallel or 1)
    return None


def _reason_in_flight(state: RunState, record: TaskRecord, held: Mapping[int, Reason] | None) -> Reason:
    if held is not None:
        return held.get(record.token, Lost())
    if record.node.task.workflow is not None:
        started_for = record.undoes or record.key
        return SubWorkflow(child_id(state.workflow_id, started_for, state.generation_of(started_for)))
    kind = InWork if record.status is TaskStatus.RUNNING else HandedOut
    return kind(record.performer_id, record.attempt)


def _since(state: RunState, record: TaskRecord) -> int:
    if record.status in IN_FLIGHT or record.status is TaskStatus.UNKNOWN:
        return record.scheduled_at
    if record.status is TaskStatus.WAITING and (asked := state.requests.get(record.key)):
        return min(request.asked_at for request in asked.values())
    if record.status is TaskStatus.QUARANTINED:
        return state.suspects[record.key].since
    if record.errors and record.errors[-1].at:
        return record.errors[-1].at
    if record.index and record.node.until is not None:
        return state.tasks[f"{record.node.task.task_id}[{record.index - 1}]"].ended_at
    nodes = state.laid_out.nodes
    ends = (state.tasks.get(nodes[index].task.task_id) for index in record.node.depends_on)
    # A branch begins to wait in the commit in which the last thing it depended on ended.
    return max((end.ended_at for end in ends if end is not None), default=state.started_at) or state.started_at


def _until(state: RunState, record: TaskRecord, limits: Mapping[str, int]) -> int | None:
    if record.status in IN_FLIGHT:
        grace = state.cancel.grace_until if state.phase is Phase.CANCELLING and state.cancel is not None else None
        moments = [record.deadline, limits.get(record.key), grace]
    elif record.status is TaskStatus.WAITING and (asked := state.requests.get(record.key)):
        moments = [limits.get(record.key), *(request.terms.deadline for request in asked.values())]
    elif record.status is TaskStatus.RETRYING or (record.status is TaskStatus.WAITING and record.due):
        moments = [record.due]
    else:
        moments = [limits.get(record.key)]
    return min(
        (moment for moment in moments if moment is not None),
        default=state.deadline if state.phase is Phase.RUNNING else None,
    )


# --- in words -----------------------------------------------------------------------------------------------------------


def words_of(wait: Wait) -> str:
    """Return what the branch waits for, without since when."""
    key, reason = wait.task_key, wait.reason
    task = f"task {key!r}"
    match reason:
        case Paused():
            return "the run is paused"
        case AwaitsSignal(signal):
            return f"{task} waits for the signal {signal!r}"
        case AwaitsAnswer(question, _, people, _, others):
            more = f" (and {others} more)" if others else ""
            return f"{task} waits for {' or '.join(people) or 'somebody'} to answer: {question}{more}"
        case TimerRuns():
            return f"{task} waits until {moment_of(wait.until or 0)}"
        case Retrying():
            return f"{task} is tried again at {moment_of(wait.until or 0)}"
        case OutcomeInQuestion(check):
            return f"somebody has to say what became of {task}" + (f" ({check})" if check else "")
        case InQuarantine(losses):
            return f"{task} is in quarantine, because its process died {losses} times while it ran"
        case NotRegistered(words) | NeedsCode(words):
            return words
        case InWork(performer_id, attempt, doing):
            return f"{task} is in work at {performer_id!r}, attempt {attempt}{doing and ': '}{doing}"
        case HandedOut(performer_id, attempt):
            return f"{task} is scheduled for {performer_id!r}, attempt {attempt}"
        case InQueue(performer_id, ahead, concurrency):
            return f"{task} waits for one of the {concurrency} places at {performer_id!r}, {ahead} go first"
        case NeedsPermit(permit, held_by, ahead):
            who = ", ".join(map(repr, held_by)) or "nobody at the moment"
            return f"{task} waits for {permit!r}, which is held by {who}, {ahead} go first"
        case SubWorkflow(workflow_id, waits):
            inner = f", where {'; '.join(words_of(one) for one in waits)}" if waits else ""
            return f"{task} waits for the end of workflow {workflow_id!r}{inner}"
        case _:
            return _words_of_the_engine(wait, task)


def _words_of_the_engine(wait: Wait, task: str) -> str:
    """What is the engine's own business."""
    what = task if wait.task_key else "the run"
    match wait.reason:
        case BeingCancelled():
            return f"{what} was told to stop"
        case NoRoom(limit):
            return f"{what} waits until less than {limit} are in work"
        case AsksForPlan(number):
            return f"{what} would fail, and waits for another plan, request {number}"
        case NextRun(run_no):
            return f"{what} waits for run {run_no}, which goes on in its place, to be started"
        case DependenciesOpen(task_ids):
            return f"{what} waits for {', '.join(map(repr, task_ids)) or 'its turn'}"
        case Ready():
            return f"{what} is ready"
        case _:
            return f"{what} is in work by the history, and nobody here knows of it"


def unblocked_by(wait: Wait, workflow_id: str) -> str:
    """Return what would let the branch go on."""
    key, workflow_id = quote(wait.task_key), quote(workflow_id)
    match wait.reason:
        case Paused():
            return f"`agenticflow runs unpause {workflow_id}` lets it go on"
        case AwaitsSignal(signal):
            return f"`agenticflow runs signal {workflow_id} {quote(signal)}` sends it"
        case AwaitsAnswer(_, name):
            return f"`agenticflow approvals approve {quote(name)}` (or `reject`) answers"
        case Retrying():
            return f"it comes by itself; `agenticflow runs retry {workflow_id} {key}` tries it now"
        case TimerRuns():
            return "it comes by itself"
        case OutcomeInQuestion():
            return f"`agenticflow runs resolve {workflow_id} {key} completed` (or failed, or run-again) says it"
        case AsksForPlan():
            return "whoever plans has to answer, or its time to pass; then it fails"
        case InQuarantine(_, name):
            name = quote(name)
            return f"`agenticflow dead-letters retry {name}` runs it again, `agenticflow dead-letters discard {name}` has it failed"
        case NotRegistered():
            return "registering it, or its recovery, starts the task"
        case NeedsCode():
            return "a program with the function it began with, or with the change marked by ctx.patched, lets it go on"
        case InWork() | HandedOut():
            return "its handler has to end" + (", or its limit to pass" if wait.until else "")
        case InQueue(performer_id):
            return f"{performer_id!r} has to end something, or needs a higher concurrency"
        case NeedsPermit():
            return "whoever holds it has to end"
        case SubWorkflow(child):
            return f"`agenticflow debug why {quote(child)}` says what that one needs"
        case BeingCancelled():
            return "it ends with its handlers, or with its grace"
        case NoRoom():
            return "something in work has to end"
        case Ready() | NextRun():
            return "the process that runs the store does it"
        case DependenciesOpen():
            return "they have to end"
        case _:
            return "the engine hands it out again by itself, or a restart of its process does"


def sentence(wait: Wait, workflow_id: str) -> str:
    """Return one sentence: what the branch waits for, since when, until when, and what would unblock it."""
    parts = [words_of(wait)]
    if wait.since:
        parts.append(f"since {moment_of(wait.since):%Y-%m-%d %H:%M:%S}Z")
    if wait.until and not isinstance(wait.reason, (TimerRuns, Retrying)):
        parts.append(f"until {moment_of(wait.until):%Y-%m-%d %H:%M:%S}Z at the latest")
    if isinstance(wait.reason, Retrying) and wait.reason.error is not None:
        parts.append(f"after {wait.reason.error}")
    return f"{', '.join(parts)}; {unblocked_by(wait, workflow_id)}"
