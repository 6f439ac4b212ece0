"""Customer service by a crew of agents: triage sorts, technical and billing answer, and what they cannot solve goes to the manager.

The agents follow rules, so that it runs without a model; one that asks a model is an agent with a handler for ``run`` as well. Each answer
is a recorded step: kill the process at any point, start it again, and it goes on after the last answer. Customers come back to their
conversation, a card number gets no further than the front door, and whoever is sent in circles ends up with the manager.
Run it: ``python examples/customer_service.py``.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agenticflow import Agent, AgentOrchestrator
from agenticflow.agents.guardrails import secrets
from agenticflow.app.crew import (
    CrewSession,
    DraftSession,
    QueryContext,
    Route,
    RoutingHelper,
    SafetyGuard,
)
from agenticflow.errors import BoundExceeded, GuardrailTripwireTriggered

INVOICES = {"A-17": 40, "A-18": 1_900}
MOST_REFUNDED = 100
ROUTES = RoutingHelper(
    [
        Route("manager", when="${output.is_angry} == true", after="triage"),
        Route("billing", when="${output.topic} == 'billing'", after="triage"),
        Route("technical", when="${output.topic} == 'technical'", after="triage"),
        Route("triage", when="${output.belongs_elsewhere} == true", after="billing"),
        Route("manager", when="${output.is_solved} == false", after=["technical", "billing"]),
    ],
    first="triage",
)


def team() -> list[Agent]:
    """The agents of one desk."""
    triage, technical = Agent("triage", role="sorts"), Agent("technical", {"technical"})
    billing, manager = Agent("billing", {"billing"}), Agent("manager", {"escalation"})

    @triage.task("run")
    async def sort(query: str, session: DraftSession, context: QueryContext) -> dict[str, Any]:
        words = query.lower()
        asked_before = sum(item["role"] == "user" for item in await session.get_items())
        for invoice in INVOICES:
            if invoice.lower() in words:
                context.add_discovered_item("invoice", invoice)
        is_about_money = any(word in words for word in ("invoice", "refund", "charged"))
        return {
            "topic": "billing" if is_about_money else "technical",
            "is_angry": "!" in query and asked_before > 0,
        }

    @technical.task("run")
    async def repair(query: str) -> dict[str, Any]:
        if "reset" in query.lower() or "password" in query.lower():
            return {"is_solved": True, "text": "Open the settings and choose 'reset'."}
        return {"is_solved": False, "text": "This one needs a person."}

    @billing.task("run")
    async def refund(query: str, context: QueryContext) -> dict[str, Any]:
        found = context.discovered_items.get("invoice", [])
        if not found:
            return {"is_solved": False, "belongs_elsewhere": True, "text": "No invoice was named."}
        amount = INVOICES[found[-1]]
        if amount > MOST_REFUNDED:
            return {"is_solved": False, "belongs_elsewhere": False, "text": f"{amount} is more than I may refund."}
        return {"is_solved": True, "belongs_elsewhere": False, "text": f"{amount} for {found[-1]} will be refunded."}

    @manager.task("run")
    async def decide(query: str, context: QueryContext) -> dict[str, Any]:
        reason = (context.last_output or {}).get("text", "You have asked before.")
        return {"is_solved": True, "text": f"I see to it myself. {reason}"}

    return [triage, technical, billing, manager]


class CustomerService(AgentOrchestrator):
    """Follows the routes; whoever is sent in circles gets the manager."""

    async def execute(self, query: str, session: CrewSession, context: QueryContext) -> dict[str, Any]:
        try:
            answer = await super().execute(query, session, context)
        except BoundExceeded:
            answer = await self.run_agent("manager", session, context)
        return {"by": context.last_agent, "text": answer["text"]}


def desk(**options: Any) -> CustomerService:
    """A desk with its agents, its limits and its guardrail."""
    service = CustomerService(team(), routing=ROUTES, safety=SafetyGuard(max_visits=2), **options)
    service.register_guardrail("no card numbers", secrets(), kinds=["input"])
    return service


async def main() -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = []
    async with desk(store="memory:") as service:
        for customer, query in (
            ("ada", "How do I reset my password?"),
            ("bob", "I was charged twice, see invoice A-17"),
            ("bob", "And a refund for A-18, please"),
            ("ada", "It does not work!"),
            ("eve", "I want a refund"),
        ):
            answer = await service.run(query, {"customer": customer}, session_id=f"customer-{customer}")
            print(f"{customer}: {query}\n  {answer['by']}: {answer['text']}")
            answers.append(answer)
        try:
            await service.run("My card is 4111 1111 1111 1111", {"customer": "carl"})
        except GuardrailTripwireTriggered as refused:
            print(f"carl was asked to say it otherwise: {refused.reason}")
        said = await service.session("customer-ada").get_items()
        print(f"{len(said)} lines were kept of the conversation with ada")
    return answers


if __name__ == "__main__":
    asyncio.run(main())
