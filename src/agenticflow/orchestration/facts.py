"""What can be true of a workflow run. Data only; ``evolve`` gives it meaning.

Task keys are the task id, with ``[index]`` for an item of a map. Values (``result``, ``value``, ``input``) are encoded
already, and a large one is a blob reference (``core.values``). Moments are nanoseconds since the epoch.
"""

from __future__ import annotations

from typing import ClassVar, Final, Literal

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact, FactCodec
from agenticflow.core.engine import Permit
from agenticflow.core.results import ErrorInfo, OutcomeKind
from agenticflow.orchestration.approvals.facts import (
    AnswersKept,
    ApprovalAnswered,
    ApprovalDelegated,
    ApprovalEscalated,
    InterruptAnswered,
    InterruptRefused,
    InterruptWithdrawn,
    TaskInterrupted,
    TaskInterruptedAgain,
)
from agenticflow.orchestration.approvals.terms import Terms
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.replanning.facts import ReplanAgreed, ReplanRefused, ReplanRequested
from agenticflow.orchestration.suspicion.facts import AttemptsInterrupted, ProcessLost, TaskQuarantined

__all__ = [
    "FACTS",
    "ApprovalGranted",
    "ApprovalRejected",
    "ApprovalRequired",
    "ChoiceMade",
    "CompensationStarted",
    "Course",
    "FeedbackGiven",
    "LoopContinued",
    "LoopEnded",
    "MapExpanded",
    "PatchMarked",
    "PlanClosed",
    "PlannedStep",
    "SignalAwaited",
    "SignalReceived",
    "StepsPlanned",
    "TaskCancelled",
    "TaskCompleted",
    "TaskFailed",
    "TaskLateOutcome",
    "TaskOutcomeUnknown",
    "TaskReassigned",
    "TaskRerunRequested",
    "TaskResultGiven",
    "TaskRetryRequested",
    "TaskRetryScheduled",
    "TaskScheduled",
    "TaskSkipped",
    "TaskStarted",
    "TasksCancelled",
    "TimerFired",
    "TimerSet",
    "WorkflowCancelRequested",
    "WorkflowCancelled",
    "WorkflowCompensated",
    "WorkflowCompleted",
    "WorkflowContinued",
    "WorkflowContinuing",
    "WorkflowFailed",
    "WorkflowModified",
    "WorkflowPaused",
    "WorkflowResumed",
    "WorkflowStarted",
]

CancelCause = Literal["abort", "timeout", "history_limit", "completed", "continued", "raised"]
_NOTHING: Final = msgspec.Raw(codec.NULL)
"""Encoded null. (msgspec cannot read ``Raw | None`` back: it takes only null.)"""


class WorkflowStarted(Fact, frozen=True, kw_only=True):
    """A run began. It carries all it needs: the definition, the input, and what it keeps of the run before."""

    event_type: ClassVar[str] = "workflow_started"
    workflow_id: str
    run_no: int
    name: str
    definition: msgspec.Raw
    """The encoded definition, or a reference to it."""
    input: msgspec.Raw
    seed: str
    """Source of all randomness in this run."""
    fingerprint: str
    started_by: str
    deadline: int | None = None
    kept: msgspec.Raw = _NOTHING
    """Encoded ``{task key: encoded result}`` of tasks that are not run again, or a reference to it; null for none."""
    generations: dict[str, int] = {}
    """Generations above 0, by task key."""
    signals: msgspec.Raw = _NOTHING
    """Encoded ``{name: [encoded values]}`` of signals that no task of the run before took, or a reference to it; null for none."""
    parent: tuple[str, str, int] | None = None
    """Stream, task key and token of the attempt that this run is a sub-workflow of."""
    depth: int = 0
    """How many runs it is a sub-workflow of, one inside the other."""
    first_generation: int = 0
    """Generation of every task that was not run again within this run: higher in each run that continues another as new."""


class TaskScheduled(Fact, frozen=True, gc=False):
    """An attempt is due now. The version of this event is the attempt's token."""

    event_type: ClassVar[str] = "task_scheduled"
    task_key: str
    attempt: int = 1
    total_deadline: int | None = None
    """On the first attempt of a task with a total limit."""
    permits: tuple[Permit, ...] = ()
    """On the first attempt of a task with locks or limits: their keys, resolved."""


class TaskStarted(Fact, frozen=True, gc=False):
    """A handler starts (at-most-once work: recorded before), or has been running for a while (other work)."""

    event_type: ClassVar[str] = "task_started"
    task_key: str
    token: int
    deadline: int | None = None


