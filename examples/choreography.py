"""Agents react to each other's events, without a workflow that says who follows whom; one causal trace shows all of it.

An order is checked by a workflow. That it was accepted, paid, packed and reported is nobody's plan: each agent knows only what it hears.
"""

from __future__ import annotations

import asyncio

from agenticflow import Agent, AgenticEvent, EventBus, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.agents.choreography import trace_causes

clerk, till, store_room, mail = Agent("clerk"), Agent("till"), Agent("store-room"), Agent("mail")


@clerk.task("check")
def check(item: str) -> str:
    return f"{item}: we have it"


@clerk.on("workflow_completed")
async def accept(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("order.accepted", {"order": event.correlation_id})


@till.on("order.accepted")
async def charge(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("order.paid", {"order": event.payload["order"]})


@store_room.on("order.accepted")
def pack(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("parcel.packed", {"order": event.payload["order"]})


@mail.on("order.paid")
@mail.on("parcel.*")
async def write(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("mail.sent", {"order": event.payload["order"], "about": event.event_type})


order = WorkflowDefinition([TaskDefinition("check", "clerk", "check", {"item": "${input.item}"})], name="order")


async def main() -> None:
    bus = EventBus()
    orchestrator = Orchestrator(bus)
    for agent in (clerk, till, store_room, mail):
        orchestrator.register_agent(agent)
    letters: asyncio.Queue[AgenticEvent] = asyncio.Queue()
    await bus.subscribe("mail.sent", letters.put)
    async with orchestrator:
        await orchestrator.execute_workflow(order, {"item": "a bicycle"}, workflow_id="order-7")
        for _ in range(2):
            await asyncio.wait_for(letters.get(), 10)
        assert bus.store is not None
        trace = await trace_causes(bus.store, "order-7")
    for one in trace.events:
        print(f"{'  ' * one.depth}{one.event.event_type}  ({one.event.stream_id})")


if __name__ == "__main__":
    asyncio.run(main())
