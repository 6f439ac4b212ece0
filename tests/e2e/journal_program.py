"""What is killed while handlers write their journals: ``python -m tests.e2e.journal_program STORE LEDGER [--last]``.

Each task makes steps one after the other, some of which must not happen twice, and writes each down outside the store when it begins. With
``--last`` it ends when every task is done, and prints what came of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from functools import partial
from pathlib import Path

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition

TASKS = 4
STEPS = 12


def worker(ledger: int) -> Agent:
    agent = Agent("worker", concurrency=TASKS)

    async def step(name: str) -> str:
        os.write(ledger, f"{name}\n".encode())
        await asyncio.sleep(0.01)
        return name

    @agent.task("run")
    async def run(context: TaskContext) -> list[object]:
        found = []
        for number in range(STEPS):
            name = f"{context.task_key}-{number}"
            call = partial(step, name)
            if number % 3:
                found.append(await context.journal.call(name, call))
            else:
                found.append(await context.journal.call(name, call, effect="at_most_once", interrupted=name))
        return found

    return agent


async def main(url: str, ledger: Path, *, is_last: bool) -> None:
    file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    definition = WorkflowDefinition([TaskDefinition(f"t{n}", "worker", "run") for n in range(TASKS)])
    orchestrator = Orchestrator(store=url, max_lost_processes=100)
    orchestrator.register_agent(worker(file))
    async with orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="w")
        result = await handle.result()
        if not is_last:
            await asyncio.Event().wait()  # until somebody kills it
        print(json.dumps(result))


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Path(sys.argv[2]), is_last="--last" in sys.argv))
