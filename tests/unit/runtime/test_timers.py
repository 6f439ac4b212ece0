"""Timers and the logbook on their own: never early, one moment per stream, observations in order."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from agenticflow.core.clocks import ManualClock
from agenticflow.runtime import logbook as logbooks
from agenticflow.runtime.clock import SystemClock, new_seed
from agenticflow.runtime.logbook import Logbook
from agenticflow.runtime.timers import Timers
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from agenticflow.testing.virtual_time import EPOCH_NS
from tests.unit.runtime.engine import in_virtual_time, passes, virtual_clock

SECOND = 1_000_000_000


class Rung:
    def __init__(self) -> None:
        self.clock = virtual_clock()
        self.began = self.clock.now_ns()
        self.heard: list[tuple[str, float]] = []
        self.timers = Timers(self.clock, self._ring)

    def _ring(self, stream_id: str) -> None:
        self.heard.append((stream_id, (self.clock.now_ns() - self.began) / SECOND))

    def at(self, stream_id: str, seconds: float | None) -> None:
        self.timers.set(stream_id, None if seconds is None else self.began + int(seconds * SECOND))


@in_virtual_time
async def test_each_stream_has_one_moment_and_the_last_one_counts() -> None:
    rung = Rung()
    rung.at("a", 10)
    rung.at("b", 5)
    rung.at("a", 20)
    rung.at("a", 20)
    rung.at("c", 7)
    rung.at("c", None)
    rung.at("never", None)
    rung.at("b", 3)
    await passes(100)
    assert rung.heard == [("b", 3.0), ("a", 20.0)]
    rung.at("a", 20)
    await passes(1)
    assert rung.heard[-1][0] == "a", "a moment that has passed is now"


@in_virtual_time
async def test_moments_far_away_are_looked_at_again_and_again_but_never_early() -> None:
    rung = Rung()
    rung.at("late", 10_000)
    await passes(9_999.999)
    assert rung.heard == []
    await passes(0.002)
    assert [name for name, _ in rung.heard] == ["late"]


async def test_a_clock_that_stands_still_rings_nothing() -> None:
    clock, heard = ManualClock(), list[str]()
    timers = Timers(clock, heard.append)
    timers.set("a", clock.now_ns() + SECOND // 1_000)
    await asyncio.sleep(0.02)
    assert heard == [], "the loop's time has passed, the clock's has not"
    clock.advance(1)
    await asyncio.sleep(0.02)
    assert heard == ["a"]
    timers.stop()


@in_virtual_time
async def test_thousands_of_changes_do_not_pile_up() -> None:
    rung = Rung()
    for number in range(5_000):
        rung.at("a", 1_000 - number / 10)
        rung.at("b", 2_000 + number)
    assert len(rung.timers._heap) < 200
    await passes(10_000)
    assert [name for name, _ in rung.heard] == ["a", "b"]


@in_virtual_time
async def test_stopped_timers_are_silent() -> None:
    rung = Rung()
    rung.at("a", 5)
    rung.timers.stop()
    rung.timers.stop()
    await passes(10)
    assert rung.heard == []


def test_the_system_clock_never_goes_back() -> None:
    moments = iter([100, 90, 95, 101])
    clock = SystemClock(lambda: next(moments))
    assert [clock.now_ns() for _ in range(4)] == [100, 100, 100, 101]


@in_virtual_time
async def test_a_clock_that_stands_still_is_asked_now_and_then() -> None:
    """The machine's clock was set back: nothing is due until it has caught up, and nobody turns in circles until then."""
    loop, asked = asyncio.get_running_loop(), 0
    began = loop.time()

    class Behind:
        def now_ns(self) -> int:
            nonlocal asked
            asked += 1
            passed = loop.time() - began
            return EPOCH_NS if passed < 600 else EPOCH_NS + int((passed - 600) * 1_000_000_000)

    heard: list[float] = []
    timers = Timers(Behind(), lambda stream_id: heard.append(loop.time() - began))
    timers.set("a", EPOCH_NS + 1_000)
    await asyncio.sleep(700)
    assert 600 <= heard[0] <= 601.1
    assert asked < 2_000


def test_seeds_differ() -> None:
    seeds = {new_seed() for _ in range(100)}
    assert len(seeds) == 100
    assert all(len(seed) == 16 for seed in seeds)


# --- the logbook --------------------------------------------------------------------------------------------------------


class Note(msgspec.Struct):
    n: int


async def notes(store: MemoryStore, stream_id: str) -> list[Any]:
    return [event.payload["n"] async for event in store.read_stream(stream_id)]


@in_virtual_time
async def test_entries_are_committed_together_and_in_order() -> None:
    store = FlakyStore()
    logbook = Logbook(store)
    for number in range(5_000):
        logbook.record(f"agent-{number % 2}", "noted", Note(number), number)
    await passes(1)
    assert await notes(store, "agent-0") == list(range(0, 5_000, 2))
    assert await notes(store, "agent-1") == list(range(1, 5_000, 2))
    assert store.calls["commit"] <= 4
    logbook.record("agent-0", "noted", Note(-1), 1)
    await logbook.close()
    assert (await notes(store, "agent-0"))[-1] == -1
    await logbook.close()


@in_virtual_time
async def test_what_the_store_cannot_keep_up_with_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logbooks, "MAX_BUFFERED", 10)
    store = FlakyStore(delay_seconds=1)
    logbook = Logbook(store)
    for number in range(25):
        logbook.record("agent-a", "noted", Note(number), number)
    await passes(5)
    assert logbook.dropped == 15
    assert await notes(store, "agent-a") == list(range(10))


@in_virtual_time
async def test_a_store_that_fails_loses_entries_and_the_next_ones_are_kept(caplog: pytest.LogCaptureFixture) -> None:
    store = FlakyStore()
    logbook = Logbook(store)
    store.fail("commit")
    logbook.record("agent-a", "noted", Note(1), 1)
    await passes(1)
    logbook.record("agent-a", "noted", Note(2), 2)
    await passes(1)
    assert await notes(store, "agent-a") == [2]
    assert "were not recorded" in caplog.text
