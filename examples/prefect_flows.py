"""Workflows as Prefect flows: agents at work in parallel, and a trigger that decides who gets an order; with Prefect's pages to watch them.

Needs agenticflow[prefect], and a Prefect server: `prefect server start` and `PREFECT_API_URL`, or the one that Prefect starts by itself.
"""

from __future__ import annotations

import asyncio
import logging

from prefect import flow, task

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.integrations.frameworks.prefect import ONCE_PER_EFFECT, prefect_flow, prefect_worker

OFFERS = {"north": 12.5, "south": 11.0, "west": 14.0}

buyer, clerk, manager = Agent("buyer"), Agent("clerk"), Agent("manager")


@buyer.task("ask")
async def ask(shop: str) -> float:
    return OFFERS[shop]


@buyer.task("choose")
async def choose(offers: list[float]) -> float:
    return min(offers)


@clerk.task("order")
async def order(price: float) -> str:
    return f"ordered at {price:g}"


@manager.task("decide")
async def decide(price: float) -> str:
    return f"the manager looks at {price:g}"


# a flow that was there before: it becomes a task. What its tasks have done is kept over attempts of ours.
@task(cache_policy=ONCE_PER_EFFECT, result_serializer="json")
def convert(price: float, rate: float) -> float:
    return round(price * rate, 2)


@prefect_worker("convert")
@flow(name="convert")
async def to_euro(price: float, rate: float = 0.92) -> float:
    return float(convert(price, rate))


# parallel: all shops are asked at once, then one is chosen
compare = WorkflowDefinition(
    [
        TaskDefinition("ask", "buyer", "ask", {"shop": "${item}"}, for_each="${input.shops}"),
        TaskDefinition("best", "buyer", "choose", {"offers": "${ask}"}, dependencies=["ask"]),
    ],
    name="compare-offers",
    output="${best}",
)

# routed: what the first task finds decides which of the others is triggered
route = WorkflowDefinition(
    [
        TaskDefinition("euro", "convert", params={"price": "${input.price}"}),
        TaskDefinition("small", "clerk", "order", {"price": "${euro}"}, dependencies=["euro"], when="${euro} < 100"),
        TaskDefinition(
            "large", "manager", "decide", {"price": "${euro}"}, dependencies=["euro"], when="${euro} >= 100"
        ),
    ],
    name="route-order",
)


async def main() -> None:
    logging.getLogger("prefect").setLevel(logging.ERROR)
    async with Orchestrator() as orchestrator:
        for agent in (buyer, clerk, manager):
            orchestrator.register_agent(agent)
        orchestrator.register_worker(to_euro)

        best = await prefect_flow(compare, orchestrator)({"shops": list(OFFERS)})
        print(f"the best of {len(OFFERS)} offers: {best:g}")

        routed = prefect_flow(route, orchestrator)
        for pieces in (1, 100):
            print(await routed({"price": best * pieces}))


if __name__ == "__main__":
    asyncio.run(main())
