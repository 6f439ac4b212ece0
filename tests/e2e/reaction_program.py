"""What the choreography test kills: a program whose agents react to orders, over one SQLite file.

``python -m tests.e2e.reaction_program STORE [--last]``. It publishes orders until it is killed; two agents react to each, a third to what
they emit. With ``--last`` it publishes one more and ends when everything is dealt with.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count

from agenticflow import Agent, AgenticEvent, EventBus, Orchestrator

till, stock, mail = Agent("till", concurrency=4), Agent("stock"), Agent("mail")


@till.on("order.placed")
async def pay(event: AgenticEvent) -> AgenticEvent:
    await asyncio.sleep(0)
    return AgenticEvent("order.paid", event.payload)


@stock.on("order.placed")
async def reserve(event: AgenticEvent) -> list[AgenticEvent]:
    return [AgenticEvent("stock.reserved", event.payload), AgenticEvent("stock.counted", event.payload)]


@mail.on("order.paid")
@mail.on("stock.reserved")
async def write(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("mail.sent", {"order": event.payload["order"], "about": event.event_type})


async def main(url: str, *, is_last: bool) -> None:
    bus = EventBus()
    orchestrator = Orchestrator(bus, store=url)
    for agent in (till, stock, mail):
        orchestrator.register_agent(agent)
    async with orchestrator:
        assert bus.store is not None
        for number in count():
            await bus.publish(AgenticEvent("order.placed", {"order": f"{os.getpid()}-{number}"}))
            print(number, flush=True)
            if is_last:
                break
            await asyncio.sleep(0.001)
        reached = -1
        while reached != (reached := await bus.store.last_position()) or any(
            one.is_behind or one.queued or one.in_work for one in bus.statistics()
        ):
            await asyncio.sleep(0.5)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], is_last="--last" in sys.argv))
