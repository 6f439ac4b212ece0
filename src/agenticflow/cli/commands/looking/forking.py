"""``agenticflow runs fork``: another workflow that begins where a run stands, or stood; recorded through whoever owns the store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from agenticflow.app.commands.operations import Fork
from agenticflow.app.definitions import Performers, load_workflow
from agenticflow.cli.access import reading
from agenticflow.cli.commands.run import workflow_input
from agenticflow.cli.commands.runs import demand_run, steer
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format
from agenticflow.errors import InvalidInput

__all__ = ["fork"]


def fork(
    workflow_id: str,
    *,
    run_no: int | None,
    at: int | None,
    from_task: str | None,
    inputs: Sequence[str],
    input_json: str | None,
    target: str | None,
    new_id: str | None,
    store: str | None,
    form: Format,
) -> int:
    """Start another workflow with what a run had completed; pairs in ``inputs`` go over the input of the run, or over ``input_json``."""
    before = run_async(_input_of(store, workflow_id, run_no))
    given: object = before
    if inputs or input_json is not None:
        given = workflow_input(inputs, input_json)
        if input_json is None:
            if not isinstance(before, dict) or not isinstance(given, dict):
                raise InvalidInput(
                    f"the input of workflow {workflow_id!r} has no keys that --input could change",
                    hint="give the whole with --input-json",
                )
            given = {**before, **given}
    changes: dict[str, Any] = {}
    if target is not None:
        changes["definition"] = load_workflow(target, Performers.IGNORED, given=given).definition
    if inputs or input_json is not None:
        changes |= {"has_input": True, "input": given}
    operation = Fork(
        workflow_id=workflow_id, run_no=run_no, at_version=at, from_task=from_task, new_workflow_id=new_id, **changes
    )
    return steer(operation, store, form)


async def _input_of(store: str | None, workflow_id: str, run_no: int | None) -> object:
    async with reading(store) as (orchestrator, _):
        await demand_run(orchestrator, workflow_id)
        return (await orchestrator.get_execution(workflow_id, run_no)).context
