"""Spending killed at every point: what was reserved or spent is never forgotten, never counted twice, never more than the cap."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agenticflow import Orchestrator, TaskDefinition, WorkflowDefinition, worker
from agenticflow.errors import BudgetExceeded
from agenticflow.resilience import Amounts, Budget, Claim
from agenticflow.resilience.budgets import guest
from agenticflow.testing.crashes import CrashCase, crash_search

pytestmark = pytest.mark.proof

CAP, NEEDS, CALLS = 45, 10, 3
OWNERS = ("a", "b")
BUDGETS = ("run", *OWNERS)


class Owner:
    """Makes calls one after the other, as an agent does: what it writes here is in its own stream there."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun: set[int] = set()
        self.answered: dict[int, int] = {}
        self.lost: set[int] = set()
        """Calls that may have been made by a life that died before their answer was recorded."""
        self.is_over = False

    async def work(self, orchestrator: Orchestrator) -> None:
        budgets = orchestrator.budgets
        lineage = (await budgets.open(self.name, Budget(tokens=40), parent="run")).lineage
        number = 0
        while len(self.answered) < CALLS and not self.is_over:
            number += 1
            claim = Claim(self.name, number)
            if number in self.answered:
                await budgets.settle(lineage, claim, Amounts(tokens=self.answered[number]))
            elif number in self.begun:
                self.lost.add(number)
                await budgets.settle(lineage, claim, None)
            else:
                try:
                    await budgets.reserve(lineage, claim, Amounts(tokens=NEEDS))
                except BudgetExceeded:
                    self.is_over = True
                    break
                self.begun.add(number)
                await asyncio.sleep(0.001)
                self.answered[number] = 7
                await budgets.settle(lineage, claim, Amounts(tokens=7))
        for number, tokens in self.answered.items():
            await budgets.settle(lineage, Claim(self.name, number), Amounts(tokens=tokens))

    @property
    def spent(self) -> int:
        return sum(self.answered.values()) + NEEDS * len(self.lost - self.answered.keys())


def case() -> CrashCase:
    owners = [Owner(name) for name in OWNERS]
    problems: list[str] = []

    @worker("nothing")
    async def nothing() -> None:
        await asyncio.sleep(0.001)

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        await orchestrator.budgets.open("run", Budget(tokens=CAP))
        await asyncio.gather(*(owner.work(orchestrator) for owner in owners))
        views = {name: await orchestrator.budgets.get(name) for name in BUDGETS}
        wanted = {"run": sum(owner.spent for owner in owners), **{owner.name: owner.spent for owner in owners}}
        problems[:] = [
            f"{name}: {view.spent.tokens} tokens are counted, {wanted[name]} were spent; {view.reserved.tokens} are reserved"
            for name, view in views.items()
            if (view.spent.tokens, view.reserved.tokens) != (wanted[name], 0)
        ]
        if wanted["run"] > CAP:
            problems.append(f"{wanted['run']} tokens were spent of {CAP}")

    definition = WorkflowDefinition([TaskDefinition("nothing", "nothing")])
    return CrashCase(definition, workers=[nothing], steer=steer, check=lambda: problems)


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=40, seed=5)
    assert not report.violations, report
    assert report.points > 60


def test_killed_while_budgets_go_on_in_their_next_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 4)
    report = crash_search(case, double_kills=40, seed=9)
    assert not report.violations, report
    assert report.points > 80


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=20)
    assert not report.violations, report
