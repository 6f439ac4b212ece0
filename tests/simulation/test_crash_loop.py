"""Agents that ask models, killed at every point: no answer that was recorded is paid for again, nothing that must not happen twice does."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Orchestrator, tool
from agenticflow.agents import Agent
from agenticflow.agents.model.parts import Role
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.errors import PermanentError
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.resilience.budgets import Budget
from agenticflow.testing import ScriptedModel, simulate
from agenticflow.testing.crashes import CrashCase, CrashReport, crash_search
from agenticflow.testing.scripted_model import call_tool
from tests.simulation import letters

pytestmark = pytest.mark.proof

SHARES = 4
"""A run with a server is in real time: all its points take minutes one after the other."""


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


def case(*, has_budgets: bool = False) -> CrashCase:
    """Tools side by side, an agent as a tool, a handoff, an answer."""
    done = Counter[str]()
    told = set[str]()
    left = list[str]()

    @tool(effect="at_most_once")
    async def charge(amount: int) -> str:
        """Charge an amount."""
        done["charge"] += 1
        await asyncio.sleep(0.001)
        return f"charged {amount}"

    @tool
    async def look(what: str) -> str:
        """Look something up."""
        done["look"] += 1
        return f"{what} is fine"

    async def instruct(context: Any) -> str:
        await asyncio.sleep(0)
        done["instructed"] += 1
        return f"Do it well, No. {done['instructed']}."

    def lead(request: ModelRequest) -> Any:
        told.add(request.messages[0].text)
        done["lead"] += 1
        done["wrongly forced"] += (request.forced_tool == "charge") is (turns_in(request) > 0)
        match turns_in(request):
            case 0:
                return [call_tool("charge", amount=5), call_tool("look", what="the weather")]
            case 1:
                return call_tool("expert", prompt="what about tea?")
            case _:
                return call_tool("transfer_to_closer")

    def expert(request: ModelRequest) -> Any:
        done["expert"] += 1
        return call_tool("look", what="tea") if not turns_in(request) else "tea it is"

    helper = Agent("expert", model=ScriptedModel(expert), role="knows tea", tools=[look])
    closer = Agent(
        "closer",
        model=ScriptedModel(lambda request: f"closed after {turns_in(request)}"),
        role="closes",
        budget=Budget(tokens=1_000_000) if has_budgets else None,
    )
    agent = Agent(
        "lead",
        model=ScriptedModel(lead),
        tools=[charge, look, helper.as_tool()],
        handoffs=[closer],
        instructions=instruct,
        tool_choice="charge",
    )

    async def look_at_budgets(orchestrator: Orchestrator, workflow_id: str) -> None:
        await orchestrator.wait(workflow_id)
        views = await orchestrator.budgets.list()
        left[:] = [
            f"{view.budget_id} is {view.status} with {view.open_count} open calls"
            for view in views
            if (view.status, view.open_count) != ("CLOSED", 0)
        ]
        if len(views) != 1 or not views[0].spent.tokens:
            left.append(f"{len(views)} budgets, and nothing is spent")

    def check() -> list[str]:
        found = list(left)
        if len(told) > 1:
            found.append(f"its instructions have changed: {sorted(told)}")
        if done["wrongly forced"]:
            found.append("a call is forced in the first turn, and in no other")
        if done["charge"] > 1:
            found.append(f"charged {done['charge']} times")
        for who, answers in (("lead", 3), ("expert", 2)):
            if done[who] > answers + 1:  # the one in work when the process died
                found.append(f"{who} was asked {done[who]} times for {answers} answers")
        return found

    definition = WorkflowDefinition([TaskDefinition("ask", "lead", "ask", params={"prompt": "do it"})], name="ask")
    return CrashCase(definition, agents=[agent], check=check, steer=look_at_budgets if has_budgets else None)


def undone() -> CrashCase:
    """Two payments, and then the run fails."""
    done = Counter[str]()

    @tool(compensate="refund")
    async def pay(amount: int) -> str:
        """Pay an amount."""
        return f"paid {amount}"

    @tool(effect="at_most_once")
    async def refund(amount: int) -> str:
        """Give an amount back."""
        done[f"refund {amount}"] += 1
        return f"refunded {amount}"

    def speak(request: ModelRequest) -> Any:
        return "paid" if turns_in(request) else [call_tool("pay", amount=1), call_tool("pay", amount=2)]

    clerk = Agent("clerk", instructions="x", model=ScriptedModel(speak), tools=[pay, refund])
    guide = Agent("guide")

    @guide.task("go")
    async def go() -> None:
        raise PermanentError("it rains")

    def check() -> list[str]:
        return [f"{what}: {times} times" for what, times in done.items() if times > 1]

    booking = TaskDefinition(
        "book", "clerk", "book", params={"prompt": "pay"}, compensation=Compensation("clerk", "undo")
    )
    going = TaskDefinition("go", "guide", "go", dependencies=["book"])
    return CrashCase(WorkflowDefinition([booking, going], name="undone"), agents=[clerk, guide], check=check)


def test_undoing_killed_at_every_point_undoes_nothing_twice() -> None:
    report = crash_search(undone, every=2)
    assert not report.violations, report
    assert report.points > 25


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, every=3, double_kills=10, seed=7)
    assert not report.violations, report
    assert report.points > 60


def test_killed_while_who_takes_over_spends_of_its_own_budget() -> None:
    report = crash_search(lambda: case(has_budgets=True), every=7, start=2)
    assert not report.violations, report
    assert report.points > 20


def test_killed_on_disk(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=20)
    assert not report.violations, report


def test_eight_branches_killed_after_some_of_their_events() -> None:
    report = crash_search(letters.scripted, every=23)
    assert not report.violations, report
    assert report.points > 300
    assert letters.MODEL_CALLS + letters.TOOL_CALLS > 50


def test_eight_branches_with_budgets_killed_after_some_of_their_events() -> None:
    report = crash_search(lambda: letters.scripted(budget=Budget(tokens=1_000_000)), every=97, start=3)
    assert not report.violations, report


def test_eight_branches_that_ask_a_server_killed_after_some_of_their_events(tmp_path: Path) -> None:
    assert not ask_a_server(tmp_path, every=150).violations


def ask_a_server(directory: Path, **options: Any) -> CrashReport:
    post = letters.Post()
    with letters.serving(post) as model:

        def begin() -> CrashCase:
            post.asked.clear()
            post.sent.clear()
            return letters.case(post, model, 1)

        return crash_search(begin, directory=directory, **options)


def test_under_simulated_schedules() -> None:
    report = simulate(case, schedules=40)
    assert not report.violations, report


@pytest.mark.crash
def test_eight_branches_killed_after_every_event() -> None:
    report = crash_search(letters.scripted)
    assert not report.violations, report


@pytest.mark.crash
def test_eight_branches_killed_after_every_event_and_once_more() -> None:
    report = crash_search(lambda: letters.scripted(deaths=2), every=50, double_kills=300, seed=11)
    assert not report.violations, report


@pytest.mark.crash
def test_eight_branches_with_budgets_killed_after_every_event() -> None:
    report = crash_search(lambda: letters.scripted(budget=Budget(tokens=1_000_000)))
    assert not report.violations, report


@pytest.mark.crash
@pytest.mark.parametrize("share", range(1, SHARES + 1))
def test_eight_branches_that_ask_a_server_killed_after_every_event(share: int, tmp_path: Path) -> None:
    report = ask_a_server(tmp_path, every=SHARES, start=share)
    assert not report.violations, report
    assert report.points > 300


@pytest.mark.crash
def test_killed_at_every_point_on_disk(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path)
    assert not report.violations, report
