"""Tasks that lose their process, over several lives of an orchestrator: who runs beside whom, what is listed, what people decide."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    EventBus,
    InvalidInput,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowNotFoundError,
)
from agenticflow.app.commands.door import carry_out
from agenticflow.app.engine.lives import Lives
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.app.wiring import open_store
from agenticflow.core.context import LAST_REPORTS
from agenticflow.core.events import AgenticEvent
from agenticflow.errors import StoreUnavailable
from agenticflow.orchestration.quarantine.listing import LETTERS, TaskLetter
from agenticflow.runtime.clock import SystemClock
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store


class World:
    """Handlers that begin, and end when they are let go; lives of orchestrators over one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.inside: list[str] = []
        """Who is at work."""
        self.began: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    def agent(self) -> Agent:
        agent = Agent("hand", {"work"}, concurrency=10)

        @agent.task("work")
        async def work(context: TaskContext, size: int = 0, password: str = "") -> int:
            name = f"{context.workflow_id}.{context.task_key}"
            self.began.append(name)
            self.inside.append(name)
            context.report_progress(0.4, f"row {context.attempt}, password=sesame")
            context.report_progress(0.5)
            try:
                await self.ends.setdefault(name, asyncio.Event()).wait()
            finally:
                self.inside.remove(name)
            return size

        return agent

    def let_go(self, *names: str) -> None:
        for name in names:
            self.ends.setdefault(name, asyncio.Event()).set()

    async def live(self) -> Orchestrator:
        orchestrator = Orchestrator(store=self.store)
        orchestrator.register_agent(self.agent())
        await orchestrator.start()
        return orchestrator

    async def kill(self, orchestrator: Orchestrator) -> None:
        """End it as if its process had died: the store says that it performs."""
        await orchestrator.stop(drain_seconds=0)
        await Lives(self.store, SystemClock()).begin(3)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.002)


async def settled() -> None:
    """Give what could begin the time to do so."""
    for _ in range(50):
        await asyncio.sleep(0)


def flow(*names: str, **options: object) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition(name, "hand", "work", {"size": 1}) for name in names], **options)  # type: ignore[arg-type]  # of the test's own


@pytest.fixture
def world() -> World:
    return World(MemoryStore())


async def put_aside(world: World, *workflow_ids: str) -> Orchestrator:
    """Have the task ``bad`` of each workflow lose three processes, one after the other; return the orchestrator after that."""
    orchestrator = await world.live()
    for workflow_id in workflow_ids or ("w",):
        await orchestrator.start_workflow(flow("bad", name="poison"), workflow_id=workflow_id)
        for _ in range(3):
            await until(lambda: f"{workflow_id}.bad" in world.inside)  # noqa: B023 - asked at once
            await world.kill(orchestrator)
            orchestrator = await world.live()
    return orchestrator


# --- who runs beside whom -----------------------------------------------------------------------------------------------


async def test_what_may_lose_one_process_more_runs_beside_no_other_suspect_and_beside_everybody_else(
    world: World,
) -> None:
    orchestrator = await world.live()
    await orchestrator.start_workflow(flow("a", "b", "c"), workflow_id="w")
    for _ in range(2):
        await until(lambda: len(world.inside) == 3)
        await world.kill(orchestrator)
        orchestrator = await world.live()
    await orchestrator.start_workflow(flow("new"), workflow_id="other")
    await until(lambda: len(world.inside) == 2)
    await settled()
    assert sorted(world.inside) == ["other.new", "w.a"]
    assert (await orchestrator.check_liveness()).breaches == ()
    world.let_go("w.a")
    await until(lambda: "w.b" in world.inside)
    await settled()
    assert sorted(world.inside) == ["other.new", "w.b"]
    # The next death is put down to the one suspect that ran, and to nobody else but what was new.
    await world.kill(orchestrator)
    orchestrator = await world.live()
    assert [letter.task_key for letter in await orchestrator.dead_letters.list()] == ["b"]
    world.let_go("w.c", "other.new")
    assert await orchestrator.wait("other") == {"new": 1}
    await orchestrator.stop()


