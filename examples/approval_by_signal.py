"""A person decides: the run waits for a signal, for as long as it takes, and two branches hang on what it says.

Here the program plays the person. With ``agenticflow run approval_by_signal.py --workflow-id trip-1`` it is you, from another terminal:
``agenticflow runs signal trip-1 decision --value '{"approved": true, "by": "ada"}'``.
"""

from __future__ import annotations

import asyncio

from agenticflow import Agent, EventBus, Orchestrator, TaskDefinition, WorkflowDefinition

clerk = Agent("clerk", {"travel"})


@clerk.task("estimate")
def estimate(destination: str, nights: int) -> dict[str, object]:
    return {"destination": destination, "cost": 90 * nights + 140}


@clerk.task("book")
def book(offer: dict[str, object], by: str) -> str:
    return f"booked {offer['destination']} for {offer['cost']}, approved by {by}"


@clerk.task("decline")
def decline(by: str) -> str:
    return f"declined by {by}"


workflow = WorkflowDefinition(
    [
        TaskDefinition(
            "offer", "clerk", "estimate", {"destination": "${input.destination}", "nights": "${input.nights}"}
        ),
        TaskDefinition.wait_for("approval", "decision", {"offer"}),
        TaskDefinition(
            "booking",
            "clerk",
            "book",
            {"offer": "${offer}", "by": "${approval.by}"},
            dependencies={"offer", "approval"},
            when="${approval.approved}",
        ),
        TaskDefinition(
            "refusal",
            "clerk",
            "decline",
            {"by": "${approval.by}"},
            dependencies={"approval"},
            when="not ${approval.approved}",
        ),
    ],
    name="trip",
    context={"destination": "Lisbon", "nights": 3},
)


async def main() -> None:
    async with Orchestrator(EventBus()) as orchestrator:
        orchestrator.register_agent(clerk)
        for workflow_id, is_approved in (("trip-a", True), ("trip-b", False)):
            trip = await orchestrator.start_workflow(workflow, workflow_id=workflow_id)
            # Early is fine: a signal is kept until a task takes it. With an id, sending it twice changes nothing.
            await trip.signal("decision", {"approved": is_approved, "by": "ada"}, signal_id="ada-1")
            await trip.signal("decision", {"approved": is_approved, "by": "ada"}, signal_id="ada-1")
            print(await trip.result())


if __name__ == "__main__":
    asyncio.run(main())
