"""The state of one workflow run, folded from its facts.

Mutable and private to whoever holds it; ``evolve`` is the only writer. Everything needed to decide the next step is counted
here (unmet dependencies, work in flight, what is ready), so that a completion costs what it unblocks and nothing is scanned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heapify, heappop, heappush
from typing import Final, Protocol

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.engine import Permit
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import Values
from agenticflow.errors import InvariantError
from agenticflow.orchestration.approvals.requests import Request
from agenticflow.orchestration.facts import CompensationStarted, WorkflowCancelRequested, WorkflowFailed
from agenticflow.orchestration.ledger import Planning
from agenticflow.orchestration.plan import Node, Plan
from agenticflow.orchestration.replanning.terms import Replanning
from agenticflow.orchestration.statuses import (
    COMPLETED,
    ENDS,
    FAILED,
    OVER,
    READY,
    RUNNING,
    Phase,
    TaskStatus,
    WorkflowStatus,
)
from agenticflow.orchestration.suspicion.suspects import Suspect

__all__ = ["Heard", "Phase", "RunState", "TaskRecord", "TaskStatus", "WorkflowStatus", "takes_place", "undo_key"]


_ENDED: Final = Phase.ENDED
_IN_WORK: Final = WorkflowStatus.RUNNING
_STARTS_NOTHING: Final = (Phase.CANCELLING, Phase.COMPENSATING)
IN_FLIGHT: Final = frozenset({TaskStatus.SCHEDULED, TaskStatus.RUNNING})
CANCELLABLE: Final = IN_FLIGHT | {TaskStatus.READY, TaskStatus.RETRYING, TaskStatus.WAITING, TaskStatus.QUARANTINED}
_ACTIVE: Final = IN_FLIGHT | {TaskStatus.RETRYING, TaskStatus.WAITING}
IN_QUESTION: Final = frozenset({TaskStatus.UNKNOWN, TaskStatus.QUARANTINED})
_NEEDS_NO_PLACE: Final = 10_000_000
"""Above every priority."""

TIMER, RETRY, TOTAL, DEADLINE, GRACE, LINGER, ANSWER, ESCALATION, REPLAN = range(9)
"""Kinds of entries in the heap of timers."""


class Heard(msgspec.Struct, frozen=True, array_like=True):
    """What a person said to the run; ``feedback`` is encoded."""

    feedback: bytes
    given_by: str
    at: int
    task_key: str = ""
    reason: str = ""


def undo_key(task_key: str) -> str:
    """Return the key of what undoes a task, an item or an iteration."""
    return f"undo:{task_key}"


class TaskRecord(msgspec.Struct, eq=False):
    """What is known of a task, an item of a map or an iteration of a loop. Made when it becomes ready: untouched tasks cost nothing."""

    key: str
    node: Node
    performer_id: str
    index: int | None = None
    """Of an item in its map, of an iteration in its loop."""
    status: TaskStatus = READY
    undoes: str | None = None
    """Key of what it undoes."""
    is_blocked: bool = False
    """Whether it is only ready to be skipped."""
    attempt: int = 0
    attempts_before: int = 0
    """Attempts of the agents that had it before."""
    permits: tuple[Permit, ...] = ()
    question: str = ""
    """Of an approval."""
    token: int = 0
    scheduled_at: int = 0
    ended_at: int = 0
    deadline: int | None = None
    due: int = 0
    """When its timer or retry is due."""
    errors: list[ErrorInfo] | None = None
    value: bytes | None = None
    items: list[bytes] | None = None
    """Of a map: its encoded elements."""
    done: int = 0
    """Of a map or a loop: items completed."""
    failed: int = 0
    """Of a map or a loop: items failed."""


def takes_place(record: TaskRecord) -> bool:
    """Whether a ready task needs one of the places of ``max_parallel`` to start; timers, signals, questions and choices do not."""
    return not (record.is_blocked or record.node.is_wait)


class Planner(Protocol):
    """Asks the function of a workflow as code what follows."""

    def plan(self, state: RunState) -> Sequence[Fact]:
        """Return what the function of the run says next; empty when it waits, or cannot go on. Raises ``BlobMissing``."""

    def waits_for(self, stream_id: str) -> str | None:
        """Return what the function of a run waits for before it can go on, in words; ``None`` when it can."""


class RunState:
    """The folded state. Field by field what the decider needs, and what views show."""

    __slots__ = (
        "active",
        "again",
        "answered",
        "answers",
        "barred",
        "cancel",
        "completed",
        "deadline",
        "deliverable",
        "depth",
        "ended_at",
        "feedback",
        "final",
        "fingerprint",
        "first_generation",
        "generations",
        "has_failed_dependency",
        "has_live_dependency",
        "held",
        "in_flight",
        "input",
        "is_paused",
        "kept",
        "last_success",
        "lingering",
        "made",
        "next_item",
        "outcome",
        "parent",
        "phase",
        "plan",
        "planner",
        "planning",
        "problem",
        "ready",
        "replanning",
        "requests",
        "run_no",
        "seed",
        "signals",
        "started_at",
        "started_by",
        "stream_id",
        "surplus",
        "suspects",
        "tasks",
        "timers",
        "to_cancel",
        "undecided",
        "undoable",
        "unknown",
        "unlisted",
        "unmet",
        "values",
        "version",
        "waiting",
        "workflow_id",
    )

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = self.run_no = self.started_at = 0
        self.phase = Phase.NEW
        self.workflow_id = ""
        self.plan: Plan | None = None
        self.planning: Planning | None = None
        """Of a workflow as code."""
        self.planner: Planner | None = None
        """Who knows the functions of workflows as code; set by the guest."""
        self.made: list[tuple[str, bytes]] = []
        """Large values, by content hash, that facts not committed yet refer to."""
        self.input = codec.NULL
        self.seed = self.fingerprint = self.started_by = ""
        self.ended_at: int | None = None
        self.deadline: int | None = None
        self.is_paused = False
        self.cancel: WorkflowCancelRequested | None = None
        self.outcome: WorkflowStatus | None = None
        self.problem: WorkflowFailed | CompensationStarted | None = None
        self.tasks: dict[str, TaskRecord] = {}
        self.unmet: list[int] = []
        self.has_live_dependency = bytearray()
        self.has_failed_dependency = bytearray()
        self.completed: dict[int, int] = {}
        """Of nodes that start when some of their dependencies are completed: how many are."""
        self.barred: set[int] = set()
        """Nodes that a choice did not choose."""
        self.to_cancel: dict[int, str] = {}
        """Nodes that are not wanted any more, each with the key of the task whose end said so."""
        self.surplus: dict[str, None] = {}
        """Maps that have enough: their open items are not wanted any more."""
        self.again: dict[str, deque[str]] = {}
        """Of maps, the keys of failed items that are to be tried again as soon as there is room."""
        self.undoable: list[str] = []
        """Keys of what was completed and can be undone, in the order of completion."""
        self.undecided: dict[str, None] = {}
        """Loops whose last iteration has ended: somebody has to say whether there is another."""
        self.final: str | None = None
        """Key of the task whose end ends the run."""
        self.first_generation = self.depth = 0
        self.parent: tuple[str, str, int] | None = None
        self.ready: deque[TaskRecord] = deque()
        self.next_item: dict[str, int] = {}
        self.active = self.in_flight = self.held = self.unknown = 0
        """How many tasks are so; held ones are between two attempts and keep their place among ``max_parallel``."""
        self.lingering: dict[int, tuple[str, int]] = {}
        self.timers: list[tuple[int, int, int, str]] = []
        self.signals: dict[str, deque[bytes]] = {}
        self.waiting: dict[str, deque[str]] = {}
        self.deliverable: dict[str, None] = {}
        self.kept: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.feedback: list[Heard] = []
        self.last_success: str | None = None
        self.requests: dict[str, dict[str, Request]] = {}
        """Open ones, by task key and key of the interrupt. A handler that runs with an answer may have others open."""
        self.answered: dict[str, dict[str, Request]] = {}
        """Closed ones, in the same way: an answer given twice is known, and a handler finds its answers."""
        self.answers: dict[str, dict[str, bytes]] = {}
        """What people answered in the runs before, by task key and key of the interrupt."""
        self.replanning: Replanning | None = None
        """Where it stands with asking for another plan; ``None`` when it never does."""
        self.suspects: dict[str, Suspect] = {}
        """Tasks whose attempts have lost processes, by task key."""
        self.unlisted: dict[int, Request | Suspect] = {}
        """Requests, and tasks in quarantine, that have changed since they were listed, by token."""

    # --- what the engine reads --------------------------------------------------------------------------------------

    @property
    def status(self) -> WorkflowStatus:
        """The word for where the run stands."""
        if self.in_flight and self.phase is RUNNING:  # nearly always
            return WorkflowStatus.PAUSED if self.is_paused else _IN_WORK
        if self.outcome is not None:
            return self.outcome
        if self.phase is Phase.NEW:
            return WorkflowStatus.PENDING
        if self.phase is Phase.COMPENSATING:
            is_asking = self.unknown and not self.active
            return WorkflowStatus.NEEDS_ATTENTION if is_asking else WorkflowStatus.COMPENSATING
        if self.phase in (Phase.CANCELLING, Phase.CONTINUING):
            return WorkflowStatus.RUNNING
        if self.is_paused:
            return WorkflowStatus.PAUSED
        if self.unknown and not self.active:
            return WorkflowStatus.NEEDS_ATTENTION
        return WorkflowStatus.WAITING if self.active else WorkflowStatus.RUNNING

    @property
    def is_open(self) -> bool:
        """Whether something can still happen."""
        return self.phase is not _ENDED

    @property
    def next_due(self) -> int | None:
        """When the earliest timer is due."""
        return self.timers[0][0] if self.timers else None

    @property
    def laid_out(self) -> Plan:
        """The plan, once the run has started."""
        if self.plan is None:
            raise InvariantError(f"run {self.stream_id!r} has not started, it has no plan")
        return self.plan

    # --- what evolve uses -------------------------------------------------------------------------------------------

    def make_ready(self, node: Node, *, is_blocked: bool = False) -> None:
        """The dependencies of ``node`` are settled: it may be scheduled, or skipped when ``is_blocked``."""
        key = node.task.task_id
        record = self.tasks[key] = TaskRecord(key, node, node.performer_id)
        if is_blocked or (self.barred and node.index in self.barred):
            record.is_blocked = True
        elif node.rest:
            self.cancel_soon(node.rest, key)
        if node.is_ordered:
            self.queue(record)
        else:
            self.ready.append(record)

    def queue(self, record: TaskRecord) -> None:
        """Add ``record`` to what is ready: behind everything of its own priority or a higher one."""
        ready = self.ready
        if not record.node.is_ordered or not ready or self._rank(ready[-1]) >= self._rank(record):
            ready.append(record)
            return
        rank = self._rank(record)
        ready.insert(next(i for i, other in enumerate(ready) if self._rank(other) < rank), record)

    def _rank(self, record: TaskRecord) -> int:
        """What goes before what: in a run with ``max_parallel`` first what takes no place, so that it never waits for one."""
        if self.laid_out.is_limited and not takes_place(record):
            return _NEEDS_NO_PLACE
        return record.node.priority

    def cancel_soon(self, indexes: Iterable[int], by: str) -> None:
        """The nodes are not wanted any more: the next decision cancels those of them that are still open."""
        nodes = self.laid_out.nodes
        for index in indexes:
            self.to_cancel.setdefault(index, by)
            if (fallback := nodes[index].fallback) is not None:
                self.cancel_soon((fallback,), by)

    def open_items(self, container: TaskRecord) -> list[str]:
        """Return the keys of the items or iterations of ``container`` that can still be told to stop."""
        return [
            record.key
            for index in range(max(len(container.items or ()), container.done + 1))
            if (record := self.tasks.get(f"{container.key}[{index}]")) is not None and record.status in CANCELLABLE
        ]

    def set_status(self, record: TaskRecord, status: TaskStatus) -> None:
        """Move a task, keeping the counts."""
        before = record.status
        if before in IN_FLIGHT:
            self.active -= 1
            self.in_flight -= 1
        elif before is not READY:
            self._is_no_longer(before, record)
        record.status = status
        if status in IN_FLIGHT:
            self.active += 1
            self.in_flight += 1
        elif status in _ACTIVE:
            self.active += 1
            if status is TaskStatus.RETRYING:
                self.held += 1
        elif status in IN_QUESTION:
            self.unknown += 1
        elif (self.requests or self.answered) and status in ENDS:
            self.close_requests(record.key)

    def _is_no_longer(self, before: TaskStatus, record: TaskRecord) -> None:
        if before in _ACTIVE:
            self.active -= 1
            if before is TaskStatus.RETRYING:
                self.held -= 1
        elif before is TaskStatus.UNKNOWN:
            self.unknown -= 1
        elif before is TaskStatus.QUARANTINED:
            self.unknown -= 1
            suspect = self.suspects.pop(record.key)
            suspect.is_open = False
            self.unlisted[suspect.token] = suspect

    def close_requests(self, key: str) -> None:
        """Nobody needs answers to what the task ``key`` asks any more. What it asks when it is tried again on purpose it asks anew."""
        for request in list(self.requests.get(key, {}).values()):
            self.close_request(request)
        for closed in self.answered.get(key, {}).values():
            closed.refusal = None

    def close_request(self, request: Request) -> None:
        """The request has its answer, or needs none."""
        del self.requests[request.task_key][request.key]
        if not self.requests[request.task_key]:
            del self.requests[request.task_key]
        request.is_open = False
        self.answered.setdefault(request.task_key, {})[request.key] = request
        self.unlisted[request.token] = request

    def settle(self, node: Node, how: TaskStatus) -> None:
        """``node`` is completed, skipped (or cancelled) or failed: count it at each dependent, make ready what this unblocks."""
        if self.phase in _STARTS_NOTHING:
            return  # late outcomes are recorded and advance nothing
        if node.has_consequences:
            self._take_effect(node, how)
        if self.planning is not None:
            self.planning.settled.append(node.task.task_id)
            return
        nodes = self.laid_out.nodes
        tasks, unmet = self.tasks, self.unmet
        for index in node.dependents:
            dependent = nodes[index]
            if dependent.task.task_id in tasks:
                continue
            if dependent.needs:
                self._count(dependent, how)
            elif how is not FAILED or dependent.is_settled:
                if how is COMPLETED:
                    self.has_live_dependency[index] = 1
                unmet[index] -= 1
                if unmet[index] == 0:
                    is_live = dependent.is_settled or self.has_live_dependency[index]
                    self.make_ready(dependent, is_blocked=not is_live)

    def _count(self, dependent: Node, how: TaskStatus) -> None:
        """One more dependency of a node that needs some of them completed is settled."""
        index = dependent.index
        self.unmet[index] -= 1
        if how is TaskStatus.COMPLETED:
            done = self.completed[index] = self.completed.get(index, 0) + 1
            if done >= dependent.needs:
                self.make_ready(dependent)
            return
        self.has_failed_dependency[index] |= how is TaskStatus.FAILED
        within_reach = self.unmet[index] + self.completed.get(index, 0)
        if within_reach < dependent.needs and not self.has_failed_dependency[index]:
            self.make_ready(dependent, is_blocked=True)

    def _take_effect(self, node: Node, how: TaskStatus) -> None:
        """The end of ``node`` may end others, or the run; without a failure nobody needs its fallback."""
        task = node.task
        if how is TaskStatus.COMPLETED:
            if node.cancels:
                self.cancel_soon(node.cancels, task.task_id)
            if (task.ends_run or task.continue_with is not None) and self.final is None:
                self.final = task.task_id
        if node.fallback is not None and how is not TaskStatus.FAILED:
            fallback = self.laid_out.nodes[node.fallback]
            if fallback.task.task_id not in self.tasks:
                self.make_ready(fallback, is_blocked=True)

    @property
    def continuation(self) -> bytes | None:
        """The encoded input of the next run, when a task or a function has said that this one is to be continued."""
        if self.planning is not None:
            closed = self.planning.closed
            return bytes(closed.value) if closed is not None and closed.how == "continued" else None
        record = self.tasks.get(self.final) if self.final is not None else None
        return record.value if record is not None and record.node.continue_with is not None else None

    def generation_of(self, key: str) -> int:
        """Return how often the task was explicitly run again, over all runs of the chain."""
        return self.first_generation + (self.generations.get(key, 0) if self.generations else 0)

    def add_timer(self, due: int, kind: int, key: str) -> None:
        """Ask to be told at ``due``. ``key`` is a task key, a token for ``LINGER``, or empty."""
        heappush(self.timers, (due, self.version, kind, key))

    def forget_total_limit(self, key: str) -> None:
        """The limit of the generation before is not that of the one that starts now."""
        self.timers = [timer for timer in self.timers if timer[2:] != (TOTAL, key)]
        heapify(self.timers)

    def drop_stale_timers(self) -> None:
        """Take entries off the top that nobody waits for any more, so that ``next_due`` is true."""
        while self.timers and not self.is_timer_live(self.timers[0]):
            heappop(self.timers)

    def is_timer_live(self, timer: tuple[int, int, int, str]) -> bool:
        """Whether somebody still waits for this entry."""
        due, _, kind, key = timer
        if self.phase in OVER:
            return False
        if kind == GRACE:
            return self.phase is Phase.CANCELLING and self.in_flight > 0
        if kind == LINGER:
            return int(key) in self.lingering
        if self.phase is Phase.CANCELLING:
            return False
        if kind == DEADLINE:
            return self.phase is Phase.RUNNING
        if kind == REPLAN:
            return self.phase is Phase.RUNNING and self.replanning is not None and self.replanning.due == due
        record = self.tasks.get(key)
        if record is None:  # another plan has taken it out
            return False
        if kind == TIMER:
            is_waiting = record.status is TaskStatus.WAITING and record.due == due
            return is_waiting and not (self.is_paused and record.node.until is not None)
        if kind == RETRY:
            # While paused nothing new is scheduled: the entry is dropped, and made anew when the run is resumed.
            return record.status is TaskStatus.RETRYING and record.due == due and not self.is_paused
        if kind in (ANSWER, ESCALATION):
            asked = self.requests.get(key, {}).values()
            return any(due == (one.terms.deadline if kind == ANSWER else one.next_escalation) for one in asked)
        # A total limit goes on while a task that has been in work waits for its turn again.
        return record.status in _ACTIVE or record.status is TaskStatus.READY

    def due_timers(self, now: int) -> list[tuple[int, int, int, str]]:
        """Return the live entries due at or before ``now``, earliest first, without changing anything."""
        found: list[tuple[int, int, int, str]] = []
        stack = [0]
        while stack:
            index = stack.pop()
            if index < len(self.timers) and self.timers[index][0] <= now:
                if self.is_timer_live(self.timers[index]):
                    found.append(self.timers[index])
                stack += (2 * index + 1, 2 * index + 2)
        return sorted(found)

    # --- what is known of values ------------------------------------------------------------------------------------

    def result_of(self, task_id: str) -> bytes | None:
        """Return the encoded result of a task (for a map, the list of its completed items' results), ``None`` when it has none.

        Raises ``BlobMissing``.
        """
        record = self.tasks.get(task_id)
        if record is None or record.status is not COMPLETED:
            return None
        if record.value is None and record.node.fallback is not None:
            # A map that stood in has no value of its own that could have been handed on.
            stood_in = self.result_of(self.laid_out.nodes[record.node.fallback].task.task_id)
            if stood_in is not None:
                return stood_in
        if record.items is None or record.value is not None:
            return self.values.resolve(record.value) if record.value is not None else codec.NULL
        items = (self.tasks.get(f"{task_id}[{i}]") for i in range(len(record.items)))
        return codec.encode_array(
            [
                self.values.resolve(item.value or codec.NULL)
                for item in items
                if item is not None and item.status is TaskStatus.COMPLETED
            ]
        )

    def next_to_undo(self) -> str | None:
        """Return the key of what was completed last and is not undone yet."""
        return next((key for key in reversed(self.undoable) if undo_key(key) not in self.tasks), None)
