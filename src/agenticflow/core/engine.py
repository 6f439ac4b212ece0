"""The engine's ports: what a guest (anything the engine runs) offers, what the engine offers, and the commands and effects between.

The engine executes deciders and activities and does not know what it runs. A guest is a decider that also says which
effects its facts ask for, how to go on after a crash, and how it is listed. A performer (an agent or a worker) has the
handlers for activities.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from agenticflow.core.binding import Handler
from agenticflow.core.context import CancelReason, Feedback
from agenticflow.core.decider import Command, Decider, Fact
from agenticflow.core.interrupts import NO_REPLIES
from agenticflow.core.results import Outcome
from agenticflow.core.values import Values

__all__ = [
    "ActivityFinished",
    "ActivityInput",
    "ActivityStarted",
    "AskForPlan",
    "CheckActivity",
    "ContinueExecution",
    "Effect",
    "EffectClass",
    "Execution",
    "GrantPermit",
    "Guest",
    "GuestState",
    "InformActivity",
    "Listed",
    "OutcomeChecked",
    "PauseActivities",
    "Performer",
    "Permit",
    "ProcessDeath",
    "Recovery",
    "RunActivity",
    "RunChild",
    "StopActivity",
    "Summary",
    "TellPerformer",
    "TimersDue",
]

S = TypeVar("S", bound="GuestState")


class EffectClass(enum.StrEnum):
    """What running an activity twice would mean."""

    PURE = "pure"
    """No effect outside: run it again freely."""
    IDEMPOTENT = "idempotent"
    """Running it again with the same effect key changes nothing more."""
    AT_MOST_ONCE = "at_most_once"
    """Must not run twice: the intent is recorded first, and an unknown outcome is never retried by itself."""


class ActivityStarted(Command, frozen=True, kw_only=True):
    """The handler of an attempt starts, or has been running for a while. ``deadline`` is its recorded moment of timeout."""

    task_key: str
    token: int
    deadline: int | None = None


class ActivityFinished(Command, frozen=True, kw_only=True):
    """An attempt has ended. A token that is not current changes nothing."""

    task_key: str
    token: int
    outcome: Outcome


class OutcomeChecked(Command, frozen=True, kw_only=True):
    """A check function says what became of an attempt whose outcome is unknown. Refused when it is not in question any more."""

    task_key: str
    token: int
    decision: Literal["completed", "run_again"]
    value: bytes
    """Encoded, of a task that is completed."""
    checked_by: str


class TimersDue(Command, frozen=True, kw_only=True):
    """The moment ``now`` has come; everything due at or before it is due."""


Caution = Literal[0, 1, 2]
"""0 for what nobody suspects. 1: its start is recorded first, so that a death of the process is put down to what ran. 2: it runs beside no
other suspect either, so that the next death names its culprit."""


class ProcessDeath(msgspec.Struct, frozen=True):
    """A process that ran executions has ended without having stopped."""

    life: str
    """Tells the lives of processes over one store apart."""
    began_at: int
    pid: int
    limit: int
    """How many processes an attempt may lose before it is not tried again by itself."""


class Permit(msgspec.Struct, frozen=True, array_like=True):
    """A key an attempt has to hold before it starts, and what the key allows over the whole store."""

    key: str
    max_concurrent: int | None = None
    """How many may hold it at once."""
    rate: int | None = None
    """How many may get it within ``per_seconds``."""
    per_seconds: float = 1.0


class RunActivity(msgspec.Struct, frozen=True, gc=False):
    """Perform one attempt of a task."""

    task_key: str
    token: int
    attempt: int
    performer_id: str
    task_type: str
    effect: EffectClass = EffectClass.IDEMPOTENT
    timeout_seconds: float | None = None
    deadline: int | None = None
    """Moment recorded by an earlier life of the process, in nanoseconds; a restart does not restart a time limit."""
    generation: int = 0
    permits: tuple[Permit, ...] = ()
    """What it has to hold before it starts."""
    priority: int = 0
    """The higher goes first where several wait."""
    stall_seconds: float | None = None
    """Limit of the silence between two reports of progress."""
    capabilities: tuple[str, ...] = ()
    """What the performer has to be able to do; without a ``performer_id`` the best that can is taken."""
    is_movable: bool = False
    """Whether another performer with the same capabilities may take the place of one that is not healthy, or has failed."""
    caution: Caution = 0
    """How much it is suspected of killing its process."""


class RunChild(msgspec.Struct, frozen=True, gc=False):
    """Run another execution as one attempt of a task; its end is the attempt's outcome."""

    task_key: str
    token: int
    attempt: int
    execution_id: str
    """Equal for all attempts: another attempt is the next run of the chain."""
    definition: bytes | None
    """Encoded, or ``None`` when it is looked up by ``name``."""
    name: str
    is_detached: bool = False
    """Whether it goes on by itself when the task is told to stop."""
    permits: tuple[Permit, ...] = ()
    priority: int = 0
    depth: int = 0
    """How many executions it is inside of, one inside the other."""
    is_undoing: bool = False
    """Whether it is there and completed, and what it did is to be undone: by the next run of its chain."""


class StopActivity(msgspec.Struct, frozen=True, gc=False):
    """Tell the handler of an attempt to stop. Its outcome is still reported."""

    token: int
    reason: str
    cancel_reason: CancelReason = CancelReason.CANCELLED
    """Which of the reasons that handlers know this is."""


class CheckActivity(msgspec.Struct, frozen=True, gc=False):
    """Ask the check function of whoever performed an attempt, if it has one, whether it happened: its outcome is unknown."""

    of: RunActivity


