"""A plain function whose ``next(…)`` finds nothing: whoever waits for its thread is told, and does not wait for ever."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import (
    Agent,
    AgentOrchestrator,
    Orchestrator,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    tool,
    worker,
)
from agenticflow.agents.guardrails import Guardrail, Guardrails
from agenticflow.core.plain import called
from agenticflow.resilience import RetryPolicy

ONCE = RetryPolicy(max_attempts=1)
WORDS = "the function raised StopIteration"


def nothing() -> int:
    empty: list[int] = []
    return next(iter(empty))


def test_what_it_returns_and_raises_goes_through() -> None:
    assert called(max, [1, 3, 2], key=lambda number: -number) == 1
    with pytest.raises(ZeroDivisionError):
        called(lambda: 1 // 0)
    with pytest.raises(RuntimeError, match=WORDS) as caught:
        called(nothing)
    assert isinstance(caught.value.__cause__, StopIteration)


async def test_tools_handlers_guardrails_and_crews_end_with_a_plain_error() -> None:
    @tool
    def find() -> int:
        """Find something."""
        return nothing()

    @worker("search")
    def search() -> int:
        return nothing()

    seeker = Agent("seeker", tools=[find])

    @seeker.task("run")
    def run() -> int:
        return nothing()

    async with asyncio.timeout(20):
        failed = await seeker.invoke_tool("find")
        assert failed.error is not None
        assert WORDS in failed.error.message
        report = await Guardrails([Guardrail(lambda ctx, value: (nothing() > 0, ""), name="g")]).examine(
            "input", None, ""
        )
        assert report.refusal is not None
        assert report.refusal.is_failure
        async with Orchestrator(store="memory:") as orchestrator:
            orchestrator.register_worker(search)
            handle = await orchestrator.start_workflow(
                WorkflowDefinition([TaskDefinition("a", "search", retry_policy=ONCE)])
            )
            with pytest.raises(WorkflowExecutionError, match=WORDS):
                await handle.result()

        class Crew(AgentOrchestrator):
            async def execute(self, query: str, session: object, context: object) -> object:
                return await self.run_agent("seeker", retry_policy=ONCE)

        async with Crew([seeker], store="memory:") as crew:
            with pytest.raises(WorkflowExecutionError, match=WORDS):
                await crew.run("anything?")
