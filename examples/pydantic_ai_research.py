"""An agent of Pydantic AI that asks another one, as a task: killed in its middle, it goes on where it was.

The researcher asks a reader about three sources; its process is stopped while the second answer is on its way. The next process, over
the same store, reads on: what was answered is not asked again. The models are functions, so no key is needed. Needs the extra
``pydantic-ai``. Run it: ``python examples/pydantic_ai_research.py``
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, UserPromptPart
from pydantic_ai.models.function import AgentInfo, FunctionModel

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.pydantic_ai import run_durably, run_inside

SOURCES = ("tea", "cups", "water")
asked: list[str] = []
is_reading = asyncio.Event()
"""Set when the second source is being read for the first time: that answer never comes."""


async def research(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    """What a real model might say: one source after the other, then the text."""
    turn = len(messages) // 2
    asked.append(f"researcher, turn {turn + 1}")
    if turn < len(SOURCES):
        return ModelResponse(parts=[ToolCallPart("ask_reader", {"source": SOURCES[turn]}, tool_call_id=f"c{turn}")])
    return ModelResponse(parts=[TextPart(f"All about {', '.join(SOURCES)}.")])


async def read(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
    prompt = messages[0].parts[0]
    source = str(prompt.content) if isinstance(prompt, UserPromptPart) else ""
    asked.append(f"reader, {source}")
    print(f"  reading about {source}")
    if source == SOURCES[1] and not is_reading.is_set():
        is_reading.set()
        await asyncio.sleep(3_600)
    return ModelResponse(parts=[TextPart(f"{source} matters")])


reader = PydanticAgent(FunctionModel(read), name="reader")
researcher = PydanticAgent(FunctionModel(research), name="researcher")


@researcher.tool_plain
async def ask_reader(source: str) -> str:
    """Have a source read."""
    return str((await run_inside(reader, source)).output)


@asynccontextmanager
async def process(name: str) -> AsyncIterator[Orchestrator]:
    """One process: an orchestrator over the store that all of them share."""
    print(f"{name}:")
    worker = Agent("worker")

    @worker.task("research")
    async def write(topic: str, context: TaskContext) -> str:
        return str((await run_durably(context, researcher, topic)).output)

    orchestrator = Orchestrator(store="sqlite:///research.db")
    orchestrator.register_agent(worker)
    await orchestrator.start()
    try:
        yield orchestrator
    finally:
        await orchestrator.stop(drain_seconds=0)


async def main() -> None:
    task = TaskDefinition("research", "worker", "research", {"topic": "tea"})
    async with process("the first process") as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([task]), workflow_id="tea")
        await is_reading.wait()
    async with process("the second process") as orchestrator:
        print(f"  {await orchestrator.wait('tea')}")
    once = [one for one in asked if one != f"reader, {SOURCES[1]}"]
    assert len(once) == len(set(once)), "only the answer that was cut off is asked for again"
    print(f"the models were asked {len(asked)} times for {len(set(asked))} answers")


if __name__ == "__main__":
    asyncio.run(main())