async def test_after_the_first_death_suspects_run_beside_each_other(world: World) -> None:
    orchestrator = await world.live()
    await orchestrator.start_workflow(flow("a", "b"), workflow_id="w")
    await until(lambda: len(world.inside) == 2)
    await world.kill(orchestrator)
    orchestrator = await world.live()
    await until(lambda: len(world.inside) == 2)
    world.let_go("w.a", "w.b")
    assert await orchestrator.wait("w") == {"a": 1, "b": 1}
    await orchestrator.stop()


async def test_a_suspect_of_a_paused_run_keeps_no_other_waiting(world: World) -> None:
    orchestrator = await world.live()
    for workflow_id in ("one", "two"):
        await orchestrator.start_workflow(flow("bad"), workflow_id=workflow_id)
    for _ in range(2):
        await until(lambda: len(world.inside) == 2)
        await world.kill(orchestrator)
        orchestrator = await world.live()
    await until(lambda: world.inside)
    (first,) = world.inside
    second = "two.bad" if first == "one.bad" else "one.bad"
    await orchestrator.pause(second.partition(".")[0])
    world.let_go(first)
    await orchestrator.wait(first.partition(".")[0])
    await orchestrator.start_workflow(flow("third"), workflow_id="three")
    await until(lambda: world.inside == ["three.third"])
    await orchestrator.resume(second.partition(".")[0])
    await until(lambda: second in world.inside)
    world.let_go(second, "three.third")
    await orchestrator.wait(second.partition(".")[0])
    await orchestrator.wait("three")
    await orchestrator.stop()


async def test_a_suspect_that_waits_for_another_can_be_cancelled(world: World) -> None:
    orchestrator = await world.live()
    await orchestrator.start_workflow(flow("a", "b"), workflow_id="w")
    for _ in range(2):
        await until(lambda: len(world.inside) == 2)
        await world.kill(orchestrator)
        orchestrator = await world.live()
    await until(lambda: world.inside == ["w.a"])
    await orchestrator.cancel_task("w", "b")
    world.let_go("w.a")
    assert await orchestrator.wait("w") == {"a": 1}
    assert world.began.count("w.b") == 2
    await orchestrator.stop()


async def test_a_suspect_waits_for_its_place_at_the_agent_and_keeps_nobody_from_it(world: World) -> None:
    """Neither a place is kept for who waits to be alone, nor others from running while it waits for a place."""
    orchestrator = Orchestrator(store=world.store)
    orchestrator.register_agent(world.agent())
    await orchestrator.start_workflow(flow(*(f"t{n}" for n in range(12))), workflow_id="w")
    for _ in range(2):
        await until(lambda: len(world.inside) == 10)
        await world.kill(orchestrator)
        orchestrator = await world.live()
    async with asyncio.timeout(10):
        while (await orchestrator.get_execution("w")).status != "COMPLETED":
            world.let_go(*world.inside)
            await settled()
    assert len(world.began) == 10 + 10 + 12
    await orchestrator.stop()


async def test_a_stop_is_no_death(world: World) -> None:
    for _ in range(4):
        orchestrator = await world.live()
        await orchestrator.start_workflow(flow("a"), workflow_id="w")
        await until(lambda: world.inside)
        await orchestrator.stop(drain_seconds=0)
    orchestrator = await world.live()
    world.let_go("w.a")
    await orchestrator.wait("w")
    types = [event.event_type for event in await world.store.scan_page(0, 100)]
    assert "process_lost" not in types
    await orchestrator.stop()


async def test_the_stop_of_an_orchestrator_whose_store_another_has_taken_up_leaves_the_life_of_that_one(
    world: World,
) -> None:
    first, second = Lives(world.store, SystemClock()), Lives(world.store, SystemClock())
    assert await first.begin(3) is None
    death = await second.begin(5)
    assert death is not None
    assert death.limit == 5
    await first.end()
    third = await Lives(world.store, SystemClock()).begin(3)
    assert third is not None
    assert third.life != death.life
    await second.end()
    await second.end()


async def test_a_stop_that_cannot_be_recorded_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> bool:
        raise StoreUnavailable("the disk is full")

    lives = Lives(world.store, SystemClock())
    await lives.begin(3)
    monkeypatch.setattr(world.store, "delete_value", fail)
    with caplog.at_level(logging.WARNING):
        await lives.end()
    assert "the next start will take it for a death: the disk is full" in caplog.text


