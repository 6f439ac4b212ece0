"""Task graphs: who waits for whom, counted instead of scanned, so that a completion costs what it unblocks.

``TaskGraph`` is the mutable face for users and views: levels, the critical path, a drawing. The run decider keeps the same counts inside
its state. ``TaskGraph.of(definition)`` is the graph of a definition.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from graphlib import CycleError, TopologicalSorter

from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.errors import CommandRefused, DefinitionError, InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.diagrams import DIRECTIONS, mermaid

__all__ = ["NodeStatus", "TaskGraph", "TaskNode", "find_cycle"]


class NodeStatus(enum.StrEnum):
    """Where a node of a graph stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"


class TaskNode:
    """One task of a graph: its dependencies, who depends on it, and where it stands."""

    __slots__ = ("dependencies", "dependents", "error", "result", "status", "task", "task_id", "unmet")

    def __init__(self, task_id: str, task: TaskDefinition | None = None) -> None:
        self.task_id = task_id
        self.task = task
        """What it is, when the graph was made of a definition."""
        self.dependencies: set[str] = set()
        self.dependents: set[str] = set()
        self.unmet = 0
        self.status = NodeStatus.PENDING
        self.result: object = None
        self.error: ErrorInfo | None = None

    def __repr__(self) -> str:
        return f"TaskNode({self.task_id!r}, {self.status.value})"


