"""Report on a table of sales: ``python -m examples.sales_report --input file=sales.csv``; without a file it makes a sample.

Interrupt it, kill it, start it again with the same words: it goes on after what is recorded. A file that has changed is another run.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import sys
from pathlib import Path

import msgspec

from agenticflow import AgenticFlowError, Orchestrator, WorkflowExecutionError, WorkflowStatus
from examples.sales_report import DEFAULTS, analyst, clerk, reporter, workflow
from examples.sales_report.report import Written
from examples.sales_report.table import examine


def given(pairs: list[str]) -> dict[str, object]:
    """Return the input of the run from ``key=value`` words."""
    found: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in DEFAULTS:
            sys.exit(f"--input {pair!r}: write key=value, with one of the keys {', '.join(DEFAULTS)}")
        if key in ("file", "output") and not value:
            sys.exit(f"--input {pair!r} names nothing: write {key}=PATH, or leave it out")
        try:
            found[key] = float(value) if isinstance(DEFAULTS[key], float) else value
        except ValueError:
            sys.exit(f"--input {pair!r}: {value!r} is no number")
    for key in ("file", "output"):
        if path := found.get(key, DEFAULTS[key]):
            found[key] = str(Path(str(path)).expanduser().absolute())
    return found


def identity(words: dict[str, object]) -> str:
    """Return the id of the run: the same for the same words and the same content of the file."""
    content = examine(Path(str(words["file"]))).sha256 if words.get("file") else "sample"
    named = json.dumps([content, sorted(words.items())])
    return f"sales-report-{hashlib.sha256(named.encode()).hexdigest()[:12]}"


def is_there(path: str) -> bool:
    return Path(path).exists()


async def run(words: dict[str, object], workflow_id: str, store: str | None) -> None:
    async with Orchestrator(store=store) as orchestrator:
        for agent in (clerk, analyst, reporter):
            orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(workflow, words, workflow_id=workflow_id)
        status = (await handle.execution()).status
        if status in (WorkflowStatus.FAILED, WorkflowStatus.CANCELLED):
            handle = await orchestrator.resume_workflow(workflow_id)
        written = msgspec.convert(await handle.result(), Written)
        if not is_there(written.markdown):  # recorded, but somebody has tidied up
            handle = await orchestrator.resume_workflow(workflow_id, from_task="anomalies")
            written = msgspec.convert(await handle.result(), Written)
    print(f"total      {written.total} {written.currency}".rstrip())
    print(f"rows       {written.rows:,}, of which {written.bad_rows:,} are bad and listed")
    print(f"anomalies  {written.anomalies:,}")
    print(f"report     {written.html}\n           {written.markdown}")
    print(f"run        {workflow_id}")


def main() -> int:
    """Return the exit code: 0, or 1 when there is no report."""
    keys = ", ".join(DEFAULTS)
    parser = argparse.ArgumentParser(prog="python -m examples.sales_report", description=__doc__)
    parser.add_argument("--input", action="append", default=[], metavar="KEY=VALUE", help=f"keys: {keys}")
    parser.add_argument("--workflow-id", help="default: one that names the file's content and the inputs")
    parser.add_argument("--store", help="default: sqlite:///.agenticflow/state.db")
    options = parser.parse_args()
    words = given(options.input)
    try:
        asyncio.run(run(words, options.workflow_id or identity(words), options.store))
    except WorkflowExecutionError as error:
        for task, why in error.failed.items():
            print(f"{task}: {why}", file=sys.stderr)
        return 1
    except AgenticFlowError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
