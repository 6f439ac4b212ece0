"""The outside world of the fifty tasks, in memory: it survives the simulated death of the process that works on it."""

from __future__ import annotations

import asyncio

from agenticflow import TaskContext
from agenticflow.testing.crashes import CrashCase, CrashSignal, Resolution
from tests.simulation.fifty_tasks import definition, performers, receipt


class RememberedWorld:
    """Knows every payment that was really made."""

    def __init__(self) -> None:
        self.payments: list[str] = []

    async def work(self, context: TaskContext, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def pay(self, key: str) -> None:
        self.payments.append(key)

    def has_paid(self, key: str) -> bool:
        return key in self.payments

    def resolve(self, task_key: str) -> Resolution:
        """Look whether the money has left the account: if so that was it, if not it is safe to say "run it again"."""
        return Resolution("completed", receipt()) if self.payments else Resolution("run_again")

    def check(self) -> list[str]:
        return [] if len(self.payments) == 1 else [f"{len(self.payments)} payments were made"]


def fifty_tasks() -> CrashCase:
    """Return the workflow and a new world."""
    world = RememberedWorld()
    agents, workers = performers(world)
    return CrashCase(
        definition(),
        agents,
        workers,
        signals=[
            CrashSignal("approve", {"limit": 5}),
            CrashSignal("go", 2, after_seconds=0.02),
            CrashSignal("approve", 11, after_seconds=0.03),
        ],
        resolve=world.resolve,
        check=world.check,
    )
