"""``agenticflow runs graph`` and ``runs timeline``: a recorded run as a drawing, and as a chart of its time."""

from __future__ import annotations

import sys
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from agenticflow.app.execution import WorkflowExecution
from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import (
    Format,
    data_width,
    duration,
    moment,
    print_json,
    print_table,
    printable,
    when,
)
from agenticflow.core.events import RecordedEvent
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.facts import StepsPlanned
from agenticflow.orchestration.graph import TaskGraph
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.timeline import MIN_WIDTH, SECOND, Stretch, Timeline, gantt, timeline_of
from agenticflow.runtime.clock import SystemClock

__all__ = ["graph", "timeline"]

BAR_SHARE: Final = 3
"""Of the width, one part in so many is for the bars."""
SHOWN_CHARS: Final = 60
HEADS: Final = ("TASK", "ATTEMPT", "AFTER", "WAITED", "TOOK", "ENDED")
MAX_EDGES: Final = 30
"""To one step: of a thousand that ended before it the last are drawn."""


def graph(workflow_id: str, *, run_no: int | None, direction: str, store: str | None, form: Format) -> int:
    """Print the run as a Mermaid flowchart with the status of each task."""
    execution, events = run_async(_execution(store, workflow_id, run_no))
    drawn = execution.definition
    if drawn.code:
        drawn = msgspec.structs.replace(drawn, tasks=_in_order(execution, events))
    statuses = {view.key: view.status.value for view in execution.tasks.values() if view.key == view.task_id}
    drawing = TaskGraph.of(drawn).to_mermaid(statuses, direction=direction.upper())
    if form is Format.JSON:
        print_json(
            {
                "workflow_id": workflow_id,
                "run_no": execution.run_no,
                "status": execution.status.value,
                "statuses": {
                    task.task_id: statuses.get(task.task_id, "PENDING") for task in execution.definition.tasks
                },
                "mermaid": drawing,
            }
        )
    else:
        sys.stdout.write(drawing)
    return Exit.OK


async def _execution(
    store: str | None, workflow_id: str, run_no: int | None
) -> tuple[WorkflowExecution, list[RecordedEvent]]:
    """Return the run, and its events when it is one of a workflow as code."""
    async with reading(store) as (orchestrator, opened):
        await demand_run(orchestrator, workflow_id)
        execution = await orchestrator.get_execution(workflow_id, run_no)
        events: list[RecordedEvent] = []
        if execution.definition.code:
            async for event in opened.read_stream(stream_of(workflow_id, execution.run_no)):
                events.append(event)
        return execution, events


def _in_order(execution: WorkflowExecution, events: list[RecordedEvent]) -> list[TaskDefinition]:
    """Return the steps of a workflow as code with what had ended when each was asked for as its dependencies, the indirect left out.

    That is all the record knows: what a function needs a result for is in its code.
    """
    asked: dict[str, int] = {}
    told: dict[str, int] = {}
    for event in events:
        if event.event_type == StepsPlanned.event_type:
            steps = msgspec.convert(event.payload["steps"], tuple[tuple[Mapping[str, object], object], ...])
            asked |= {str(task["task_id"]): event.version for task, _ in steps}
        elif (key := event.payload.get("task_key")) is not None:
            told[str(key)] = event.version
    ended = sorted(
        # One that was kept from an earlier run has ended when it was asked for, and has no event of its own.
        (told.get(key, asked[key]), key)
        for key, view in execution.tasks.items()
        if view.ended_at is not None and key in asked
    )
    tasks = []
    for task in execution.definition.tasks:
        before = ended[: bisect_left(ended, (asked[task.task_id], ""))]
        latest = max((asked[key] for _, key in before), default=0)
        direct = [key for end, key in before[-MAX_EDGES:] if end >= latest]
        tasks.append(msgspec.structs.replace(task, dependencies=direct))
    return tasks


def timeline(workflow_id: str, *, run_no: int | None, width: int | None, store: str | None, form: Format) -> int:
    """Print one row per attempt with a bar on the scale of the run."""
    run_no, folded = run_async(_timeline(store, workflow_id, run_no))
    now = SystemClock().now_ns()
    if form is Format.JSON:
        print_json(_timeline_json(workflow_id, run_no, folded, now))
        return Exit.OK
    rows = [
        (
            row.task_key,
            str(row.attempt or row.kind),
            _after(folded, row.scheduled_at),
            *_times(row, now),
            str(row.outcome),
        )
        for row in folded.rows
    ]
    bars = gantt(folded, now, width=width or _bar_width(rows))
    took = duration((folded.until(now) - folded.started_at) / SECOND)
    print(printable(f"{workflow_id} run {run_no}: began {moment(folded.started_at)}, {_ended(folded)}{took}"))
    with_bars = [(*row, bar) for row, bar in zip(rows, bars, strict=True)]
    print_table((*HEADS, ""), with_bars, right={"AFTER", "WAITED", "TOOK"})
    for row in folded.rows:
        if row.error:
            print(printable(f"{row.task_key}: {row.error[:SHOWN_CHARS]}"))
    return Exit.OK


def _bar_width(rows: Sequence[Sequence[str]]) -> int:
    """Return how wide the bars are: a part of the line, and no more than the columns before them leave."""
    # Each column is followed by two blanks.
    others = sum(max(map(len, column)) + 2 for column in zip(HEADS, *rows, strict=True))
    return max(min(data_width() // BAR_SHARE, data_width() - others), MIN_WIDTH)


async def _timeline(store: str | None, workflow_id: str, run_no: int | None) -> tuple[int, Timeline]:
    async with reading(store) as (orchestrator, opened):
        await demand_run(orchestrator, workflow_id)
        found = (await orchestrator.get_execution(workflow_id, run_no)).run_no
        events: list[RecordedEvent] = []
        async for event in opened.read_stream(stream_of(workflow_id, found)):
            events.append(event)
        return found, timeline_of(events)


def _ended(folded: Timeline) -> str:
    return "took " if folded.ended_at is not None else "still open after "


def _after(folded: Timeline, at: int) -> str:
    return f"+{(at - folded.started_at) / SECOND:.3f} s"


def _times(row: Stretch, now: int) -> tuple[str, str]:
    return f"{row.wait_seconds:.3f} s", f"{row.seconds(now):.3f} s"


def _timeline_json(workflow_id: str, run_no: int, folded: Timeline, now: int) -> dict[str, Any]:
    return {
        "workflow_id": workflow_id,
        "run_no": run_no,
        "started_at": when(folded.started_at),
        "ended_at": when(folded.ended_at),
        "rows": [
            {
                "task_key": row.task_key,
                "attempt": row.attempt,
                "kind": row.kind,
                "scheduled_at": when(row.scheduled_at),
                "started_at": when(row.started_at),
                "ended_at": when(row.ended_at),
                "wait_seconds": row.wait_seconds,
                "seconds": row.seconds(now),
                "outcome": row.outcome.value,
                "error": row.error,
            }
            for row in folded.rows
        ],
    }
