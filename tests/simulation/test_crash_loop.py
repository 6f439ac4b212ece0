"""Agents that ask models, killed at every point: no answer that was recorded is paid for again, nothing that must not happen twice does."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from agenticflow import tool
from agenticflow.agents import Agent
from agenticflow.agents.model.parts import Role
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.testing import ScriptedModel, simulate
from agenticflow.testing.crashes import CrashCase, crash_search
from agenticflow.testing.scripted_model import call_tool

pytestmark = pytest.mark.proof


def turns_in(request: ModelRequest) -> int:
    return sum(message.role is Role.ASSISTANT for message in request.messages)


def case() -> CrashCase:
    """Tools side by side, an agent as a tool, a handoff, an answer."""
    done = Counter[str]()

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

    def lead(request: ModelRequest) -> Any:
        done["lead"] += 1
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
    closer = Agent("closer", model=ScriptedModel(lambda request: f"closed after {turns_in(request)}"), role="closes")
    agent = Agent(
        "lead", model=ScriptedModel(lead), tools=[charge, look, helper.as_tool()], handoffs=[closer], instructions="x"
    )

    def check() -> list[str]:
        found = []
        if done["charge"] > 1:
            found.append(f"charged {done['charge']} times")
        for who, answers in (("lead", 3), ("expert", 2)):
            if done[who] > answers + 1:  # the one in work when the process died
                found.append(f"{who} was asked {done[who]} times for {answers} answers")
        return found

    definition = WorkflowDefinition([TaskDefinition("ask", "lead", "ask", params={"prompt": "do it"})], name="ask")
    return CrashCase(definition, agents=[agent], check=check)


def branches() -> CrashCase:
    """Eight agents side by side, each with tools that must not happen twice: 24 answers of models and 32 calls of tools."""
    done = Counter[str]()

    @tool(effect="at_most_once")
    async def send(letter: str) -> str:
        """Send a letter."""
        done[letter] += 1
        await asyncio.sleep(0)
        return f"sent {letter}"

    @tool
    def count(letter: str) -> int:
        """Count the characters of a letter."""
        return len(letter)

    def speak(request: ModelRequest) -> Any:
        name = request.messages[1].text
        turn = turns_in(request)
        done[f"{name}:{turn}"] += 1
        if turn < 2:
            letter = f"{name}-{turn}"
            return [call_tool("send", letter=letter), call_tool("count", letter=letter)]
        return f"{name} is done"

    agent = Agent("writer", model=ScriptedModel(speak), tools=[send, count], instructions="x")
    names = [f"branch-{number}" for number in range(8)]

    def check() -> list[str]:
        asked = Counter({key: times for key, times in done.items() if ":" in key})
        twice = sum(times - 1 for times in asked.values())
        found = [f"{letter} was sent {done[letter]} times" for letter in done if ":" not in letter and done[letter] > 1]
        if twice > len(names):  # those in work when the process died
            found.append(f"{twice} answers were paid for twice")
        return found

    tasks = [TaskDefinition(name, "writer", "write", params={"prompt": name}) for name in names]
    return CrashCase(WorkflowDefinition(tasks, name="letters"), agents=[agent], check=check)


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, double_kills=30, seed=7)
    assert not report.violations, report
    assert report.points > 60
    assert report.kills >= report.points


def test_killed_at_every_point_on_disk(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=4)
    assert not report.violations, report


def test_eight_branches_killed_after_every_event() -> None:
    report = crash_search(branches, every=3)
    assert not report.violations, report
    assert report.points > 300


def test_under_simulated_schedules() -> None:
    report = simulate(case, schedules=60)
    assert not report.violations, report
