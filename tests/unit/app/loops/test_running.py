"""Agents that are run: by themselves and with an orchestrator, with wrong input, again after failures, restarts and changes of mind."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.loop.facts import KIND
from agenticflow.agents.loop.results import AgentResult
from agenticflow.agents.model.parts import ImagePart, Role, assistant, user
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.agents.session import AgentSession
from agenticflow.errors import (
    AgenticFlowError,
    DefinitionError,
    InvalidInput,
    ModelUnavailable,
    TaskTimeout,
    WorkflowExecutionError,
)
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.resilience.budgets import Budget
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.tools import ToolContext

PLAN = WorkflowDefinition(
    [
        TaskDefinition(
            "ask",
            "lead",
            "ask",
            params={"prompt": "go", "session_id": "ada"},
            retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=0),
        )
    ],
    name="asking",
)


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


async def said_in(store: Any, session_id: str = "ada") -> list[str]:
    items = await AgentSession(session_id, store=store).get_items()
    return [item.get("type") or f"{item['role']}: {item['content']}" for item in items]


# --- wrong input --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "options", "words"),
    [
        ("", {}, "the prompt is empty"),
        ("  \n", {}, "the prompt is empty"),
        (None, {}, "the prompt is a NoneType"),
        (42, {}, "the prompt is a int"),
        ({"a": 1}, {}, "the prompt is a dict"),
        (assistant("hi"), {}, "the prompt is a message of 'assistant'"),
        ("hi", {"session": 42}, "the session is a int without session_id"),
        ("hi", {"session": ""}, "the session has no id"),
        ("hi", {"workflow_id": "a\nb"}, "workflow"),
        ("hi", {"timeout_seconds": -1}, "timeout_seconds"),
        ("hi", {"timeout_seconds": "long"}, "timeout_seconds"),
        ("hi", {"context": {"key": object()}}, "object"),
    ],
)
async def test_each_wrong_use_is_told(prompt: Any, options: dict[str, Any], words: str) -> None:
    agent = Agent("lead", instructions="x", model=ScriptedModel(lambda _: "done"))
    with pytest.raises(AgenticFlowError, match=words):
        await agent.run(prompt, **options)
    with pytest.raises(AgenticFlowError, match=words):
        await agent.run_stream(prompt, **options)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(AgenticFlowError, match=words):
            await agent.run(prompt, **options)
        assert not await orchestrator.store.list_runs(), "nothing was recorded"


async def test_who_asks_no_model_cannot_be_run() -> None:
    plain = Agent("plain")
    for attempt in (plain.run("hi"), plain.run_stream("hi")):
        with pytest.raises(DefinitionError, match="asks no model"):
            await attempt
    with pytest.raises(DefinitionError, match="asks no model"):
        plain.run_sync("hi")
    with pytest.raises(DefinitionError, match="asks no model"):
        plain.as_tool()


async def test_run_sync_is_for_programs_without_an_event_loop() -> None:
    agent = Agent("lead", instructions="x", model=ScriptedModel(["done"]))
    with pytest.raises(InvalidInput, match="an event loop is running here"):
        agent.run_sync("hi")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(InvalidInput, match="registered with an orchestrator"):
            agent.run_sync("hi")


def test_run_sync_waits_for_the_result() -> None:
    result: AgentResult = Agent("lead", instructions="x", model=ScriptedModel(["done"])).run_sync(
        "hi", context={"a": 1}
    )
    assert (result.output, result.turns) == ("done", 1)


async def test_a_picture_is_asked_about() -> None:
    model = ScriptedModel(["a cat"])
    agent = Agent("lead", instructions="x", model=model)
    assert (await agent.run(user("what is this?", ImagePart(b"x", "image/png")))).output == "a cat"
    assert model.requests[0].messages[-1].parts[-1] == ImagePart(b"x", "image/png")


async def test_who_is_registered_nowhere_performs_no_tasks() -> None:
    nothing: Any = None
    agent = Agent("lead", instructions="x", model=ScriptedModel(["done"]))
    with pytest.raises(DefinitionError, match="registered with no orchestrator"):
        await agent.answer("hi", session=nothing, context=None, task=nothing)


# --- live objects -------------------------------------------------------------------------------------------------------


async def test_tools_and_instructions_see_the_object_they_are_given() -> None:
    class Connection:
        def __init__(self) -> None:
            self.used = 0

    @tool
    def use(ctx: ToolContext) -> int:
        """Use it."""
        ctx.context.used += 1
        return int(ctx.context.used)

    agent = Agent(
        "lead",
        instructions=lambda context, _: f"It was used {context.used} times.",
        tools=[use],
        model=ScriptedModel(lambda request: call_tool("use") if not turns_in(request) else "done"),
    )
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        given = [Connection() for _ in range(30)]
        await asyncio.gather(*(agent.run("go", context=one) for one in given))
        assert [one.used for one in given] == [1] * 30


async def test_plain_data_is_seen_again_after_a_restart() -> None:
    seen: list[Any] = []

    @tool
    def look(ctx: ToolContext) -> str:
        """Look."""
        seen.append(ctx.context)
        return "seen"

    agent = Agent("lead", instructions="x", tools=[look], model=ScriptedModel([call_tool("look"), "done"]))
    await agent.run("go", context={"user": "ada"})
    assert seen == [{"user": "ada"}]


# --- again --------------------------------------------------------------------------------------------------------------


async def test_another_attempt_goes_on_with_the_conversation() -> None:
    made = 0

    @tool
    def look() -> str:
        """Look."""
        nonlocal made
        made += 1
        return "seen"

    model = ScriptedModel([call_tool("look"), ModelUnavailable("it is away"), "done"])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(Agent("lead", instructions="x", tools=[look], model=model))
        handle = await orchestrator.start_workflow(PLAN, workflow_id="one")
        assert await handle.result() == {"ask": "done"}
        assert (made, model.asked) == (1, 3)
        assert [message.role.value for message in model.requests[2].messages] == ["system", "user", "assistant", "tool"]
        rows = sorted(await orchestrator.store.list_runs(kind=KIND), key=lambda row: row.run_no)
        assert [(row.run_no, row.status) for row in rows] == [(1, "FAILED"), (2, "COMPLETED")]
        assert await said_in(orchestrator.store) == [
            "user: go",
            "function_call",
            "function_call_output",
            "assistant: done",
        ]


async def test_a_run_that_failed_is_resumed_with_the_conversation() -> None:
    model = ScriptedModel([ModelUnavailable("away"), ModelUnavailable("away"), "done"])
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(Agent("lead", instructions="x", model=model))
        handle = await orchestrator.start_workflow(PLAN, workflow_id="one")
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        assert await said_in(orchestrator.store) == ["user: go"]
        handle = await orchestrator.resume_workflow("one")
        assert await handle.result() == {"ask": "done"}
        assert await said_in(orchestrator.store) == ["user: go", "assistant: done"]


async def test_a_time_limit_ends_an_attempt_and_the_conversation_is_kept() -> None:
    cancelled = 0

    async def slow(request: ModelRequest) -> str:
        nonlocal cancelled
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled += 1
            raise
        return "too late"

    agent = Agent("lead", instructions="x", model=ScriptedModel(slow))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises((TaskTimeout, WorkflowExecutionError)):
            await agent.run("go", session="ada", timeout_seconds=0.05)
        assert cancelled >= 1
        await asyncio.sleep(0.05)
        assert await said_in(orchestrator.store) == ["user: go"]
        assert not await orchestrator.store.list_runs(kind=KIND, is_open=True)


async def test_cancelled_during_a_tool_the_next_prompt_is_accepted() -> None:
    at_work = asyncio.Event()

    @tool(effect="at_most_once")
    async def pay() -> str:
        """Pay."""
        at_work.set()
        await asyncio.sleep(60)
        return "paid"

    def speak(request: ModelRequest) -> Any:
        return (
            [call_tool("pay"), call_tool("nothing")] if turns_in(request) == 0 else f"{len(request.messages)} messages"
        )

    agent = Agent("lead", instructions="x", tools=[pay], model=ScriptedModel(speak))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("pay", session="ada", workflow_id="one")
        await asyncio.wait_for(at_work.wait(), 5)
        await orchestrator.abort("one", reason="enough")
        with pytest.raises(WorkflowExecutionError):
            await stream.result()
        await asyncio.sleep(0.05)
        assert (await agent.run("and now?", session="ada")).output == "5 messages"
        items = await AgentSession("ada", store=orchestrator.store).get_items()
        told = [item["output"] for item in items if item.get("type") == "function_call_output"]
        assert "Nobody can say whether it has happened" in told[0]
        assert "there is no tool" in told[1]


@pytest.mark.parametrize("drain", [0, 5])
async def test_an_engine_that_stops_leaves_the_loop_to_its_next_start(drain: float) -> None:
    asked = asyncio.Event()
    paid = 0

    @tool(effect="at_most_once")
    def pay() -> str:
        """Pay."""
        nonlocal paid
        paid += 1
        return "paid"

    async def speak(request: ModelRequest) -> Any:
        if not turns_in(request):
            return call_tool("pay")
        if not asked.is_set():
            asked.set()
            await asyncio.sleep(60 if not drain else 0.1)
        return "done"

    store = MemoryStore()
    model = ScriptedModel(speak)
    agent = Agent("lead", instructions="x", tools=[pay], model=model)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run_stream("go", session="ada", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        await orchestrator.stop(drain_seconds=drain)
    again = Agent("lead", instructions="x", tools=[pay], model=model)
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(again)
        assert (await again.run("go", session="ada", workflow_id="one")).output == "done"
        assert len(await said_in(orchestrator.store)) == 4
    assert paid == 1


async def test_asking_twice_is_one_run() -> None:
    model = ScriptedModel(lambda _: "done", first_seconds=0.05)
    agent = Agent("lead", instructions="x", model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        first, second = await asyncio.gather(*(agent.run("go", workflow_id="one") for _ in range(2)))
        assert first == second == await agent.run("go", workflow_id="one")
        assert model.asked == 1
        late: Any = agent._loops()
        loops = late.get()
        kept = (loops._awaited, loops._results, loops._errors, loops._live)
        assert not any(kept), "nothing is kept for nobody"


async def test_who_waits_no_more_leaves_the_run_at_work() -> None:
    model = ScriptedModel(lambda _: "done", first_seconds=0.1)
    agent = Agent("lead", instructions="x", model=model)
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await agent.run("go", workflow_id="one")
        assert (await agent.run("go", workflow_id="one")).output == "done"
    assert model.asked == 1


# --- what a crash leaves ------------------------------------------------------------------------------------------------


async def test_loops_of_runs_that_are_over_are_ended_at_the_start() -> None:
    asked = asyncio.Event()

    async def stuck(request: ModelRequest) -> str:
        asked.set()
        await asyncio.sleep(60)
        return ""

    store = MemoryStore()
    inner = Agent("inner", role="sticks", model=ScriptedModel(stuck))
    agent = Agent(
        "lead", instructions="x", tools=[inner.as_tool()], model=ScriptedModel([call_tool("inner", prompt="go")])
    )
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        await orchestrator.stop(drain_seconds=0)
    async with Orchestrator(store=store) as orchestrator:  # nobody performs here what the run asks for
        assert len(await store.list_runs(kind=KIND, is_open=True)) == 2
        await orchestrator.abort("one", reason="nobody wants it")
        assert (await orchestrator.get_execution("one")).status is WorkflowStatus.CANCELLED
    async with Orchestrator(store=store):
        rows = await store.list_runs(kind=KIND)
        assert {row.status for row in rows} == {"CANCELLED"}
        assert len(rows) == 2


async def test_a_second_engine_that_takes_a_loop_up_is_waited_for_and_nothing_is_made_twice() -> None:
    """It took the first one for dead. The first one is refused when it has something to record, and waits."""
    store = MemoryStore()
    asked = asyncio.Event()
    paid = 0

    @tool(effect="at_most_once")
    async def pay() -> str:
        """Pay."""
        nonlocal paid
        paid += 1
        return "paid"

    async def speak(request: ModelRequest) -> Any:
        asked.set()
        await asyncio.sleep(0.1)
        return "done" if turns_in(request) else call_tool("pay")

    agents = [Agent("lead", instructions="x", tools=[pay], model=ScriptedModel(speak)) for _ in range(2)]
    async with Orchestrator(store=store) as one:
        one.register_agent(agents[0])
        stream = await agents[0].run_stream("go", workflow_id="one", session="ada")
        await asyncio.wait_for(asked.wait(), 5)
        async with Orchestrator(store=store) as other:
            other.register_agent(agents[1])
            assert (await asyncio.wait_for(stream.result(), 20)).output == "done"
            assert (await asyncio.wait_for(agents[1].run("go", workflow_id="one", session="ada"), 20)).output == "done"
    assert paid == 1
    (row,) = await store.list_runs(kind=KIND)
    assert row.status == "COMPLETED"
    assert len(await said_in(store)) == 4


# --- settings -----------------------------------------------------------------------------------------------------------


async def test_prices_come_from_the_file_that_the_settings_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prices = tmp_path / "prices.json"
    prices.write_text(json.dumps({"scripted:scripted": {"input_per_million": "1", "output_per_million": "2"}}))
    monkeypatch.setenv("AGENTICFLOW_MODELS__PRICES", str(prices))
    agent = Agent("lead", instructions="x", budget=Budget(usd=1), model=ScriptedModel(["done"]))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        await agent.run("go")
        (view,) = await orchestrator.budgets.list()
        assert view.spent.usd > Decimal(0)
        assert view.is_complete
        assert view.status == "CLOSED"