@pytest.mark.parametrize("given", [1, 1_001, True, "3", 2.0])
def test_a_limit_that_makes_no_sense_is_refused(given: object) -> None:
    with pytest.raises(InvalidInput, match="max_lost_processes is"):
        Orchestrator(max_lost_processes=given)  # type: ignore[arg-type]  # that is the point


# --- letters ------------------------------------------------------------------------------------------------------------


async def test_letters_are_listed_page_by_page_and_by_workflow(world: World) -> None:
    orchestrator = await put_aside(world, "w1", "w2", "w3")
    letters = orchestrator.dead_letters
    assert [letter.workflow_id for letter in await letters.list()] == ["w1", "w2", "w3"]
    assert [letter.workflow_id for letter in await letters.list(workflow_id="w2")] == ["w2"]
    (first,) = await letters.list(limit=1)
    assert [letter.workflow_id for letter in await letters.list(after=first.letter_id)] == ["w2", "w3"]
    assert (await verify_store(world.store)).problems == []
    await orchestrator.stop()


async def test_a_letter_shows_what_its_handler_is_given(world: World) -> None:
    orchestrator = await put_aside(world)
    letter: TaskLetter = await orchestrator.dead_letters.get((await orchestrator.dead_letters.list())[0].letter_id)
    assert letter.params == {"size": 1}
    assert letter.last_report is not None
    assert (letter.last_report.fraction, letter.last_report.message) == (0.5, "")
    assert letter.last_report.attempt == letter.attempt
    assert letter.last_report.at <= letter.since
    assert len({(loss.pid, loss.began_at) for loss in letter.losses}) == 3
    assert all(loss.began_at <= loss.noticed_at for loss in letter.losses)
    await orchestrator.stop()


async def test_what_was_reported_last_is_kept_of_suspects_only_and_until_they_have_ended(world: World) -> None:
    orchestrator = await world.live()
    await orchestrator.start_workflow(flow("bad"), workflow_id="w")
    await until(lambda: world.inside)
    await settled()
    assert await kept(world) == [], "it has lost no process yet"
    await world.kill(orchestrator)
    orchestrator = await world.live()
    await until(lambda: world.inside)
    while not await kept(world):
        await asyncio.sleep(0)
    world.let_go("w.bad")
    await orchestrator.wait("w")
    while await kept(world):
        await asyncio.sleep(0)
    await orchestrator.stop()


async def kept(world: World) -> list[str]:
    return [one.key for one in await world.store.list_values(LAST_REPORTS, now=SystemClock().now_ns())]


