"""Loops in a rough world: a store that is away or does not say what became of a commit, models that fail, budgets that cannot be told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, RetryPolicy, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.loop.facts import KIND
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.loop.results import AgentUpdate, Spoken, ToolCalled
from agenticflow.agents.model import Role
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.session import AgentSession
from agenticflow.app.loops.updates import MAX_BEHIND, Subscription, Updates
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ModelAccessDenied,
    ModelStreamCut,
    OutcomeUnknown,
    StoreUnavailable,
    WorkflowExecutionError,
)
from agenticflow.resilience.budgets import Budget
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import BrokenOff, ScriptedModel, call_tool
from agenticflow.testing.fakes import FlakyStore


class RoughStore(MemoryStore):
    """Fails the commits of some streams now and then: before they are true, or after."""

    def __init__(self, streams: str, every: int, *, is_doubtful: bool) -> None:
        super().__init__()
        self._rough_streams = streams
        self._every = every
        self._is_doubtful = is_doubtful
        self.asked = 0
        self.failed = 0
        self.is_away = False

    async def commit(self, commit: Commit) -> Committed:
        if commit.stream_id.startswith(self._rough_streams):
            self.asked += 1
            if self.is_away or self.asked % self._every == 0:
                self.failed += 1
                if self._is_doubtful:
                    await super().commit(commit)
                    raise OutcomeUnknown("nobody answered")
                raise StoreUnavailable("the disk is away")
        return await super().commit(commit)

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        return (
            [await self.commit(one) for one in commits] if len(commits) == 1 else await super().commit_in_order(commits)
        )


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.runtime.coordination.steady.RETRY_SECONDS", 0.001)
    monkeypatch.setattr("agenticflow.runtime.coordination.budgets.RETRY_SECONDS", 0.001)


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


@pytest.mark.parametrize("is_doubtful", [False, True])
@pytest.mark.parametrize("every", [2, 3, 5])
@pytest.mark.parametrize("streams", ["loop-", "budget-"])
async def test_a_store_that_fails_delays_a_loop_and_nothing_is_made_or_counted_twice(
    streams: str, every: int, is_doubtful: bool
) -> None:
    paid = 0

    @tool(effect="at_most_once")
    async def pay() -> str:
        """Pay."""
        nonlocal paid
        paid += 1
        return "paid"

    def speak(request: ModelRequest) -> Any:
        return [call_tool("pay"), call_tool("pay")] if turns_in(request) < 2 else "done"

    model = ScriptedModel(speak)
    agent = Agent("clerk", instructions="x", tools=[pay], model=model, budget=Budget(tokens=100_000))
    store = RoughStore(streams, every, is_doubtful=is_doubtful)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        result = await asyncio.wait_for(agent.run("go", session="ada"), 30)
        (view,) = await orchestrator.budgets.list()
        items = await AgentSession("ada", store=store).get_items()
    assert store.failed > 0
    assert (result.output, paid, model.asked) == ("done", 4, 3)
    assert view.spent.tokens == result.usage.total_tokens
    assert (view.spent.tool_calls, view.open_count) == (4, 0)
    assert len(items) == 10


async def test_a_task_that_is_told_to_stop_while_the_store_is_away_ends_its_loop_later() -> None:
    asked = asyncio.Event()

    async def never(_: ModelRequest) -> str:
        asked.set()
        await asyncio.sleep(60)
        return ""

    agent = Agent("slow", instructions="x", model=ScriptedModel(never))
    store = RoughStore("loop-", 1_000, is_doubtful=False)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("go", workflow_id="one", session="ada")
        await asyncio.wait_for(asked.wait(), 5)
        store.is_away = True
        await orchestrator.abort("one", reason="enough")
        with pytest.raises(WorkflowExecutionError):
            await stream.result()
        assert await store.list_runs(kind=KIND, is_open=True)
        store.is_away = False
        async with asyncio.timeout(5):
            while await store.list_runs(kind=KIND, is_open=True):
                await asyncio.sleep(0.01)


async def test_an_answer_that_breaks_off_is_asked_for_again_and_who_looks_is_told() -> None:
    model = ScriptedModel([BrokenOff("a long answer", after=1), "a whole answer"], piece_chars=3)
    agent = Agent("teller", instructions="x", model=model)
    stream = await agent.run_stream("go")
    pieces = [update async for update in stream if isinstance(update, Spoken)]
    result = await stream.result()
    assert result.output == "a whole answer"
    assert model.asked == 2
    assert len(pieces) > 3


async def test_what_the_provider_will_never_allow_is_not_tried_again() -> None:
    model = ScriptedModel(lambda _: ModelAccessDenied("the key is wrong"))
    agent = Agent("lead", instructions="x", model=model)
    with pytest.raises(ModelAccessDenied, match="the key is wrong"):
        await agent.run("go")
    assert model.asked == 1


async def test_a_provider_that_is_away_for_good_is_told_as_it_is() -> None:
    model = ScriptedModel(lambda _: ModelStreamCut("cut"))
    agent = Agent("lead", instructions="x", model=model, loop=LoopPolicy(max_turns=2))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(ModelStreamCut):
            await agent.run("go", workflow_id="one")
        rows = await orchestrator.store.list_runs(kind=KIND)
        assert [row.status for row in rows] == ["FAILED"] * 3
    assert model.asked == 3


async def all_of(seen: Subscription) -> list[AgentUpdate]:
    async with asyncio.timeout(5):  # who is told nothing waits for ever
        return [update async for update in seen]


async def test_who_looks_too_slowly_is_told_and_nobody_waits_for_them() -> None:
    updates = Updates()
    seen = updates.subscribe("one")
    other = updates.subscribe("one")
    for number in range(MAX_BEHIND + 5):
        updates.tell("one", ToolCalled("a", str(number), "x", {}))
    with pytest.raises(BoundExceeded, match="updates behind"):
        await all_of(seen)
    assert updates.are_wanted("one")
    updates.close()
    assert not updates.are_wanted("one")
    with pytest.raises(BoundExceeded):
        await all_of(other)
    updates.tell("one", ToolCalled("a", "late", "x", {}))  # nobody looks any more


def _begins_with(prefix: str, budget_id: object) -> bool:
    return str(budget_id).startswith(prefix)


async def test_a_store_that_is_away_while_budgets_are_opened_delays_the_only_attempt() -> None:
    store = FlakyStore()
    model = ScriptedModel(["done"])
    agent = Agent("clerk", instructions="x", model=model, budget=Budget(tokens=50_000))
    task = TaskDefinition(
        "ask", "clerk", "run", {"prompt": "go", "budget": {"tokens": 90_000}}, retry_policy=RetryPolicy(max_attempts=1)
    )
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.start()
        for prefix in ("workflow-", "task-", "loop-"):  # the budgets of the run, of its task, of the agent
            store.fail("get_run", times=3, only=partial(_begins_with, prefix))
        plan = WorkflowDefinition([task], name="paid", budget=Budget(tokens=100_000))
        handle = await orchestrator.start_workflow(plan, workflow_id="one")
        assert await asyncio.wait_for(handle.result(), 30) == {"ask": "done"}
        views = await orchestrator.budgets.list()
    assert (store.failures, model.asked) == (9, 1)
    assert {view.spent.tokens for view in views} == {views[0].spent.tokens}
    assert len(views) == 3
