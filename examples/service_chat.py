"""Customer service by agents that ask a model: triage hands off to technical, billing or the manager, and a refund needs a person's yes.

The model is scripted, so that it runs without a key; ``SERVICE_MODEL=openai:gpt-5`` asks a real one. Talk with it:
``agenticflow chat examples/service_chat.py:triage``; or have it show itself: ``python examples/service_chat.py``. Everything is recorded:
kill the process in the middle of an answer, begin again with the same ``--session``, and the conversation goes on.
"""

from __future__ import annotations

import asyncio
import os
import re

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents import LoopPolicy
from agenticflow.agents.guardrails import secrets
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.session.session import AgentSession
from agenticflow.errors import GuardrailTripwireTriggered
from agenticflow.resilience import Budget
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.testing.scripted_model import Answer

INVOICES = {"A-17": 40, "A-18": 1_900}


@tool(effect="pure")
def find_invoice(number: str) -> dict[str, object]:
    """Find an invoice by its number."""
    return {"number": number, "amount": INVOICES[number]} if number in INVOICES else {"number": number, "found": False}


@tool(effect="at_most_once", needs_approval=True)
def refund(number: str, amount: int) -> str:
    """Pay an invoice back. A person has to allow it; it happens once."""
    return f"{amount} of {number} were paid back"


@tool
def reset_password(user: str) -> str:
    """Send a link with which the user chooses a new password."""
    return f"a link was sent to {user}"


def spoken(request: ModelRequest) -> Answer:
    """What a model would say, by rules: the agent is told apart by its instructions."""
    who = request.messages[0].text.partition(":")[0]
    asked = next(message.text for message in reversed(request.messages) if message.role == "user")
    last = request.messages[-1]
    results = [one.content for one in last.results]
    invoice = re.search(r"A-\d+", asked)
    match who:
        case "triage" if "!" in asked:
            return call_tool("transfer_to_manager")
        case "triage" if invoice:
            return call_tool("transfer_to_billing")
        case "triage":
            return call_tool("transfer_to_technical")
        case "technical" if "password" in asked and not any("link" in result for result in results):
            return call_tool("reset_password", user="ada")
        case "technical":
            return f"Done: {results[-1]}." if "password" in asked else "Please switch it off and on again."
        case "billing" if invoice and not any("amount" in result or "paid" in result for result in results):
            return call_tool("find_invoice", number=invoice.group())
        case "billing" if invoice and "refund" in asked and any("amount" in result for result in results):
            return call_tool("refund", number=invoice.group(), amount=INVOICES.get(invoice.group(), 0))
        case "billing":
            return f"Your invoice: {results[-1]}"
        case _:
            return "I am sorry. I take care of it myself, and call you within the hour."


MODEL = os.environ.get("SERVICE_MODEL") or ScriptedModel(spoken, piece_chars=12)
technical = Agent("technical", role="repairs", instructions="technical: repair.", model=MODEL, tools=[reset_password])
billing = Agent(
    "billing",
    role="answers questions about invoices and refunds",
    instructions="billing: look invoices up before you speak of them.",
    model=MODEL,
    tools=[find_invoice, refund],
)
manager = Agent("manager", role="listens to whoever is angry", instructions="manager: calm down.", model=MODEL)
triage = Agent(
    "triage",
    role="sorts",
    instructions="triage: pass the customer on to whoever can help.",
    model=MODEL,
    handoffs=[technical, billing, manager],
    guardrails=[secrets(kinds=["input"])],
    budget=Budget(tokens=50_000, tool_calls=20),
    loop=LoopPolicy(max_turns=12),
)


async def main() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(triage)
        session = AgentSession("customer-ada", store=orchestrator.store)
        for asked in ("I forgot my password", "What is on A-17?", "Still nothing works!"):
            result = await triage.run(asked, session=session)
            print(f"{asked}\n  {result.agent}: {result.output}")
        stream = await triage.run_stream("I want a refund of A-17", session=session)
        while not (requests := await orchestrator.approvals.list()):  # noqa: ASYNC110 - an inbox is looked into
            await asyncio.sleep(0.01)
        print(f"{requests[0].question} {requests[0].arguments}")
        await orchestrator.approvals.approve(requests[0].approval_id, by="carl")
        print(f"  {(await stream.result()).output}")
        try:
            await triage.run("My card is 4111 1111 1111 1111", session=session)
        except GuardrailTripwireTriggered as refused:
            print(f"refused: {refused.reason}")
        print(f"{len(await session.get_items())} items in the conversation")


if __name__ == "__main__":
    asyncio.run(main())