class TaskGraph:
    """Tasks and what they wait for. ``get_ready_tasks`` never names one that is running or done."""

    def __init__(self) -> None:
        self.nodes: dict[str, TaskNode] = {}
        self._ready: dict[str, None] = {}
        self._open = 0
        self._failed = 0

    @classmethod
    def of(cls, definition: WorkflowDefinition) -> TaskGraph:
        """Return the graph of ``definition``, nothing done yet. Raises ``DefinitionError`` for an unknown dependency or a cycle.

        It knows dependencies alone: joins of some, choices and fallbacks are the run's business (and in the drawing).
        """
        graph = cls()
        for task in definition.tasks:
            graph.add_task(task.task_id, task=task)
        waits = {task.task_id: task.dependencies for task in definition.tasks}
        if cycle := find_cycle(waits):
            raise DefinitionError(f"tasks wait for each other: {' -> '.join(cycle)}")
        for task_id, dependencies in waits.items():
            for dependency in dependencies:
                graph._connect(graph._node(task_id), graph._node(dependency))
        return graph

    def add_task(
        self, task_id: str, dependencies: Collection[str] = (), *, task: TaskDefinition | None = None
    ) -> TaskNode:
        """Add a task that waits for ``dependencies``, which are there already. Raises ``DefinitionError``; then nothing was added."""
        if task_id in self.nodes:
            raise DefinitionError(f"task {task_id!r} is in the graph already")
        for dependency in dependencies:
            self._node(dependency)
        node = self.nodes[task_id] = TaskNode(task_id, task)
        self._ready[task_id] = None
        self._open += 1
        for dependency in dependencies:
            self.add_dependency(task_id, dependency)
        return node

    def add_dependency(self, task_id: str, depends_on: str) -> None:
        """Make ``task_id`` wait for ``depends_on``. Raises ``DefinitionError`` for an unknown task or a cycle."""
        node, dependency = self._node(task_id), self._node(depends_on)
        if depends_on in node.dependencies:
            return
        if node.status is not NodeStatus.PENDING:
            raise DefinitionError(
                f"task {task_id!r} is {node.status.value} and cannot wait for {depends_on!r} any more"
            )
        if task_id == depends_on or self._reaches(task_id, depends_on):
            raise DefinitionError(f"{task_id!r} cannot depend on {depends_on!r}: that would be a cycle")
        self._connect(node, dependency)

    def get_ready_tasks(self) -> list[str]:
        """Return the ids of the tasks that could start now, in the order in which they became ready."""
        return list(self._ready)

    def mark_running(self, task_id: str) -> None:
        """The task has started. Raises ``CommandRefused`` when it is not ready."""
        node = self._node(task_id)
        if task_id not in self._ready:
            raise CommandRefused(
                f"task {task_id!r} is {node.status.value} with {node.unmet} unmet dependencies, it cannot start"
            )
        del self._ready[task_id]
        node.status = NodeStatus.RUNNING

    def mark_completed(self, task_id: str, result: object = None) -> list[str]:
        """The task is done; return the ids of the tasks this made ready. Raises ``CommandRefused`` when it was done before."""
        node = self._close(task_id, NodeStatus.COMPLETED)
        node.result = result
        return self._meet(node)

    def mark_skipped(self, task_id: str) -> list[str]:
        """The task will not run, which counts as met; return the ids of the tasks this made ready."""
        return self._meet(self._close(task_id, NodeStatus.SKIPPED))

    def mark_failed(self, task_id: str, error: BaseException | ErrorInfo) -> None:
        """The task has failed for good; what depends on it will not become ready."""
        node = self._close(task_id, NodeStatus.FAILED)
        node.error = describe_error(error) if isinstance(error, BaseException) else error
        self._failed += 1

    def is_complete(self) -> bool:
        """Whether every task is completed or skipped."""
        return self._open == 0 and not self._failed

    def has_failed_tasks(self) -> bool:
        """Whether any task has failed."""
        return self._failed > 0

    def levels(self) -> list[list[str]]:
        """Return the tasks in topological levels: each depends only on earlier levels."""
        unmet = {task_id: len(node.dependencies) for task_id, node in self.nodes.items()}
        level = [task_id for task_id, count in unmet.items() if count == 0]
        found: list[list[str]] = []
        while level:
            found.append(sorted(level))
            following: list[str] = []
            for task_id in level:
                for dependent in self.nodes[task_id].dependents:
                    unmet[dependent] -= 1
                    if unmet[dependent] == 0:
                        following.append(dependent)
            level = following
        return found

    def critical_path(self, durations: Mapping[str, float]) -> tuple[list[str], float]:
        """Return the chain of dependencies that takes longest, and its length in the unit of ``durations`` (absent is 0)."""
        longest: dict[str, tuple[float, str | None]] = {}
        for level in self.levels():
            for task_id in level:
                before = max(
                    ((longest[dependency][0], dependency) for dependency in sorted(self.nodes[task_id].dependencies)),
                    default=(0.0, None),
                )
                longest[task_id] = (before[0] + durations.get(task_id, 0.0), before[1])
        if not longest:
            return [], 0.0
        at: str | None = max(longest, key=lambda task_id: longest[task_id][0])
        length = longest[at][0] if at is not None else 0.0
        path: list[str] = []
        while at is not None:
            path.append(at)
            at = longest[at][1]
        return path[::-1], length

    def to_mermaid(self, statuses: Mapping[str, str] | None = None, *, direction: str = "TD") -> str:
        """Return the graph as a Mermaid flowchart, ``direction`` ``TD``, ``LR``, ``BT`` or ``RL``.

        With a definition behind it, shapes show what kind each task is: choice (diamond), approval (hexagon), timer (stadium), signal
        (flag), sub-workflow (double border), map (slanted), loop (rounded, with an edge to itself). ``statuses`` (``TaskStatus`` words by
        task id) colour the tasks. Raises ``InvalidInput``.
        """
        if direction not in DIRECTIONS:
            raise InvalidInput(f"{direction!r} is no direction of a drawing", hint=f"use {', '.join(DIRECTIONS)}")
        return mermaid(self.nodes, statuses, direction=direction)

    def _connect(self, node: TaskNode, dependency: TaskNode) -> None:
        node.dependencies.add(dependency.task_id)
        dependency.dependents.add(node.task_id)
        if dependency.status not in (NodeStatus.COMPLETED, NodeStatus.SKIPPED):
            node.unmet += 1
            self._ready.pop(node.task_id, None)

    def _node(self, task_id: str) -> TaskNode:
        node = self.nodes.get(task_id)
        if node is None:
            close = get_close_matches(task_id, self.nodes, n=1)
            raise DefinitionError(
                f"there is no task {task_id!r} in the graph",
                hint=f"did you mean {close[0]!r}?" if close else "add it with add_task first",
            )
        return node

    def _reaches(self, start: str, goal: str) -> bool:
        seen, queue = {start}, deque([start])
        while queue:
            for dependent in self.nodes[queue.popleft()].dependents:
                if dependent == goal:
                    return True
                if dependent not in seen:
                    seen.add(dependent)
                    queue.append(dependent)
        return False

    def _close(self, task_id: str, status: NodeStatus) -> TaskNode:
        node = self._node(task_id)
        if node.status not in (NodeStatus.PENDING, NodeStatus.RUNNING):
            raise CommandRefused(f"task {task_id!r} is {node.status.value} already")
        self._ready.pop(task_id, None)
        node.status = status
        self._open -= 1
        return node

    def _meet(self, node: TaskNode) -> list[str]:
        ready: list[str] = []
        for dependent in sorted(node.dependents):
            waiting = self.nodes[dependent]
            waiting.unmet -= 1
            if waiting.unmet == 0 and waiting.status is NodeStatus.PENDING:
                self._ready[dependent] = None
                ready.append(dependent)
        return ready


def find_cycle(dependencies: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the ids along one cycle, first and last the same, or an empty list when there is none."""
    try:
        TopologicalSorter(dependencies).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []
