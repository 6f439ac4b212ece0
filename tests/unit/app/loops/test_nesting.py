"""Agents inside agents, people who are asked about their calls, and programs that change meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from agenticflow import Agent, Orchestrator, tool
from agenticflow.agents.loop.facts import KIND
from agenticflow.agents.model.parts import Role, ToolResultPart
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.errors import DefinitionError, ModelUnavailable
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing import ScriptedModel, call_tool
from agenticflow.tools import ToolRegistry, invoke_tool


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


async def until(ready: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await ready():
            await asyncio.sleep(0.01)


class Paying:
    """Two levels of agents below the first; the innermost pays, when somebody allows it."""

    def __init__(self) -> None:
        self.paid: list[int] = []
        self.asked = {"lead": 0, "clerk": 0, "cashier": 0}

        @tool(effect="at_most_once", needs_approval=True)
        def pay(amount: int) -> str:
            """Pay an amount."""
            self.paid.append(amount)
            return f"paid {amount}"

        self.cashier = Agent("cashier", role="pays", tools=[pay], model=ScriptedModel(self._speak("cashier", 2)))
        self.clerk = Agent(
            "clerk", role="orders", tools=[self.cashier.as_tool()], model=ScriptedModel(self._speak("clerk", 1))
        )
        self.lead = Agent(
            "lead", instructions="x", tools=[self.clerk.as_tool()], model=ScriptedModel(self._speak("lead", 1))
        )

    def _speak(self, name: str, calls: int) -> Callable[[ModelRequest], Any]:
        below = {"lead": "clerk", "clerk": "cashier"}

        def speak(request: ModelRequest) -> Any:
            self.asked[name] += 1
            if turns_in(request):
                told = [part.content for part in request.messages[-1].parts if isinstance(part, ToolResultPart)]
                return f"{name}: {', '.join(told)}"
            if name == "cashier":
                return [call_tool("pay", amount=number + 1) for number in range(calls)]
            return call_tool(below[name], prompt="pay it")

        return speak


async def test_an_agent_in_an_agent_in_an_agent_asks_people_and_goes_on_where_it_was() -> None:
    world = Paying()
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(world.lead)
        stream = await world.lead.run_stream("go", workflow_id="one")

        async def both() -> bool:
            return len(await orchestrator.approvals.list()) == 2

        await until(both)
        first, second = await orchestrator.approvals.list()
        assert world.asked == {"lead": 1, "clerk": 1, "cashier": 1}
        await orchestrator.approvals.approve(first.approval_id, by="ada")

        async def one_is_paid() -> bool:
            return len(world.paid) == 1

        await until(one_is_paid)
        await orchestrator.approvals.answer(second.approval_id, {"params": {"amount": 50}}, by="bob")
        result = await stream.result()
        assert max(world.paid) == 50
        assert len(world.paid) == 2
        assert world.asked == {"lead": 2, "clerk": 2, "cashier": 2}, "nobody was asked again"
        assert result.output.startswith("lead: clerk: cashier: paid ")
        assert "as bob changed it" in result.output
        rows = await orchestrator.store.list_runs(kind=KIND)
        assert [(row.name, row.is_open) for row in rows if row.is_open] == []
        assert sorted(row.name for row in rows) == ["cashier", "clerk", "lead"]


async def test_a_no_is_a_result() -> None:
    world = Paying()
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(world.lead)
        stream = await world.lead.run_stream("go")

        async def both() -> bool:
            return len(await orchestrator.approvals.list()) == 2

        await until(both)
        for request in await orchestrator.approvals.list():
            await orchestrator.approvals.reject(request.approval_id, by="ada", comment="too much")
        result = await stream.result()
    assert world.paid == []
    assert result.output.count("ada did not allow this call: too much") == 2


async def test_nobody_is_asked_about_what_would_be_refused_anyway() -> None:
    @tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    agent = Agent(
        "clerk", instructions="x", tools=[pay], model=ScriptedModel([call_tool("pay", amount="much"), "done"])
    )
    result = await asyncio.wait_for(agent.run("go"), 5)
    (part,) = (part for one in result.messages for part in one.parts if isinstance(part, ToolResultPart))
    assert part.is_error
    assert "amount" in part.content


async def test_edited_params_that_do_not_fit_are_a_result() -> None:
    @tool(needs_approval=True)
    def pay(amount: int) -> str:
        """Pay."""
        return "paid"

    agent = Agent("clerk", instructions="x", tools=[pay], model=ScriptedModel([call_tool("pay", amount=5), "done"]))
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(agent)
        stream = await agent.run_stream("go")

        async def one() -> bool:
            return bool(await orchestrator.approvals.list())

        await until(one)
        (request,) = await orchestrator.approvals.list()
        assert request.question == "May clerk call pay?"
        await orchestrator.approvals.answer(request.approval_id, {"params": {"amount": "much"}}, by="ada")
        result = await stream.result()
    (part,) = (part for one in result.messages for part in one.parts if isinstance(part, ToolResultPart))
    assert part.is_error
    assert "amount" in part.content


async def test_what_an_inner_agent_cannot_do_is_a_result_of_the_call() -> None:
    broken = Agent(
        "broken", role="breaks", model=ScriptedModel(["one answer only", ModelUnavailable("it is away")] * 1)
    )
    agent = Agent(
        "lead",
        instructions="x",
        tools=[broken.as_tool()],
        model=ScriptedModel(
            [call_tool("broken", prompt="a"), call_tool("broken", prompt="b"), call_tool("broken", prompt=""), "done"]
        ),
    )
    result = await agent.run("go")
    told = [part for one in result.messages for part in one.parts if isinstance(part, ToolResultPart)]
    assert [part.is_error for part in told] == [False, True, True]
    assert told[0].content == "one answer only"
    assert "it is away" in told[1].content


async def test_equal_questions_to_an_inner_agent_are_asked_each_time() -> None:
    inner = Agent("inner", role="answers", model=ScriptedModel(["first", "second", "third"]))
    outer = Agent(
        "outer",
        instructions="x",
        tools=[inner.as_tool("ask", "Ask.")],
        model=ScriptedModel(
            [[call_tool("ask", prompt="a"), call_tool("ask", prompt="a")], call_tool("ask", prompt="a"), "done"]
        ),
    )
    result = await outer.run("go")
    told = [part.content for one in result.messages for part in one.parts if isinstance(part, ToolResultPart)]
    assert sorted(told) == ["first", "second", "third"]


async def test_an_agent_as_a_tool_outside_of_an_agent_works_by_itself() -> None:
    inner = Agent("inner", role="answers", model=ScriptedModel(["well"]))
    result = await invoke_tool("inner", {"prompt": "how are you?"}, tools=ToolRegistry.of([inner.as_tool()]))
    assert result.value == "well"


async def test_an_agent_that_is_there_no_more_after_a_change_is_told() -> None:
    asked = asyncio.Event()

    async def stuck(request: ModelRequest) -> str:
        asked.set()
        await asyncio.Event().wait()
        return ""

    store = MemoryStore()
    closer = Agent("closer", role="closes", model=ScriptedModel(stuck))
    lead = Agent("lead", instructions="x", model=ScriptedModel([call_tool("transfer_to_closer")]), handoffs=[closer])
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(lead)
        await lead.run_stream("go", workflow_id="one")
        await asyncio.wait_for(asked.wait(), 5)
        await orchestrator.stop(drain_seconds=0)
    other = Agent("other", role="does other things", model=ScriptedModel([]))
    changed = Agent("lead", instructions="x", model=ScriptedModel(["never asked"]), handoffs=[other])
    async with Orchestrator(store=store) as orchestrator:
        orchestrator.register_agent(changed)
        with pytest.raises(DefinitionError, match="passed on to agent 'closer', and 'lead' hands off to other now"):
            await changed.run("go", workflow_id="one")
