"""``agenticflow runs …``: look at runs, and steer them, beside whoever owns the store."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from shlex import quote
from typing import Any, Final

from agenticflow.app.commands.operation import Operation
from agenticflow.app.commands.operations import Cancel, Pause, Resolve, Resume, Signal, Unpause, Waits
from agenticflow.app.execution import TaskView, WorkflowExecution
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.cli.access import ask_owner, deliver, reading
from agenticflow.cli.commands.run import parsed_value
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, duration, moment, note, print_json, print_table, printable, when
from agenticflow.core.events import RecordedEvent
from agenticflow.errors import InvalidInput, StoreUnavailable, WorkflowNotFoundError
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus
from agenticflow.storage.event_store import decode_event
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = [
    "cancel",
    "demand_run",
    "event_detail",
    "event_json",
    "events",
    "listing",
    "pause",
    "resolve",
    "resume",
    "show",
    "signal",
    "steer",
    "unpause",
]

PAGE: Final = 1_000
LOOK_SECONDS: Final = 0.2
SHOWN_ITEMS: Final = 20
SHOWN_CHARS: Final = 100
_TERMINAL: Final = frozenset({"workflow_completed", "workflow_failed", "workflow_cancelled"})


# --- looking ------------------------------------------------------------------------------------------------------------


def listing(*, store: str | None, status: str | None, only_open: bool, limit: int, form: Format) -> int:
    """List runs, newest first."""
    rows = run_async(_rows(store, status, only_open, limit))
    if form is Format.JSON:
        print_json([_row_json(row) for row in rows])
    elif not rows:
        note("there are no runs")
    else:
        print_table(
            ("WORKFLOW", "RUN", "NAME", "STATUS", "STARTED", "TOOK"),
            [(r.execution_id, r.run_no, r.name, r.status, moment(r.started_at), _took(r)) for r in rows],
            right={"RUN", "TOOK"},
        )
    return Exit.OK


async def _rows(store: str | None, status: str | None, only_open: bool, limit: int) -> Sequence[RunRow]:
    wanted: WorkflowStatus | None = None
    if status is not None:
        names = [one.value for one in WorkflowStatus]
        if status.upper() not in names:
            close = get_close_matches(status.upper(), names, n=1)
            raise InvalidInput(
                f"{status!r} is no status",
                hint=f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}",
            )
        wanted = WorkflowStatus(status.upper())
    async with reading(store) as (orchestrator, _):
        return await orchestrator.list_workflows(status=wanted, is_open=True if only_open else None, limit=limit)


def _took(row: RunRow) -> str:
    return duration((row.ended_at - row.started_at) / 1e9) if row.ended_at else ""


def _row_json(row: RunRow) -> dict[str, Any]:
    return {
        "workflow_id": row.execution_id,
        "run_no": row.run_no,
        "name": row.name,
        "status": row.status,
        "is_open": row.is_open,
        "started_at": when(row.started_at),
        "ended_at": when(row.ended_at),
        "next_due": when(row.next_due),
    }


def show(workflow_id: str, *, run_no: int | None, at: int | None, store: str | None, form: Format) -> int:
    """Show where a run stands, or stood after event ``at``: its tasks, errors, result, and what it waits for."""
    look = _show(store, workflow_id, run_no) if at is None else _show_past(store, workflow_id, run_no, at)
    execution, waits_for, result = run_async(look)
    if form is Format.JSON:
        print_json(_execution_json(execution, waits_for, result))
        return Exit.OK
    print(f"{execution.workflow_id} run {execution.run_no}: {execution.definition.name}, {execution.status}")
    took = ""
    if execution.started_at and execution.completed_at:
        took = f", took {duration((execution.completed_at - execution.started_at).total_seconds())}"
    print(f"started {execution.started_at:%Y-%m-%d %H:%M:%S}Z{took}")
    print_table(("TASK", "STATUS", "ATTEMPT", "REMARK"), _task_rows(execution), right={"ATTEMPT"})
    if execution.error is not None:
        print(printable(f"error: {execution.error}"))
    for wait in waits_for:
        print(printable(f"waiting: {wait}"))
    if execution.status is WorkflowStatus.COMPLETED:
        print("the result is in the JSON form: add -o json")
    return Exit.OK


async def _show(store: str | None, workflow_id: str, run_no: int | None) -> tuple[WorkflowExecution, list[str], object]:
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        execution = await orchestrator.get_execution(workflow_id, run_no)
        result: object = None
        if execution.status is WorkflowStatus.COMPLETED:
            result = await orchestrator.wait(workflow_id, execution.run_no)
    waits_for = execution.waits_for
    if execution.completed_at is None:
        try:
            answer = await ask_owner(store, Waits(workflow_id=workflow_id, run_no=execution.run_no))
        except (StoreUnavailable, WorkflowNotFoundError):
            answer = None
        if answer is not None:
            waits_for = [str(wait) for wait in answer["waits_for"]]
        else:
            waits_for = [*waits_for, "nobody runs this store now: `agenticflow run` or a program of yours goes on"]
    return execution, waits_for, result


async def _show_past(
    store: str | None, workflow_id: str, run_no: int | None, at: int
) -> tuple[WorkflowExecution, list[str], object]:
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        execution = await orchestrator.get_execution(workflow_id, run_no, at_version=at)
        result = await orchestrator.wait(workflow_id, run_no) if execution.status is WorkflowStatus.COMPLETED else None
    return execution, execution.waits_for, result


def _task_rows(execution: WorkflowExecution) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for task in execution.definition.tasks:
        view = execution.tasks.get(task.task_id)
        if view is None:
            rows.append((task.task_id, TaskStatus.PENDING, "", ""))
            continue
        if view.item_count is None:
            rows.append((view.key, view.status, view.attempt or "", _remark(view)))
            continue
        failed = f", {view.items_failed} failed" if view.items_failed else ""
        rows.append((view.key, view.status, "", f"{view.items_done} of {view.item_count} items{failed}"))
        wrong = [
            item
            for index in range(view.item_count)
            if (item := execution.tasks.get(f"{view.key}[{index}]")) is not None
            and item.status in (TaskStatus.FAILED, TaskStatus.UNKNOWN, TaskStatus.RETRYING)
        ]
        rows.extend((f"  {item.key}", item.status, item.attempt, _remark(item)) for item in wrong[:SHOWN_ITEMS])
        if len(wrong) > SHOWN_ITEMS:
            rows.append((f"  … and {len(wrong) - SHOWN_ITEMS} more", "", "", ""))
    return rows


def _remark(view: TaskView) -> str:
    parts = [str(view.errors[-1])] if view.errors else []
    if view.waits_until is not None:
        parts.append(f"waits until {view.waits_until:%Y-%m-%d %H:%M:%S}Z")
    return "; ".join(parts)


def _execution_json(execution: WorkflowExecution, waits_for: list[str], result: object) -> dict[str, Any]:
    return {
        "workflow_id": execution.workflow_id,
        "run_no": execution.run_no,
        "name": execution.definition.name,
        "status": execution.status.value,
        "started_at": execution.started_at,
        "completed_at": execution.completed_at,
        "input": execution.context,
        "result": result,
        "error": execution.error,
        "waits_for": waits_for,
        "tasks": [
            {
                "key": view.key,
                "task_id": view.task_id,
                "status": view.status.value,
                "attempt": view.attempt,
                "scheduled_at": view.scheduled_at,
                "ended_at": view.ended_at,
                "waits_until": view.waits_until,
                "items": view.item_count,
                "errors": view.errors,
            }
            for view in execution.tasks.values()
        ],
    }


def events(workflow_id: str, *, run_no: int | None, store: str | None, follows: bool, form: Format) -> int:
    """Print the events of a run in order; with ``follows`` also those to come, until its end."""
    return run_async(_events(workflow_id, run_no, store, follows, form))


async def _events(workflow_id: str, run_no: int | None, store: str | None, follows: bool, form: Format) -> int:
    async with reading(store) as (orchestrator, opened):
        await demand_run(orchestrator, workflow_id)
        stream_id = await _stream(opened, workflow_id, run_no)
        version = 0
        is_over = False
        while True:
            while page := await opened.read_page(stream_id, version, PAGE):
                found = [decode_event(stored, opened.schemas) for stored in page]
                _print_events(found, form)
                version = page[-1].version
                is_over = is_over or any(event.event_type in _TERMINAL for event in found)
            if is_over or not follows:
                return Exit.OK
            await asyncio.sleep(LOOK_SECONDS)


async def _stream(store: Store, workflow_id: str, run_no: int | None) -> str:
    row = await store.get_run(workflow_id, run_no)
    if row is None:
        raise WorkflowNotFoundError(
            f"workflow {workflow_id!r} has no run {run_no}",
            hint=f"`agenticflow runs show {quote(workflow_id)}` shows its latest",
        )
    return row.stream_id


def _print_events(found: Sequence[RecordedEvent], form: Format) -> None:
    if form is Format.JSON:
        for event in found:
            print_json(event_json(event), is_line=True)
        return
    for event in found:
        payload = event.payload
        key = str(payload.get("task_key", payload.get("signal", "")))
        line = (
            f"{event.version:>6}  {moment(event.timestamp)}  {event.event_type:<24}  {key:<20}  {event_detail(payload)}"
        )
        print(printable(line).rstrip())


def event_json(event: RecordedEvent) -> dict[str, Any]:
    """Return an event for programs."""
    return {
        "version": event.version,
        "position": event.position,
        "event_type": event.event_type,
        "timestamp": when(event.timestamp),
        "id": event.id,
        "causation_id": event.causation_id,
        "payload": _plain(event.payload),
    }


def _plain(value: object) -> object:
    """Payloads are frozen all the way down; JSON wants dicts and lists."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def event_detail(payload: Mapping[str, object]) -> str:
    """Return what a payload says, short enough for a line."""
    parts: list[str] = []
    for key, value in payload.items():
        if key in ("task_key", "signal", "definition", "seed", "fingerprint", "kept", "token"):
            continue
        if key == "error" and isinstance(value, Mapping):
            value = f"{value.get('type')}: {value.get('message')}"
        text = str(_plain(value))
        parts.append(f"{key}={text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + '…'}")
    return " ".join(parts)


