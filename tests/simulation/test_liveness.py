"""No run is ever silently stuck: what is lost on purpose between the parts of the engine is found, told within a minute, and mended where
that is safe. What loses it is the test's: a receiver wrapped from outside."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow import Agent, EventBus, TaskDefinition, WorkflowDefinition
from agenticflow.app.engine.assembly import Engine
from agenticflow.app.engine.liveness import LivenessReport, Watch
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.engine import ContinueExecution, Effect, GrantPermit, RunActivity, RunChild
from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.errors import StoreUnavailable
from agenticflow.orchestration.liveness import ALARM_STREAM
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.orchestration.waiting import NeedsPermit
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.fakes import FlakyStore
from agenticflow.testing.virtual_time import VirtualDeadlock, run_virtual
from tests.unit.runtime.engine import in_virtual_time, passes, running, virtual_clock

ALARM_SECONDS = 60.0


def engine_of(orchestrator: Orchestrator) -> Engine:
    engine = orchestrator._engine
    assert engine is not None
    return engine


def losing(orchestrator: Orchestrator, loses: Callable[[Effect], bool], *, times: int = 1) -> list[Effect]:
    """Lose the next ``times`` effects for which ``loses`` holds on their way to the dispatcher; return what was lost."""
    engine, lost = engine_of(orchestrator), list[Effect]()

    def perform(stream_id: str, effect: Effect) -> None:
        if len(lost) < times and loses(effect):
            lost.append(effect)
        else:
            engine.dispatcher.perform(stream_id, effect)

    engine.host.perform_with(perform)
    return lost


def counting(calls: list[str], *, seconds: float = 0.0) -> Agent:
    agent = Agent("agent", {"work"}, concurrency=4)

    @agent.task("do")
    async def do(name: str = "do") -> str:
        calls.append(name)
        await asyncio.sleep(seconds)
        return name

    return agent


def work(name: str = "work", *after: str, **options: Any) -> TaskDefinition:
    return TaskDefinition(name, "agent", "do", {"name": name}, after, **options)


async def alarms(store: MemoryStore) -> list[RecordedEvent]:
    return [event async for event in store.read_stream(ALARM_STREAM)]


async def told(store: MemoryStore) -> list[tuple[str, object, object]]:
    return [
        (event.event_type, event.payload["missing"], event.payload.get("task_key")) for event in await alarms(store)
    ]


# --- what is lost -------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_attempt_that_is_lost_on_its_way_is_found_at_once_told_once_and_performed_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        lost = losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        handle = await orchestrator.start_workflow(WorkflowDefinition([work()]), workflow_id="w")
        began = virtual_clock().now_ns()
        report = await orchestrator.check_liveness()
        assert len(lost) == 1
        [breach] = report.breaches
        assert (breach.workflow_id, breach.run_no, breach.task_key, breach.missing) == ("w", 1, "work", "attempt")
        assert (breach.since, report.is_alive, report.open_runs) == (began, False, 1)
        assert calls == []
        with caplog.at_level(logging.CRITICAL):
            assert await handle.result() == {"work": "work"}
        assert calls == ["work"]
        [event] = await alarms(store)
        assert event.event_type == "liveness_breached"
        assert event.timestamp - began <= ALARM_SECONDS * 1e9
        assert "task 'work' of run 1 of workflow 'w' is stuck" in caplog.text
        await passes(2 * ALARM_SECONDS)
        assert await told(store) == [
            ("liveness_breached", "attempt", "work"),
            ("liveness_restored", "attempt", "work"),
        ]
        assert (await orchestrator.check_liveness()).is_alive


@in_virtual_time
async def test_work_that_must_not_run_twice_is_handed_out_again_only_before_it_has_begun() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        handle = await orchestrator.start_workflow(WorkflowDefinition([work(effect="at_most_once")]))
        assert await handle.result() == {"work": "work"}
    assert calls == ["work"]


@in_virtual_time
async def test_work_that_has_begun_and_vanished_is_told_and_never_begun_again() -> None:
    """At-most-once work whose handler was called and whose outcome got lost: a person is asked, nobody calls it again."""
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls, seconds=30), store=store) as orchestrator:
        engine = engine_of(orchestrator)
        definition = WorkflowDefinition([work(effect="at_most_once", timeout_seconds=None)])
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
        assert calls == ["work"]

        async def swallow(stream_id: str, command: object, sequels: object = ()) -> None:
            """The report gets lost."""

        report, engine.host.report = engine.host.report, swallow  # type: ignore[method-assign]  # what breaks is the test's
        await passes(40)
        engine.host.report = report  # type: ignore[method-assign]  # as above
        await passes(3 * ALARM_SECONDS)
        assert calls == ["work"]
        assert await told(store) == [("liveness_breached", "attempt", "work"), ("liveness_restored", "attempt", "work")]
        assert await handle.status() is WorkflowStatus.NEEDS_ATTENTION
        await orchestrator.resolve(handle.workflow_id, "work", "completed", value="seen")
        assert await handle.result() == {"work": "seen"}
    assert calls == ["work"]


@in_virtual_time
async def test_an_attempt_in_work_is_never_performed_a_second_time_by_the_watch() -> None:
    calls = list[str]()
    async with running(counting(calls, seconds=500)) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition([work(timeout_seconds=None)]))
        await passes(100)
        watch = engine_of(orchestrator).watch
        assert watch is not None
        for _ in range(5):
            await watch.look()
        assert await handle.result() == {"work": "work"}
    assert calls == ["work"]


@in_virtual_time
async def test_a_timer_that_is_lost_is_found_and_set_again() -> None:
    store = MemoryStore()
    async with running(store=store) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition.timer("nap", 100)]))
        began = virtual_clock().now_ns()
        engine_of(orchestrator).host.set_timer(f"workflow-{handle.workflow_id}/1", None)
        [breach] = (await orchestrator.check_liveness()).breaches
        assert (breach.missing, breach.task_key) == ("timer", "")
        assert await handle.result() == {"nap": None}
        assert virtual_clock().now_ns() - began < 101e9
        assert await told(store) == [("liveness_breached", "timer", None), ("liveness_restored", "timer", None)]


@in_virtual_time
async def test_a_permit_that_was_granted_and_not_handed_on_is_found_and_handed_on() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls, seconds=5), store=store) as orchestrator:
        lost = losing(orchestrator, lambda effect: isinstance(effect, GrantPermit), times=2)
        tasks = [work(name, locks=("press",)) for name in ("first", "second")]
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        await passes(6)
        report = await orchestrator.check_liveness()
        assert lost
        assert {breach.missing for breach in report.breaches} == {"permit"}
        await handle.result()
        assert sorted(calls) == ["first", "second"]
        assert {kind for kind, _, _ in await told(store)} >= {"liveness_breached"}


@in_virtual_time
async def test_a_gate_that_has_lost_its_timer_is_found_and_wakes_again() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        limit = Limit("mails", rate=1, per_seconds=100)
        tasks = [work(name, limits=(limit,)) for name in ("first", "second")]
        handle = await orchestrator.start_workflow(WorkflowDefinition(tasks))
        await passes(1)
        engine_of(orchestrator).host.set_timer("gate-mails/1", None)
        [breach] = (await orchestrator.check_liveness()).breaches
        assert (breach.missing, breach.task_key) == ("permit", "second")
        await handle.result()
        assert calls == ["first", "second"]


CHILD = WorkflowDefinition([work("inner")], name="child")


@in_virtual_time
async def test_a_sub_workflow_that_was_never_asked_for_is_found_and_started() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunChild))
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("sub", workflow=CHILD)]))
        [breach] = (await orchestrator.check_liveness()).breaches
        assert (breach.missing, breach.task_key) == ("attempt", "sub")
        await handle.result()
        assert calls == ["inner"]
        assert (await told(store))[0] == ("liveness_breached", "attempt", "sub")


@in_virtual_time
async def test_the_lost_report_of_a_sub_workflow_is_found_and_made_again() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls, seconds=5), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(
            WorkflowDefinition([TaskDefinition("sub", workflow=CHILD)]), workflow_id="p"
        )
        await passes(1)
        watched = engine_of(orchestrator).children._children
        assert watched
        watched.clear()  # its end will be told, and nobody reports it
        await passes(6)
        assert (await orchestrator.get_execution("p~sub")).status is WorkflowStatus.COMPLETED
        [breach] = (await orchestrator.check_liveness()).breaches
        assert (breach.missing, breach.task_key) == ("attempt", "sub")
        await handle.result()
        assert calls == ["inner"]


@in_virtual_time
async def test_a_sub_workflow_whose_end_nobody_was_told_is_found() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls, seconds=5), store=store) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("sub", workflow=CHILD)]), workflow_id="p")
        await passes(1)
        for actor in engine_of(orchestrator).host.actors.values():
            actor.reporter = None  # the end of the child will be told to nobody
        await passes(ALARM_SECONDS)
        [event] = await alarms(store)
        assert (event.payload["missing"], event.payload["task_key"]) == ("sub_workflow", "sub")


@in_virtual_time
async def test_a_next_run_that_nobody_starts_is_found_and_started() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, ContinueExecution))
        again = TaskDefinition("again", continue_with={"n": 1}, dependencies={"step"}, when="${n} == 0")
        definition = WorkflowDefinition([work("step"), again], context={"n": 0})
        handle = await orchestrator.start_workflow(definition)
        await passes(1)
        [breach] = (await orchestrator.check_liveness()).breaches
        assert (breach.missing, breach.task_key) == ("next_run", "")
        await handle.result()
        assert calls == ["step", "step"]


@in_virtual_time
async def test_an_attempt_whose_way_through_the_gates_broke_off_is_found() -> None:
    store = MemoryStore()
    async with running(counting([]), store=store) as orchestrator:
        gates = engine_of(orchestrator).gates

        async def broken(*_: object) -> None:
            raise ZeroDivisionError("a bug at the gates")

        gates.acquire = broken  # type: ignore[assignment,method-assign]  # what breaks is the test's
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await orchestrator.start_workflow(WorkflowDefinition([work(locks=("press",))]))
        await passes(ALARM_SECONDS)
        assert await told(store) == [("liveness_breached", "attempt", "work")]


# --- the alarm ----------------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_an_alarm_reaches_who_subscribed_to_it_on_the_bus() -> None:
    store, heard = MemoryStore(), list[str]()
    bus = EventBus(store=store)

    async def hear(event: AgenticEvent) -> None:
        heard.append(event.event_type)

    await bus.subscribe("liveness_*", hear)
    async with running(counting([]), store=store, event_bus=bus) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        await orchestrator.start_workflow(WorkflowDefinition([work()]))
        await passes(ALARM_SECONDS)
        assert heard == ["liveness_breached", "liveness_restored"]


@in_virtual_time
async def test_an_alarm_of_an_earlier_life_is_not_told_again_and_is_taken_back() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity), times=1_000)
        engine_of(orchestrator).dispatcher.perform = lambda stream_id, effect: None  # type: ignore[method-assign]  # the test loses all
        handle = await orchestrator.start_workflow(WorkflowDefinition([work()]), workflow_id="w")
        await passes(3 * ALARM_SECONDS)
        assert await told(store) == [("liveness_breached", "attempt", "work")]
    async with running(counting(calls), store=store) as orchestrator:
        assert await orchestrator.wait(handle.workflow_id) == {"work": "work"}
        await passes(ALARM_SECONDS)
        assert await told(store) == [
            ("liveness_breached", "attempt", "work"),
            ("liveness_restored", "attempt", "work"),
        ]


@in_virtual_time
async def test_the_watch_survives_a_store_that_fails_and_tells_later(caplog: pytest.LogCaptureFixture) -> None:
    store = FlakyStore()
    async with running(counting([], seconds=1), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        handle = await orchestrator.start_workflow(WorkflowDefinition([work()]))
        store.fail("commit", times=1, error=StoreUnavailable("no space"))
        store.fail("list_runs", times=1, error=StoreUnavailable("not now"))
        await passes(2 * ALARM_SECONDS)
        assert [kind for kind, _, _ in await told(store)] == ["liveness_breached", "liveness_restored"]
        await handle.result()
    assert caplog.text.count("the watch over open runs could not look") == 2


@in_virtual_time
async def test_many_breaches_are_told_in_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    async with running(counting([]), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity), times=50)
        for _ in range(50):
            await orchestrator.start_workflow(WorkflowDefinition([work()]))
        await passes(ALARM_SECONDS)
    assert len(caplog.records) < 60
    assert "… and 30 more branches of runs are stuck" in caplog.text


@in_virtual_time
async def test_what_is_lost_of_a_run_that_is_not_in_memory_is_found_too() -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        await orchestrator.start_workflow(WorkflowDefinition([work()]), workflow_id="w")
        engine_of(orchestrator).host.actors.clear()  # as if others had needed the room
        assert [breach.task_key for breach in (await orchestrator.check_liveness()).breaches] == ["work"]
        await passes(ALARM_SECONDS)
    assert calls == ["work"]


# --- what is no breach --------------------------------------------------------------------------------------------------


@in_virtual_time
async def test_healthy_runs_of_every_kind_raise_no_alarm() -> None:
    store = MemoryStore()
    tasks = [
        work("busy", timeout_seconds=None),
        work("queued", timeout_seconds=None, priority=-1),
        work("locked", locks=("press",), timeout_seconds=None),
        work("locked_out", locks=("press",), timeout_seconds=None),
        TaskDefinition("nobody", "stranger", "do"),
        TaskDefinition.timer("nap", 3_000),
        TaskDefinition.wait_for("signal", "open"),
        TaskDefinition.ask("answer", "go on?"),
        TaskDefinition("sub", workflow=CHILD),
        TaskDefinition("unnamed", workflow="unheard of"),
    ]
    agent = Agent("agent", {"work"}, concurrency=2)

    @agent.task("do")
    async def do(name: str) -> None:
        await asyncio.sleep(1_000)

    async with running(agent, store=store) as orchestrator:
        for number in range(3):
            await orchestrator.start_workflow(WorkflowDefinition(tasks, max_parallel=9), workflow_id=f"w{number}")
        await orchestrator.pause("w1")
        await passes(300)
        await orchestrator.abort("w2", grace_seconds=100)
        for _ in range(10):
            report = await orchestrator.check_liveness()
            assert report.breaches == ()
            assert report.open_runs >= 2
            await passes(20)
        assert await alarms(store) == []


@pytest.mark.parametrize("delay_seconds", [0.001, 0.05, 0.3, 1.0])
def test_a_busy_engine_over_a_slow_store_raises_no_alarm(delay_seconds: float) -> None:
    """Work is on its way from hand to hand all the time, and the watch looks in the middle of it."""

    async def main() -> None:
        store = FlakyStore(delay_seconds=delay_seconds)
        agent, calls = Agent("agent", {"work"}, concurrency=3), list[str]()

        @agent.task("do")
        async def do(name: str) -> str:
            calls.append(name)
            await asyncio.sleep(0.4)
            if len(calls) % 3 == 0:
                raise OSError("try again")
            return name

        patience = RetryPolicy(max_attempts=50, initial_delay_seconds=0.2, max_delay_seconds=1, jitter=False)

        def patient(name: str, *after: str, **options: Any) -> TaskDefinition:
            return work(name, *after, retry_policy=patience, **options)

        child = WorkflowDefinition([patient("inner")], name="child")
        tasks = [
            patient("first", locks=("press", "van")),
            patient("second", locks=("van",)),
            TaskDefinition("sub", workflow=child, dependencies={"first"}),
            patient("m", for_each=[1, 2, 3], max_parallel=2, locks=("press",)),
            TaskDefinition.timer("nap", 1, {"second"}),
            patient("last", "sub", "m", "nap", limits=(Limit("mails", rate=2, per_seconds=3),)),
            TaskDefinition("again", continue_with={"n": 1}, dependencies={"last"}, when="${n} == 0"),
        ]
        definition = WorkflowDefinition(tasks, context={"n": 0})
        async with running(agent, store=store) as orchestrator:
            watch = engine_of(orchestrator).watch
            assert watch is not None
            handles = [await orchestrator.start_workflow(definition) for _ in range(6)]
            waiting = asyncio.gather(*(handle.result() for handle in handles))
            looks = 0
            while not waiting.done():
                await watch.look()
                looks += 1
                await asyncio.sleep(0.17)
            assert looks > 20
            await waiting
            store.delay_seconds = None
            assert await alarms(store) == []

    run_virtual(main())


@in_virtual_time
async def test_an_outcome_that_the_store_does_not_take_for_minutes_is_in_hand() -> None:
    store = FlakyStore()
    async with running(counting([], seconds=1), store=store) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition([work()]))
        store.fail("commit", times=60, error=StoreUnavailable("no space"))
        await passes(100)
        assert (await orchestrator.check_liveness()).breaches == ()
        assert await handle.result() == {"work": "work"}
        store_alarms = await alarms(store)
    assert store_alarms == []


@in_virtual_time
async def test_a_permit_that_the_store_does_not_take_the_request_for_is_being_asked_for() -> None:
    store = FlakyStore()
    async with running(counting([], seconds=1), store=store) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([work(locks=("press",))]), workflow_id="w")
        store.fail("commit", times=50, error=StoreUnavailable("no space"))
        assert (await orchestrator.check_liveness()).breaches == ()
        assert (await orchestrator.why("w")).waits[0].reason == NeedsPermit("press", (), 0)
        await passes(3)
        assert (await orchestrator.check_liveness()).breaches == ()
        assert await orchestrator.wait("w") == {"work": "work"}


@in_virtual_time
async def test_who_only_reads_finds_no_breach_in_what_nobody_runs() -> None:
    store = MemoryStore()
    async with running(counting([], seconds=100), store=store) as orchestrator:
        await orchestrator.start_workflow(WorkflowDefinition([work(), TaskDefinition.timer("nap", 1)]))
        await passes(0.1)
    async with running(store=store, performs=False) as reader:
        await passes(1_000)
        report = await reader.check_liveness()
        assert (report.is_performed, report.open_runs, report.breaches) == (False, 1, ())


def test_a_run_that_waits_for_ever_is_still_a_deadlock_in_virtual_time() -> None:
    async def main() -> None:
        async with running() as orchestrator:
            handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition.wait_for("gate", "open")]))
            await handle.result()

    with pytest.raises(VirtualDeadlock, match="nothing is ready"):
        run_virtual(main())


def test_the_watch_stops_twice() -> None:
    async def main() -> None:
        async with running() as orchestrator:
            watch = engine_of(orchestrator).watch
            assert isinstance(watch, Watch)
            await watch.stop()
            await watch.stop()

    asyncio.run(main())


@in_virtual_time
async def test_a_mistake_in_the_watch_does_not_end_it(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, calls = MemoryStore(), list[str]()
    async with running(counting(calls), store=store) as orchestrator:
        watch, looks = engine_of(orchestrator).watch, list[int]()
        assert watch is not None
        right = watch.check

        async def once_wrong() -> LivenessReport:
            looks.append(1)
            if len(looks) == 1:
                raise RuntimeError("a bug")
            return await right()

        monkeypatch.setattr(watch, "check", once_wrong)
        losing(orchestrator, lambda effect: isinstance(effect, RunActivity))
        await orchestrator.start_workflow(WorkflowDefinition([work()]))
        await passes(2 * ALARM_SECONDS)
    assert calls == ["work"]
    assert "met a mistake and looks on" in caplog.text
