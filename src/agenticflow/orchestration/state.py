"""The state of one workflow run, folded from its facts.

Mutable and private to whoever holds it; ``evolve`` is the only writer. Everything needed to decide the next step is counted
here (unmet dependencies, work in flight, what is ready), so that a completion costs what it unblocks and nothing is scanned.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Final

from agenticflow.core import codec
from agenticflow.core.results import ErrorInfo
from agenticflow.core.values import Values
from agenticflow.errors import InvariantError
from agenticflow.orchestration.facts import WorkflowCancelRequested, WorkflowFailed
from agenticflow.orchestration.plan import Node, Plan

__all__ = ["Phase", "RunState", "TaskRecord", "TaskStatus", "WorkflowStatus"]


class WorkflowStatus(enum.StrEnum):
    """Where a run stands, in the words users see."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    WAITING = "WAITING"
    """Nothing is in work: it waits for a timer, a retry or a signal."""
    COMPLETED = "COMPLETED"
    PARTIALLY_FAILED = "PARTIALLY_FAILED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    NEEDS_ATTENTION = "NEEDS_ATTENTION"
    """A person has to say what became of a task."""
    CANCELLED = "CANCELLED"


class TaskStatus(enum.StrEnum):
    """Where a task, or an item of a map, stands."""

    PENDING = "PENDING"
    READY = "READY"
    SCHEDULED = "SCHEDULED"
    RUNNING = "RUNNING"
    EXPANDED = "EXPANDED"
    """A map whose items are in work."""
    RETRYING = "RETRYING"
    WAITING = "WAITING"
    """For a timer or a signal."""
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"


class Phase(enum.Enum):
    """The three stretches of a run."""

    NEW = 0
    RUNNING = 1
    CANCELLING = 2
    ENDED = 3


IN_FLIGHT: Final = frozenset({TaskStatus.SCHEDULED, TaskStatus.RUNNING})
_ACTIVE: Final = IN_FLIGHT | {TaskStatus.RETRYING, TaskStatus.WAITING}

TIMER, RETRY, TOTAL, DEADLINE, GRACE, LINGER = range(6)
"""Kinds of entries in the heap of timers."""


class TaskRecord:
    """What is known of one task, or of one item of a map. Made when it becomes ready, so untouched tasks cost nothing."""

    __slots__ = (
        "attempt",
        "deadline",
        "done",
        "due",
        "ended_at",
        "errors",
        "failed",
        "index",
        "is_blocked",
        "items",
        "key",
        "node",
        "scheduled_at",
        "status",
        "token",
        "value",
    )

    def __init__(self, key: str, node: Node, index: int | None = None) -> None:
        self.key = key
        self.node = node
        self.index = index
        """Of an item in its map."""
        self.status = TaskStatus.READY
        self.is_blocked = False
        """Whether it is only ready to be skipped."""
        self.attempt = 0
        self.token = 0
        self.scheduled_at = 0
        self.ended_at = 0
        self.deadline: int | None = None
        self.due = 0
        """When its timer or retry is due."""
        self.errors: list[ErrorInfo] | None = None
        self.value: bytes | None = None
        self.items: list[bytes] | None = None
        """Of a map: its encoded elements."""
        self.done = 0
        """Of a map: items completed."""
        self.failed = 0
        """Of a map: items failed."""


