"""Agents that are registered nowhere: each run gets an orchestrator in memory, of which nothing is left afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Unpack

from agenticflow.agents.agent import Agent
from agenticflow.agents.asked.doors import AskedAgent, Conversing, RunOptions
from agenticflow.agents.loop.results import AgentResult, AgentUpdate
from agenticflow.app.loops.loops import AgentRun
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.core.context import TaskContext
from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["STANDALONE", "StandaloneLoops", "StandaloneRun"]


class StandaloneRun:
    """An agent at work by itself: look at it, then ask for the result. Its orchestrator ends with it."""

    def __init__(self, orchestrator: Orchestrator, run: AgentRun) -> None:
        self._run = run
        self._ending = asyncio.ensure_future(self._end(orchestrator))
        _WORKING.add(self._ending)
        self._ending.add_done_callback(_ended)

    async def _end(self, orchestrator: Orchestrator) -> AgentResult:
        try:
            return await self._run.result()
        finally:
            await orchestrator.stop()

    def __aiter__(self) -> AsyncIterator[AgentUpdate]:
        """Yield what happens until the agent is done."""
        return aiter(self._run)

    async def result(self) -> AgentResult:
        """Wait for the end and return what it came to; see ``Agent.run`` for what it raises."""
        return await asyncio.shield(self._ending)


class StandaloneLoops:
    """Runs agents by themselves."""

    async def perform(self, agent: AskedAgent, task_type: str, params: Mapping[str, Any], context: TaskContext) -> Any:
        """Refuse: tasks are performed by agents that are registered."""
        raise DefinitionError(
            f"agent {agent.agent_id!r} is registered with no orchestrator", hint="orchestrator.register_agent(agent)"
        )

    async def answer(
        self, agent: AskedAgent, query: Any, session: Conversing, shared: Any, context: TaskContext
    ) -> Any:
        """Refuse, as above."""
        return await self.perform(agent, "", {}, context)

    async def run(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """See ``Agent.run``."""
        async with _orchestrator() as orchestrator:
            return await _seated(agent, orchestrator).run(prompt, **options)

    async def run_stream(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> StandaloneRun:
        """See ``Agent.run_stream``."""
        orchestrator = _orchestrator()
        await orchestrator.start()
        try:
            run = await _seated(agent, orchestrator).run_stream(prompt, **options)
        except BaseException:
            await orchestrator.stop()
            raise
        assert isinstance(run, AgentRun)
        return StandaloneRun(orchestrator, run)

    def run_sync(self, run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        """Wait for a run in a program without an event loop. Raises ``InvalidInput`` where one is running."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(_awaited(run))
        raise InvalidInput("an event loop is running here", hint="write await agent.run(…)")


def _orchestrator() -> Orchestrator:
    return Orchestrator(store="memory:", back_pressure=None)


def _seated(agent: Agent, orchestrator: Orchestrator) -> Agent:
    """Return a seat of its own for the agent: it may work in several such orchestrators at once."""
    assert agent.definition is not None, "agents without a model are refused before"
    return orchestrator.register_agent(Agent.of(agent.definition, agent.capabilities))


async def _awaited(run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
    return await run()


def _ended(task: asyncio.Task[AgentResult]) -> None:
    """Whoever asks for the result is told of an error; nobody has to."""
    _WORKING.discard(task)
    if not task.cancelled():
        task.exception()


_WORKING: set[asyncio.Task[AgentResult]] = set()
"""Agents at work whose runs nobody may hold any more: they go on all the same."""
STANDALONE = StandaloneLoops()
