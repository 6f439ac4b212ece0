"""A payment that must not happen twice: when nobody knows whether it went through, nothing is repeated, and somebody decides.

The provider takes the money, and the answer gets lost. A retry would charge the customer again, so the engine records that the outcome is
unknown and stops there. The effect key, equal for all attempts of this task, lets us ask the provider what became of it.
"""

from __future__ import annotations

import asyncio

from agenticflow import (
    Agent,
    AgenticEvent,
    EffectClass,
    EventBus,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
)
from agenticflow.core.events import RecordedEvent

LEDGER: dict[str, int] = {}
"""What the provider knows, by idempotency key."""

cashier = Agent("cashier", {"payments"})


@cashier.task("charge")
async def charge(amount: int, context: TaskContext) -> dict[str, object]:
    LEDGER[context.effect_key] = LEDGER.get(context.effect_key, 0) + amount
    await asyncio.sleep(3600)  # the answer that never comes
    return {"charged": amount}


@cashier.task("receipt")
def receipt(payment: dict[str, object]) -> str:
    return f"thank you, {payment['charged']} received"


workflow = WorkflowDefinition(
    [
        TaskDefinition(
            "charge",
            "cashier",
            "charge",
            {"amount": "${input.amount}"},
            effect=EffectClass.AT_MOST_ONCE,
            timeout_seconds=0.2,
        ),
        TaskDefinition("receipt", "cashier", "receipt", {"payment": "${charge}"}, dependencies={"charge"}),
    ],
    name="payment",
    context={"amount": 250},
    output="${receipt}",
)


async def main() -> None:
    bus = EventBus()
    async with Orchestrator(bus) as orchestrator:
        orchestrator.register_agent(cashier)

        async def reconcile(event: AgenticEvent) -> None:
            assert isinstance(event, RecordedEvent)
            print(f"unknown: {event.payload['task_key']}, {event.payload['reason']}")
            [(key, amount)] = LEDGER.items()
            print(f"the provider knows the key {key[:8]}…: {amount} charged, once")
            await orchestrator.resolve("order-7", "charge", "completed", value={"charged": amount}, reason="reconciled")

        await bus.subscribe("task_outcome_unknown", reconcile)
        order = await orchestrator.start_workflow(workflow, workflow_id="order-7")
        print(await order.result())
        assert list(LEDGER.values()) == [250]


if __name__ == "__main__":
    asyncio.run(main())
