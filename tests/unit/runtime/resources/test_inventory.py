"""The manager of resources: pools by name, and one answer to how everything stands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agenticflow.core.clocks import ManualClock
from agenticflow.errors import CommandRefused, DefinitionError, InvalidInput
from agenticflow.runtime.resources import CpuFigures, CpuMonitor, MemoryMonitor, ResourceManager, inventory
from tests.unit.runtime.engine import in_virtual_time, virtual_clock


def proc(folder: Path, *, used_kb: int, available_kb: int, total_kb: int) -> MemoryMonitor:
    (folder / "self").mkdir(exist_ok=True)
    (folder / "self" / "status").write_text(f"Name:\tpython\nVmPeak:\t 99999 kB\nVmRSS:\t  {used_kb} kB\n")
    (folder / "meminfo").write_text(f"MemTotal:  {total_kb} kB\nMemFree: 1 kB\nMemAvailable: {available_kb} kB\n")
    return MemoryMonitor(folder)


@in_virtual_time
async def test_it_tells_memory_processor_and_pools() -> None:
    async with ResourceManager(max_load_share=1_000, max_memory_share=1.0) as resources:
        pool = resources.create_pool("orders", "connection", 3, object)
        assert resources.pool("orders") is pool
        gate = resources.create_bulkhead("reports", 2)
        async with pool.acquire(), gate:
            health = await resources.health_check()
        assert health.is_healthy, health.problems
        assert (health.pools["orders"].in_use, health.pools["orders"].max_size) == (1, 3)
        assert health.bulkheads["reports"].in_use == 1
        assert health.memory.used_bytes > 1_000_000
        assert health.cpu.used_seconds > 0
        assert health.cpu.cores >= 1
    with pytest.raises(CommandRefused, match="'pool orders' is closed"):
        async with pool.acquire():
            pass
    with pytest.raises(CommandRefused, match="'reports' is closed"):
        await gate.acquire()


@in_virtual_time
async def test_problems_are_said_in_words(tmp_path: Path) -> None:
    memory = proc(tmp_path, used_kb=3_000, available_kb=400, total_kb=10_000)
    resources = ResourceManager(
        memory=memory, max_memory_share=0.9, max_memory_bytes=2_000_000, max_load_share=1_000, clock=virtual_clock()
    )
    pool = resources.create_pool("orders", "connection", 1, lambda: 7, leak_seconds=60)

    async def use(seconds: float) -> None:
        async with pool.acquire(wait_seconds=200):
            await asyncio.sleep(seconds)

    tasks = [asyncio.create_task(use(100), name="slow"), asyncio.create_task(use(0))]
    await asyncio.sleep(70)
    health = await resources.health_check()
    assert not health.is_healthy
    assert health.problems == (
        "the machine has 96% of its memory in use",
        "this process has 3,072,000 bytes of memory, more than 2,000,000",
        "1 wait for a connection of pool 'orders'",
        "slow has held a connection of pool 'orders' for 70 s",
    )
    await asyncio.gather(*tasks)
    assert await resources.close() == 0


@in_virtual_time
async def test_looking_ends_idle_ones_that_are_unfit() -> None:
    resources = ResourceManager()
    pool = resources.create_pool("orders", "connection", 1, lambda: 7, health_check=lambda number: False)
    async with pool.acquire():
        pass
    assert (await resources.health_check()).pools["orders"].idle == 0


def test_names_are_unique_and_known(monkeypatch: pytest.MonkeyPatch) -> None:
    resources = ResourceManager()
    resources.create_pool("orders", "connection", 1, int)
    with pytest.raises(DefinitionError, match="the name 'orders' is taken"):
        resources.create_pool("orders", "connection", 1, int)
    with pytest.raises(DefinitionError, match="'' is no name of a resource"):
        resources.create_bulkhead("", 1)
    with pytest.raises(InvalidInput, match=r"there is no pool 'order' \(there are orders\)"):
        resources.pool("order")
    with pytest.raises(InvalidInput, match="there are none"):
        ResourceManager().pool("order")
    monkeypatch.setattr(inventory, "MAX_RESOURCES", 1)
    with pytest.raises(DefinitionError, match="there are 1 already"):
        resources.create_pool("more", "connection", 1, int)


def test_memory_where_nothing_tells_about_it(tmp_path: Path) -> None:
    figures = MemoryMonitor(tmp_path / "nothing").look()
    assert figures.used_bytes > 1_000_000, "the most it ever had"
    assert (figures.total_bytes, figures.machine_share) == (None, None)


def test_the_share_of_the_processor_is_that_since_the_last_look() -> None:
    clock = ManualClock()
    monitor = CpuMonitor(clock)
    first = monitor.look()
    assert first.share is None
    assert monitor.look().share is None, "no time has passed"
    clock.advance(10)
    second = monitor.look()
    assert second.share == pytest.approx((second.used_seconds - first.used_seconds) / 10)
    assert CpuFigures(1.0, None, 4, 8.0).machine_share == 2
    assert CpuFigures(1.0, None, 4, None).machine_share is None


@in_virtual_time
async def test_too_much_to_do_is_a_problem() -> None:
    class Busy(CpuMonitor):
        def look(self) -> CpuFigures:
            return CpuFigures(1.0, None, 2, 9.0)

    resources = ResourceManager(cpu=Busy(), max_memory_share=1.0)
    assert (await resources.health_check()).problems == ("the machine has 4.5 times as much to do as it can",)
