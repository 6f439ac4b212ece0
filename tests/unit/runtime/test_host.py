"""The host: turns, batches, answers, what is kept in memory, and what readers see."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from agenticflow import Agent, BoundExceeded, StoreUnavailable, WorkflowNotFoundError
from agenticflow.core import codec
from agenticflow.core.engine import ActivityFinished
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.runtime import failpoints
from agenticflow.runtime.actors import Actors
from agenticflow.storage.commits import Commit
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.countdown import Begin, GiveUp, stream_of
from tests.unit.runtime.engine import Engine, in_virtual_time, kinds, passes, running, virtual_clock
from tests.unit.runtime.tasks import parallel, single

SAID = Outcome(OutcomeKind.SUCCEEDED, codec.encode("said"))


def report(token: int, outcome: Outcome = SAID, *, now: int = 5) -> ActivityFinished:
    return ActivityFinished(now=now, task_key="number-1", token=token, outcome=outcome)


def in_runs(commit: object) -> bool:
    assert isinstance(commit, Commit)
    return not commit.stream_id.startswith("agent-")


@in_virtual_time
async def test_an_answer_says_what_became_true() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    answer = await engine.host.submit(stream_of("a"), Begin(now=1, start=2))
    assert (answer.version, answer.facts, answer.is_repeated) == (2, 2, False)
    await engine.host.report(stream_of("a"), report(99))
    assert engine.host.stale_reports == 1
    await engine.host.report(stream_of("a"), report(2))
    await engine.host.report(stream_of("a"), report(2))
    assert engine.host.stale_reports == 2, "the second report of one attempt changes nothing"
    assert await kinds(engine.store, stream_of("a")) == [
        "countdown_begun",
        "countdown_number_called",
        "countdown_number_said",
        "countdown_number_called",
    ]
    await engine.stop()


@in_virtual_time
async def test_a_command_with_an_id_is_answered_once_and_for_all() -> None:
    store = MemoryStore()
    engine = Engine(store, clock=virtual_clock())
    first = await engine.host.submit(stream_of("a"), Begin(now=1, start=2), "begin-a")
    again = await engine.host.submit(stream_of("a"), Begin(now=1, start=2), "begin-a")
    assert (again.version, again.facts, again.is_repeated) == (first.version, 0, True)
    await engine.stop()
    second = Engine(store, clock=virtual_clock())
    assert (await second.host.submit(stream_of("a"), Begin(now=1, start=2), "begin-a")).is_repeated
    assert len(await kinds(store, stream_of("a"))) == 2
    await second.stop()


@in_virtual_time
async def test_what_queues_while_a_commit_is_on_its_way_shares_the_next() -> None:
    store, agent = FlakyStore(delay_seconds=1), Agent("agent", concurrency=100)

    @agent.task("do")
    async def do(n: int) -> int:
        return n

    async with running(agent, store=store) as orchestrator:
        handle = await orchestrator.start_workflow(parallel(100))
        before = store.calls["commit"]
        await handle.result()
        assert store.calls["commit"] - before <= 4


@in_virtual_time
async def test_readers_see_what_is_committed_and_nothing_else() -> None:
    store = FlakyStore()
    engine = Engine(store, clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=2))
    store.delay_seconds = 1
    giving_up = asyncio.ensure_future(engine.host.submit(stream_of("a"), GiveUp(now=2)))
    await passes(0.5)
    reading = asyncio.ensure_future(engine.host.read(stream_of("a")))
    await passes(0.1)
    assert not reading.done(), "the decision is not committed yet"
    assert not (await reading).is_open
    await giving_up

    store.fail("commit")
    again = Engine(store, clock=virtual_clock())
    beginning = asyncio.ensure_future(again.host.submit(stream_of("b"), Begin(now=1, start=2)))
    await passes(0.5)
    reading = asyncio.ensure_future(again.host.read(stream_of("b")))
    with pytest.raises(StoreUnavailable):
        await beginning
    with pytest.raises(WorkflowNotFoundError):
        await reading
    await engine.stop()
    await again.stop()


@in_virtual_time
async def test_many_readers_of_a_cold_stream_fold_it_once() -> None:
    store = FlakyStore()
    engine = Engine(store, clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=2))
    await engine.stop()
    store.delay_seconds, store.calls = 0.1, {}
    second = Engine(store, clock=virtual_clock())
    states = await asyncio.gather(*(second.host.read(stream_of("a")) for _ in range(20)))
    assert len({id(state) for state in states}) == 1
    assert store.calls["read_page"] == 1
    await second.stop()


@in_virtual_time
async def test_what_is_evicted_comes_back_as_it_was() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock(), max_actors=10)
    for number in range(50):
        await engine.host.submit(stream_of(f"c{number}"), Begin(now=1, start=2))
    assert len(engine.host.actors) <= 11
    for number in range(50):
        await engine.host.report(stream_of(f"c{number}"), report(2))
        assert (await engine.host.read(stream_of(f"c{number}"))).left == 1
    await engine.stop()


@in_virtual_time
async def test_whoever_waits_for_the_end_keeps_it_in_memory() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock(), max_actors=10)
    await engine.host.submit(stream_of("awaited"), Begin(now=1, start=1))
    waiting = asyncio.ensure_future(engine.host.ended(stream_of("awaited")))
    for number in range(50):
        await engine.host.submit(stream_of(f"c{number}"), Begin(now=1, start=2))
    await engine.host.report(stream_of("awaited"), report(2))
    assert (await waiting).status == "LIFTED_OFF"
    await engine.stop()


@in_virtual_time
async def test_when_all_are_waited_for_it_is_not_looked_again_and_again_who_could_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock(), max_actors=100)
    looks: list[int] = []
    evict = Actors._evict

    def look(actors: Actors) -> None:
        looks.append(len(actors))
        evict(actors)

    monkeypatch.setattr(Actors, "_evict", look)
    waiting: list[asyncio.Future[object]] = []
    for number in range(500):
        await engine.host.submit(stream_of(f"c{number}"), Begin(now=1, start=1))
        waiting.append(asyncio.ensure_future(engine.host.ended(stream_of(f"c{number}"))))
        await asyncio.sleep(0)
    assert len(engine.host.actors) == 500
    assert len(looks) == 40, "each time a tenth more had come"
    for number in range(500):
        await engine.host.report(stream_of(f"c{number}"), report(2))
    await asyncio.gather(*waiting)
    await engine.stop()


@in_virtual_time
async def test_of_many_that_go_on_in_turn_most_are_in_memory_when_their_turn_comes() -> None:
    store = FlakyStore()
    engine = Engine(store, clock=virtual_clock(), max_actors=100)
    for number in range(120):
        await engine.host.submit(stream_of(f"c{number}"), Begin(now=1, start=9))
    before = store.calls["read_page"]
    for _ in range(5):
        for number in range(120):
            await engine.host.read(stream_of(f"c{number}"))
    assert store.calls["read_page"] - before < 600 / 2
    await engine.stop()


@in_virtual_time
async def test_a_waiter_that_gives_up_leaves_nothing_behind() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=1))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(10):
            await engine.host.ended(stream_of("a"))
    assert engine.host.actors[stream_of("a")].ended == []
    await engine.stop()


@in_virtual_time
async def test_a_stopped_host_takes_nothing_new() -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=1))
    waiting = asyncio.ensure_future(engine.host.ended(stream_of("a")))
    await passes(1)
    await engine.stop()
    with pytest.raises(StoreUnavailable, match="the engine was stopped"):
        await waiting
    with pytest.raises(StoreUnavailable, match="takes no commands"):
        await engine.host.submit(stream_of("a"), GiveUp(now=2))


@in_virtual_time
async def test_a_report_too_large_to_record_fails_its_task_and_not_the_engine() -> None:
    """The bounds of values keep this from happening; should a bound be passed all the same, the run learns of it."""
    store, agent = FlakyStore(), Agent("agent")

    @agent.task("do")
    async def do() -> int:
        return 1

    def completes(commit: object) -> bool:
        assert isinstance(commit, Commit)
        return any(event.event_type == "task_completed" for event in commit.events)

    async with running(agent, store=store) as orchestrator:
        store.fail("commit", error=BoundExceeded("an event is too large"), only=completes)
        handle = await orchestrator.start_workflow(single())
        with pytest.raises(Exception, match="an event is too large"):
            await handle.result()


@in_virtual_time
async def test_outages_do_not_make_later_ones_slower(caplog: pytest.LogCaptureFixture) -> None:
    store, agent = FlakyStore(), Agent("agent")

    @agent.task("do")
    async def do() -> int:
        return 1

    async with running(agent, store=store) as orchestrator:
        for _ in range(3):
            store.fail("commit", times=2, skip=1, only=in_runs)
            handle = await orchestrator.start_workflow(single())
            await handle.result()
    waits = [record.getMessage().split(" in ")[-1][:4] for record in caplog.records if "trying again" in record.message]
    assert waits == ["0.05", "0.10"] * 3


def test_every_durability_boundary_has_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    failpoints.watch(seen.append)
    try:
        failpoints.reach("host.decided")
    finally:
        failpoints.watch(None)
    failpoints.reach("host.decided")
    assert seen == ["host.decided"]
    assert len(set(failpoints.POINTS)) == len(failpoints.POINTS)


@in_virtual_time
async def test_every_named_point_of_a_run_is_reached_in_order() -> None:
    seen: list[str] = []
    agent = Agent("agent")

    @agent.task("do")
    async def do() -> int:
        return 1

    failpoints.watch(seen.append)
    try:
        async with running(agent) as orchestrator:
            await orchestrator.execute_workflow(single(effect="at_most_once"))
            await passes(1)
    finally:
        failpoints.watch(None)
    assert set(seen) <= set(failpoints.POINTS)
    order = [point for point in seen if point.startswith("worker.")]
    assert order == [
        "worker.before_intent",
        "worker.after_intent",
        "worker.before_handler",
        "worker.after_handler",
        "worker.before_report",
        "worker.after_report",
    ]
    assert seen.index("host.committed") < seen.index("host.dispatched") < seen.index("worker.before_intent")


@pytest.mark.parametrize("level", [logging.WARNING])
@in_virtual_time
async def test_a_decider_that_breaks_tells_its_caller_and_does_not_stop_the_others(
    level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(MemoryStore(), clock=virtual_clock())
    await engine.host.submit(stream_of("a"), Begin(now=1, start=2))
    guest = engine.host.actors.guests["countdown"]
    decide: Callable[..., object] = guest.decide

    def broken(state: object, command: object) -> object:
        if isinstance(command, GiveUp):
            raise ZeroDivisionError("a bug")
        return decide(state, command)

    monkeypatch.setattr(type(guest), "decide", lambda self, state, command: broken(state, command))
    with pytest.raises(ZeroDivisionError):
        await engine.host.submit(stream_of("a"), GiveUp(now=2))
    await engine.host.report(stream_of("a"), report(2))
    assert (await engine.host.read(stream_of("a"))).left == 1
    await engine.stop()


@in_virtual_time
async def test_so_many_commands_may_wait_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.runtime.host.MAX_INBOX", 3)
    store = FlakyStore(delay_seconds=1)
    engine = Engine(store, clock=virtual_clock())
    begin = Begin(now=1, start=2)
    asked = [asyncio.ensure_future(engine.host.submit(stream_of("a"), begin)) for _ in range(9)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    refused = [answer for answer in answers if isinstance(answer, BoundExceeded)]
    assert refused
    assert "commands wait for" in str(refused[0])
    assert any(not isinstance(answer, Exception) for answer in answers)
    await engine.stop()
