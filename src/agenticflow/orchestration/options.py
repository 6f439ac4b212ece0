"""The options of a step and of a workflow as types, for whoever passes them on by keyword. Data only.

They repeat the fields of ``TaskDefinition`` and ``WorkflowDefinition`` (a test compares them); what those mean is written there.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, TypedDict

from agenticflow.core.engine import EffectClass
from agenticflow.orchestration.definition import Compensation, Join
from agenticflow.resilience.budgets.amounts import Budget
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy

__all__ = ["RepeatingOptions", "StepOptions", "WorkflowOptions"]


class StepOptions(TypedDict, total=False):
    """Keyword arguments of ``TaskDefinition``, without those that say what kind of task it is."""

    retry_policy: RetryPolicy | None
    timeout_seconds: float | None
    total_timeout_seconds: float | None
    stall_seconds: float | None
    effect: EffectClass
    capabilities: Collection[str]
    priority: int
    locks: Collection[str]
    limits: Collection[Limit]
    when: str | None
    join: Join
    cancel_rest: bool
    on_failure: Literal["fail", "skip", "reassign"]
    reassign_to: Sequence[str]
    fallback: str | None
    cancels: Collection[str]
    ends_run: bool
    max_parallel: int | None
    enough: int | None
    repeat_delay_seconds: float | None
    max_iterations: int | None
    on_limit: Literal["fail", "complete"]
    compensation: Compensation | str | None
    on_cancel: Literal["cascade", "detach"]
    choose_many: bool


class RepeatingOptions(StepOptions, total=False):
    """The same for a step that may be a map or a loop."""

    for_each: str | Sequence[object] | None
    repeat_until: str | None
    repeat_from: object


class WorkflowOptions(TypedDict, total=False):
    """Keyword arguments of ``WorkflowDefinition``."""

    type: str
    strategy: str
    context: Mapping[str, object] | None
    version: str
    timeout_seconds: float | None
    output: object
    max_parallel: int | None
    priority: int
    budget: Budget | str | None
