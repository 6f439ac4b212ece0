"""What a crash search is given, and what it answers: a workflow with its outside world, and the promises that were broken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.engine import EffectClass
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction

__all__ = ["CrashCase", "CrashReport", "CrashSignal", "CrashViolation", "Resolution"]


@dataclass(frozen=True)
class CrashSignal:
    """A signal that the outside world sends, in every life again, with the same id."""

    name: str
    value: object = None
    after_seconds: float = 0.0
    """How long after the start of each life."""


@dataclass(frozen=True)
class Resolution:
    """What an operator says: of an at-most-once task whose outcome is unknown, after a look at the outside world, or to a question."""

    decision: str
    """``"completed"`` with the ``value``, ``"failed"`` or ``"run_again"``; to an approval ``"approved"`` with the ``value``, or
    ``"rejected"``."""
    value: object = None


def _nobody_knows(task_key: str) -> Resolution:
    raise InvalidInput(
        f"the outcome of task {task_key!r} is unknown and the case says nothing about it",
        hint="give CrashCase(resolve=…): look at what the handler has done and say so",
    )


def _nothing_to_check() -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class CrashCase:
    """One workflow with its agents, and the outside world that survives the crashes of its process."""

    definition: WorkflowDefinition | WorkflowFunction
    agents: Sequence[Agent] = ()
    workers: Sequence[Worker[..., Any]] = ()
    input: object = None
    signals: Sequence[CrashSignal] = ()
    resolve: Callable[[str], Resolution] = _nobody_knows
    """Asked with the task key when an outcome is unknown."""
    answer: Callable[[str], Resolution] | None = None
    """Asked with the task key when an approval is wanted. Left out, nobody answers in a crash search, and in a simulation everything is
    approved."""
    check: Callable[[], Iterable[str]] = _nothing_to_check
    """Returns, in words, what is wrong with the outside world at the end."""
    steer: Callable[[Orchestrator, str], Awaitable[object]] | None = None
    """What somebody does to the workflow of that id: pause, abort, resume its chain. Begun again in each life, so it has to look where
    things stand; a life ends when it is done, and what it returns belongs to the result."""
    at_most_once: Collection[str] = ()
    """Of a workflow as code: the keys of its at-most-once steps. Of a definition they are known."""

    @property
    def once_only(self) -> set[str]:
        """The ids of all at-most-once tasks, those of sub-workflows included."""
        return {*self.at_most_once, *_once_only(self.tasks)}

    @property
    def functions(self) -> Sequence[WorkflowFunction]:
        """What every process has to know to run it: the function of a workflow as code."""
        return [self.definition] if isinstance(self.definition, WorkflowFunction) else []

    @property
    def tasks(self) -> Sequence[TaskDefinition]:
        """The tasks that are known before it runs."""
        return self.definition.tasks if isinstance(self.definition, WorkflowDefinition) else ()


def _once_only(tasks: Iterable[TaskDefinition]) -> Iterator[str]:
    for task in tasks:
        if task.effect is EffectClass.AT_MOST_ONCE:
            yield task.task_id
        if isinstance(task.workflow, WorkflowDefinition):
            yield from _once_only(task.workflow.tasks)


@dataclass(frozen=True)
class CrashViolation:
    """A promise that was broken, and where the lives before had ended."""

    deaths: tuple[str, ...]
    """The points, with the number of the arrival: ``"host.decided#17"``."""
    what: str

    def __str__(self) -> str:
        return f"killed at {' and then '.join(self.deaths) or 'no point'}: {self.what}"


@dataclass
class CrashReport:
    """What a search did and found."""

    arrivals: Counter[str] = field(default_factory=Counter)
    """How often each point was reached, undisturbed."""
    recovery_arrivals: Counter[str] = field(default_factory=Counter)
    """How often each point was reached in the lives after a death."""
    kills: int = 0
    cases: int = 0
    calls: int = 0
    """Handler calls in all."""
    repeated_calls: int = 0
    """Calls beyond the first of a task: retries, and work whose outcome had not been recorded when the process died."""
    violations: list[CrashViolation] = field(default_factory=list)

    @property
    def points(self) -> int:
        """How many arrivals the undisturbed run has."""
        return sum(self.arrivals.values())

    def __str__(self) -> str:
        head = (
            f"{self.points} points, {self.kills} kills in {self.cases} cases, {self.calls} handler calls "
            f"({self.repeated_calls} repeated), {len(self.violations)} violations"
        )
        return "\n".join([head, *map(str, self.violations[:20])])