class InformActivity(msgspec.Struct, frozen=True, gc=False):
    """Somebody said something to an attempt: its handler finds all of ``feedback`` from now on; one that has not begun is given it then."""

    token: int
    feedback: tuple[Feedback, ...]


class TellPerformer(msgspec.Struct, frozen=True, gc=False):
    """Something was decided that the performer's own state depends on."""

    performer_id: str
    event_type: str


class PauseActivities(msgspec.Struct, frozen=True, gc=False):
    """Start no handler of this execution until told otherwise; what runs goes on."""

    is_paused: bool


class ContinueExecution(msgspec.Struct, frozen=True, gc=False):
    """Start the run after ``run_no``, with the encoded ``input``; then tell this one that it is there."""

    execution_id: str
    run_no: int
    input: bytes


class AskForPlan(msgspec.Struct, frozen=True, gc=False):
    """Ask whoever plans for changes of the execution, which would fail now; it waits for them until ``due``."""

    number: int
    due: int


class GrantPermit(msgspec.Struct, frozen=True, gc=False):
    """Whoever asked for the permit of this gate as ``holder`` has it."""

    holder: str


Effect = (
    AskForPlan
    | CheckActivity
    | ContinueExecution
    | GrantPermit
    | InformActivity
    | RunActivity
    | RunChild
    | StopActivity
    | PauseActivities
    | TellPerformer
)


class ActivityInput(msgspec.Struct, frozen=True):
    """What a handler is given: its params with references resolved, and what it may look up."""

    params: dict[str, object]
    results: Mapping[str, object]
    """Decoded results of the dependencies, by task id; looked up lazily."""
    encoded_input: bytes
    """The execution's input; decoded when somebody looks."""
    workflow_id: str
    run_no: int
    task_id: str
    feedback: tuple[Feedback, ...] = ()
    """What people have said to it, oldest first."""
    replies: Mapping[str, bytes] = NO_REPLIES
    """Encoded answers to what the handler has asked already, by key."""


class Execution(msgspec.Struct, frozen=True):
    """Anything the engine runs: one run of a workflow, an agent's turn loop, an interaction. ``parent`` names what started it."""

    kind: str
    id: str
    run_no: int = 1
    parent: tuple[str, str, int] | None = None
    """``(stream, task key, token)`` of the task it is a child of."""

    @classmethod
    def of(cls, stream_id: str) -> Execution:
        """Return whose facts are in ``stream_id``; its parent is not to be told from there."""
        kind, _, rest = stream_id.partition("-")
        execution_id, _, run_no = rest.rpartition("/")
        return cls(kind, execution_id, int(run_no))

    @property
    def stream_id(self) -> str:
        """Where its facts are."""
        return f"{self.kind}-{self.id}/{self.run_no}"


class Summary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How an execution is listed."""

    execution_id: str
    run_no: int
    name: str
    status: str
    is_open: bool
    next_due: int | None = None
    fingerprint: str = ""
    started_at: int
    ended_at: int | None


class Recovery(msgspec.Struct, frozen=True):
    """What to do with an execution whose process died."""

    commands: Sequence[Command]
    """To be decided first, in order."""
    effects: Sequence[Effect]
    """Open work, to be dispatched again."""


class Listed(msgspec.Struct, frozen=True, gc=False):
    """An entry of a list that is written, or with ``None`` removed, in the transaction of the events it follows from."""

    namespace: str
    key: str
    value: bytes | None


class GuestState(Protocol):
    """What the engine reads from any guest's state."""

    stream_id: str
    values: Values
    """Blobs at hand; set by the engine."""

    @property
    def status(self) -> str:
        """Word for the index."""

    @property
    def is_open(self) -> bool:
        """Whether something can still happen."""

    @property
    def next_due(self) -> int | None:
        """When ``TimersDue`` is wanted next."""


class Guest(Decider[S], Protocol[S]):
    """A decider the engine can run. Every method is pure and may raise ``BlobMissing``."""

    @property
    def kind(self) -> str:
        """Prefix of its streams: ``<kind>-<execution id>/<run no>``."""

    def effects(self, state: S, fact: Fact, version: int) -> Sequence[Effect]:
        """Return what the fact just committed as event ``version`` asks of the world."""

    def recover(self, state: S, now: int, died: ProcessDeath | None = None) -> Recovery:
        """Return how to go on after the process that ran this has ended; ``died`` says that it did not stop, but died."""

    def is_in_work(self, state: S, token: int) -> bool:
        """Whether the attempt with this token has not ended."""

    def inputs(self, state: S, task_key: str) -> ActivityInput:
        """Return what the handler of this task is given. Raises ``InvalidInput`` for a reference that leads nowhere."""

    def summary(self, state: S) -> Summary:
        """Return the index entry."""

    def snapshot(self, state: S) -> bytes:
        """Return the state in a form ``initial`` takes."""


class Performer(Protocol):
    """Has handlers, and is told when it works. Agents and workers are performers."""

    @property
    def performer_id(self) -> str:
        """Unique among performers."""

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do."""

    @property
    def concurrency(self) -> int:
        """How many attempts it runs at once."""

    def handler_for(self, task_type: str) -> Handler | None:
        """Return the handler for this type of task, ``None`` when there is none."""

    def work_began(self, in_flight: int, now: int) -> None:
        """One more attempt runs, ``in_flight`` in all."""

    def work_ended(self, in_flight: int, now: int, outcome: Outcome | None) -> None:
        """One attempt less runs, ``in_flight`` still. ``outcome`` is ``None`` when the process is stopping."""

    def told(self, event_type: str, now: int) -> None:
        """The engine recorded something about its work: ``task_failed`` means failed for good."""
