"""What kills itself in ``test_poison``: a run with a task that kills its process, beside innocent tasks of that run and of others.

``python -m tests.e2e.poison_program STORE LEDGER [--until STATUS] [--harmless] [--slow]``. Each call of a handler is a line in the
ledger. It ends when every other run is completed and the run ``poisoned`` has STATUS, by default ``NEEDS_ATTENTION``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition

STRIKE_SECONDS = 3_600 if "--slow" in sys.argv else 0.15
OTHERS = 4
INNOCENT_SECONDS = (0.02, 0.3, 0.5)

hand = Agent("hand", {"work"}, concurrency=50)


def write(kind: str, context: TaskContext) -> None:
    ledger = os.open(sys.argv[2], os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    os.write(ledger, f"{kind} {context.workflow_id} {context.task_key}\n".encode())
    os.close(ledger)


@hand.task("strike")
async def strike(context: TaskContext, password: str) -> str:
    write("strike", context)
    context.report_progress(0.25, f"row 3 of 12, password={password}")
    await asyncio.sleep(STRIKE_SECONDS)
    if "--harmless" not in sys.argv:
        os.kill(os.getpid(), signal.SIGKILL)
    return password[:1]


@hand.task("work")
async def work(context: TaskContext, seconds: float) -> float:
    write("work", context)
    await asyncio.sleep(seconds)
    return seconds


def innocent(number: int, *after: str) -> TaskDefinition:
    return TaskDefinition(f"good{number}", "hand", "work", {"seconds": INNOCENT_SECONDS[number]}, after)


innocents = [innocent(number) for number in range(len(INNOCENT_SECONDS))]
others = WorkflowDefinition(innocents, name="others")
poisoned = WorkflowDefinition(
    [
        TaskDefinition("bad", "hand", "strike", {"password": "hunter2"}),
        *innocents,
        TaskDefinition("after", "hand", "work", {"seconds": 0.0}, {"bad"}),
        TaskDefinition("beside", "hand", "work", {"seconds": 0.0}, {"good0"}),
    ],
    name="poisoned",
)


async def main() -> None:
    wanted = sys.argv[sys.argv.index("--until") + 1] if "--until" in sys.argv else "NEEDS_ATTENTION"
    async with Orchestrator(store=f"sqlite:///{sys.argv[1]}") as orchestrator:
        orchestrator.register_agent(hand)
        suspect = await orchestrator.start_workflow(poisoned, workflow_id="poisoned")
        handles = [await orchestrator.start_workflow(others, workflow_id=f"other{n}") for n in range(OTHERS)]
        for handle in handles:
            await handle.result()
        print("the others are done", flush=True)
        while await suspect.status() != wanted:
            await asyncio.sleep(0.02)


if __name__ == "__main__":
    asyncio.run(main())
