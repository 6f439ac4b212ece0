"""``agenticflow schedules …``: look at schedules, and steer them, beside whoever owns the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from agenticflow.app.commands.operation import Operation
from agenticflow.app.commands.schedules import (
    CreateSchedule,
    DeleteSchedule,
    PauseSchedule,
    ResumeSchedule,
    TriggerSchedule,
)
from agenticflow.app.definitions import Performers, load_workflow
from agenticflow.app.schedules.views import ScheduledRun, ScheduleView
from agenticflow.cli.access import deliver, reading
from agenticflow.cli.commands.run import workflow_input
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table, printable
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.schedules.state import ScheduleStatus

__all__ = ["create", "delete", "listing", "pause", "resume", "show", "trigger"]

_FILES: Final = (".py", ".yaml", ".yml", ".json")


def listing(*, store: str | None, only_open: bool, limit: int, form: Format) -> int:
    """List schedules, newest first."""
    views = run_async(_views(store, only_open, limit))
    if form is Format.JSON:
        print_json([msgspec.to_builtins(view, builtin_types=(datetime,)) for view in views])
    elif not views:
        note("there are no schedules")
    else:
        print_table(
            ("SCHEDULE", "WORKFLOW", "STATUS", "DUE", "NEXT", "RUNS"),
            [(v.schedule_id, v.workflow, v.status, _rule(v), _shown(v.next_moments), v.runs) for v in views],
            right={"RUNS"},
        )
        for view in views:
            if view.waits_for:
                note(f"{view.schedule_id} waits for {view.waits_for}")
    return Exit.OK


async def _views(store: str | None, only_open: bool, limit: int) -> Sequence[ScheduleView]:
    async with reading(store) as (orchestrator, _):
        return await orchestrator.schedules.list(only_open=only_open, limit=limit)


def show(schedule_id: str, *, store: str | None, form: Format) -> int:
    """Show where a schedule stands."""
    view = run_async(_view(store, schedule_id))
    if form is Format.JSON:
        print_json(msgspec.to_builtins(view, builtin_types=(datetime,)))
        return Exit.OK
    print(printable(f"{view.schedule_id}: {view.workflow}, {view.status}"))
    print(printable(f"due: {_rule(view)}; overlap {view.overlap}, catch up {view.catch_up}"))
    if view.waits_for:
        print(printable(f"waits for {view.waits_for}"))
    for moment in view.next_moments:
        print(f"next: {moment:%Y-%m-%d %H:%M:%S}Z")
    for moment in view.waiting:
        print(f"waiting: {moment:%Y-%m-%d %H:%M:%S}Z")
    runs = [*view.running, *view.last_runs]
    if runs:
        print_table(("WORKFLOW", "STARTED", "OUTCOME"), [_row(run) for run in runs])
    return Exit.OK


async def _view(store: str | None, schedule_id: str) -> ScheduleView:
    async with reading(store) as (orchestrator, _):
        return await orchestrator.schedules.get(schedule_id)


def _row(run: ScheduledRun) -> tuple[object, ...]:
    return (run.workflow_id, f"{run.started_at:%Y-%m-%d %H:%M:%S}", run.outcome or "runs")


def _rule(view: ScheduleView) -> str:
    return f"{view.rule} {view.timezone}" if view.rule.startswith("cron") else view.rule


def _shown(moments: Sequence[datetime]) -> str:
    return f"{moments[0]:%Y-%m-%d %H:%M:%S}" if moments else ""


# --- steering -----------------------------------------------------------------------------------------------------------


def create(
    schedule_id: str,
    workflow: str,
    options: Mapping[str, Any],
    *,
    times: Mapping[str, str | None],
    inputs: Iterable[str],
    input_json: str | None,
    store: str | None,
    form: Format,
) -> int:
    """Create a schedule of the workflow in a file, or of that name."""
    given = workflow_input(inputs, input_json)
    if not isinstance(given, dict):
        raise InvalidInput("the input of a schedule is an object", hint="write --input key=value")
    moments: dict[str, Any] = {name: _time(name, text) for name, text in times.items()}
    operation = CreateSchedule(
        schedule_id=schedule_id, workflow=_workflow(workflow), input=given or None, **moments, **options
    )
    return _steer(operation, store, form, makes_store=True)


def pause(schedule_id: str, *, reason: str, store: str | None, form: Format) -> int:
    """Start nothing until it is resumed."""
    return _steer(PauseSchedule(schedule_id=schedule_id, reason=reason), store, form)


def resume(schedule_id: str, *, reason: str, store: str | None, form: Format) -> int:
    """Go on with what is still to come."""
    return _steer(ResumeSchedule(schedule_id=schedule_id, reason=reason), store, form)


def delete(schedule_id: str, *, reason: str, store: str | None, form: Format) -> int:
    """End a schedule."""
    return _steer(DeleteSchedule(schedule_id=schedule_id, reason=reason), store, form)


def trigger(schedule_id: str, *, trigger_id: str | None, store: str | None, form: Format) -> int:
    """Start it now."""
    return _steer(TriggerSchedule(schedule_id=schedule_id, trigger_id=trigger_id), store, form)


def _workflow(target: str) -> WorkflowDefinition | str:
    is_file = target.partition(":")[0].endswith(_FILES)
    return load_workflow(target, Performers.IGNORED).definition if is_file else target


def _time(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        option = f"--{name.replace('_', '-')}"
        raise InvalidInput(f"{option} {text!r} is no time", hint="write it as 2027-01-31T03:00:00Z") from error


def _steer(operation: Operation, store: str | None, form: Format, *, makes_store: bool = False) -> int:
    delivered = run_async(deliver(store, operation, makes_store=makes_store))
    answer = delivered.answer
    is_by_name = isinstance(operation, CreateSchedule) and isinstance(operation.workflow, str)
    if not delivered.by_owner and answer["status"] in (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED):
        note("recorded; nobody runs this store now, the next owner acts on it: `agenticflow run` or a program of yours")
        if is_by_name:
            note("its workflow is known by name only: that owner has to have registered it")
    elif answer.get("waits_for"):
        note(f"warning: {answer['schedule_id']} waits for {answer['waits_for']}; the one that runs it now has not")
    if form is Format.JSON:
        print_json(answer)
    else:
        following = f", next {answer['next_moment']}" if answer["next_moment"] else ""
        print(printable(f"{answer['schedule_id']}: {answer['status']}{following}"))
    return Exit.OK
