"""Handlers that ask several things at once, in a running engine: tasks beside each other, tools, and drivers that raise it themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    InvalidInput,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    worker,
)
from agenticflow.core.interrupts import Interrupted
from agenticflow.orchestration import Ask, Reply
from agenticflow.tools import tool
from tests.unit.app.test_approvals import waiting

NAMES = ("a", "b", "c")


async def ask(context: TaskContext, name: str) -> object:
    return context.interrupt(name, key=name)


@worker("in_group")
async def in_group(context: TaskContext) -> list[object]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(ask(context, name)) for name in NAMES]
    return [task.result() for task in tasks]


@worker("gathered")
async def gathered(context: TaskContext) -> list[object]:
    return list(await asyncio.gather(*(ask(context, name) for name in NAMES)))


@worker("all_at_once")
async def all_at_once(context: TaskContext) -> list[object]:
    return [reply.value for reply in context.interrupt_all([Ask.of(name, key=name) for name in NAMES])]


@worker("in_thread")
def in_thread(context: TaskContext) -> list[object]:
    return [reply.value for reply in context.interrupt_all([Ask.of(name, key=name) for name in NAMES])]


@worker("driver")
async def driver(context: TaskContext) -> list[object]:
    missing = [Ask.of(name, key=name) for name in NAMES if name not in context.replies]
    if missing:
        raise Interrupted.of(missing)
    return [context.replies[name].value for name in NAMES]


def one_task(handler: Any) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition("t", handler.performer_id)], output="${t}")


@pytest.mark.parametrize(
    "handler", [in_group, gathered, all_at_once, in_thread, driver], ids=lambda one: str(one.performer_id)
)
async def test_all_are_asked_at_once_and_answered_in_any_order(handler: Any) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(handler)
        run = await orchestrator.start_workflow(one_task(handler), workflow_id="w")
        approvals = orchestrator.approvals
        ids = {view.interrupt_key: view.approval_id for view in await waiting(approvals, 3)}
        assert sorted(map(str, ids)) == ["a", "b", "c"]
        await approvals.answer(ids["b"], 2)
        left = {view.interrupt_key: view.approval_id for view in await waiting(approvals, 2)}
        assert left == {"a": ids["a"], "c": ids["c"]}
        await approvals.answer(ids["c"], 3)
        await approvals.answer(ids["a"], 1)
        assert await run.result() == [1, 2, 3]
        assert not (await approvals.get(ids["a"])).is_open
        with pytest.raises(CommandRefused):
            await approvals.answer(ids["a"], 5, by="eve")


async def test_answers_that_come_at_the_same_time_are_all_heard() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(in_group)
        run = await orchestrator.start_workflow(one_task(in_group), workflow_id="w")
        views = await waiting(orchestrator.approvals, 3)
        await asyncio.gather(*(orchestrator.approvals.approve(view.approval_id) for view in views))
        assert await run.result() == ["a", "b", "c"]


async def test_the_handler_sees_what_it_has_so_far_and_who_said_no() -> None:
    seen: list[dict[str, Reply]] = []

    @worker("draft")
    async def draft(context: TaskContext) -> object:
        seen.append(dict(context.replies))
        asks = [Ask.of(key=key, on_rejection="return") for key in ("a", "b")]
        return [reply.is_approved for reply in context.interrupt_all(asks)]

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(draft)
        run = await orchestrator.start_workflow(one_task(draft), workflow_id="w")
        first, second = await waiting(orchestrator.approvals, 2)
        await orchestrator.approvals.reject(first.approval_id, by="eve", comment="no")
        await waiting(orchestrator.approvals, 1)
        await orchestrator.approvals.answer(second.approval_id, 7, by="ada", comment="yes")
        assert await run.result() == [False, True]
        answers = (await orchestrator.approvals.get(first.approval_id)).answers
        assert [(one.by, one.approved, one.comment) for one in answers] == [("eve", False, "no")]
    no = Reply(None, is_approved=False, by="eve", comment="no")
    assert seen[0] == {}
    assert seen[-1] == {"a": no, "b": Reply(7, by="ada", comment="yes")}


async def test_tools_of_an_agent_that_ask_beside_each_other() -> None:
    at_hand: list[TaskContext] = []

    @tool
    async def guarded(name: str) -> str:
        """Do something that needs a yes.

        Args:
            name: Of what is done.
        """
        reply = at_hand[-1].interrupt(name, key=name, on_rejection="return")
        return f"{name} done" if reply.is_approved else f"{name} denied"

    hand = Agent("hand", tools=[guarded])

    @hand.task("think")
    async def think(context: TaskContext) -> list[object]:
        at_hand.append(context)
        results = await context.invoke_tool_parallel([("guarded", {"name": name}) for name in NAMES])
        return [result.value for result in results]

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(hand)
        definition = WorkflowDefinition([TaskDefinition("t", "hand", "think")], output="${t}")
        run = await orchestrator.start_workflow(definition, workflow_id="w")
        ids = {view.interrupt_key: view.approval_id for view in await waiting(orchestrator.approvals, 3)}
        await orchestrator.approvals.reject(ids["b"])
        await orchestrator.approvals.approve(ids["c"])
        await orchestrator.approvals.approve(ids["a"])
        assert await run.result() == ["a done", "b denied", "c done"]


def asking(*asks: Ask) -> Callable[[TaskContext], Any]:
    async def handler(context: TaskContext) -> object:
        raise Interrupted.of(asks)

    return handler


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ([Ask("a"), Ask("a", 1)], "asks twice under the key 'a'"),
        ([], "asks 0 questions at once"),
        ([Ask("a", quorum=0)], "its quorum is 0"),
    ],
)
async def test_what_a_driver_must_not_ask_fails_the_task_with_the_reason(asks: list[Ask], words: str) -> None:
    handler = worker("t")(asking(*asks))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(handler)
        run = await orchestrator.start_workflow(one_task(handler))
        with pytest.raises(WorkflowExecutionError) as failed:
            await run.result()
        assert words in failed.value.failed["t"]


async def test_a_driver_that_does_not_look_at_its_replies_is_told_so() -> None:
    handler = worker("t")(asking(Ask("a")))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(handler)
        run = await orchestrator.start_workflow(one_task(handler))
        (view,) = await waiting(orchestrator.approvals, 1)
        await orchestrator.approvals.approve(view.approval_id)
        with pytest.raises(WorkflowExecutionError) as failed:
            await run.result()
        assert "asks again under the key 'a', which has its reply" in failed.value.failed["t"]


async def test_answering_by_the_task_needs_one_question() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(in_group)
        await orchestrator.start_workflow(one_task(in_group), workflow_id="w")
        (view, *_) = await waiting(orchestrator.approvals, 3)
        with pytest.raises(CommandRefused, match="task 't' of workflow 'w' asks 3 questions at once") as refused:
            await orchestrator.approve("w", "t")
        assert view.approval_id in str(refused.value)


async def test_a_rejection_that_fails_the_task_closes_the_others() -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(in_group)
        run = await orchestrator.start_workflow(one_task(in_group), workflow_id="w")
        (first, second, _) = await waiting(orchestrator.approvals, 3)
        await orchestrator.approvals.reject(first.approval_id, by="eve")
        with pytest.raises(WorkflowExecutionError, match="eve rejected it"):
            await run.result()
        assert await orchestrator.approvals.list() == []
        assert not (await orchestrator.approvals.get(second.approval_id)).is_open
        with pytest.raises(InvalidInput):
            await orchestrator.approvals.approve("w/1/t")
