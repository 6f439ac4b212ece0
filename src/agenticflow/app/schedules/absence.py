"""What a schedule waits for whose workflow nobody starts: registering it later is fine, waiting for it in silence is not."""

from __future__ import annotations

from collections.abc import Container
from shlex import quote

from agenticflow.app.engine.assembly import Engine
from agenticflow.errors import WorkflowNotFoundError
from agenticflow.orchestration.schedules.guest import KIND
from agenticflow.orchestration.schedules.state import ScheduleState

__all__ = ["absent", "starter_of"]


async def starter_of(engine: Engine, state: ScheduleState, known: Container[str] | None) -> str:
    """Return, in words, who would have to come to start the workflow of a schedule; nothing when nobody is missed.

    ``known`` are the workflows registered in the process that runs the store; ``None`` where nobody is known to run it: then what has come
    and was not started tells.
    """
    if known is not None:
        is_missed = state.left is None and not state.is_known(known)
        return _starter(state) if is_missed else ""
    if not state.running:
        return ""
    newest = next(reversed(state.running.values()))  # whatever keeps it from starting keeps the last one
    return _starter(state) if await engine.store.get_run(newest.workflow_id) is None else ""


def _starter(state: ScheduleState) -> str:
    who = "a process that runs this store"
    return who if state.asked.definition else f"{who} and has registered the workflow {state.asked.workflow!r}"


async def absent(engine: Engine, workflow_id: str, run_no: int | None) -> WorkflowNotFoundError:
    """Return the error that says there is no such workflow, and whose schedule it is that has not been able to start it."""
    schedule_id = workflow_id.rpartition("@")[0] or workflow_id
    row = await engine.store.get_run(schedule_id, kind=KIND)
    if row is not None and schedule_id == workflow_id:
        return WorkflowNotFoundError(
            f"{workflow_id!r} is a schedule and no workflow",
            hint=f"`agenticflow schedules show {quote(workflow_id)}` shows what it starts",
        )
    if row is not None:
        state: ScheduleState = await engine.host.read(row.stream_id)
        if any(firing.workflow_id == workflow_id for firing in state.running.values()):
            return WorkflowNotFoundError(
                f"workflow {workflow_id!r} has not started: schedule {schedule_id!r} waits for {_starter(state)}",
                hint=f"register it there, or end the schedule: `agenticflow schedules delete {quote(schedule_id)}`",
            )
    which = f"workflow {workflow_id!r}" if run_no is None else f"run {run_no} of workflow {workflow_id!r}"
    return WorkflowNotFoundError(
        f"there is no {which} in this store", hint="`agenticflow runs list` shows what there is"
    )
