"""What is killed while an agent of the OpenAI Agents SDK works: ``python -m tests.e2e.sdk_program STORE LEDGER [--last]``.

Each answer of its model and each call of a tool is written down outside the store when it begins. With ``--last`` it ends when the agent is
done, and prints what it said.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from agents import function_tool

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.openai_agents import run_durably
from tests.conformance.frameworks.sdk_cases import QUIET, agent, called, outputs, said

TURNS = 12


def worker(ledger: int) -> Agent:
    def note(what: str) -> None:
        os.write(ledger, f"{what}\n".encode())

    @function_tool
    async def look(n: int) -> str:
        """Look."""
        note(f"look-{n}")
        await asyncio.sleep(0.01)
        return f"seen {n}"

    @function_tool
    async def send(n: int) -> str:
        """Send."""
        note(f"send-{n}")
        await asyncio.sleep(0.01)
        return f"sent {n}"

    def answer(last: str, shown: list[Any]) -> list[Any]:
        turn = len(outputs(shown)) // 2
        note(f"model-{turn}")
        if turn == TURNS:
            return [said("done")]
        return [called("look", f"look-{turn}", n=turn), called("send", f"send-{turn}", n=turn)]

    theirs, _ = agent("theirs", answer, tools=[look, send])
    ours = Agent("worker")

    @ours.task("run")
    async def run(context: TaskContext) -> Any:
        result = await run_durably(context, theirs, "go", run_config=QUIET, max_turns=TURNS + 1, at_most_once={"send"})
        return result.final_output

    return ours


async def main(url: str, ledger: Path, *, is_last: bool) -> None:
    file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    orchestrator = Orchestrator(store=url, max_lost_processes=100)
    orchestrator.register_agent(worker(file))
    async with orchestrator:
        definition = WorkflowDefinition([TaskDefinition("work", "worker", "run")])
        result = await (await orchestrator.start_workflow(definition, workflow_id="w")).result()
        if not is_last:
            await asyncio.Event().wait()  # until somebody kills it
        print(json.dumps(result))


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Path(sys.argv[2]), is_last="--last" in sys.argv))
