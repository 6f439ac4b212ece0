"""``agenticflow runs watch``: a run as it goes on, read beside whoever performs it.

The store is opened, read and closed for every look, so that nothing is held while we wait, and the run is folded again only when it has
gone on.
"""

from __future__ import annotations

import asyncio
from shlex import quote
from typing import Any, Final

import msgspec

from agenticflow.app.execution import WorkflowState
from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import code_of_status
from agenticflow.cli.progress import Progress, progress_for
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, progress_console
from agenticflow.errors import StoreUnavailable, WorkflowNotFoundError
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.state import WorkflowStatus

__all__ = ["watch"]

LOOK_SECONDS: Final = 0.25
LOOK_SHARE: Final = 10
"""Folding a run of ten thousand tasks takes its time: at most one part in ten goes there."""
MAX_TROUBLE_SECONDS: Final = 30.0
"""How long a store that cannot be read (it is being restored, say) is waited for."""


class Look(msgspec.Struct, frozen=True):
    """What one look has shown."""

    definition: WorkflowDefinition
    state: WorkflowState
    is_open: bool


def watch(workflow_id: str, *, run_no: int | None, store: str | None, form: Format) -> int:
    """Show the run until it has ended; return the exit code that says how.

    Without a number, a run that goes on as the next is followed there.
    """
    return run_async(_watch(store, workflow_id, run_no, form))


async def _watch(url: str | None, workflow_id: str, run_no: int | None, form: Format) -> int:
    async with reading(url) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
    look = await _look(url, workflow_id, run_no, None)
    progress = _progress(look, workflow_id, form)
    loop = asyncio.get_running_loop()
    last_good = loop.time()
    try:
        while True:
            progress.look(look.state)
            if look.state.status is WorkflowStatus.CONTINUED and run_no is None:
                progress.close()
                look = await _look(url, workflow_id, look.state.run_no + 1, None)
                progress = _progress(look, workflow_id, form)
                continue
            if not look.is_open:
                break
            before = loop.time()
            try:
                # The same run to its end: one that somebody opens meanwhile is another.
                look = await _look(url, workflow_id, look.state.run_no, look)
                last_good = loop.time()
            except StoreUnavailable:
                if loop.time() - last_good > MAX_TROUBLE_SECONDS:
                    raise
            await asyncio.sleep(max(LOOK_SECONDS, LOOK_SHARE * (loop.time() - before)))
    finally:
        progress.close()
    status = look.state.status
    if form is not Format.JSON:
        note(f"{workflow_id} run {look.state.run_no}: {status.lower()}")
    return code_of_status(status)


def _progress(look: Look, workflow_id: str, form: Format) -> Progress:
    return _JsonLines() if form is Format.JSON else progress_for(progress_console(), look.definition, workflow_id)


async def _look(url: str | None, workflow_id: str, run_no: int | None, before: Look | None) -> Look:
    async with reading(url) as (orchestrator, store):
        row = await store.get_run(workflow_id, run_no)
        if row is None:
            raise WorkflowNotFoundError(
                f"workflow {workflow_id!r} has no run {run_no}",
                hint=f"`agenticflow runs show {quote(workflow_id)}` shows its latest",
            )
        if before is not None and not await store.read_page(row.stream_id, before.state.version, 1):
            return before
        execution = await orchestrator.get_execution(workflow_id, row.run_no)
        state = await orchestrator.get_workflow_state(workflow_id, row.run_no)
        return Look(execution.definition, state, execution.completed_at is None)


class _JsonLines:
    """One JSON document on one line for every change."""

    def __init__(self) -> None:
        self._version = -1

    def look(self, state: WorkflowState) -> None:
        if state.version == self._version:
            return
        self._version = state.version
        tasks: dict[str, Any] = {key: view.status.value for key, view in state.tasks.items()}
        print_json(
            {
                "workflow_id": state.workflow_id,
                "run_no": state.run_no,
                "version": state.version,
                "status": state.status.value,
                "tasks": tasks,
            },
            is_line=True,
        )

    def say(self, text: str) -> None:
        note(text)

    def close(self) -> None:
        """Lines stay as they are."""
