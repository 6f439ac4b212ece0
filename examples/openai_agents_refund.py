"""An agent of the OpenAI Agents SDK that refunds money, as a task: it asks a person first, and outlives its process.

The first process looks the order up and stops while the approval is open. The second one, over the same store, is told yes, refunds
once, and writes the answer: no call of the model is paid twice. The model is scripted, so no key is needed; with one, leave ``model=``
out. Needs the extra ``openai-agents``. Run it: ``python examples/openai_agents_refund.py``
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from agents import Agent as SdkAgent
from agents import RunConfig, function_tool
from agents.testing import ScriptedModel, assistant_message, function_call

from agenticflow import Agent, Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.openai_agents import run_durably

model = ScriptedModel(
    [
        [function_call("look_up", {"order": "o-7"}, call_id="c1")],
        [function_call("refund", {"order": "o-7", "amount": 12.5}, call_id="c2")],
        [assistant_message("I have refunded 12.50 for order o-7.")],
    ]
)
bank: list[str] = []


@function_tool
async def look_up(order: str) -> dict[str, object]:
    """Look an order up."""
    print(f"  looking up {order}")
    return {"order": order, "amount": 12.5, "arrived": False}


@function_tool(needs_approval=True)
async def refund(order: str, amount: float) -> str:
    """Pay money back."""
    bank.append(f"{amount:.2f} for {order}")
    print(f"  refunded {bank[-1]}")
    return "done"


support = SdkAgent(name="support", instructions="Help customers.", tools=[look_up, refund], model=model)


@asynccontextmanager
async def process(name: str) -> AsyncIterator[Orchestrator]:
    """One process: an orchestrator over the store that all of them share."""
    print(f"{name}:")
    worker = Agent("support")

    @worker.task("answer")
    async def answer(question: str, context: TaskContext) -> Any:
        quiet = RunConfig(tracing_disabled=True)
        result = await run_durably(context, support, question, run_config=quiet, at_most_once={"refund"})
        return result.final_output

    orchestrator = Orchestrator(store="sqlite:///refunds.db")
    orchestrator.register_agent(worker)
    async with orchestrator:
        yield orchestrator


async def main() -> None:
    task = TaskDefinition("answer", "support", "answer", {"question": "My parcel o-7 never came."})
    async with process("the first process") as orchestrator:
        run = await orchestrator.start_workflow(WorkflowDefinition([task]), workflow_id="ticket-1")
        while not await orchestrator.approvals.list():  # noqa: ASYNC110 - a person would look now and then
            await asyncio.sleep(0.01)
    async with process("the second process") as orchestrator:
        (asked,) = await orchestrator.approvals.list()
        print(f"  {asked.question} {asked.arguments}")
        await orchestrator.approvals.approve(asked.approval_id, comment="it is true")
        print(f"  {await orchestrator.wait(run.workflow_id)}")
    print(f"the model was asked {len(model.calls)} times, the bank {len(bank)} time")
    assert (len(model.calls), bank) == (3, ["12.50 for o-7"])


if __name__ == "__main__":
    asyncio.run(main())
