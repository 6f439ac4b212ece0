"""``agenticflow runs diff``: how two runs differ, read beside whoever performs them."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from agenticflow.cli.access import reading
from agenticflow.cli.commands.runs import demand_run
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, note, print_json, print_table
from agenticflow.orchestration.comparison import Difference

__all__ = ["diff"]


def diff(left: str, right: str, *, left_run: int | None, right_run: int | None, store: str | None, form: Format) -> int:
    """Print what differs between two runs, by default the latest of their workflows."""
    found = run_async(_differences(store, left, right, left_run, right_run))
    if form is Format.JSON:
        print_json([msgspec.to_builtins(one) for one in found])
    elif not found:
        note("they do not differ")
    else:
        print_table(("TASK", "WHAT", "LEFT", "RIGHT"), [(one.task_key, one.what, one.left, one.right) for one in found])
    return Exit.OK


async def _differences(
    store: str | None, left: str, right: str, left_run: int | None, right_run: int | None
) -> Sequence[Difference]:
    async with reading(store) as (orchestrator, _):
        for workflow_id in (left, right):
            await demand_run(orchestrator, workflow_id)
        return await orchestrator.diff_workflows(left, right, left_run=left_run, right_run=right_run)
