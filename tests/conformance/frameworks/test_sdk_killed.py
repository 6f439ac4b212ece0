"""An agent of the SDK with tools, approvals, a nested agent and a session, killed at every point: nothing is paid or done twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from agents import function_tool

from agenticflow import Agent, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.agents.session import AgentSession
from agenticflow.integrations.frameworks.openai_agents import run_durably
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.crashes import CrashCase, Resolution, crash_search
from tests.conformance.frameworks.sdk_cases import QUIET, agent, called, outputs, said

pytestmark = pytest.mark.proof


def case(*, wants_approval: bool = False) -> CrashCase:
    sent, conversations = Counter[str](), MemoryStore()

    @function_tool
    async def look(city: str) -> str:
        """Look at a city."""
        await asyncio.sleep(0.001)
        return f"{city} is fine"

    @function_tool(needs_approval=wants_approval)
    async def send(text: str) -> str:
        """Send a mail."""
        sent[text] += 1
        await asyncio.sleep(0.001)
        return "sent"

    inner, inside = agent("inner", lambda last, shown: [said(f"in short: {last}")])

    def answer(last: str, shown: list[Any]) -> list[Any]:
        found = outputs(shown)
        if not found:
            return [called("look", "c1", city="Graz"), called("look", "c2", city="Oslo")]
        if len(found) == 2:
            return [called("sum_up", "s1", input=" and ".join(sorted(found.values()))), called("send", "m1", text="x")]
        # what nobody knows of may be told differently, what comes of it is the same
        return [said(found["s1"])]

    outer, outside = agent("outer", answer, tools=[look, send, inner.as_tool("sum_up", "Sums up.")])
    worker = Agent("worker")

    @worker.task("run")
    async def run(context: TaskContext) -> Any:
        session = AgentSession("s", store=conversations)
        result = await run_durably(context, outer, "go", session=session, run_config=QUIET, at_most_once={"send"})
        return result.final_output

    def check() -> list[str]:
        # One life dies once or twice: at most so many calls were not recorded when it did.
        wrong = [f"sent {sent['x']} times"] if sent["x"] > 1 else []
        wrong += [f"asked {n} times: {what[:80]}" for what, n in (outside.asked + inside.asked).items() if n > 3]
        if outside.calls + inside.calls > 4 + 2:
            wrong.append(f"models were asked {outside.calls} and {inside.calls} times")
        loop = asyncio.new_event_loop()
        items = loop.run_until_complete(AgentSession("s", store=conversations).get_items())
        loop.close()
        if len(items) != 10:
            wrong.append(f"the conversation has {len(items)} items")
        return wrong

    return CrashCase(
        WorkflowDefinition([TaskDefinition("work", "worker", "run")]),
        agents=[worker],
        check=check,
        answer=lambda task_key: Resolution("approved"),
    )


def test_killed_at_every_point_in_memory() -> None:
    report = crash_search(case, every=2, double_kills=10, seed=7)
    assert not report.violations, report
    assert report.points > 80


def test_killed_while_somebody_is_asked() -> None:
    report = crash_search(lambda: case(wants_approval=True), every=5)
    assert not report.violations, report


def test_killed_in_a_file(tmp_path: Path) -> None:
    report = crash_search(case, directory=tmp_path, every=13)
    assert not report.violations, report