class RunState:
    """The folded state. Field by field what the decider needs, and what views show."""

    __slots__ = (
        "active",
        "cancel",
        "deadline",
        "deliverable",
        "ended_at",
        "fingerprint",
        "generations",
        "has_failed_dependency",
        "has_live_dependency",
        "in_flight",
        "input",
        "is_paused",
        "kept",
        "last_success",
        "lingering",
        "next_item",
        "outcome",
        "phase",
        "plan",
        "problem",
        "ready",
        "run_no",
        "seed",
        "signals",
        "started_at",
        "started_by",
        "stream_id",
        "tasks",
        "timers",
        "unknown",
        "unmet",
        "values",
        "version",
        "waiting",
        "workflow_id",
    )

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = 0
        self.phase = Phase.NEW
        self.workflow_id = ""
        self.run_no = 0
        self.plan: Plan | None = None
        self.input = codec.NULL
        self.seed = ""
        self.fingerprint = ""
        self.started_by = ""
        self.started_at = 0
        self.ended_at: int | None = None
        self.deadline: int | None = None
        self.is_paused = False
        self.cancel: WorkflowCancelRequested | None = None
        self.outcome: WorkflowStatus | None = None
        self.problem: WorkflowFailed | None = None
        self.tasks: dict[str, TaskRecord] = {}
        self.unmet: list[int] = []
        self.has_live_dependency = bytearray()
        self.has_failed_dependency = bytearray()
        self.ready: deque[TaskRecord] = deque()
        self.next_item: dict[str, int] = {}
        self.active = 0
        self.in_flight = 0
        self.unknown = 0
        self.lingering: dict[int, tuple[str, int]] = {}
        self.timers: list[tuple[int, int, int, str]] = []
        self.signals: dict[str, deque[bytes]] = {}
        self.waiting: dict[str, deque[str]] = {}
        self.deliverable: dict[str, None] = {}
        self.kept: dict[str, bytes] = {}
        self.generations: dict[str, int] = {}
        self.last_success: str | None = None

    # --- what the engine reads --------------------------------------------------------------------------------------

    @property
    def status(self) -> WorkflowStatus:
        """The word for where the run stands."""
        if self.outcome is not None:
            return self.outcome
        if self.phase is Phase.NEW:
            return WorkflowStatus.PENDING
        if self.phase is Phase.CANCELLING or self.in_flight:
            return WorkflowStatus.PAUSED if self.is_paused and self.phase is Phase.RUNNING else WorkflowStatus.RUNNING
        if self.is_paused:
            return WorkflowStatus.PAUSED
        if self.unknown and not self.active:
            return WorkflowStatus.NEEDS_ATTENTION
        return WorkflowStatus.WAITING if self.active else WorkflowStatus.RUNNING

    @property
    def is_open(self) -> bool:
        """Whether something can still happen."""
        return self.phase is not Phase.ENDED

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
        record = self.tasks[key] = TaskRecord(key, node)
        record.is_blocked = is_blocked
        self.ready.append(record)

    def set_status(self, record: TaskRecord, status: TaskStatus) -> None:
        """Move a task, keeping the counts."""
        before = record.status
        if before in _ACTIVE:
            self.active -= 1
            if before in IN_FLIGHT:
                self.in_flight -= 1
        elif before is TaskStatus.UNKNOWN:
            self.unknown -= 1
        record.status = status
        if status in _ACTIVE:
            self.active += 1
            if status in IN_FLIGHT:
                self.in_flight += 1
        elif status is TaskStatus.UNKNOWN:
            self.unknown += 1

    def settle(self, node: Node, how: TaskStatus) -> None:
        """``node`` is completed, skipped or failed: count it at each dependent, and make ready what this unblocks."""
        if self.phase is Phase.CANCELLING:
            return  # late outcomes are recorded and advance nothing
        nodes = self.laid_out.nodes
        unmet = self.unmet
        for index in node.dependents:
            dependent = nodes[index]
            if dependent.task.task_id in self.tasks:
                continue
            if dependent.is_any:
                if how is TaskStatus.COMPLETED:
                    self.make_ready(dependent)
                    continue
                self.has_failed_dependency[index] |= how is TaskStatus.FAILED
                unmet[index] -= 1
                if unmet[index] == 0 and not self.has_failed_dependency[index]:
                    self.make_ready(dependent, is_blocked=True)
            elif how is not TaskStatus.FAILED:
                if how is TaskStatus.COMPLETED:
                    self.has_live_dependency[index] = 1
                unmet[index] -= 1
                if unmet[index] == 0:
                    self.make_ready(dependent, is_blocked=not self.has_live_dependency[index])

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
        if self.phase is Phase.ENDED:
            return False
        if kind == GRACE:
            return self.phase is Phase.CANCELLING and self.in_flight > 0
        if kind == LINGER:
            return int(key) in self.lingering
        if self.phase is Phase.CANCELLING:
            return False
        if kind == DEADLINE:
            return True
        record = self.tasks[key]
        if kind == TIMER:
            return record.status is TaskStatus.WAITING and record.due == due
        if kind == RETRY:
            # While paused nothing new is scheduled: the entry is dropped, and made anew when the run is resumed.
            return record.status is TaskStatus.RETRYING and record.due == due and not self.is_paused
        return record.status in _ACTIVE

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
        """Return the encoded result of a task (for a map, the list of its items' results), ``None`` when it has none.

        Raises ``BlobMissing``.
        """
        record = self.tasks.get(task_id)
        if record is None or record.status is not TaskStatus.COMPLETED:
            return None
        if record.items is None:
            return self.values.resolve(record.value) if record.value is not None else codec.NULL
        return codec.encode_array(
            [self.values.resolve(self.tasks[f"{task_id}[{i}]"].value or codec.NULL) for i in range(len(record.items))]
        )

    def lookup(self, record: TaskRecord | None = None) -> Callable[[str], object]:
        """Return how references of a task are looked up: items of its map, results by task id, the input, its keys."""
        by_id = self.laid_out.by_id

        def find(root: str) -> object:
            if record is not None and record.index is not None:
                if root == "item":
                    items = self.tasks[record.node.task.task_id].items or []
                    return codec.decode(items[record.index])
                if root == "index":
                    return record.index
            if root in by_id:
                data = self.result_of(root)
                return None if data is None else codec.decode(data)
            given = codec.decode(self.values.resolve(self.input))
            if root in ("input", "context"):
                return given
            if isinstance(given, dict) and root in given:
                return given[root]
            raise KeyError(root)

        return find
