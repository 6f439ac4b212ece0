"""What is killed: a module that asks a model three things. Takes the folder that it works in, and the address of the provider.

It dies when the second answer has come and there is a file ``die.txt``.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import dspy

from agenticflow import Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.dspy import dspy_worker
from agenticflow.resilience.budgets import Budget

FOLDER, URL = Path(sys.argv[1]), sys.argv[2]


class Report(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.ask = dspy.Predict("question -> answer")

    def forward(self, topics: list[str]) -> list[str]:
        answers: list[str] = []
        for topic in topics:
            answers.append(self.ask(question=topic).answer)
            if len(answers) == 2 and (FOLDER / "die.txt").exists():
                (FOLDER / "die.txt").unlink()
                os.kill(os.getpid(), signal.SIGKILL)
        return answers


async def main() -> None:
    engine = Orchestrator(store=f"sqlite:///{FOLDER}/state.db")
    lm = dspy.LM("openai/gpt-test", api_base=URL, api_key="not-a-key", cache=False)
    report = dspy_worker("report", lm=lm, budget=Budget(tokens=100_000))(Report)
    engine.register_worker(report)
    task = TaskDefinition("report", "report", params={"topics": ["tea", "rice", "salt"]})
    async with engine:
        handle = await engine.start_workflow(WorkflowDefinition([task], output="${report}"), workflow_id="w")
        print(await handle.result())
        (view,) = await engine.budgets.list()
        print(view.calls, view.unmetered_calls, view.open_count)


if __name__ == "__main__":
    asyncio.run(main())
