"""Questions to people, who take their time: asked once, answered by whoever may, also while nobody lives."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    CommandRefused,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
    worker,
)
from agenticflow.orchestration import Approval, Escalation
from tests.scenarios.lives import Place, passes, step
from tests.unit.runtime.engine import in_virtual_time

ask = TaskDefinition.ask
HOUR = 3_600
CALLS: list[tuple[str, str]] = []


@worker("order")
async def order(context: TaskContext) -> object:
    CALLS.append(("before", context.effect_key))
    amount = context.interrupt(100, question="How many?")
    CALLS.append(("after", context.effect_key))
    return amount


async def _tool(context: TaskContext, name: str) -> str:
    reply = context.interrupt(name, key=name, question=f"Call {name}?", on_rejection="return")
    if reply.is_approved:
        CALLS.append((name, context.effect_key))
    return f"{name}: {reply.value}" if reply.is_approved else f"{name}: denied by {reply.by}"


@worker("think")
async def think(context: TaskContext) -> list[str]:
    """Call three tools at once, of which each needs a yes."""
    async with asyncio.TaskGroup() as group:
        tools = [group.create_task(_tool(context, name)) for name in ("mail", "pay", "post")]
    return [one.result() for one in tools]


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


@in_virtual_time
async def test_a_question_is_answered_while_nobody_performs() -> None:
    """Given a run that asks ada, when its process is killed and she answers through a process that only records, then the next owner goes
    on with her answer, and nobody is asked again."""
    place = Place()
    publish = WorkflowDefinition(
        [ask("ok", Approval("Publish?", assignees=["ada"])), step("publish", "ok", gives="${ok.by}")],
        output="${publish}",
    )
    async with place.process() as first:
        await first.start_workflow(publish, workflow_id="w")
    async with place.process(performs=False) as recorder:
        [request] = await recorder.approvals.list("ada")
        await recorder.approvals.approve(request.approval_id, by="ada")
        assert await recorder.approvals.list() == []
        assert place.began == []
    async with place.process() as second:
        assert await second.wait("w") == "ada"


@in_virtual_time
async def test_a_deadline_that_passed_while_nobody_lived_gives_its_default() -> None:
    """Given a question with an hour to answer and a default, when nobody lives until it has passed, then at the next start the default is
    the answer, and an answer that comes now is refused."""
    place = Place()
    terms = Approval("How many?", assignees=["ada"], deadline_seconds=HOUR, on_deadline="approve", default=3)
    buy = step("buy", "many", gives="${many.value}", seconds=60)
    definition = WorkflowDefinition([ask("many", terms), buy], output="${buy}")
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        [request] = await first.approvals.list()
    await passes(2 * HOUR)
    async with place.process() as second:
        await passes(30)
        with pytest.raises(CommandRefused, match="is closed"):
            await second.approvals.approve(request.approval_id, by="ada")
        assert await second.wait("w") == 3


@in_virtual_time
async def test_an_escalation_comes_at_its_moment_over_a_restart() -> None:
    """Given a question to ada that goes to bob as well after an hour, when the process is killed before and the next one starts after that
    hour, then bob may answer, and his answer counts."""
    place = Place()
    terms = Approval("Publish?", assignees=["ada"], escalation=[Escalation(HOUR, to=["bob"])])
    definition = WorkflowDefinition([ask("ok", terms), step("publish", "ok", gives="${ok.by}")], output="${publish}")
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(60)
        assert await first.approvals.list("bob") == []
    await passes(2 * HOUR)
    async with place.process() as second:
        await passes(1)
        [request] = await second.approvals.list("bob")
        await second.approvals.approve(request.approval_id, by="bob")
        assert await second.wait("w") == "bob"


@in_virtual_time
async def test_half_a_quorum_is_remembered() -> None:
    """Given a question that needs two of three, when one has said yes and the process is killed, then the same yes again changes nothing,
    and one other yes is enough."""
    place = Place()
    terms = Approval("Publish?", assignees=["ada", "bob", "carl"], quorum=2)
    definition = WorkflowDefinition([ask("ok", terms), step("publish", "ok", gives="done")], output="${publish}")
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        [request] = await first.approvals.list()
        await first.approvals.approve(request.approval_id, by="ada")
    async with place.process() as second:
        await second.approvals.approve(request.approval_id, by="ada")
        await passes(60)
        assert (await second.get_workflow_state("w")).status is WorkflowStatus.WAITING
        await second.approvals.approve(request.approval_id, by="carl")
        assert await second.wait("w") == "done"


@in_virtual_time
async def test_a_handler_asks_and_goes_on_in_another_process() -> None:
    """Given a handler that asks in its middle, when its process is killed while it waits and the answer comes to the next one, then the
    handler runs again from its beginning with the answer, under the same effect key, and holds no place meanwhile."""
    place = Place()
    definition = WorkflowDefinition([TaskDefinition("order", "order")], output="${order}")
    async with place.process(order) as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(HOUR)
    async with place.process(order) as second:
        await passes(HOUR)
        [request] = await second.approvals.list()
        await second.approvals.answer(request.approval_id, 250)
        assert await second.wait("w") == 250
    assert [what for what, _ in CALLS] == ["before", "before", "after"]
    assert len({key for _, key in CALLS}) == 1


@in_virtual_time
async def test_three_tools_that_ask_are_answered_one_by_one_over_restarts() -> None:
    """Given a handler whose three tools ask at once, when its process is killed after each answer, then all of them stand in the inbox,
    under ids that stay, a no is told to the handler, and nothing is asked twice."""
    place = Place()
    definition = WorkflowDefinition([TaskDefinition("think", "think")], output="${think}")
    async with place.process(think) as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        ids = {one.interrupt_key: one.approval_id for one in await first.approvals.list()}
        assert set(ids) == {"mail", "pay", "post"}
        await first.approvals.answer(ids["pay"], 5, by="ada")
    async with place.process(think) as second:
        await passes(60)
        assert {one.interrupt_key: one.approval_id for one in await second.approvals.list()} == {
            "mail": ids["mail"],
            "post": ids["post"],
        }
        await second.approvals.reject(ids["mail"], by="bob")
    async with place.process(performs=False) as recorder:
        [request] = await recorder.approvals.list()
        await recorder.approvals.answer(request.approval_id, "today", by="ada")
    async with place.process(think) as last:
        assert await last.wait("w") == ["mail: denied by bob", "pay: 5", "post: today"]
        assert await last.approvals.list() == []
    assert len({key for _, key in CALLS}) == 1


@in_virtual_time
async def test_a_rejection_leads_another_way_after_a_restart() -> None:
    """Given a question whose task has a fallback, when it is rejected right before a crash, then the next process takes the other way, and
    the gated step never runs."""
    place = Place()
    definition = WorkflowDefinition(
        [
            ask("ok", Approval("Publish?", assignees=["ada"]), fallback="archive"),
            step("archive", gives="archived", seconds=5),
            step("tell", "ok", gives="${ok}"),
        ],
        output="${tell}",
    )
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(1)
        await first.reject("w", "ok", comment="not yet", rejected_by="ada")
    async with place.process() as second:
        assert await second.wait("w") == "archived"
    assert place.done == ["archive", "tell"]


@in_virtual_time
async def test_an_aborted_run_asks_nobody_any_more() -> None:
    """Given two runs that ask, when one is aborted and the process is killed, then the inbox of the next process has the other question
    only, and the closed one cannot be answered."""
    place = Place()
    definition = WorkflowDefinition([ask("ok", Approval("Publish?", assignees=["ada"]))])
    async with place.process() as first:
        for name in ("a", "b"):
            await first.start_workflow(definition, {"of": name}, workflow_id=name)
        await passes(1)
        requests = await first.approvals.list("ada")
        await first.abort("a")
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError):
            await second.wait("a")
        assert [one.workflow_id for one in await second.approvals.list("ada")] == ["b"]
        closed = next(one.approval_id for one in requests if one.workflow_id == "a")
        with pytest.raises(CommandRefused, match="CANCELLED"):
            await second.approvals.approve(closed, by="ada")
