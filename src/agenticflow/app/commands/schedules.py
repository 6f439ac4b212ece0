"""Operations on schedules."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

import msgspec

from agenticflow.app.commands.operation import Operation, Steered
from agenticflow.app.schedules.views import ScheduleView
from agenticflow.orchestration.definition import WorkflowDefinition

__all__ = ["CreateSchedule", "DeleteSchedule", "PauseSchedule", "ResumeSchedule", "TriggerSchedule"]


class CreateSchedule(Operation, frozen=True, kw_only=True):
    """Create a schedule. Whatever is left out has the default of ``Schedules.create``."""

    name: ClassVar[str] = "create_schedule"
    schedule_id: str
    workflow: WorkflowDefinition | str
    cron: str | None = None
    every: float | None = None
    at: datetime | None = None
    timezone: str = "UTC"
    input: dict[str, object] | None = None
    overlap: str = "skip"
    catch_up: str = "last"
    catch_up_window: float = 86_400.0
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    jitter: float = 0.0
    replace: bool = False

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        arguments = msgspec.structs.asdict(self)
        schedule_id, workflow = arguments.pop("schedule_id"), arguments.pop("workflow")
        return _schedule(await orchestrator.schedules.create(schedule_id, workflow, **arguments))


class _ScheduleOperation(Operation, frozen=True, kw_only=True):
    schedule_id: str
    reason: str = ""


class PauseSchedule(_ScheduleOperation, frozen=True, kw_only=True):
    """Start nothing by a schedule."""

    name: ClassVar[str] = "pause_schedule"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _schedule(await orchestrator.schedules.pause(self.schedule_id, reason=self.reason))


class ResumeSchedule(_ScheduleOperation, frozen=True, kw_only=True):
    """Start again by a schedule."""

    name: ClassVar[str] = "resume_schedule"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _schedule(await orchestrator.schedules.resume(self.schedule_id, reason=self.reason))


class DeleteSchedule(_ScheduleOperation, frozen=True, kw_only=True):
    """End a schedule."""

    name: ClassVar[str] = "delete_schedule"

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _schedule(await orchestrator.schedules.delete(self.schedule_id, reason=self.reason))


class TriggerSchedule(Operation, frozen=True, kw_only=True):
    """Start what a schedule starts, now."""

    name: ClassVar[str] = "trigger_schedule"
    schedule_id: str
    trigger_id: str | None = None

    async def carry_out(self, orchestrator: Steered) -> dict[str, object]:
        return _schedule(await orchestrator.schedules.trigger(self.schedule_id, trigger_id=self.trigger_id))


def _schedule(view: ScheduleView) -> dict[str, object]:
    return {
        "schedule_id": view.schedule_id,
        "status": view.status.value,
        "next_moment": view.next_moments[0].isoformat() if view.next_moments else None,
        "runs": view.runs,
        "waits_for": view.waits_for,
    }
