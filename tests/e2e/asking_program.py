"""What is killed between answers of people: ``python -m tests.e2e.asking_program STORE LEDGER LIFE``.

An agent asks for three payments, each of which needs a yes. Life 1 dies while three questions are open, life 2 in the moment after a yes,
life 3 after another one and its payment. Life 4 says no to the last, and prints what the agent came to. What is paid and asked is written
down outside the store, each line in one write.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.model import Role, ToolResultPart
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.scripted_model import Answer

KILLED, YES, PAID, LAST = 1, 2, 3, 4


class Ledger:
    """The outside world."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def write(self, line: str) -> None:
        os.write(self._file, f"{line}\n".encode())

    def count(self, word: str) -> int:
        return sum(line.startswith(word) for line in self._path.read_text().splitlines())


def clerk(ledger: Ledger) -> Agent:
    @tool(effect="at_most_once", needs_approval=True)
    def pay(amount: int) -> str:
        """Pay an amount."""
        ledger.write(f"paid {amount}")
        return f"paid {amount}"

    def speak(request: ModelRequest) -> Answer:
        turn = sum(message.role is Role.ASSISTANT for message in request.messages)
        ledger.write(f"asked {turn}")
        return "done" if turn else [call_tool("pay", amount=amount) for amount in (1, 2, 3)]

    return Agent("clerk", instructions="Pay.", tools=[pay], model=ScriptedModel(speak))


async def open_questions(orchestrator: Orchestrator, number: int) -> list[str]:
    while len(found := await orchestrator.approvals.list()) != number:
        await asyncio.sleep(0.01)
    return [one.approval_id for one in found]


async def main(url: str, ledger: Ledger, life: int) -> None:
    agent = clerk(ledger)
    async with Orchestrator(store=url, max_lost_processes=100) as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("pay them", workflow_id="pay", session="ada")
        async with asyncio.timeout(30):
            questions = await open_questions(orchestrator, {KILLED: 3, YES: 3, PAID: 2, LAST: 1}[life])
            if life == YES:
                await orchestrator.approvals.approve(questions[0], by="ada")
            elif life == PAID:
                before = ledger.count("paid")
                await orchestrator.approvals.approve(questions[0], by="bob")
                while ledger.count("paid") == before:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.1)
            elif life == LAST:
                await orchestrator.approvals.reject(questions[0], by="eve", comment="too much")
                result = await stream.result()
                told = [part for one in result.messages for part in one.parts if isinstance(part, ToolResultPart)]
                print(json.dumps([result.output, [part.content for part in told]]))
                return
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Ledger(Path(sys.argv[2])), int(sys.argv[3])))
