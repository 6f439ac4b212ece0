"""The engine does not know what it runs: a countdown is run, timed, recovered and listed like any workflow."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.agents import Agent
from agenticflow.core import codec
from agenticflow.core.engine import EffectClass
from agenticflow.core.values import store_form
from agenticflow.errors import CommandRefused, InvariantError, WorkflowNotFoundError
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.countdown import Begin, CountdownState, GiveUp, stream_of
from tests.unit.runtime.engine import Engine, in_virtual_time, kinds, passes, until, virtual_clock


def announcer(said: list[object]) -> Agent:
    agent = Agent("announcer", {"speech"})

    @agent.task("call")
    async def call(number: int, note: object) -> str:
        said.append(number)
        return f"{number}!"

    return agent


def begin(engine: Engine, start: int, **options: object) -> Begin:
    return Begin(now=engine.clock.now_ns(), start=start, **options)  # type: ignore[arg-type]  # options of Begin


@in_virtual_time
async def test_it_counts_down_and_ends() -> None:
    store, said = MemoryStore(), list[object]()
    engine = Engine(store, clock=virtual_clock())
    engine.dispatcher.seat(announcer(said))
    answer = await engine.host.submit(stream_of("a"), begin(engine, 3))
    assert (answer.version, answer.facts) == (2, 2)
    state: CountdownState = await engine.host.ended(stream_of("a"))
    assert said == [3, 2, 1]
    assert [codec.decode(words) for words in state.said] == ["3!", "2!", "1!"]
    assert await kinds(store, stream_of("a")) == [
        "countdown_begun",
        *["countdown_number_called", "countdown_number_said"] * 3,
        "countdown_lifted_off",
    ]
    row = await store.get_run("a", kind="countdown")
    assert row is not None
    assert (row.status, row.is_open, row.name) == ("LIFTED_OFF", False, "countdown")
    await engine.stop()


@in_virtual_time
async def test_its_timers_ring_and_are_never_early() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    moments: list[int] = []
    agent = Agent("announcer")

    @agent.task("call")
    async def call(number: int, note: object) -> None:
        moments.append(engine.clock.now_ns())

    engine.dispatcher.seat(agent)
    began = engine.clock.now_ns()
    await engine.host.submit(stream_of("a"), begin(engine, 3, pause_seconds=3_600.0))
    await engine.host.ended(stream_of("a"))
    hours = [(moment - began) / 3.6e12 for moment in moments]
    assert [round(hour, 6) for hour in hours] == [0, 1, 2]
    assert all(hour >= number for number, hour in enumerate(hours))
    await engine.stop()


@in_virtual_time
async def test_a_restart_in_the_middle_goes_on_where_it_stood() -> None:
    store, said = MemoryStore(), list[object]()
    first = Engine(store, clock=virtual_clock())
    hangs = asyncio.Event()
    agent = Agent("announcer")

    @agent.task("call")
    async def call(number: int, note: object) -> str:
        if number == 3:
            await hangs.wait()
        said.append(number)
        return f"{number}!"

    first.dispatcher.seat(agent)
    await first.host.submit(stream_of("a"), begin(first, 5))
    await until(lambda: said == [5, 4])
    await first.crash()

    second = Engine(store, clock=virtual_clock())
    second.dispatcher.seat(announcer(said))
    assert await second.host.recover() == 1
    state = await second.host.ended(stream_of("a"))
    assert said == [5, 4, 3, 2, 1], "what was recorded was said again"
    assert state.status == "LIFTED_OFF"
    await second.stop()


@in_virtual_time
async def test_a_restart_during_a_pause_does_not_restart_the_pause() -> None:
    store, said = MemoryStore(), list[object]()
    first = Engine(store, clock=virtual_clock())
    first.dispatcher.seat(announcer(said))
    began = first.clock.now_ns()
    await first.host.submit(stream_of("a"), begin(first, 2, pause_seconds=1_000.0))
    await passes(900)
    await first.crash()
    await passes(300)

    second = Engine(store, clock=virtual_clock())
    second.dispatcher.seat(announcer(said))
    await second.host.recover()
    await second.host.ended(stream_of("a"))
    assert 1_200 <= (second.clock.now_ns() - began) / 1e9 < 1_201
    await second.stop()


@in_virtual_time
async def test_at_most_once_work_that_was_running_is_not_run_again() -> None:
    store, starts = MemoryStore(), list[int]()
    first = Engine(store, clock=virtual_clock())
    agent = Agent("announcer")

    @agent.task("call")
    async def call(number: int, note: object) -> None:
        starts.append(number)
        await asyncio.Event().wait()

    first.dispatcher.seat(agent)
    await first.host.submit(stream_of("a"), begin(first, 1, effect=EffectClass.AT_MOST_ONCE))
    await until(lambda: starts == [1])
    await first.crash()

    second, said = Engine(store, clock=virtual_clock()), list[object]()
    second.dispatcher.seat(announcer(said))
    await second.host.recover()
    state: CountdownState = await second.host.ended(stream_of("a"))
    assert state.choked == ["unknown"], "the lost attempt is what its decider hears of"
    await second.stop()


@in_virtual_time
async def test_large_values_reach_its_handlers() -> None:
    store, lengths = MemoryStore(), list[int]()
    engine = Engine(store, clock=virtual_clock())
    agent = Agent("announcer")

    @agent.task("call")
    async def call(number: int, note: str) -> str:
        lengths.append(len(note))
        return note

    engine.dispatcher.seat(agent)
    note, blobs = store_form(codec.encode("x" * 200_000))
    await engine.host.submit(stream_of("a"), begin(engine, 2, note=note, blobs=blobs))
    await engine.host.ended(stream_of("a"))
    assert lengths == [200_000, 200_000]
    await engine.stop()


@in_virtual_time
async def test_what_it_refuses_is_refused_and_what_it_does_not_know_is_our_bug() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    await engine.host.submit(stream_of("a"), begin(engine, 1))
    with pytest.raises(CommandRefused, match="counts already"):
        await engine.host.submit(stream_of("a"), begin(engine, 1))
    with pytest.raises(InvariantError, match="nobody here runs"):
        await engine.host.submit("opera-a/1", begin(engine, 1))
    with pytest.raises(WorkflowNotFoundError):
        await engine.host.read(stream_of("nothing"))
    await engine.stop()


@in_virtual_time
async def test_giving_up_stops_the_handler_and_its_report_changes_nothing() -> None:
    store = MemoryStore()
    engine = Engine(store, clock=virtual_clock())
    agent, stopped = Agent("announcer"), asyncio.Event()

    @agent.task("call")
    async def call(number: int, note: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    engine.dispatcher.seat(agent)
    await engine.host.submit(stream_of("a"), begin(engine, 1))
    await passes(1)
    await engine.host.submit(stream_of("a"), GiveUp(now=engine.clock.now_ns()))
    await stopped.wait()
    await passes(1)
    assert (await kinds(store, stream_of("a")))[-1] == "countdown_given_up"
    assert engine.host.stale_reports == 1
    await engine.stop()


@in_virtual_time
async def test_many_run_side_by_side_with_few_in_memory() -> None:
    store, said = MemoryStore(), list[object]()
    engine = Engine(store, clock=virtual_clock(), max_actors=10)
    engine.dispatcher.seat(announcer(said))
    names = [f"c{number}" for number in range(60)]
    await asyncio.gather(*(engine.host.submit(stream_of(name), begin(engine, 3, pause_seconds=60.0)) for name in names))
    for name in names:
        assert (await engine.host.ended(stream_of(name))).status == "LIFTED_OFF"
    assert len(said) == 180
    await engine.stop()
