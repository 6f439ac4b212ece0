"""Loops of an engine as far as no agent asks a model yet: what drives them is loaded with the first one that does."""

from __future__ import annotations

import typing
from collections.abc import AsyncIterable, Awaitable, Callable, Mapping
from typing import Any, TypeVar, Unpack

from agenticflow.app.budgets.runs import RunBudgets
from agenticflow.core.clocks import Clock
from agenticflow.core.context import TaskContext
from agenticflow.resilience.budgets import KeepsBudgets
from agenticflow.runtime.coordination.steady import asked_until_there
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

if typing.TYPE_CHECKING:
    from agenticflow.agents.asked.doors import AgentStream, AskedAgent, Conversing, RunOptions
    from agenticflow.agents.loop.results import AgentResult, AgentUpdate
    from agenticflow.agents.model.parts import Message
    from agenticflow.agents.spending.purse import Accounts
    from agenticflow.app.loops.loops import EngineLoops, Starts

__all__ = ["LateLoops"]

T = TypeVar("T")


class LateLoops:
    """What an engine gives its agents."""

    __slots__ = ("_accounts", "_budgets", "_clock", "_host", "_loops", "_prices", "_store", "starts")

    def __init__(self, host: Host, store: Store, clock: Clock, budgets: KeepsBudgets, prices: str) -> None:
        self._accounts: Accounts | None = None
        self._budgets = budgets
        self._prices = prices
        self._host = host
        self._store = store
        self._clock = clock
        self._loops: EngineLoops | None = None
        self.starts: Starts | None = None
        """The orchestrator, once there is one around the engine."""

    def get(self) -> EngineLoops:
        """Return who drives them."""
        if self._loops is None:
            # late: programs without agents that ask a model load nothing of models
            from agenticflow.app.loops.loops import EngineLoops

            self._loops = EngineLoops(self._host, self._store, self._clock, self.accounts())
            self._loops.starts = self.starts
        return self._loops

    def accounts(self) -> Accounts:
        """See ``core.context.HasAccounts``. Raises ``ConfigurationError`` for a table of prices that cannot be read."""
        if self._accounts is None:
            # late: as above
            from agenticflow.agents.spending.purse import Accounts

            # late: as above
            from agenticflow.app.models.pricing import read_prices

            runs = RunBudgets(self._host, self._store, self._budgets)
            self._accounts = Accounts(self._budgets, read_prices(self._prices), runs.lineage, self._steadily)
        return self._accounts

    async def _steadily(self, ask: Callable[[], Awaitable[T]], /) -> T:
        return await asked_until_there(ask, self._host, "what may be spent")

    async def perform(self, agent: AskedAgent, task_type: str, params: Mapping[str, Any], context: TaskContext) -> Any:
        """See ``agents.asked.doors.Loops``."""
        return await self.get().perform(agent, task_type, params, context)

    async def answer(
        self, agent: AskedAgent, query: Any, session: Conversing, shared: Any, context: TaskContext
    ) -> Any:
        """See ``agents.asked.doors.Loops``."""
        return await self.get().answer(agent, query, session, shared, context)

    async def run(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentResult:
        """See ``Agent.run``."""
        return await self.get().run(agent, prompt, **options)

    async def run_stream(self, agent: Any, prompt: Any, **options: Unpack[RunOptions]) -> AgentStream:
        """See ``Agent.run_stream``."""
        return await self.get().run_stream(agent, prompt, **options)

    def run_sync(self, run: Callable[[], Awaitable[AgentResult]]) -> AgentResult:
        """See ``Agent.run_sync``."""
        return self.get().run_sync(run)

    async def conversation(self, workflow_id: str, task_key: str, generation: int = 0) -> list[Message]:
        """See ``EngineLoops.conversation``."""
        return await self.get().conversation(workflow_id, task_key, generation)

    def watch(self, workflow_id: str, ended: Awaitable[object]) -> AsyncIterable[AgentUpdate]:
        """See ``WorkflowHandle.updates``."""
        return self.get().updates.watch(workflow_id, ended)

    async def begin(self, starts: Starts) -> None:
        """After a start: end what a crash has left open of runs that are over."""
        self.starts = starts
        if self._loops is not None:  # what was taken up has asked for them already
            self._loops.starts = starts
        if await self._store.list_runs(kind="loop", is_open=True, limit=1):
            await self.get().clear()

    async def close(self) -> None:
        """Finish what is being ended."""
        if self._loops is not None:
            await self._loops.close()
