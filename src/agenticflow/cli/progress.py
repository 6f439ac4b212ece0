"""What a person sees while a run goes on: a live display on a terminal, plain lines elsewhere, both on stderr.

It is a view of the folded state, looked at now and then; it never waits for anything and nothing waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote
from typing import Final, Protocol

import msgspec
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from agenticflow.app.execution import TaskView, WorkflowState
from agenticflow.cli.terminal import duration, note, printable
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.state import TaskStatus, WorkflowStatus

__all__ = ["LiveProgress", "PlainProgress", "Progress", "progress_for"]

SHOWN_TASKS: Final = 12
BAR_WIDTH: Final = 30
LINES_PER_MAP: Final = 10
"""In plain lines a map tells of every tenth of its items."""

_SETTLED: Final = frozenset({TaskStatus.COMPLETED, TaskStatus.SKIPPED, TaskStatus.FAILED, TaskStatus.CANCELLED})
_STYLES: Final[Mapping[TaskStatus, str]] = {
    TaskStatus.COMPLETED: "green",
    TaskStatus.SKIPPED: "dim",
    TaskStatus.FAILED: "bold red",
    TaskStatus.CANCELLED: "red",
    TaskStatus.UNKNOWN: "bold yellow",
    TaskStatus.RETRYING: "yellow",
    TaskStatus.WAITING: "cyan",
}
_ACTIVE: Final = frozenset(
    {
        TaskStatus.SCHEDULED,
        TaskStatus.RUNNING,
        TaskStatus.EXPANDED,
        TaskStatus.RETRYING,
        TaskStatus.WAITING,
        TaskStatus.UNKNOWN,
    }
)


class Row(msgspec.Struct, frozen=True):
    """One task as it is shown."""

    task_id: str
    status: TaskStatus
    done: int
    total: int
    """Of a map: its items; else 1."""
    remark: str


class Progress(Protocol):
    """Shows one run."""

    def look(self, state: WorkflowState) -> None:
        """Show where the run stands now."""

    def say(self, text: str) -> None:
        """Show a line that stays."""

    def close(self) -> None:
        """Leave the display in its last state."""


def progress_for(
    console: Console, definition: WorkflowDefinition, workflow_id: str, *, is_quiet: bool = False
) -> Progress:
    """Return what fits ``console``: live on a terminal, lines elsewhere."""
    if console.is_terminal and not is_quiet:
        return LiveProgress(console, definition, workflow_id)
    return PlainProgress(definition, workflow_id, is_quiet=is_quiet)


def rows_of(definition: WorkflowDefinition, state: WorkflowState, workflow_id: str) -> list[Row]:
    """Return the tasks in the order of the definition; of a workflow as code those that its function has asked for, in that order."""
    if definition.code:
        return [_row(view, workflow_id) for view in state.tasks.values() if view.key == view.task_id]
    views = ((task.task_id, state.tasks.get(task.task_id)) for task in definition.tasks)
    return [
        Row(task_id, TaskStatus.PENDING, 0, 1, "") if view is None else _row(view, workflow_id)
        for task_id, view in views
    ]


def _row(view: TaskView, workflow_id: str) -> Row:
    remark = printable(_remark(view))
    run = quote(workflow_id)
    if view.signal is not None and view.status is TaskStatus.WAITING:
        remark = f"waits for the signal {view.signal!r}: agenticflow runs signal {run} {quote(view.signal)}"
    elif view.question and view.status is TaskStatus.WAITING:
        command = f"agenticflow runs approve {run} {quote(view.key)}"
        remark = f"waits for an answer: {printable(view.question)}  {command}"
    if view.item_count is None:
        return Row(view.task_id, view.status, int(view.status in _SETTLED), 1, remark)
    failed = f"{view.items_failed} failed" if view.items_failed else ""
    return Row(view.task_id, view.status, view.items_done + view.items_failed, view.item_count, failed)


def _remark(view: TaskView) -> str:
    match view.status:
        case TaskStatus.FAILED:
            return str(view.errors[-1]) if view.errors else "failed"
        case TaskStatus.RETRYING:
            what = f": {view.errors[-1]}" if view.errors else ""
            return f"attempt {view.attempt} failed{what}; tried again at {view.waits_until:%H:%M:%S}Z"
        case TaskStatus.UNKNOWN:
            return "nobody knows whether it happened"
        case TaskStatus.WAITING if view.waits_until is not None:
            return f"until {view.waits_until:%H:%M:%S}Z"
        case _:
            return f"attempt {view.attempt}" if view.attempt > 1 and view.status in _ACTIVE else ""


class PlainProgress:
    """A line for everything that changes and matters; silent when ``is_quiet`` but for what a person has to act on."""

    def __init__(self, definition: WorkflowDefinition, workflow_id: str, *, is_quiet: bool = False) -> None:
        self._definition = definition
        self._workflow_id = workflow_id
        self._is_quiet = is_quiet
        self._shown: dict[str, tuple[TaskStatus, int]] = {}
        self._status: WorkflowStatus | None = None

    def look(self, state: WorkflowState) -> None:
        for row in rows_of(self._definition, state, self._workflow_id):
            tenth = row.done * LINES_PER_MAP // row.total if row.total > 1 else 0
            before = self._shown.get(row.task_id)
            if before == (row.status, tenth):
                continue
            self._shown[row.task_id] = (row.status, tenth)
            line = self._line(row, before)
            if line is not None:
                note(f"  {line}")
        if state.status is WorkflowStatus.PAUSED and self._status is not WorkflowStatus.PAUSED:
            note(f"  the run is paused: agenticflow runs unpause {quote(self._workflow_id)}")
        self._status = state.status

    def _line(self, row: Row, before: tuple[TaskStatus, int] | None) -> str | None:
        match row.status:
            case TaskStatus.WAITING | TaskStatus.UNKNOWN:
                return f"{row.task_id} {row.remark}"
            case _ if self._is_quiet:
                return None
            case TaskStatus.COMPLETED | TaskStatus.SKIPPED | TaskStatus.CANCELLED if row.total == 1:
                return f"{row.task_id} {row.status.lower()}"
            case TaskStatus.FAILED | TaskStatus.RETRYING:
                return f"{row.task_id} {row.status.lower()}: {row.remark}"
            case _ if row.total != 1 and row.done and (before is None or before[1] != row.done):
                return f"{row.task_id} {row.done} of {row.total}" + (f", {row.remark}" if row.remark else "")
            case _:
                return None

    def say(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        """Lines stay as they are."""


class LiveProgress:
    """A table that is drawn anew in place."""

    def __init__(self, console: Console, definition: WorkflowDefinition, workflow_id: str) -> None:
        self._console = console
        self._definition = definition
        self._workflow_id = workflow_id
        self._rows: list[Row] = []
        self._status = WorkflowStatus.PENDING
        self._began = console.get_time()
        self._live = Live(console=console, refresh_per_second=8, get_renderable=self._render, transient=False)
        self._live.start()

    def look(self, state: WorkflowState) -> None:
        self._rows = rows_of(self._definition, state, self._workflow_id)
        self._status = state.status

    def say(self, text: str) -> None:
        self._console.print(Text(text))

    def close(self) -> None:
        self._live.stop()

    def _render(self) -> RenderableType:
        settled = sum(row.status in _SETTLED for row in self._rows)
        head = Text.assemble(
            (self._definition.name, "bold"),
            f"  {self._workflow_id}  ",
            (str(self._status), "bold"),
            f"  {settled} of {len(self._rows)} tasks{' so far' if self._definition.code else ''}",
            f"  {duration(self._console.get_time() - self._began)}",
        )
        grid = Table.grid(padding=(0, 2))
        for row in self._chosen():
            bar: RenderableType = Text(row.status.lower(), style=_STYLES.get(row.status, ""))
            count = ""
            if row.total != 1 or row.status is TaskStatus.EXPANDED:
                bar = ProgressBar(total=max(row.total, 1), completed=row.done, width=BAR_WIDTH)
                count = f"{row.done}/{row.total}"
            grid.add_row(
                Text(f"  {row.task_id}"), bar, Text(count), Text(row.remark, overflow="ellipsis", no_wrap=True)
            )
        return Group(head, grid)

    def _chosen(self) -> list[Row]:
        """All tasks when they fit, else those that somebody would look at first, in their order."""
        rows = self._rows
        if len(rows) <= SHOWN_TASKS:
            return rows
        urgent = [row for row in rows if row.status in (TaskStatus.FAILED, TaskStatus.UNKNOWN)]
        active = [row for row in rows if row.status in _ACTIVE and row.status is not TaskStatus.UNKNOWN]
        chosen = {row.task_id for row in (urgent + active)[:SHOWN_TASKS]}
        return [row for row in rows if row.task_id in chosen]
