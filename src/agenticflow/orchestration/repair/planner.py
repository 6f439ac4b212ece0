"""Who is asked for another plan when a run would fail: what a planner is given, what it returns, and its terms. Data."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import msgspec

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.statuses import TaskStatus

__all__ = ["FailedRun", "NewPlan", "Plans", "Replanner"]

MAX_REPLANS: Final = 100
MAX_SECONDS: Final = 86_400.0


class FailedRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run that would fail now."""

    workflow_id: str
    run_no: int
    number: int
    """Which time it asks, from 1."""
    key: str
    """Equal whenever the same is asked again, after a crash: to ask a model once."""
    failed: Mapping[str, ErrorInfo]
    """The last error of each failed task, by task key."""
    statuses: Mapping[str, TaskStatus]
    """Of every task that anything has become of, by task key."""
    definition: WorkflowDefinition
    """As it is now."""
    input: object


class NewPlan(msgspec.Struct, frozen=True):
    """Changes with which the run goes on, and why: ``[{"add": task}, {"replace": task}, {"remove": "task_id"}]``.

    They may touch what has not started, and replace or remove what has failed for good.
    """

    modifications: object
    reason: str = ""


Plans = Callable[[FailedRun], Awaitable[object]]
"""Gets a run that would fail; returns a ``NewPlan``, a list of modifications, or ``None`` to let it fail."""


class Replanner(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asked for another plan. Raises ``InvalidInput`` for what makes no sense."""

    plans: Plans
    name: str = ""
    """Recorded with the plan; by default the name of the function."""
    timeout_seconds: float = 60.0
    """Then the run fails."""
    max_replans: int = 3
    """Of one run."""
    workflows: tuple[str, ...] = ()
    """Names of the workflows it plans for; empty for all."""

    def __post_init__(self) -> None:
        if not callable(self.plans):
            raise InvalidInput(
                f"a replanner is given {self.plans!r:.80}", hint="give it an async function of a FailedRun"
            )
        if not _is_number(self.timeout_seconds) or not 0 < self.timeout_seconds <= MAX_SECONDS:
            raise InvalidInput(
                f"timeout_seconds of a replanner is {self.timeout_seconds!r}",
                hint=f"give up to {MAX_SECONDS:,.0f} seconds",
            )
        is_count = isinstance(self.max_replans, int) and not isinstance(self.max_replans, bool)
        if not is_count or not 1 <= self.max_replans <= MAX_REPLANS:
            raise InvalidInput(
                f"max_replans of a replanner is {self.max_replans!r}",
                hint=f"give a whole number from 1 to {MAX_REPLANS}",
            )

    @property
    def recorded_as(self) -> str:
        """Who a plan of it is recorded to be by."""
        return f"replan:{self.name or getattr(self.plans, '__name__', type(self.plans).__name__)}"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
