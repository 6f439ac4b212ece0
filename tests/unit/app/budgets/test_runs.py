"""Budgets of whole runs: of all agents in them, of sub-workflows and of what goes on later; looked for, closed, named, wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowBuilder, WorkflowDefinition, tool, workflow
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.agents.model import ModelRequest
from agenticflow.app.budgets.runs import budget_of_run
from agenticflow.errors import DefinitionError, InvalidInput, WorkflowExecutionError, WorkflowNotFoundError
from agenticflow.orchestration import UserIntervention
from agenticflow.orchestration.planning.context import WorkflowContext
from agenticflow.resilience import Amounts, Budget, Claim
from agenticflow.storage import RetentionPolicy
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool
from tests.unit.runtime.engine import in_virtual_time, until, virtual_clock

SHORT = LoopPolicy(max_output_tokens=100)
WORDS = "Tea is a drink. " * 20


def writer(answer: Any = None, **options: Any) -> Agent:
    model = ScriptedModel(answer or (lambda request: WORDS))
    return Agent("writer", instructions="Write.", model=model, loop=SHORT, **options)


def asks(task_id: str, *after: str, **params: Any) -> TaskDefinition:
    return TaskDefinition(task_id, "writer", "write", {"prompt": "Tea", **params}, after)


async def test_all_agents_of_a_run_spend_of_one_budget() -> None:
    @tool
    def look() -> str:
        """Look."""
        return "seen"

    reader = Agent("reader", instructions="x", tools=[look], model=ScriptedModel([call_tool("look"), "read"]))
    plan = WorkflowDefinition(
        [asks("a"), asks("b"), TaskDefinition("c", "reader", "read")], budget=Budget(tokens=90_000, tool_calls=1)
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer(budget=Budget(tokens=50_000)))
        orchestrator.register_agent(reader)
        await orchestrator.execute_workflow(plan, workflow_id="w")
        views = {view.budget_id: view for view in await orchestrator.budgets.list()}
        whole = views.pop("workflow-w")
        assert await orchestrator.budgets.lineage_of("w") == ("workflow-w",)
    assert [view.lineage[1:] for view in views.values()] == [("workflow-w",)] * 2, "those of the agent lie inside it"
    assert (whole.spent.tool_calls, whole.calls, whole.open_count) == (1, 5, 0)
    assert whole.spent.tokens > sum(view.spent.tokens for view in views.values()) > 0


async def test_a_run_whose_money_is_gone_goes_on_when_more_is_allowed() -> None:
    plan = WorkflowDefinition([asks("first"), asks("second", "first")], name="article")
    agent = writer()
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        handle = await orchestrator.start_workflow(plan, workflow_id="w", budget=Budget(tokens=200))
        with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 200 tokens") as caught:
            await handle.result()
        assert set(caught.value.failed) == {"second"}
        await orchestrator.budgets.change("workflow-w", Budget(tokens=9_000))
        again = await orchestrator.resume_workflow("w")
        assert (again.run_no, await again.result()) == (2, {"second": WORDS})
        assert (await orchestrator.budgets.get("workflow-w")).calls == 2, "what was done is not done again"


async def test_what_is_asked_for_by_name_may_cost_what_is_said_then() -> None:
    async with Orchestrator(store="memory:", workflows=[WorkflowDefinition([asks("a")], name="tea")]) as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.execute_workflow("tea", workflow_id="free")
        await orchestrator.execute_workflow("tea", workflow_id="w", budget=Budget(tokens=500))
        await orchestrator.execute_workflow("tea", workflow_id="w", budget=Budget(tokens=500))
        assert [view.budget_id for view in await orchestrator.budgets.list()] == ["workflow-w"]
        assert await orchestrator.budgets.lineage_of("free") == ()
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.budgets.lineage_of("nobody")


async def test_sub_workflows_and_steps_of_functions_spend_of_the_whole() -> None:
    inner = WorkflowDefinition([asks("text")], name="inner", budget=Budget(tokens=1_000))

    @workflow(budget=Budget(tokens=10_000))
    async def outer(ctx: WorkflowContext, given: Any) -> Any:
        await ctx.agent("own", "writer", "write", {"prompt": "Tea"})
        return await ctx.gather(ctx.child("one", inner), ctx.child("two", WorkflowDefinition([asks("text")])))

    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.execute_workflow(outer, workflow_id="w")
        budgets = orchestrator.budgets
        assert await budgets.lineage_of("w~one") == ("workflow-w~one", "workflow-w")
        assert await budgets.lineage_of("w~two") == ("workflow-w",)
        assert ((await budgets.get("workflow-w")).calls, (await budgets.get("workflow-w~one")).calls) == (3, 1)


async def test_twenty_at_once_stay_under_one_cap() -> None:
    tasks = [TaskDefinition("each", "writer", "write", {"prompt": "${item}"}, for_each=[*range(20)], max_parallel=20)]

    async def answer(request: ModelRequest) -> str:
        await asyncio.sleep(0)
        return WORDS

    agent = writer(answer)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        plan = WorkflowDefinition(tasks, budget=Budget(tokens=700))
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(plan, workflow_id="w")
        view = await orchestrator.budgets.get("workflow-w")
    assert 0 < view.spent.tokens <= 700
    assert view.open_count == 0


async def test_a_budget_that_several_runs_and_tasks_share() -> None:
    """Whatever names it, a call costs each budget once: the shared one, the run's, the task's and the agent's."""
    plan = WorkflowDefinition([asks("a", budget="team")], budget=Budget(tokens=5_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer(budget=Budget(tokens=900)))
        budgets = orchestrator.budgets
        await budgets.open("firm", Budget())
        await budgets.open("team", Budget(tokens=7_000), parent="firm")
        await orchestrator.execute_workflow(plan, workflow_id="w")
        shared = WorkflowDefinition([asks("b")], budget="team")
        await orchestrator.execute_workflow(shared, workflow_id="v")
        assert await budgets.lineage_of("v") == ("team", "firm")
        calls = {view.budget_id: view.calls for view in await budgets.list() if not view.budget_id.startswith("loop")}
        assert calls == {"firm": 2, "team": 2, "workflow-w": 1}
        own = [view.calls for view in await budgets.list() if view.budget_id.startswith("loop")]
        assert own == [1, 1]


async def test_a_run_that_continues_and_one_that_is_modified_keep_their_budget() -> None:
    again = TaskDefinition("again", dependencies={"a"}, continue_with={"left": 0}, when="${left} > 0")
    plan = WorkflowDefinition([asks("a"), again], context={"left": 1}, budget=Budget(tokens=5_000))
    wait = WorkflowDefinition([TaskDefinition.wait_for("go", "go"), asks("a", "go")], budget=Budget(tokens=5_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.execute_workflow(plan, workflow_id="w")
        assert (await orchestrator.budgets.get("workflow-w")).calls == 2
        handle = await orchestrator.start_workflow(wait, workflow_id="v")
        more = UserIntervention("modify", "ada", modifications=[{"add": asks("b", "go")}])
        await orchestrator.intervene("v", more)
        await orchestrator.signal("v", "go")
        assert set(await handle.result()) == {"a", "b"}  # type: ignore[call-overload]  # a mapping
        assert (await orchestrator.budgets.get("workflow-v")).calls == 2


async def test_another_process_finds_the_budget(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'state.db'}"
    held = asyncio.Event()

    async def waits(request: ModelRequest) -> str:
        held.set()
        await asyncio.sleep(60)
        return "never"

    plan = WorkflowDefinition([asks("a"), asks("b", "a")], budget=Budget(tokens=5_000))
    first = Orchestrator(store=store)
    first.register_agent(writer(waits))
    await first.start_workflow(plan, workflow_id="w")
    await held.wait()
    await first.stop(drain_seconds=0)
    async with Orchestrator(store=store) as second:
        second.register_agent(writer())
        await (await second.resume_workflow("w")).result()
        view = await second.budgets.get("workflow-w")
        assert (view.calls, view.unmetered_calls, view.open_count) == (3, 1, 0)


async def test_budgets_of_what_is_over_are_closed_when_room_is_made() -> None:
    plan = WorkflowDefinition([asks("a")], budget=Budget(tokens=5_000))
    waiting = WorkflowDefinition([asks("a"), TaskDefinition.wait_for("go", "go", ["a"])], budget=Budget(tokens=5_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        budgets = orchestrator.budgets
        await orchestrator.execute_workflow(plan, workflow_id="done")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(plan, workflow_id="poor", budget=Budget(tokens=1))
        await orchestrator.start_workflow(waiting, workflow_id="open")

        async def spent() -> bool:
            return any(view.budget_id == "workflow-open" and view.calls for view in await budgets.list())

        while not await spent():
            await asyncio.sleep(0.001)
        await budgets.open("workflow-of-mine", Budget())
        await orchestrator.compact()
        statuses = {view.budget_id: view.status for view in await budgets.list()}
        assert statuses == {
            "workflow-done": "CLOSED",
            "workflow-poor": "OPEN",
            "workflow-open": "OPEN",
            "workflow-of-mine": "OPEN",
        }
        for _ in range(2):  # that of the failed one is closed when it is due itself, and is due the next time
            await orchestrator.compact(RetentionPolicy(delete_after_days=0))
        assert {view.budget_id for view in await budgets.list()} == {"workflow-open", "workflow-of-mine"}


async def test_a_call_that_nobody_settled_keeps_the_budget_of_a_run_open() -> None:
    plan = WorkflowDefinition([asks("a")], budget=Budget(tokens=5_000))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.execute_workflow(plan, workflow_id="w")
        await orchestrator.budgets.reserve(("workflow-w",), Claim("a handler", 1), Amounts(tokens=5))
        await orchestrator.compact()
        assert (await orchestrator.budgets.get("workflow-w")).status == "OPEN"


@in_virtual_time
async def test_the_budget_is_named_whose_time_has_ended() -> None:
    async def slow(request: ModelRequest) -> str:
        await asyncio.sleep(60)
        return WORDS

    plan = WorkflowDefinition([asks("a")], budget=Budget(seconds=5))
    async with Orchestrator(store="memory:", clock=virtual_clock()) as orchestrator:
        orchestrator.register_agent(writer(slow, budget=Budget(tokens=900, seconds=50)))
        with pytest.raises(WorkflowExecutionError, match="the time of 'workflow-w' ended while 'scripted:scripted'"):
            await orchestrator.execute_workflow(plan, workflow_id="w")
        assert (await orchestrator.budgets.get("workflow-w")).unmetered_calls == 1


async def test_a_part_that_outlives_the_whole_is_paid_by_itself() -> None:
    """A detached sub-workflow goes on when its parent was aborted, and when retention has let go of that."""
    inner = WorkflowDefinition([TaskDefinition.wait_for("go", "go"), asks("a", "go")], budget=Budget(tokens=900))
    plan = WorkflowDefinition(
        [
            TaskDefinition("part", workflow=inner, on_cancel="detach"),
            TaskDefinition("other", workflow=inner, on_cancel="detach"),
            asks("b"),
        ],
        budget=Budget(tokens=5_000),
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.start_workflow(plan, workflow_id="w")
        await until(lambda: orchestrator.get_agent("writer").definition.model.asked)  # type: ignore[union-attr]  # it asks one
        while len(await orchestrator.list_workflows()) < 3:
            await asyncio.sleep(0.001)
        await orchestrator.abort("w")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.wait("w")
        assert await orchestrator.budgets.lineage_of("w~part") == ("workflow-w~part", "workflow-w")
        for _ in range(2):
            await orchestrator.compact(RetentionPolicy(delete_after_days=0))
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.get_execution("w")
        assert await orchestrator.budgets.lineage_of("w~part") == ("workflow-w~part", "workflow-w")
        assert await orchestrator.budgets.lineage_of("w~other") == ("workflow-w~other",)
        await orchestrator.signal("w~part", "go")
        assert await orchestrator.wait("w~part") == {"a": WORDS}
        assert (await orchestrator.budgets.get("workflow-w~part")).calls == 1


@pytest.mark.parametrize("kind", ["own", "shared", "of the whole around it"])
async def test_a_part_without_a_budget_stays_under_that_of_a_whole_that_is_gone(kind: str) -> None:
    """What its definition cannot say any more, a budget that retention opened for it says; nobody else is limited by it."""
    part = WorkflowDefinition([TaskDefinition.wait_for("go", "go"), asks("a", "go"), asks("b", "a")])
    tasks = [TaskDefinition("part", workflow=part, on_cancel="detach"), TaskDefinition.wait_for("never", "never")]
    limits = Budget(tokens=200)
    plan = WorkflowDefinition(tasks, budget="team" if kind == "shared" else limits)
    part_id, whole = "w~part", "w"
    if kind == "of the whole around it":
        inner = WorkflowDefinition(tasks)
        plan = WorkflowDefinition([TaskDefinition("mid", workflow=inner)], budget=limits)
        part_id, whole = "w~mid~part", "w~mid"
    async with Orchestrator(store="memory:") as orchestrator:
        budgets = orchestrator.budgets
        if kind == "shared":
            await budgets.open("team", limits)
        orchestrator.register_agent(writer())
        for workflow_id, definition in (("w", plan), ("free", WorkflowDefinition(tasks))):
            await orchestrator.start_workflow(definition, workflow_id=workflow_id)
        while len(await orchestrator.list_workflows(is_open=True)) < (5 if kind == "of the whole around it" else 4):
            await asyncio.sleep(0.001)
        for workflow_id in ("w", "free"):
            await orchestrator.abort(workflow_id)
            with pytest.raises(WorkflowExecutionError):
                await orchestrator.wait(workflow_id)
        outer = "team" if kind == "shared" else "workflow-w"
        assert await budgets.lineage_of(part_id) == (outer,)
        for _ in range(3):
            await orchestrator.compact(RetentionPolicy(delete_after_days=0))
        for gone in (whole, "w", "free"):
            with pytest.raises(WorkflowNotFoundError):
                await orchestrator.get_execution(gone)
        assert await budgets.lineage_of(part_id) == (f"workflow-{part_id}", outer)
        assert await budgets.lineage_of("free~part") == (), "nothing limited it before"
        await orchestrator.signal(part_id, "go")
        with pytest.raises(WorkflowExecutionError, match=f"the budget '{outer}' of 200 tokens"):
            await orchestrator.wait(part_id)
        assert (await budgets.get(outer)).calls == 1
        await budgets.change(outer, Budget(tokens=9_000))
        assert await (await orchestrator.resume_workflow(part_id)).result() == {"b": WORDS}
        for _ in range(3):
            await orchestrator.compact(RetentionPolicy(delete_after_days=0))
        left = [view.budget_id for view in await budgets.list()]
        assert left == (["team"] if kind == "shared" else []), "with the part its budgets go"


@in_virtual_time
async def test_what_a_part_may_cost_is_kept_over_restarts_and_while_it_may_be_resumed() -> None:
    store, day = MemoryStore(), 86_400
    part = WorkflowDefinition([TaskDefinition.wait_for("go", "go"), asks("a", "go"), asks("b", "a")])
    tasks = [TaskDefinition("part", workflow=part, on_cancel="detach"), TaskDefinition.wait_for("never", "never")]
    async with Orchestrator(store=store, clock=virtual_clock()) as orchestrator:
        orchestrator.register_agent(writer())
        await orchestrator.start_workflow(WorkflowDefinition(tasks, budget=Budget(tokens=200)), workflow_id="w")
        await asyncio.sleep(1)
        await orchestrator.abort("w")
        await asyncio.sleep(day / 2)
        await orchestrator.signal("w~part", "go")
        with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 200 tokens"):
            await orchestrator.wait("w~part")
    await asyncio.sleep(day * 0.6)  # the whole is due, the part that has failed is not
    async with Orchestrator(store=store, clock=virtual_clock()) as orchestrator:
        orchestrator.register_agent(writer())
        for _ in range(2):
            await orchestrator.compact(RetentionPolicy(delete_after_days=1))
        with pytest.raises(WorkflowNotFoundError):
            await orchestrator.get_execution("w")
        with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 200 tokens"):
            await (await orchestrator.resume_workflow("w~part")).result()
        for _ in range(2):
            await asyncio.sleep(day * 2)
            await orchestrator.compact(RetentionPolicy(delete_after_days=1))
        assert await orchestrator.budgets.list() == []


async def test_a_part_that_is_resumed_by_itself_is_a_part_still() -> None:
    part = WorkflowDefinition([asks("a"), asks("b", "a")])
    plan = WorkflowDefinition([TaskDefinition("part", workflow=part)], budget=Budget(tokens=200))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 200 tokens"):
            await orchestrator.execute_workflow(plan, workflow_id="w")
        for run_no in (2, 3):
            again = await orchestrator.resume_workflow("w~part")
            with pytest.raises(WorkflowExecutionError, match="the budget 'workflow-w' of 200 tokens"):
                await again.result()
            assert again.run_no == run_no
        assert await orchestrator.budgets.lineage_of("w~part") == ("workflow-w",)


async def test_wrong_budgets_are_told_before_anything_starts() -> None:
    plan = WorkflowDefinition([asks("a")], name="w", budget="nowhere")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(writer())
        with pytest.raises(InvalidInput, match="there is no budget 'nowhere'"):
            await orchestrator.start_workflow(plan)
        assert await orchestrator.list_workflows() == []
        whole = WorkflowDefinition([TaskDefinition("part", workflow=plan)])
        with pytest.raises(WorkflowExecutionError, match="there is no budget 'nowhere'"):
            await orchestrator.execute_workflow(whole)
        with pytest.raises(DefinitionError, match="the budget of workflow 'w' is 5"):
            await orchestrator.start_workflow(plan, budget=5)  # type: ignore[arg-type]  # the mistake
    for nothing in ("", 5, {"usd": 1}):
        with pytest.raises(DefinitionError, match="give Budget"):
            WorkflowDefinition([asks("a")], budget=nothing)  # type: ignore[arg-type]  # the mistake
    assert WorkflowBuilder("b", budget="team").add_step("a", "writer").build().budget == "team"


def test_a_budget_is_a_part_of_what_a_workflow_is() -> None:
    plain, limited = WorkflowDefinition([asks("a")]), WorkflowDefinition([asks("a")], budget=Budget(usd=0.5))
    assert plain.content_hash != limited.content_hash
    assert limited.content_hash == WorkflowDefinition([asks("a")], budget=Budget(usd="0.5")).content_hash  # type: ignore[arg-type]  # as a file says it
    assert len(budget_of_run("w" * 200)) <= 250
