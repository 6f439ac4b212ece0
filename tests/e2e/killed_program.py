"""What the kill campaign kills: fifty-task workflows one after another over one SQLite file, their outside world a plain text file.

``python -m tests.e2e.killed_program STORE LEDGER [--last]``. Each life writes down what it finds recorded and which handlers it calls,
each line in one write, which a kill cannot tear. With ``--last`` it ends when everything that was begun has ended, and prints the results.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path

from agenticflow import Orchestrator, TaskContext, TaskStatus, open_store
from agenticflow.app.execution import WorkflowHandle
from agenticflow.orchestration.facts import FACTS, TaskCompleted
from agenticflow.storage.store import Store
from tests.simulation.fifty_tasks import definition, performers, receipt

SLOWNESS = 4
AT_ONCE = 2
POLL_SECONDS = 0.02


class Ledger:
    """The outside world: appended to and read, never lost."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)

    def write(self, kind: str, workflow_id: str, what: str = "") -> None:
        os.write(self._file, f"{kind} {workflow_id} {what}\n".encode())

    async def work(self, context: TaskContext, seconds: float) -> None:
        self.write("call", context.workflow_id, f"{context.task_key} {context.generation}")
        await asyncio.sleep(seconds * SLOWNESS)

    def pay(self, key: str) -> None:
        self.write("paid", key)

    def has_paid(self, key: str) -> bool:
        return f"paid {key} " in self._path.read_text().splitlines()


async def main(url: str, ledger: Ledger, *, is_last: bool) -> None:
    store = await open_store(url)
    await write_down_what_is_recorded(store, ledger)
    orchestrator = Orchestrator(store=store, max_lost_processes=1_000)
    agents, workers = performers(ledger)
    for agent in agents:
        orchestrator.register_agent(agent)
    for worker in workers:
        orchestrator.register_worker(worker)
    async with orchestrator:
        rows = await store.list_runs(limit=1_000)
        begun, is_open = len(rows), {row.execution_id for row in rows if row.is_open}
        if is_last:
            await asyncio.gather(*(carry_on(orchestrator, ledger, workflow_id) for workflow_id in sorted(is_open)))
            results = [await orchestrator.wait(row.execution_id) for row in await store.list_runs(limit=1_000)]
            print(json.dumps(results))
        else:
            ids = chain(sorted(is_open), (f"w{number}" for number in count(begun)))
            await asyncio.gather(*(one_after_another(orchestrator, ledger, ids) for _ in range(AT_ONCE)))
    await store.close()


async def write_down_what_is_recorded(store: Store, ledger: Ledger) -> None:
    """What is true now must not be done again by this life or a later one."""
    for row in await store.list_runs(limit=1_000):
        events = await store.read_page(row.stream_id, 0, 10_000) if row.is_open else ()
        facts = [FACTS.decode(event.event_type, event.data) for event in events]
        keys = [fact.task_key for fact in facts if isinstance(fact, TaskCompleted)]
        ledger.write("recorded" if row.is_open else "ended", row.execution_id, " ".join(keys))


async def one_after_another(orchestrator: Orchestrator, ledger: Ledger, ids: Iterator[str]) -> None:
    for workflow_id in ids:
        await carry_on(orchestrator, ledger, workflow_id)


async def carry_on(orchestrator: Orchestrator, ledger: Ledger, workflow_id: str) -> None:
    handle = await orchestrator.start_workflow(definition(), workflow_id=workflow_id)
    operator = asyncio.create_task(operate(orchestrator, ledger, handle))
    await handle.result()
    operator.cancel()


async def operate(orchestrator: Orchestrator, ledger: Ledger, handle: WorkflowHandle) -> None:
    """Send what the outside sends, again in every life, and say what became of a payment nobody knows of."""
    await handle.signal("approve", {"limit": 5}, signal_id="first")
    await asyncio.sleep(0.05)
    await handle.signal("go", 2, signal_id="go")
    await handle.signal("approve", 11, signal_id="second")
    while True:
        state = await orchestrator.get_workflow_state(handle.workflow_id)
        for key, task in state.tasks.items():
            if task.status is TaskStatus.UNKNOWN:
                has_paid = ledger.has_paid(handle.workflow_id)
                decision = "completed" if has_paid else "run_again"
                await orchestrator.resolve(handle.workflow_id, key, decision, value=receipt() if has_paid else None)
        await asyncio.sleep(POLL_SECONDS)


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Ledger(Path(sys.argv[2])), is_last="--last" in sys.argv))