class TaskCompleted(Fact, frozen=True, gc=False):
    """A task has its result."""

    event_type: ClassVar[str] = "task_completed"
    task_key: str
    token: int
    result: msgspec.Raw
    decided_by: str = ""
    """Who gave the result when it was not the handler."""
    is_undoable: bool = False
    """Of a sub-workflow: whether it did something that it can undo."""


class TaskRetryScheduled(Fact, frozen=True):
    """An attempt failed and the next is due at ``retry_at``."""

    event_type: ClassVar[str] = "task_retry_scheduled"
    task_key: str
    token: int
    error: ErrorInfo
    retry_at: int
    grace_until: int | None = None
    """Set when the handler of the failed attempt still runs, out of reach: until when the end of the run waits for it."""


class TaskFailed(Fact, frozen=True):
    """A task has failed for good."""

    event_type: ClassVar[str] = "task_failed"
    task_key: str
    token: int
    error: ErrorInfo
    grace_until: int | None = None
    """Set when its handler still runs, out of reach: until when the end of the run waits for it."""
    decided_by: str = ""


class TaskReassigned(Fact, frozen=True):
    """A task has failed for good with one agent and is given to the next."""

    event_type: ClassVar[str] = "task_reassigned"
    task_key: str
    token: int
    error: ErrorInfo
    performer_id: str
    """Who gets it."""
    grace_until: int | None = None


class TaskSkipped(Fact, frozen=True, gc=False):
    """A task will not run: its condition does not hold, everything it hangs on was skipped, or somebody said so."""

    event_type: ClassVar[str] = "task_skipped"
    task_key: str
    reason: str
    decided_by: str = ""
    """Who said so; empty when it follows from the definition."""


class TaskCancelled(Fact, frozen=True, gc=False):
    """An attempt was told to stop, and did."""

    event_type: ClassVar[str] = "task_cancelled"
    task_key: str
    token: int


class TasksCancelled(Fact, frozen=True):
    """Tasks are not wanted any more. What is in work is told to stop and may end until ``grace_until``; it advances nothing."""

    event_type: ClassVar[str] = "tasks_cancelled"
    task_keys: tuple[str, ...]
    cancelled_by: str
    """Key of the task whose end cancelled them; empty when a person did."""
    grace_until: int
    decided_by: str = ""
    reason: str = ""


class ChoiceMade(Fact, frozen=True, gc=False):
    """A choice has chosen: the other tasks it could have chosen will not run."""

    event_type: ClassVar[str] = "choice_made"
    task_key: str
    chosen: tuple[str, ...]


class LoopContinued(Fact, frozen=True, gc=False):
    """A loop has its next iteration, from 0; it starts at ``due`` when there is a delay."""

    event_type: ClassVar[str] = "loop_continued"
    task_key: str
    iteration: int
    due: int | None = None


class LoopEnded(Fact, frozen=True, gc=False):
    """A loop is completed with the result of its last iteration."""

    event_type: ClassVar[str] = "loop_ended"
    task_key: str
    iterations: int


class TaskOutcomeUnknown(Fact, frozen=True, gc=False):
    """Nobody can say whether the work of this attempt happened."""

    event_type: ClassVar[str] = "task_outcome_unknown"
    task_key: str
    token: int
    reason: str


class TaskLateOutcome(Fact, frozen=True):
    """An attempt that had been given up has ended after all. It advances nothing."""

    event_type: ClassVar[str] = "task_late_outcome"
    task_key: str
    token: int
    kind: OutcomeKind
    result: msgspec.Raw = _NOTHING
    error: ErrorInfo | None = None
    is_undoable: bool = False
    """Of a sub-workflow: whether it did something that it can undo."""


class TaskRerunRequested(Fact, frozen=True, gc=False):
    """Somebody asked to run the task again; its effect key changes with the generation."""

    event_type: ClassVar[str] = "task_rerun_requested"
    task_key: str
    generation: int
    requested_by: str


class TaskRetryRequested(Fact, frozen=True, gc=False):
    """Somebody asked to try the task now: the same work, with the same effect key. Of a map or a loop: what has failed of it."""

    event_type: ClassVar[str] = "task_retry_requested"
    task_key: str
    decided_by: str
    reason: str = ""


class TaskResultGiven(Fact, frozen=True, gc=False):
    """Somebody gave a task its result: no handler did, and none will."""

    event_type: ClassVar[str] = "task_result_given"
    task_key: str
    result: msgspec.Raw
    decided_by: str
    reason: str = ""


