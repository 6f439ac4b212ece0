"""Run the fifty tasks with a given seed, clock and ids, and print every event of every stream: input of ``test_same_bytes``."""

from __future__ import annotations

import asyncio

from agenticflow import Orchestrator
from agenticflow.app.engine import starting as starting_module
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from tests.simulation.fifty_tasks import definition, performers
from tests.simulation.remembered_world import RememberedWorld


async def main() -> None:
    store, loop = MemoryStore(), asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    agents, workers = performers(RememberedWorld())
    async with Orchestrator(store=store, clock=loop.clock) as orchestrator:
        for agent in agents:
            orchestrator.register_agent(agent)
        for worker in workers:
            orchestrator.register_worker(worker)
        handle = await orchestrator.start_workflow(definition(), workflow_id="same")
        await handle.signal("approve", {"limit": 5})
        await asyncio.sleep(0.05)
        await handle.signal("go", 2)
        await handle.signal("approve", 11)
        await handle.result()
    for event in await store.scan_page(0, 100_000):
        print(event)
    for row in await store.list_runs():
        print(row)


if __name__ == "__main__":
    setattr(starting_module, "new_seed", lambda: "0123456789abcdef")  # noqa: B010 - not one of its names
    run_virtual(main())
