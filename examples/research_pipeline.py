"""Research, write, edit: three agents that ask a model, each a task, with a person's yes between them.

The researcher looks sources up side by side, the writer writes from what was found, and the editor answers in a form. Before the writer
begins somebody approves what was found, perhaps with changes; before publication the edited text. Killed anywhere it goes on there: no
source is looked up twice once its result is recorded, no answer is paid for again. The model is scripted: no key is needed.
Run it: ``python examples/research_pipeline.py``, or ``agenticflow run examples/research_pipeline.py --input topic=tea`` and answer with
``agenticflow approvals list``.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.orchestration import Approval
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.scripted_model import Answer

SOURCES = {"history": "Tea came to Europe in 1610.", "method": "Green tea wants 70 to 80 degrees."}


@tool(effect="pure")
async def look_up(what: str) -> str:
    """Look something up in the library."""
    await asyncio.sleep(0.01)
    return SOURCES.get(what, "nothing is known about it")


@dataclass
class Edited:
    """What the editor gives back."""

    title: str
    text: str
    changes: int


def research(request: ModelRequest) -> Answer:
    if results := request.messages[-1].results:
        return " ".join(one.content for one in results)
    return [call_tool("look_up", what=what) for what in SOURCES]


def write(request: ModelRequest) -> Answer:
    return f"A short text. {request.messages[-1].text.removeprefix('Write from: ')}"


def edit(request: ModelRequest) -> Answer:
    text = request.messages[-1].text.removeprefix("Edit: ")
    return f'{{"title": "On tea", "text": "{text.replace("A short text. ", "")}", "changes": 1}}'


researcher = Agent("researcher", instructions="Look everything up.", model=ScriptedModel(research), tools=[look_up])
writer = Agent("writer", instructions="Write shortly.", model=ScriptedModel(write))
editor = Agent("editor", instructions="Edit.", model=ScriptedModel(edit), output_type=Edited)

pipeline = WorkflowDefinition(
    [
        TaskDefinition("research", "researcher", "research", params={"prompt": "Find out about ${input.topic}"}),
        TaskDefinition.ask(
            "sources",
            Approval("Are these sources fine?", arguments={"found": "${research}"}),
            dependencies=["research"],
        ),
        TaskDefinition(
            "write",
            "writer",
            "write",
            params={"prompt": "Write from: ${sources.value.found}"},
            dependencies=["sources"],
        ),
        TaskDefinition("edit", "editor", "edit", params={"prompt": "Edit: ${write}"}, dependencies=["write"]),
        TaskDefinition.ask(
            "publish", Approval("Publish ${edit.title}?", arguments={"text": "${edit.text}"}), dependencies=["edit"]
        ),
    ],
    name="research_pipeline",
    context={"topic": "tea"},
    output={"title": "${edit.title}", "text": "${publish.value.text}"},
)


async def main() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        for agent in (researcher, writer, editor):
            orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(pipeline, {"topic": "tea"})
        for _ in range(2):
            while not (requests := await orchestrator.approvals.list()):  # noqa: ASYNC110 - an inbox is looked into
                await asyncio.sleep(0.01)
            print(f"{requests[0].question} {requests[0].arguments}")
            await orchestrator.approvals.approve(requests[0].approval_id, by="ada")
        print(await handle.result())


if __name__ == "__main__":
    asyncio.run(main())