async def demand_run(orchestrator: Orchestrator, workflow_id: str) -> None:
    """Raise ``WorkflowNotFoundError`` with what was probably meant."""
    try:
        await orchestrator.get_workflow_state(workflow_id)
    except WorkflowNotFoundError as error:
        rows = await orchestrator.list_workflows(limit=PAGE)
        close = get_close_matches(workflow_id, [row.execution_id for row in rows], n=1)
        raise WorkflowNotFoundError(
            error.message, hint=f"did you mean {close[0]!r}?" if close else error.hint
        ) from error


# --- steering -----------------------------------------------------------------------------------------------------------


def cancel(workflow_id: str, *, reason: str, grace_seconds: float, store: str | None, form: Format) -> int:
    """End a run."""
    return steer(Cancel(workflow_id=workflow_id, reason=reason, grace_seconds=grace_seconds), store, form)


def pause(workflow_id: str, *, reason: str, store: str | None, form: Format) -> int:
    """Start nothing new in a run; work in flight goes on."""
    return steer(Pause(workflow_id=workflow_id, reason=reason), store, form)


def unpause(workflow_id: str, *, store: str | None, form: Format) -> int:
    """Let a paused run go on."""
    return steer(Unpause(workflow_id=workflow_id), store, form)


def resume(workflow_id: str, *, from_task: str | None, store: str | None, form: Format) -> int:
    """Open the next run of a workflow that ended without its result, with everything that succeeded kept."""
    return steer(Resume(workflow_id=workflow_id, from_task=from_task), store, form)


