"""An operation: what another process may ask of the one that owns a store. Each is one call of the orchestrator's own."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar, Protocol, Self

import msgspec

from agenticflow.app.approvals.approvals import Approvals
from agenticflow.app.budgets.budgets import Budgets
from agenticflow.app.engine.explaining import Explained
from agenticflow.app.engine.liveness import LivenessReport
from agenticflow.app.execution import Controls, WorkflowHandle
from agenticflow.app.letters.dead_letters import DeadLetters
from agenticflow.app.schedules.schedules import Schedules
from agenticflow.app.steering import LOCAL_OWNER
from agenticflow.orchestration.comparison import Difference
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.interventions.intervention import UserIntervention
from agenticflow.storage.retention import KEEP_ALL, Compacted, RetentionPolicy

__all__ = ["Operation", "Steered"]


class Steered(Controls, Protocol):
    """The part of an orchestrator that operations call."""

    async def cancel_task(
        self, workflow_id: str, task_id: str, *, reason: str = "", cancelled_by: str = LOCAL_OWNER
    ) -> None: ...
    async def approve(
        self,
        workflow_id: str,
        task_key: str,
        *,
        value: object = None,
        comment: str = "",
        approved_by: str = ...,
    ) -> None: ...
    async def reject(self, workflow_id: str, task_key: str, *, comment: str = "", rejected_by: str = ...) -> None: ...

    async def intervene(self, workflow_id: str, intervention: UserIntervention) -> Sequence[Difference]: ...

    async def start_workflow(
        self, definition: WorkflowDefinition | str, context: object = None, *, workflow_id: str | None = None
    ) -> WorkflowHandle: ...
    async def resume_workflow(self, workflow_id: str, from_task: str | None = None) -> WorkflowHandle: ...
    async def fork_workflow(
        self,
        workflow_id: str,
        *,
        run_no: int | None = None,
        at_version: int | None = None,
        from_task: str | None = None,
        input: object = ...,
        definition: WorkflowDefinition | None = None,
        new_workflow_id: str | None = None,
    ) -> WorkflowHandle: ...
    async def resolve(
        self, workflow_id: str, task_key: str, decision: str, *, value: object = None, reason: str = ""
    ) -> None: ...
    async def why(self, workflow_id: str, task_key: str | None = None, run_no: int | None = None) -> Explained: ...
    async def check_liveness(self) -> LivenessReport: ...
    async def compact(self, policy: RetentionPolicy = KEEP_ALL) -> Compacted: ...

    @property
    def budgets(self) -> Budgets: ...
    @property
    def schedules(self) -> Schedules: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def dead_letters(self) -> DeadLetters: ...


class Operation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request from outside; its fields are its arguments."""

    name: ClassVar[str]
    """What it is called on the wire."""
    carry_out: ClassVar[Callable[[Self, Steered], Coroutine[Any, Any, dict[str, object]]]]
    """Does it; returns the answer once it is durable."""
