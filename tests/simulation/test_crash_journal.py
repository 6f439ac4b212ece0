"""A handler whose steps are journalled, killed at every point: what was recorded is not done again, what must not happen twice does not."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from agenticflow import Agent, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.testing import simulate
from agenticflow.testing.crashes import CrashCase, crash_search

pytestmark = pytest.mark.proof

STEPS = ("plan", "look-1", "look-2", "look-3", "write")


def case() -> CrashCase:
    agent, done, charged = Agent("researcher"), Counter[str](), Counter[str]()

    @agent.task("run")
    async def run(context: TaskContext) -> list[object]:
        async def step(name: str) -> str:
            done[name] += 1
            await asyncio.sleep(0.001)
            return name.upper()

        async def charge(name: str) -> str:
            charged[name] += 1
            await asyncio.sleep(0.001)
            return "charged"

        journal = context.journal
        plan = await journal.call("plan", partial(step, "plan"), request={"topic": "tea"})
        looks = await asyncio.gather(
            *(journal.call(f"look-{n}", partial(step, f"look-{n}"), request=[plan, n]) for n in (1, 2, 3))
        )
        paid = await journal.call("pay", partial(charge, "pay"), effect="at_most_once", interrupted="charged")
        text = await journal.call(journal.numbered("write"), partial(step, "write"), request=[*looks, paid])
        return [plan, *looks, paid, text]

    def check() -> list[str]:
        # One life dies: a step that was not recorded then is done once more, no other is.
        wrong = [f"{name} was done {done[name]} times" for name in STEPS if not 1 <= done[name] <= 3]
        if charged["pay"] > 1:
            wrong.append(f"charged {charged['pay']} times")
        return wrong

    return CrashCase(WorkflowDefinition([TaskDefinition("work", "researcher", "run")]), agents=[agent], check=check)


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=30, seed=7)
    assert not report.violations, report
    assert report.kills >= report.points > 40


def test_killed_while_commits_are_on_their_way() -> None:
    report = crash_search(case, latency_seed=3)
    assert not report.violations, report


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=5)
    assert not report.violations, report


def test_under_simulated_schedules() -> None:
    report = simulate(case, schedules=60)
    assert not report.violations, report
