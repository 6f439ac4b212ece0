"""What is killed in ``test_checked``: an at-most-once booking with a check function that looks into the books of the outside service.

``python -m tests.e2e.booking_program STORE BOOKS before|after|never``: its process dies before the booking, after it, or not at all.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from agenticflow import EffectClass, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.agents import NOT_HAPPENED, Happened
from agenticflow.core.results import NotHappened

BOOKS = Path(sys.argv[2])


def booked() -> list[str]:
    """The outside service: one line for each booking, by effect key."""
    return BOOKS.read_text(encoding="utf-8").split() if BOOKS.exists() else []


async def find(context: TaskContext) -> Happened | NotHappened:
    return Happened(booked().index(context.effect_key)) if context.effect_key in booked() else NOT_HAPPENED


@worker("book", check=find)
async def book(context: TaskContext) -> int:
    if sys.argv[3] == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    with BOOKS.open("a", encoding="utf-8") as books:
        books.write(f"{context.effect_key}\n")
        books.flush()
        if sys.argv[3] == "after":
            os.kill(os.getpid(), signal.SIGKILL)
    return len(booked()) - 1


booking = WorkflowDefinition([TaskDefinition("book", "book", effect=EffectClass.AT_MOST_ONCE)], name="booking")


async def main() -> None:
    async with Orchestrator(store=f"sqlite:///{sys.argv[1]}") as orchestrator:
        orchestrator.register_worker(book)
        run = await orchestrator.start_workflow(booking, workflow_id="b-1")
        print(await asyncio.wait_for(run.result(), 30))


asyncio.run(main())
