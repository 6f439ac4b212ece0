"""A DSPy program as a worker: it fails between two answers of the model, goes on, and no answer is paid for twice.

Needs agenticflow[dspy]. Without a key: the model is DSPy's own dummy, and the crash is an error in the middle of the program.
"""

from __future__ import annotations

import asyncio

import dspy
from dspy.utils import DummyLM

from agenticflow import Orchestrator, RetryPolicy, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.dspy import dspy_worker
from agenticflow.resilience.budgets import Budget

CRASHES = ["the process was killed here, say"]


class Writer(dspy.Module):
    """Two calls of a model, the second with what came of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.note = dspy.Predict("topic -> notes")
        self.write = dspy.Predict("topic, notes -> text")

    def forward(self, topic: str) -> str:
        notes = self.note(topic=topic).notes
        print(f"notes: {notes}")
        if CRASHES:
            raise RuntimeError(CRASHES.pop())
        return str(self.write(topic=topic, notes=notes).text)


async def main() -> None:
    orchestrator = Orchestrator()
    # asked a third time, this model would have nothing to say
    lm = DummyLM([{"notes": "leaves, water, heat"}, {"text": "Tea is leaves and hot water."}])
    writer = dspy_worker("writer", lm=lm, budget=Budget(tokens=50_000))(Writer)
    task = TaskDefinition(
        "write", "writer", params={"topic": "tea"}, retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=0.01)
    )
    async with orchestrator:
        orchestrator.register_worker(writer)
        handle = await orchestrator.start_workflow(WorkflowDefinition([task], output="${write}"), workflow_id="tea")
        print(await handle.result())
        (spent,) = await orchestrator.budgets.list()
        print(f"{spent.calls} calls of the model in two attempts")


if __name__ == "__main__":
    asyncio.run(main())
