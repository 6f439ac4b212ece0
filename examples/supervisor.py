"""A supervisor plans a workflow for each request: by a template, for one agent, or as a model takes it apart.

The model is scripted, so that it runs without a key: it invents a capability, wraps its answer in words, and plans again when a table is
missing. With a key, give ``LLMClient(model_from("openai:gpt-5"))``. A person approves each plan before anything of it runs, and letters are
sent once, also when a plan is replaced. Run it: ``python examples/supervisor.py``.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from agenticflow import Agent, Orchestrator, PermanentError
from agenticflow.agents import LLMClient
from agenticflow.agents.decomposition import TaskDecomposer, WorkflowTemplate, WorkflowTemplateRegistry
from agenticflow.agents.model import ModelRequest
from agenticflow.app.supervisor import SupervisorAgent
from agenticflow.orchestration import Approval, UserIntervention
from agenticflow.testing import ScriptedModel

TABLES = {"sales_2024": [12, 30], "sales_archive": [11, 31]}


def team() -> list[Agent]:
    """Who works."""
    analyst = Agent("analyst", {"sql", "statistics"}, role="knows the figures", concurrency=4)
    writer, mailer = Agent("writer", {"writing"}, role="writes"), Agent("mailer", {"mail"}, role="sends letters")

    @analyst.task("load")
    async def load(table: str) -> list[int]:
        if table not in TABLES:
            raise PermanentError(f"there is no table {table!r}")
        return TABLES[table]

    @analyst.task("add_up")
    async def add_up(rows: list[int]) -> int:
        return sum(rows)

    @writer.task("run")
    async def write(query: str) -> str:
        return f"[{query}]"

    @mailer.task("send")
    async def send(to: str, text: str) -> str:
        return f"sent to {to}: {text}"

    return [analyst, writer, mailer]


def task(task_id: str, task_type: str, capability: str, *after: str, **parameters: object) -> dict[str, Any]:
    """A task as a model writes it."""
    return {
        "id": task_id,
        "type": task_type,
        "capabilities": [capability],
        "parameters": parameters,
        "dependencies": list(after),
    }


def plan(*tasks: dict[str, Any], reason: str) -> str:
    """A decomposition as a model writes it."""
    return json.dumps({"reason": reason, "strategy": "parallel", "tasks": tasks})


def model_says(request: ModelRequest) -> str:
    """What a model might say, by what it is told."""
    told = json.loads(request.messages[-1].text)
    this, last = task("this", "load", "sql", table="sales_2025"), task("last", "load", "sql", table="sales_2024")
    if "failed" in told:
        return plan(
            task("again", "load", "sql", table="sales_archive"),
            task("sum", "add_up", "statistics", "again", rows="${again}"),
            task("text", "run", "writing", "sum", "last", query="${sum} after ${last}"),
            task("send", "send", "mail", "text", to="${context.boss}", text="${text}"),
            reason="the archive has them",
        )
    if "wrong_with_it" in told:
        sent = task("send", "send", "mail", "text", to="${context.boss}", text="${text}")
        text = task("text", "run", "writing", "this", "last", query="${this} after ${last}")
        return f"You are right, sorry.\n```json\n{plan(this, last, text, sent, reason='both years at once')}\n```"
    return plan(this, task("text", "paint", "painting", "this"), reason="a picture says more")


def office(orchestrator: Orchestrator) -> SupervisorAgent:
    """The supervisor: a template for letters, a person who approves, letters that are sent once."""
    for agent in team():
        orchestrator.register_agent(agent)
    letter = WorkflowTemplate(
        "letter",
        [
            task("text", "run", "writing", query="Dear ${context.name}"),
            task("send", "send", "mail", "text", to="${context.name}", text="${text}"),
        ],
        keywords=["letter"],
        needs=["name"],
    )
    return SupervisorAgent(
        "office",
        orchestrator,
        decomposer=TaskDecomposer(LLMClient(ScriptedModel(model_says))),
        templates=WorkflowTemplateRegistry([letter]),
        approval=Approval("Carry this out?", assignees=["ada"]),
        at_most_once=["send"],
    )


async def approve_everything(orchestrator: Orchestrator, supervisor: SupervisorAgent) -> None:
    """Be Ada, who looks at each plan and approves it."""
    while True:
        for request in await orchestrator.approvals.list("ada"):
            print("  ada approves:", request.question.splitlines()[1])
            said = UserIntervention("approve", "ada", task_key=request.task_key)
            await supervisor.handle_intervention(request.workflow_id, said)
        await asyncio.sleep(0.01)


async def main() -> list[Any]:
    outputs: list[Any] = []
    async with Orchestrator(store="memory:") as orchestrator:
        supervisor = office(orchestrator)
        ada = asyncio.create_task(approve_everything(orchestrator, supervisor))
        for query, context in (
            ("Some writing about tea", {}),
            ("A letter, please", {"name": "Bob"}),
            ("Load both years, then compare them; finally send it", {"boss": "Eve"}),
        ):
            print(query)
            result = await supervisor.handle_user_query(query, context)
            outputs.append(result.output)
            for made in await supervisor.plans(result.workflow_id):
                print(f"  {made.way} {made.verdict}: {made.reason}", *made.problems, *made.repairs, sep="\n    ")
            print(f"  {result.output}")
        ada.cancel()
    return outputs


if __name__ == "__main__":
    asyncio.run(main())
