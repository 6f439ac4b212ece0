"""The inbox of an orchestrator: what waits for whom, over all runs and after a restart, and what answers do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agenticflow import (
    Agent,
    AgentState,
    CommandRefused,
    InvalidInput,
    Orchestrator,
    PermanentError,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowNotFoundError,
    worker,
)
from agenticflow.app.approvals.approvals import Approvals
from agenticflow.app.wiring import open_store
from agenticflow.orchestration import Approval, Escalation
from agenticflow.orchestration.inbox.listing import ApprovalRequest
from agenticflow.storage.memory import MemoryStore


@worker("say")
async def say(value: object = None) -> object:
    return value


def asking(name: str = "ask", **terms: object) -> WorkflowDefinition:
    return WorkflowDefinition([TaskDefinition.ask("may", Approval("Go?", **terms))], name=name)  # type: ignore[arg-type]  # of the test's own


@pytest.fixture(params=["memory", "file"])
async def orchestrator(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Orchestrator]:
    store = "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db"
    async with Orchestrator(store=store) as opened:
        opened.register_worker(say)
        yield opened


async def waiting(approvals: Approvals, count: int, assignee: str | None = None) -> list[ApprovalRequest]:
    """Wait until so many requests are there."""
    async with asyncio.timeout(10):
        while len(found := await approvals.list(assignee)) != count:
            await asyncio.sleep(0.005)
    return list(found)


# --- looking ------------------------------------------------------------------------------------------------------------


async def test_open_requests_are_listed_in_the_order_of_asking_page_by_page(orchestrator: Orchestrator) -> None:
    for number in range(7):
        await orchestrator.start_workflow(asking(), workflow_id=f"w{number}")
    names = [view.workflow_id for view in await orchestrator.approvals.list()]
    assert names == [f"w{number}" for number in range(7)]
    pages: list[str] = []
    after = None
    while page := await orchestrator.approvals.list(after=after, limit=3):
        assert len(page) <= 3
        pages += [view.workflow_id for view in page]
        after = page[-1].approval_id
    assert pages == names


async def test_a_page_goes_on_behind_a_request_that_was_answered_meanwhile(orchestrator: Orchestrator) -> None:
    for number in range(3):
        await orchestrator.start_workflow(asking(), workflow_id=f"w{number}")
    (first,) = await orchestrator.approvals.list(limit=1)
    await orchestrator.approvals.approve(first.approval_id)
    following = await orchestrator.approvals.list(after=first.approval_id)
    assert [view.workflow_id for view in following] == ["w1", "w2"]


async def test_a_person_sees_what_waits_for_them(orchestrator: Orchestrator) -> None:
    approvals = orchestrator.approvals
    await orchestrator.start_workflow(asking(assignees=["ada", "bob"], quorum=2), workflow_id="both")
    await orchestrator.start_workflow(asking(quorum=2), workflow_id="anybody")
    await orchestrator.start_workflow(asking(assignees=["bob"]), workflow_id="bob-only")

    async def of(person: str, workflow_id: str | None = None) -> list[str]:
        return [view.workflow_id for view in await approvals.list(person, workflow_id=workflow_id)]

    assert await of("ada") == ["both", "anybody"]
    assert await of("bob") == ["both", "anybody", "bob-only"]
    assert await of("eve") == ["anybody"]
    with pytest.raises(InvalidInput, match="assignee is '', no name of a person"):
        await of("")
    assert await of("bob", workflow_id="bob-only") == ["bob-only"]
    both, anybody, only = await approvals.list()
    await approvals.approve(both.approval_id, by="ada")
    await approvals.approve(anybody.approval_id, by="ada")
    assert await of("ada") == []
    assert await of("bob") == ["both", "anybody", "bob-only"]
    await approvals.delegate(only.approval_id, "ada", by="bob")
    assert await of("ada") == ["bob-only"]
    assert await of("bob", workflow_id="bob-only") == []
    await approvals.approve(both.approval_id, by="bob")
    assert [view.workflow_id for view in await approvals.list(workflow_id="both")] == []
    assert [view.workflow_id for view in await approvals.list(workflow_id="anybody")] == ["anybody"]
    assert [view.workflow_id for view in await approvals.list("bob", limit=1)] == ["anybody"]


async def test_an_escalation_and_a_deadline_change_the_lists(orchestrator: Orchestrator) -> None:
    terms = Approval("Go?", assignees=["ada"], escalation=[Escalation(0.05, ["eve"])], deadline_seconds=0.3)
    await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition.ask("may", terms)]), workflow_id="w")
    assert await orchestrator.approvals.list("eve") == []
    (view,) = await waiting(orchestrator.approvals, 1, assignee="eve")
    assert (view.level, view.assignees) == (1, ("ada", "eve"))
    await waiting(orchestrator.approvals, 0)
    assert await orchestrator.approvals.list("eve") == []
    assert not (await orchestrator.approvals.get(view.approval_id)).is_open


async def test_a_request_is_shown_with_all_that_was_said(orchestrator: Orchestrator) -> None:
    schema: dict[str, object] = {"type": "object"}
    terms = {"assignees": ["ada", "bob"], "quorum": 2, "arguments": {"sum": 5}, "response_schema": schema}
    await orchestrator.start_workflow(asking("pay", **terms, deadline_seconds=60), workflow_id="w")
    (view,) = await orchestrator.approvals.list()
    assert view.approval_id.startswith("w/1/may@")
    await orchestrator.approvals.delegate(view.approval_id, "carl", by="bob", comment="on leave")
    shown = await orchestrator.approvals.answer(view.approval_id, {"sum": 4}, by="carl", comment="less")
    assert [(one.by, one.to, one.comment) for one in shown.delegations] == [("bob", "carl", "on leave")]
    assert [(one.by, one.approved, one.comment) for one in shown.answers] == [("carl", True, "less")]
    assert (shown.workflow, shown.question, shown.arguments, shown.response_schema) == (
        "pay",
        "Go?",
        {"sum": 5},
        schema,
    )
    assert shown.deadline is not None
    assert (shown.deadline - shown.asked_at).total_seconds() == 60
    assert [one.answers for one in await orchestrator.approvals.list()] == [shown.answers]


@pytest.mark.parametrize("ending", ["abort", "cancel_task", "reject"])
async def test_what_nobody_waits_for_any_more_is_not_listed(orchestrator: Orchestrator, ending: str) -> None:
    await orchestrator.start_workflow(asking(assignees=["ada"]), workflow_id="w")
    (view,) = await orchestrator.approvals.list("ada")
    if ending == "abort":
        await orchestrator.abort("w")
    elif ending == "cancel_task":
        await orchestrator.cancel_task("w", "may")
    else:
        await orchestrator.approvals.reject(view.approval_id, by="ada")
    assert [await orchestrator.approvals.list(person) for person in (None, "ada")] == [[], []]
    assert await orchestrator.approvals.list(workflow_id="w") == []
    with pytest.raises(CommandRefused):
        await orchestrator.approvals.approve(view.approval_id, by="bob")


async def test_the_inbox_is_there_after_a_restart_and_for_whoever_only_reads(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    async with Orchestrator(store=url) as first:
        await first.start_workflow(asking(assignees=["ada"]), workflow_id="w")
        store = await open_store(url, read_only=True)
        beside = Orchestrator(store=store, performs=False)
        (view,) = await beside.approvals.list("ada")
        assert await beside.approvals.get(view.approval_id) == view
        await beside.stop()
        await store.close()
    async with Orchestrator(store=url) as second:
        assert await second.approvals.list("ada") == [view]
        await second.approvals.approve(view.approval_id, by="ada")
        assert await second.approvals.list() == []
        assert not (await second.approvals.approve(view.approval_id, by="ada")).is_open


async def test_wrong_questions_are_refused_with_what_to_do(orchestrator: Orchestrator) -> None:
    approvals = orchestrator.approvals
    for wrong in (0, 1_001, True, "many"):
        with pytest.raises(InvalidInput, match="a page of"):
            await approvals.list(limit=wrong)  # type: ignore[arg-type]  # the point of the test
    for nonsense in ("", "w", "w/1/may", "w/x/may@3", "w/1/may@x", "/1/may@3", "w/1/@3", 7):
        with pytest.raises(InvalidInput, match="is no id of a request"):
            await approvals.get(nonsense)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(WorkflowNotFoundError, match="there is no request 'w/1/may@3'"):
        await approvals.get("w/1/may@3")
    with pytest.raises(WorkflowNotFoundError, match="there is no request 'w/1/may@3'"):
        await approvals.approve("w/1/may@3")
    await orchestrator.start_workflow(asking(assignees=["ada"]), workflow_id="w")
    with pytest.raises(WorkflowNotFoundError, match="there is no request 'w/1/may@99'"):
        await approvals.get("w/1/may@99")
    with pytest.raises(WorkflowNotFoundError, match="there is no request 'w/1/may@99'"):
        await approvals.reject("w/1/may@99")
    (view,) = await approvals.list()
    with pytest.raises(InvalidInput, match="no name of a person"):
        await approvals.approve(view.approval_id, by="")
    with pytest.raises(InvalidInput, match="no name of a person"):
        await approvals.delegate(view.approval_id, "", by="ada")
    with pytest.raises(CommandRefused, match="ada may answer 'may'; 'local-owner' is not one of them"):
        await approvals.approve(view.approval_id)


async def test_a_large_answer_goes_to_a_handler_that_asked(orchestrator: Orchestrator) -> None:
    @worker("draft")
    async def draft(context: TaskContext) -> int:
        return len(str(context.interrupt()))

    orchestrator.register_worker(draft)
    run = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("t", "draft")]), workflow_id="w")
    (view,) = await waiting(orchestrator.approvals, 1)
    await orchestrator.approvals.answer(view.approval_id, "x" * 100_000)
    assert await run.result() == {"t": 100_000}


# --- handlers that ask --------------------------------------------------------------------------------------------------


@worker("in_thread")
def in_thread(context: TaskContext) -> object:
    return context.interrupt("Which?", assignees=["ada"])


@worker("on_loop")
async def on_loop(context: TaskContext) -> object:
    try:
        return context.interrupt("Which?", assignees=["ada"])
    except Exception:  # noqa: BLE001 - the point of the test
        return "caught"


@worker("in_group")
async def in_group(context: TaskContext) -> object:
    async def inner() -> object:
        await asyncio.sleep(0)
        return context.interrupt("Which?", assignees=["ada"])

    async with asyncio.TaskGroup() as group:
        found = group.create_task(inner())
        group.create_task(asyncio.sleep(0.01))
    return found.result()


@pytest.mark.parametrize("handler", [in_thread, on_loop, in_group], ids=lambda one: one.performer_id)
async def test_a_handler_asks_wherever_it_runs(handler: object) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(handler)  # type: ignore[arg-type]  # one of several kinds
        definition = WorkflowDefinition([TaskDefinition("t", handler.performer_id)])  # type: ignore[attr-defined]  # as above
        run = await orchestrator.start_workflow(definition, workflow_id="w")
        (view,) = await waiting(orchestrator.approvals, 1, assignee="ada")
        assert (view.question, view.interrupt_key, view.arguments) == ("Which?", "", "Which?")
        assert "waits for ada to answer: Which?" in (await run.execution()).waits_for[0]
        await orchestrator.approvals.answer(view.approval_id, [1, 2], by="ada")
        assert await run.result() == {"t": [1, 2]}


async def test_several_questions_in_turn_and_what_stands_before_runs_again() -> None:
    calls: list[tuple[int, str]] = []

    @worker("draft")
    async def draft(context: TaskContext) -> object:
        calls.append((context.attempt, context.effect_key))
        title = context.interrupt({"title": "Spring"}, key="title", question="Title?")
        price = context.interrupt(key="price", question="Price?", response_schema={"type": "integer"})
        return [title, price]

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(draft)
        run = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("t", "draft")]), workflow_id="w")
        (title,) = await waiting(orchestrator.approvals, 1)
        await orchestrator.approvals.approve(title.approval_id)
        (price,) = await waiting(orchestrator.approvals, 1)
        assert (price.question, price.interrupt_key) == ("Price?", "price")
        with pytest.raises(InvalidInput, match="answer is 'much', not integer"):
            await orchestrator.approvals.answer(price.approval_id, "much")
        await orchestrator.approvals.answer(price.approval_id, 7)
        assert await run.result() == {"t": [{"title": "Spring"}, 7]}
    assert len(calls) == 3
    assert len(set(calls)) == 1


@pytest.mark.parametrize("size", [10, 100_000], ids=["small", "large"])
async def test_what_was_answered_is_not_asked_again_in_the_next_run(tmp_path: Path, size: int) -> None:
    keys: list[str] = []
    answer = "x" * size  # a large one flows as a reference

    @worker("draft")
    async def draft(context: TaskContext) -> object:
        keys.append(context.effect_key)
        title = context.interrupt(key="title", question="Title?")
        if len(keys) <= 2:
            raise PermanentError("the printer is out of ink")
        return [len(str(title)), context.interrupt(key="price", question="Price?")]

    store = f"sqlite:///{tmp_path}/state.db"
    flow = WorkflowDefinition([TaskDefinition("t", "draft")])
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_worker(draft)
        run = await orchestrator.start_workflow(flow, workflow_id="w")
        (title,) = await waiting(orchestrator.approvals, 1)
        await orchestrator.approvals.answer(title.approval_id, answer)
        with pytest.raises(WorkflowExecutionError):
            await run.result()
        await orchestrator.compact()
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_worker(draft)
        again = await orchestrator.resume_workflow("w")
        (price,) = await waiting(orchestrator.approvals, 1)
        assert price.interrupt_key == "price"
        await orchestrator.approvals.answer(price.approval_id, 7)
        assert await again.result() == {"t": [size, 7]}
        assert len(set(keys)) == 1
        fork = await orchestrator.fork_workflow("w", run_no=1, new_workflow_id="other")
        (asked,) = await waiting(orchestrator.approvals, 1)
        assert (asked.workflow_id, asked.interrupt_key) == ("other", "title"), "a fork is other work"
        await fork.abort()


@worker("twice")
async def twice(context: TaskContext) -> object:
    return [context.interrupt(1), context.interrupt(2)]


@worker("same_key")
async def same_key(context: TaskContext) -> object:
    return [context.interrupt(1, key="a"), context.interrupt(2, key="a")]


@worker("wrong_form")
async def wrong_form(context: TaskContext) -> object:
    return context.interrupt(response_schema={"type": "money"})


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (twice, "asks several times and cannot tell the answers apart"),
        (same_key, "asks twice under the key 'a'"),
        (wrong_form, "type is 'money', not one of"),
    ],
    ids=["twice", "same_key", "wrong_form"],
)
async def test_what_cannot_be_asked_fails_the_task_with_the_reason(handler: object, words: str) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_worker(handler)  # type: ignore[arg-type]  # one of several kinds
        definition = WorkflowDefinition([TaskDefinition("t", handler.performer_id)])  # type: ignore[attr-defined]  # as above
        run = await orchestrator.start_workflow(definition, workflow_id="w")
        if handler is not wrong_form:
            (view,) = await waiting(orchestrator.approvals, 1)
            await orchestrator.approvals.approve(view.approval_id)
        with pytest.raises(WorkflowExecutionError) as failed:
            await run.result()
        assert words in failed.value.failed["t"]


async def test_the_question_of_a_handler_survives_a_restart(tmp_path: Path) -> None:
    calls = 0

    @worker("draft")
    async def draft(context: TaskContext) -> object:
        nonlocal calls
        calls += 1
        return context.interrupt("Which?")

    url = f"sqlite:///{tmp_path}/state.db"
    definition = WorkflowDefinition([TaskDefinition("t", "draft")])
    async with Orchestrator(store=url) as first:
        first.register_worker(draft)
        await first.start_workflow(definition, workflow_id="w")
        (view,) = await waiting(first.approvals, 1)
    async with Orchestrator(store=url) as second:
        second.register_worker(draft)
        assert await second.approvals.list() == [view]
        await second.approvals.answer(view.approval_id, "this")
        assert await second.wait("w") == {"t": "this"}
    assert calls == 2


async def test_what_was_listed_once_is_not_listed_again_after_a_restart() -> None:
    store = MemoryStore()
    async with Orchestrator(store=store) as first:
        await first.start_workflow(asking(), workflow_id="w")
    (entry,) = await store.list_values("approvals", now=0)
    await store.delete_value("approvals", entry.key)
    async with Orchestrator(store=store) as second:
        await second.pause("w")
    assert await store.list_values("approvals", now=0) == []


async def test_an_agent_whose_handler_asks_is_neither_failing_nor_busy() -> None:
    ada = Agent("ada", {"work"})

    @ada.task("ask")
    async def ask(context: TaskContext) -> object:
        return context.interrupt()

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(ada)
        await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("t", "ada", "ask")]), workflow_id="w")
        await waiting(orchestrator.approvals, 1)
        async with asyncio.timeout(10):
            while ada.get_state() is not AgentState.IDLE:
                await asyncio.sleep(0.005)
        assert orchestrator.agents.status("ada").failures == 0