class MapExpanded(Fact, frozen=True, gc=False):
    """A map has its list: one item of work per element."""

    event_type: ClassVar[str] = "map_expanded"
    task_key: str
    count: int


class TimerSet(Fact, frozen=True, gc=False):
    """A timer task waits until ``due``."""

    event_type: ClassVar[str] = "timer_set"
    task_key: str
    due: int


class TimerFired(Fact, frozen=True, gc=False):
    """A timer task is done."""

    event_type: ClassVar[str] = "timer_fired"
    task_key: str


class SignalAwaited(Fact, frozen=True, gc=False):
    """A task waits for a signal."""

    event_type: ClassVar[str] = "signal_awaited"
    task_key: str
    signal: str
    total_deadline: int | None = None


class ApprovalRequired(Fact, frozen=True, gc=False):
    """A task waits for a person's answer."""

    event_type: ClassVar[str] = "approval_required"
    task_key: str
    question: str
    total_deadline: int | None = None
    terms: Terms | None = None
    """Left out: anybody may answer, and one answer decides."""


class ApprovalGranted(Fact, frozen=True, gc=False):
    """A person said yes."""

    event_type: ClassVar[str] = "approval_granted"
    task_key: str
    token: int
    decided_by: str
    comment: str = ""
    result: msgspec.Raw = _NOTHING
    given: str = ""
    """Fingerprint of what was given, when the result says more."""


class ApprovalRejected(Fact, frozen=True):
    """A person said no: the task has failed."""

    event_type: ClassVar[str] = "approval_rejected"
    task_key: str
    token: int
    decided_by: str
    error: ErrorInfo


class SignalReceived(Fact, frozen=True, gc=False):
    """A signal has arrived; it is kept until a task takes it."""

    event_type: ClassVar[str] = "signal_received"
    signal: str
    value: msgspec.Raw
    sent_by: str


class FeedbackGiven(Fact, frozen=True, gc=False):
    """A person said something to the run: handlers that run and those that follow find it in their context."""

    event_type: ClassVar[str] = "feedback_given"
    feedback: msgspec.Raw
    given_by: str
    task_key: str = ""
    """Whom it is for; empty for every task."""
    reason: str = ""
    said_at: int | None = None
    """When it was said, if that was to a run before this one."""


class WorkflowModified(Fact, frozen=True, gc=False):
    """A person changed tasks that had not started: the run goes on with the definition this gives, and so does the next run."""

    event_type: ClassVar[str] = "workflow_modified"
    modifications: msgspec.Raw
    """Encoded ``[{"add": task}, {"replace": task}, {"remove": task id}]``, or a reference to it."""
    modified_by: str
    reason: str = ""
    generations: dict[str, int] = {}
    """Of tasks that were replaced or removed, by task id: what is called so from now on is other work."""
    number: int = 0
    """Of the request for another plan that this answers; 0 when a person did it unasked."""


class WorkflowPaused(Fact, frozen=True, gc=False):
    """No new work is scheduled until the run is resumed; work in flight goes on."""

    event_type: ClassVar[str] = "workflow_paused"
    requested_by: str
    reason: str = ""


class WorkflowResumed(Fact, frozen=True, gc=False):
    """Scheduling goes on."""

    event_type: ClassVar[str] = "workflow_resumed"
    requested_by: str
    reason: str = ""


class WorkflowCancelRequested(Fact, frozen=True, gc=False):
    """The run is to end: nothing starts or advances any more, handlers in flight are told to stop."""

    event_type: ClassVar[str] = "workflow_cancel_requested"
    cause: CancelCause
    requested_by: str
    reason: str
    grace_until: int


class WorkflowContinuing(Fact, frozen=True, gc=False):
    """Nothing of this run is in work any more; the next, with this ``input``, has to be started."""

    event_type: ClassVar[str] = "workflow_continuing"
    input: msgspec.Raw


class WorkflowContinued(Fact, frozen=True, gc=False):
    """Terminal: the next run has been started and goes on in the place of this one."""

    event_type: ClassVar[str] = "workflow_continued"


class CompensationStarted(Fact, frozen=True, kw_only=True):
    """The run has failed, or is to end: what was completed and can be undone is undone now, the last first."""

    event_type: ClassVar[str] = "compensation_started"
    error: ErrorInfo
    """Why."""
    failed: list[str] = []
    """Keys of failed tasks, at most 100."""
    remaining: list[str] = []
    """Ids of tasks that never ran, at most 100."""
    undoing: msgspec.Raw = _NOTHING
    """Of a run that undoes the run before, and does nothing else: an encoded ``Course``, or a reference to it; null for every other."""