async def test_a_report_that_cannot_be_kept_harms_nobody(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    orchestrator = await world.live()
    await orchestrator.start_workflow(flow("bad"), workflow_id="w")
    await until(lambda: world.inside)
    await world.kill(orchestrator)

    put, delete = world.store.put_value, world.store.delete_value

    async def put_value(namespace: str, *given: Any, **options: Any) -> int:
        if namespace == LAST_REPORTS:
            raise StoreUnavailable("the disk is full")
        return await put(namespace, *given, **options)

    async def delete_value(namespace: str, *given: Any, **options: Any) -> bool:
        if namespace == LAST_REPORTS:
            raise StoreUnavailable("the disk is full")
        return await delete(namespace, *given, **options)

    monkeypatch.setattr(world.store, "put_value", put_value)
    monkeypatch.setattr(world.store, "delete_value", delete_value)
    with caplog.at_level("WARNING", "agenticflow.engine"):
        orchestrator = await world.live()
        await until(lambda: "is not kept: the disk is full" in caplog.text)
        world.let_go("w.bad")
        assert await orchestrator.wait("w") == {"bad": 1}
        await orchestrator.stop()


async def test_who_retried_why_is_recorded_and_the_task_runs_again(world: World) -> None:
    orchestrator = await put_aside(world)
    (letter,) = await orchestrator.dead_letters.list()
    await orchestrator.dead_letters.retry(letter.letter_id, by="ada", reason="more memory")
    assert await orchestrator.dead_letters.list() == []
    world.let_go("w.bad")
    assert await orchestrator.wait("w") == {"bad": 1}
    event = next(e for e in await world.store.scan_page(0, 100) if e.event_type == "task_retry_requested")
    assert b"ada" in event.data
    assert b"more memory" in event.data
    for refused in (orchestrator.dead_letters.retry, orchestrator.dead_letters.discard):
        with pytest.raises(CommandRefused, match="is COMPLETED and takes no"):
            await refused(letter.letter_id)
    with pytest.raises(WorkflowNotFoundError, match="or not any more"):
        await orchestrator.dead_letters.get(letter.letter_id)
    await orchestrator.stop()


async def test_what_is_no_letter_is_told_so(world: World) -> None:
    orchestrator = await world.live()
    letters = orchestrator.dead_letters
    with pytest.raises(InvalidInput, match="is no id of a dead letter of a run"):
        await letters.get("nonsense")
    with pytest.raises(WorkflowNotFoundError, match="no dead letter 'gone/1/bad@7'"):
        await letters.discard("gone/1/bad@7")
    with pytest.raises(InvalidInput, match="a page of 0 letters"):
        await letters.list(limit=0)
    with pytest.raises(InvalidInput, match="is nobody"):
        await letters.retry("w/1/bad@7", by="")
    await orchestrator.stop()


async def test_a_program_that_performs_nothing_records_the_decision_for_the_next_owner(world: World) -> None:
    await (await put_aside(world)).stop()
    async with Orchestrator(store=world.store, performs=False) as tool:
        (letter,) = await tool.dead_letters.list()
        answer = await carry_out(tool, "discard_letter", {"letter_id": letter.letter_id, "by": "ada", "reason": "no"})
        assert answer == {"letter_id": letter.letter_id, "is_closed": True}
        assert (await tool.get_execution("w")).status == "FAILED"
    types = [event.event_type for event in await world.store.scan_page(0, 100)]
    assert types.count("process_lost") == 3, "it is no life of a process that performs"


async def test_verification_finds_letters_that_are_missing_or_should_not_be_there(world: World) -> None:
    orchestrator = await put_aside(world)
    (letter,) = await orchestrator.dead_letters.list()
    (value,) = await world.store.list_values(LETTERS, now=0)
    await world.store.delete_value(LETTERS, value.key)
    await world.store.put_value(LETTERS, f"{7:020}/w/1/bad@99", b"", now=0)
    problems = (await verify_store(world.store)).problems
    assert problems == [
        f"the inbox (dead-letters) lacks {letter.letter_id!r}, which is open",
        "the inbox (dead-letters) has 'w/1/bad@99', which is not open",
    ]
    await orchestrator.stop()


# --- letters of events --------------------------------------------------------------------------------------------------


async def test_letters_of_events_are_dealt_with_by_the_same_operations(tmp_path: Path) -> None:
    store = await open_store(f"sqlite:///{tmp_path}/state.db")
    is_broken = True

    async def handle(event: AgenticEvent) -> None:
        if is_broken:
            raise ValueError("no")

    bus = EventBus()
    async with Orchestrator(bus, store=store) as orchestrator:
        await bus.subscribe("order.*", handle, name="billing")
        for number in range(2):
            await bus.publish(AgenticEvent("order.placed", {"number": number}))
        async with asyncio.timeout(30):
            while len(letters := await bus.dead_letters()) < 2:
                await asyncio.sleep(0.01)
        first = {"letter_id": letters[0].letter_id, "is_event": True}
        assert (await carry_out(orchestrator, "retry_letter", first))["is_closed"] is False
        is_broken = False
        assert (await carry_out(orchestrator, "retry_letter", first))["is_closed"] is True
    async with Orchestrator(store=store, performs=False) as tool:
        second = {"letter_id": letters[1].letter_id, "is_event": True, "by": "ada", "reason": "old"}
        with pytest.raises(InvalidInput, match="subscribe under that name first"):
            await carry_out(tool, "retry_letter", {"letter_id": letters[1].letter_id, "is_event": True})
        assert (await carry_out(tool, "discard_letter", second))["is_closed"] is True
        assert await (await tool.dead_letters.bus()).dead_letters() == []
    await store.close()
