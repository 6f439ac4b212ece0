"""``agenticflow debug why`` and ``doctor --liveness``: what runs wait for, and whether any of them is stuck. Reads only.

Who owns the store is asked first, because only the process that runs it knows what it has in hand; without one the file is read.
"""

from __future__ import annotations

from typing import Any

from agenticflow.app.commands.operations import Liveness, Why
from agenticflow.app.engine.explaining import why_answer
from agenticflow.app.engine.liveness import liveness_answer
from agenticflow.cli.access import ask_owner, reading
from agenticflow.cli.exits import Exit
from agenticflow.cli.running import run_async
from agenticflow.cli.terminal import Format, moment, note, print_json, printable, when

__all__ = ["liveness", "why"]

NOBODY = "nobody runs this store now: `agenticflow run` or a program of yours goes on"


def why(workflow_id: str, task: str | None, *, run_no: int | None, store: str | None, form: Format) -> int:
    """Print one sentence for each open branch of a run, or for one task of it: what it waits for."""
    found = run_async(_why(store, Why(workflow_id=workflow_id, task_key=task, run_no=run_no)))
    if form is Format.JSON:
        print_json({**found, "waits": [_wait_json(wait) for wait in found["waits"]]})
        return Exit.OK
    print(printable(f"{found['workflow_id']} run {found['run_no']}: {found['status']}"))
    for wait in found["waits"]:
        print(printable(str(wait["sentence"])))
    if found["more"]:
        print(f"… and {found['more']:,} more branches")
    if not found["waits"]:
        print("it waits for nothing" if task is None else printable(f"task {task!r} has ended"))
    elif not found["is_performed"]:
        note(NOBODY)
    return Exit.OK


async def _why(store: str | None, question: Why) -> dict[str, Any]:
    answer = await ask_owner(store, question)
    if answer is not None:
        return answer
    async with reading(store) as (orchestrator, _):
        return why_answer(await orchestrator.why(question.workflow_id, question.task_key, question.run_no))


def _wait_json(wait: dict[str, Any]) -> dict[str, Any]:
    return {**wait, "since": when(wait["since"]), "until": when(wait["until"])}


def liveness(*, store: str | None, form: Format) -> int:
    """Print which open runs are stuck. Exit code 3 when any is."""
    found = run_async(_liveness(store))
    if form is Format.JSON:
        print_json({**found, "breaches": [{**one, "since": when(one["since"])} for one in found["breaches"]]})
    else:
        for breach in found["breaches"]:
            print(printable(f"{breach['words']}, since {moment(breach['since'])}"))
        if found["more"]:
            print(f"… and {found['more']:,} more")
        stuck = len(found["breaches"]) + found["more"]
        print(f"{found['open_runs']:,} open runs, {stuck:,} branches stuck" if stuck else _alive(found["open_runs"]))
    if not found["is_performed"] and found["open_runs"]:
        note(NOBODY)
    return Exit.FAILED if found["breaches"] else Exit.OK


def _alive(open_runs: int) -> str:
    return f"{open_runs:,} open runs, every one is alive"


async def _liveness(store: str | None) -> dict[str, Any]:
    answer = await ask_owner(store, Liveness())
    if answer is not None:
        return answer
    async with reading(store) as (orchestrator, _):
        return liveness_answer(await orchestrator.check_liveness())