class WorkflowCompensated(Fact, frozen=True, gc=False):
    """Terminal: the run failed or was aborted, and what it had done is undone, as far as it can be."""

    event_type: ClassVar[str] = "workflow_compensated"


class WorkflowCompleted(Fact, frozen=True, gc=False):
    """Terminal: every task is completed or skipped."""

    event_type: ClassVar[str] = "workflow_completed"


class WorkflowFailed(Fact, frozen=True, kw_only=True):
    """Terminal: at least one task failed, or a limit of the run was passed."""

    event_type: ClassVar[str] = "workflow_failed"
    error: ErrorInfo
    failed: list[str]
    """Keys of failed tasks, at most 100."""
    remaining: list[str]
    """Ids of tasks that never ran, at most 100."""


class WorkflowCancelled(Fact, frozen=True, gc=False):
    """Terminal: the run was aborted and nothing of it runs any more."""

    event_type: ClassVar[str] = "workflow_cancelled"
    requested_by: str
    reason: str


class PlannedStep(msgspec.Struct, frozen=True, array_like=True):
    """A step as the function of a workflow as code asked for it."""

    task: TaskDefinition
    """Without params and dependencies."""
    params: msgspec.Raw
    """Encoded and final: nothing in them is a reference to a result. Or where they are stored."""


class Course(msgspec.Struct, frozen=True):
    """What a run did that the next run of its chain undoes."""

    order: list[str]
    """Keys of what was completed and can be undone, in the order of completion."""
    items: dict[str, list[bytes]]
    """Of maps among them the encoded elements, by task id."""


class StepsPlanned(Fact, frozen=True, gc=False):
    """The function of a workflow as code has asked for these steps, knowing the ends of the first ``after`` steps that ended."""

    event_type: ClassVar[str] = "steps_planned"
    after: int
    steps: tuple[PlannedStep, ...] = ()
    cancels: tuple[str, ...] = ()
    """Keys of steps it does not want any more."""


class PatchMarked(Fact, frozen=True, gc=False):
    """The function has come to a change of its code, and goes the new way in this run."""

    event_type: ClassVar[str] = "patch_marked"
    after: int
    patch: str


class PlanClosed(Fact, frozen=True, kw_only=True):
    """The function has ended: it returned, raised, or continues as a new run. Steps that are still open are cancelled."""

    event_type: ClassVar[str] = "plan_closed"
    after: int
    how: Literal["returned", "raised", "continued"]
    value: msgspec.Raw = _NOTHING
    """Encoded: what it returned, or the input of the next run. Or where that is stored."""
    error: ErrorInfo | None = None
    """What it raised."""


FACTS: Final = FactCodec(
    [
        WorkflowStarted,
        TaskScheduled,
        TaskStarted,
        TaskCompleted,
        TaskRetryScheduled,
        TaskFailed,
        TaskReassigned,
        TaskSkipped,
        TaskCancelled,
        TasksCancelled,
        ChoiceMade,
        LoopContinued,
        LoopEnded,
        TaskOutcomeUnknown,
        TaskLateOutcome,
        TaskRerunRequested,
        TaskRetryRequested,
        TaskResultGiven,
        MapExpanded,
        TimerSet,
        TimerFired,
        SignalAwaited,
        SignalReceived,
        FeedbackGiven,
        ApprovalRequired,
        ApprovalGranted,
        ApprovalRejected,
        WorkflowModified,
        ApprovalAnswered,
        ApprovalEscalated,
        ApprovalDelegated,
        TaskInterrupted,
        TaskInterruptedAgain,
        InterruptWithdrawn,
        InterruptRefused,
        InterruptAnswered,
        AnswersKept,
        WorkflowPaused,
        WorkflowResumed,
        WorkflowCancelRequested,
        WorkflowContinuing,
        WorkflowContinued,
        CompensationStarted,
        WorkflowCompensated,
        WorkflowCompleted,
        WorkflowFailed,
        WorkflowCancelled,
        StepsPlanned,
        PatchMarked,
        PlanClosed,
        ProcessLost,
        AttemptsInterrupted,
        TaskQuarantined,
        ReplanAgreed,
        ReplanRequested,
        ReplanRefused,
    ]
)
