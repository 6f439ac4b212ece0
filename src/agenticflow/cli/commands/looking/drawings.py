"""``agenticflow runs graph`` and ``runs timeline``: a recorded run as a drawing, and as a chart of its time."""

from __future__ import annotations

import sys
from typing import Any, Final

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
from agenticflow.orchestration.graph import TaskGraph
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.timeline import SECOND, Stretch, Timeline, gantt, timeline_of
from agenticflow.runtime.clock import SystemClock

__all__ = ["graph", "timeline"]

BAR_SHARE: Final = 3
"""Of the width, one part in so many is for the bars."""
SHOWN_CHARS: Final = 60


def graph(workflow_id: str, *, run_no: int | None, direction: str, store: str | None, form: Format) -> int:
    """Print the run as a Mermaid flowchart with the status of each task."""
    execution = run_async(_execution(store, workflow_id, run_no))
    statuses = {view.key: view.status.value for view in execution.tasks.values() if view.key == view.task_id}
    drawing = TaskGraph.of(execution.definition).to_mermaid(statuses, direction=direction.upper())
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


async def _execution(store: str | None, workflow_id: str, run_no: int | None) -> WorkflowExecution:
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        return await orchestrator.get_execution(workflow_id, run_no)


def timeline(workflow_id: str, *, run_no: int | None, width: int | None, store: str | None, form: Format) -> int:
    """Print one row per attempt with a bar on the scale of the run."""
    run_no, folded = run_async(_timeline(store, workflow_id, run_no))
    now = SystemClock().now_ns()
    if form is Format.JSON:
        print_json(_timeline_json(workflow_id, run_no, folded, now))
        return Exit.OK
    bars = gantt(folded, now, width=width or max(data_width() // BAR_SHARE, 10))
    rows = [
        (row.task_key, row.attempt or row.kind, _after(folded, row.scheduled_at), *_times(row, now), row.outcome, bar)
        for row, bar in zip(folded.rows, bars, strict=True)
    ]
    took = duration((folded.until(now) - folded.started_at) / SECOND)
    print(printable(f"{workflow_id} run {run_no}: began {moment(folded.started_at)}, {_ended(folded)}{took}"))
    print_table(("TASK", "ATTEMPT", "AFTER", "WAITED", "TOOK", "ENDED", ""), rows, right={"AFTER", "WAITED", "TOOK"})
    for row in folded.rows:
        if row.error:
            print(printable(f"{row.task_key}: {row.error[:SHOWN_CHARS]}"))
    return Exit.OK


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
