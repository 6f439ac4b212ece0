"""What the bus test kills: a program that publishes orders and invoices each through a durable subscription, over one SQLite file.

``python -m tests.e2e.billing_program STORE LEDGER [--last]``. What it knows to be published and what it invoices goes into the ledger,
each line in one write, which a kill cannot tear. Every seventh order fails for good the first time it is met. With ``--last`` nothing
is published any more, and the program ends when everything is dealt with.
"""

from __future__ import annotations

import asyncio
import os
import sys
from itertools import count
from pathlib import Path

from agenticflow import AgenticEvent, EventBus, RetryPolicy, open_store
from agenticflow.errors import PermanentError

PUBLISHERS = 4


async def main(url: str, ledger: int, life: str, *, is_last: bool) -> None:
    def write(kind: str, order: object) -> None:
        os.write(ledger, f"{kind} {order}\n".encode())

    store = await open_store(url)
    bus = EventBus(store=store)

    async def invoice(event: AgenticEvent) -> None:
        order = str(event.payload["order"])
        await asyncio.sleep(0)
        if order.endswith("7"):
            raise PermanentError(f"no address for {order}")
        write("invoiced", order)

    async def publish(place: int) -> None:
        for number in count():
            order = f"{life}-{place}-{number}"
            await bus.publish(AgenticEvent("order.placed", {"order": order}))
            write("published", order)
            await asyncio.sleep(0.0005)

    await bus.subscribe(
        "order.*",
        invoice,
        name="billing",
        replay="all",
        queue_size=16,
        concurrency=3,
        key=lambda event: event.payload["order"],
        retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=0),
    )
    if not is_last:
        await asyncio.gather(*map(publish, range(PUBLISHERS)))
    while bus.statistics()[0].is_behind or bus.statistics()[0].queued or bus.statistics()[0].in_work:
        await asyncio.sleep(0.01)
    for letter in await bus.dead_letters("billing", limit=10_000):
        write("dead", letter.event.payload["order"])
    await bus.stop()
    await store.close()


if __name__ == "__main__":
    file = os.open(Path(sys.argv[2]), os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    asyncio.run(main(sys.argv[1], file, str(os.getpid()), is_last="--last" in sys.argv))
