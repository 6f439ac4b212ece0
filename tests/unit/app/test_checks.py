"""Check functions: whether work of unknown outcome has happened is asked of what can be looked up, and else of a person."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow import (
    Agent,
    DefinitionError,
    EffectClass,
    Orchestrator,
    OutcomeUnknown,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowStatus,
    worker,
)
from agenticflow.agents import NOT_HAPPENED, Happened
from agenticflow.app.execution import WorkflowHandle
from agenticflow.orchestration.waiting import OutcomeInQuestion, sentence
from agenticflow.runtime.coordination import checks
from agenticflow.storage.memory import MemoryStore
from tests.unit.runtime.engine import in_virtual_time, passes, running

ONE = WorkflowDefinition(
    [
        TaskDefinition(
            "work", "pay", params={"cents": 5}, effect=EffectClass.AT_MOST_ONCE, timeout_seconds=10, dependencies=()
        )
    ]
)


class World:
    """A payment service that hangs up, and what it says when asked."""

    def __init__(self, *answers: object, hangs: bool = False) -> None:
        self.answers = list(answers)
        self.hangs = hangs
        self.calls: list[str] = []
        self.asked: list[str] = []

    def payer(self, check: Callable[..., Any] | None = None) -> Any:
        @worker("pay", check=check or self.find)
        async def pay(cents: int, context: TaskContext) -> str:
            self.calls.append(context.effect_key)
            if len(self.calls) > 1 and not self.hangs:
                return "paid again"
            await asyncio.sleep(60 if self.hangs else 0)
            raise OutcomeUnknown("it hung up")

        return pay

    async def find(self, context: TaskContext) -> Any:
        self.asked.append(context.effect_key)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


async def stands(run: WorkflowHandle) -> bool:
    await passes(100)
    return await run.status() is WorkflowStatus.NEEDS_ATTENTION


async def told(orchestrator: Orchestrator) -> str:
    """What `why` says about the check."""
    [wait] = (await orchestrator.why("w")).waits
    assert isinstance(wait.reason, OutcomeInQuestion)
    return wait.reason.check


@in_virtual_time
async def test_what_happened_is_the_result() -> None:
    world = World(Happened("r" * 200_000))
    async with running(world.payer()) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        assert await run.result() == {"work": "r" * 200_000}
        events = [e async for e in orchestrator.store.read_stream("workflow-w/1")]
    assert world.asked == world.calls, "the check knows the effect by the key of the handler"
    assert [e.payload["decided_by"] for e in events if e.event_type == "task_completed"] == ["check of pay"]


@in_virtual_time
async def test_what_did_not_happen_runs_again_with_another_key() -> None:
    world = World(NOT_HAPPENED)
    async with running(world.payer()) as orchestrator:
        assert await (await orchestrator.start_workflow(ONE)).result() == {"work": "paid again"}
    assert len(set(world.calls)) == 2


@in_virtual_time
@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "cannot say whether it happened)"),
        ("yes", "failed: DefinitionError: it returned 'yes'"),
        (ValueError("the service is away"), "failed: ValueError: the service is away)"),
        (Happened(object()), "failed: NotSerializable"),
    ],
    ids=["nothing", "no answer", "error", "no data"],
)
async def test_what_a_check_cannot_say_is_asked_of_a_person(answer: object, words: str) -> None:
    world = World(answer)
    async with running(world.payer()) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        assert await stands(run)
        [wait] = (await orchestrator.why("w")).waits
        assert sentence(wait, "w").startswith(
            f"somebody has to say what became of task 'work' (its check function {words}"
        )
        await orchestrator.resolve("w", "work", "completed", value="seen")
        assert await run.result() == {"work": "seen"}
    assert len(world.asked) == len(world.calls) == 1


@in_virtual_time
async def test_a_handler_whose_time_passed_is_checked_when_it_has_stopped() -> None:
    world = World(Happened("found"), hangs=True)
    async with running(world.payer()) as orchestrator:
        assert await (await orchestrator.start_workflow(ONE)).result() == {"work": "found"}
    assert 10 <= asyncio.get_running_loop().time() < 12


@in_virtual_time
async def test_a_check_has_its_time_and_a_person_may_be_faster() -> None:
    world = World()
    answers: list[str] = []

    async def slow() -> Happened:
        await asyncio.sleep(29)
        answers.append("late")
        return Happened("late")

    async def hangs() -> None:
        await asyncio.sleep(10_000)

    async with running(world.payer(slow)) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        await passes(1)
        assert await told(orchestrator) == "its check function is being asked"
        await orchestrator.resolve("w", "work", "failed", reason="no")
        await passes(60)
        assert (answers, await run.status()) == (["late"], WorkflowStatus.FAILED)
    world = World()
    async with running(world.payer(hangs)) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        assert await stands(run)
        assert await told(orchestrator) == "its check function was not done within 30 s"


@in_virtual_time
async def test_it_is_not_run_again_for_ever() -> None:
    world = World(*[NOT_HAPPENED] * 20, hangs=True)
    async with running(world.payer()) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        assert await stands(run)
        assert await told(orchestrator) == "its check function says that it did not happen, in 6 runs"
    assert len(world.calls) == 6


@in_virtual_time
async def test_the_next_life_asks_again_also_when_the_worker_comes_later() -> None:
    store = MemoryStore()
    world = World()

    async def hangs() -> None:
        world.asked.append("hangs")
        await asyncio.sleep(10_000)

    async with running(world.payer(hangs), store=store) as orchestrator:
        await orchestrator.start_workflow(ONE, workflow_id="w")
        await passes(1)
    world.answers = [Happened("found")]
    async with running(store=store) as orchestrator:
        await passes(1)
        words = "if it has a check function, that is asked as soon as its handler is registered here"
        assert await told(orchestrator) == words
        orchestrator.register_worker(world.payer())
        assert await (await orchestrator.resume_workflow("w")).result() == {"work": "found"}
    assert (len(world.calls), len(world.asked)) == (1, 2)


@in_virtual_time
async def test_a_check_waits_for_a_handler_that_does_not_stop_and_why_says_so() -> None:
    ends = asyncio.Event()

    @worker("pay", check=lambda: Happened("found"))
    async def pay(cents: int) -> None:
        while not ends.is_set():
            try:
                await ends.wait()
            except asyncio.CancelledError:
                continue
        raise OutcomeUnknown("it hung up")

    async with running(pay) as orchestrator:
        run = await orchestrator.start_workflow(ONE, workflow_id="w")
        assert await stands(run)
        assert await told(orchestrator) == "if it has a check function, that is asked as soon as its handler has ended"
        ends.set()
        assert await run.result() == {"work": "found"}


@in_virtual_time
async def test_of_very_many_that_wait_for_a_person_the_last_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MAX_LEFT", 1)
    world = World(None, None, hangs=True)
    async with running(world.payer()) as orchestrator:
        for name in ("v", "w"):
            assert await stands(await orchestrator.start_workflow(ONE, workflow_id=name))
        assert await told(orchestrator)
        [wait] = (await orchestrator.why("v")).waits
        assert wait.reason == OutcomeInQuestion()


async def test_a_plain_check_of_an_agent_is_given_the_params_it_takes() -> None:
    agent = Agent("clerk")

    def find(cents: int) -> Happened:
        time.sleep(0)
        return Happened(cents)

    @agent.task("pay", check=find, check_timeout_seconds=5)
    def pay(cents: int, currency: str) -> None:
        raise OutcomeUnknown("it hung up")

    task = TaskDefinition("work", "clerk", "pay", {"cents": 5, "currency": "EUR"}, effect=EffectClass.AT_MOST_ONCE)
    async with running(agent) as orchestrator:
        assert await (await orchestrator.start_workflow(WorkflowDefinition([task]))).result() == {"work": 5}


def test_wrong_checks_are_refused_when_they_are_registered() -> None:
    def find() -> None:
        return None

    with pytest.raises(DefinitionError, match="'check of pay' has 0 s"):
        worker("pay", check=find, check_timeout_seconds=0)(find)
    with pytest.raises(DefinitionError, match="not a function"):
        worker("pay", check="find")(find)  # type: ignore[arg-type]  # what somebody may write