def resolve(
    workflow_id: str, task_key: str, decision: str, *, value: str | None, reason: str, store: str | None, form: Format
) -> int:
    """Say what became of a task whose outcome is unknown."""
    decision = decision.replace("-", "_")
    if value is not None and decision != "completed":
        raise InvalidInput("--value goes with the decision 'completed' only")
    operation = Resolve(
        workflow_id=workflow_id,
        task_key=task_key,
        decision=decision,
        value=None if value is None else parsed_value(value),
        reason=reason,
    )
    return steer(operation, store, form)


def signal(
    workflow_id: str, name: str, *, value: str | None, signal_id: str | None, store: str | None, form: Format
) -> int:
    """Send a signal to a run."""
    run_async(_demand_signal(store, workflow_id, name))
    operation = Signal(
        workflow_id=workflow_id,
        signal=name,
        value=None if value is None else parsed_value(value),
        signal_id=signal_id,
    )
    return steer(operation, store, form)


async def _demand_signal(store: str | None, workflow_id: str, name: str) -> None:
    """A signal that no task of the definition waits for would be kept for ever: it is a slip of the pen."""
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        execution = await orchestrator.get_execution(workflow_id)
    names = sorted({task.signal for task in execution.definition.tasks if task.signal is not None})
    if name not in names and not execution.definition.code:  # a function may come to wait for it
        close = get_close_matches(name, names, n=1)
        raise InvalidInput(
            f"no task of workflow {workflow_id!r} waits for a signal {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names) or 'none'}",
        )


def steer(operation: Operation, store: str | None, form: Format, *, is_recorded: bool = True) -> int:
    """Have ``operation`` recorded and say what it changed and where the run stands then; ``is_recorded`` is false for a look only."""
    answer, by_owner = run_async(_delivered(operation, store))
    if is_recorded and not by_owner and answer["status"] in _OPEN:
        note("recorded; nobody runs this store now, the next owner acts on it: `agenticflow run` or a program of yours")
    if form is Format.JSON:
        print_json(answer)
    else:
        for difference in answer.get("differences", ()):
            print(printable(difference))
        print(f"{answer['workflow_id']} run {answer['run_no']}: {answer['status']}")
    return Exit.OK


_OPEN: Final = frozenset(
    {
        WorkflowStatus.PENDING,
        WorkflowStatus.RUNNING,
        WorkflowStatus.PAUSED,
        WorkflowStatus.WAITING,
        WorkflowStatus.COMPENSATING,
        WorkflowStatus.NEEDS_ATTENTION,
    }
)


async def _delivered(operation: Operation, store: str | None) -> tuple[dict[str, Any], bool]:
    try:
        delivered = await deliver(store, operation)
    except WorkflowNotFoundError:
        async with reading(store) as (orchestrator, _):
            await demand_run(orchestrator, str(getattr(operation, "workflow_id", "")))
        raise
    return delivered.answer, delivered.by_owner
