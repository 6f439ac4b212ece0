"""What is killed while agents answer together: ``python -m tests.e2e.crew_program STORE LEDGER [--last]``.

Two agents answer each query one after the other. Each writes down, outside the store, whom it answers and under which effect key. With
``--last`` it ends when every query is answered, and prints the answers and the conversations.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from agenticflow import Agent, AgentOrchestrator, TaskContext
from agenticflow.app.crew import CrewSession, DraftSession, QueryContext

QUERIES = 12


class Desk(AgentOrchestrator):
    """Asks the one who finds, rests, and asks the one who writes."""

    async def execute(self, query: str, session: CrewSession, context: QueryContext) -> Any:
        await self.run_agent("finder", session, context)
        await self.steps.sleep("rest", 0.05)
        text = await self.run_agent("writer", session, context)
        return [text, context.discovered_items["word"]]


def team(ledger: int) -> list[Agent]:
    finder, writer = Agent("finder", concurrency=4), Agent("writer", concurrency=4)

    @finder.task("run")
    async def find(query: str, context: QueryContext, task: TaskContext) -> int:
        await asyncio.sleep(0.03)
        context.add_discovered_item("word", query)
        os.write(ledger, f"finder {task.workflow_id} {task.effect_key}\n".encode())
        return len(query)

    @writer.task("run")
    async def write(session: DraftSession, context: QueryContext, task: TaskContext) -> str:
        await session.add_items([{"role": "assistant", "content": f"I have {context.last_output}"}])
        await asyncio.sleep(0.03)
        context.add_discovered_item("word", "last")
        os.write(ledger, f"writer {task.workflow_id} {task.effect_key}\n".encode())
        return f"{len(await session.get_items())} lines"

    return [finder, writer]


async def main(url: str, ledger: Path, *, is_last: bool) -> None:
    file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    async with Desk(team(file), store=url) as desk:
        ids = [f"query-{number}" for number in range(QUERIES)]
        handles = [await desk.start(f"about {one}", session_id=f"s-{one}", workflow_id=one) for one in ids]
        answers = [await handle.result() for handle in handles]
        if not is_last:
            await asyncio.Event().wait()  # until somebody kills it
        said = [[item["content"] for item in await desk.session(f"s-{one}").get_items()] for one in ids]
        print(json.dumps(dict(zip(ids, zip(answers, said, strict=True), strict=True))))


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Path(sys.argv[2]), is_last="--last" in sys.argv))
