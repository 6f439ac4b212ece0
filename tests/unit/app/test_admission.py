"""Who starts a run while much is open waits a while, in order, and is let in when there is room."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import Agent, BackPressure, BoundExceeded, DefinitionError, Orchestrator
from agenticflow.app.registration import admission
from tests.unit.runtime.engine import in_virtual_time, running, until, virtual_clock
from tests.unit.runtime.tasks import single

FULL = 10
AT_HALF = BackPressure(starts_at=0.5, max_delay_seconds=12)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_OPEN_ATTEMPTS", FULL)


def sleeper(seconds: float, concurrency: int = 100) -> Agent:
    agent = Agent("agent", concurrency=concurrency)

    @agent.task("do")
    async def do() -> None:
        await asyncio.sleep(seconds)

    return agent


async def started(orchestrator: Orchestrator, count: int) -> list[float]:
    """Start so many at once; return how long each start took, in seconds."""
    clock = virtual_clock()
    begin = clock.now_ns()

    async def one() -> float:
        await orchestrator.start_workflow(single())
        return round((clock.now_ns() - begin) / 1e9, 1)

    return await asyncio.gather(*(one() for _ in range(count)))


@in_virtual_time
async def test_starts_wait_from_the_load_on_and_are_let_in_in_order_when_there_is_room() -> None:
    async with running(sleeper(0.98), back_pressure=AT_HALF) as orchestrator:
        took = await started(orchestrator, 12)
    assert took[:5] == [0.0] * 5
    assert took == sorted(took)
    assert took[5] == took[9] == 1.0
    assert took[10] == took[11] == 2.0


@in_virtual_time
async def test_a_start_waits_no_longer_than_the_policy_says_and_then_is_made() -> None:
    async with running(sleeper(3_600), back_pressure=AT_HALF) as orchestrator:
        took = await started(orchestrator, 5 + 1)
        assert took[5] == 2.0, "a sixth of the longest wait, at the first of six places"


@in_virtual_time
async def test_without_a_policy_nobody_waits() -> None:
    async with running(sleeper(3_600), back_pressure=None) as orchestrator:
        assert await started(orchestrator, 30) == [0.0] * 30


@in_virtual_time
async def test_a_policy_that_rejects_refuses_at_full_load_only() -> None:
    reject = BackPressure(starts_at=1.0, max_delay_seconds=4, when_full="reject")
    async with running(sleeper(3_600), back_pressure=reject) as orchestrator:
        assert await started(orchestrator, FULL) == [0.0] * FULL
        with pytest.raises(BoundExceeded, match="10 attempts are open in this process"):
            await orchestrator.start_workflow(single())
        assert len(await orchestrator.list_workflows()) == FULL


@in_virtual_time
async def test_a_start_that_is_cancelled_while_it_waits_was_not_made() -> None:
    async with running(sleeper(3_600), back_pressure=AT_HALF) as orchestrator:
        await started(orchestrator, 5)
        late = asyncio.create_task(orchestrator.start_workflow(single()))
        await asyncio.sleep(1)
        late.cancel()
        with pytest.raises(asyncio.CancelledError):
            await late
        await asyncio.sleep(30)
        assert len(await orchestrator.list_workflows()) == 5


@in_virtual_time
async def test_more_that_wait_than_may_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_WAITING", 1)
    async with running(sleeper(3_600), back_pressure=AT_HALF) as orchestrator:
        await started(orchestrator, 5)
        late = asyncio.create_task(orchestrator.start_workflow(single()))
        await asyncio.sleep(0.1)
        with pytest.raises(BoundExceeded, match="1 starts of workflows wait already"):
            await orchestrator.start_workflow(single())
        await until(late.done)


def test_wrong_policies_are_refused() -> None:
    with pytest.raises(DefinitionError, match="back_pressure of an orchestrator is a float"):
        Orchestrator(back_pressure=0.5)  # type: ignore[arg-type]  # that is the point
    with pytest.raises(DefinitionError, match="cannot drop the oldest"):
        Orchestrator(back_pressure=BackPressure(when_full="drop_oldest"))
