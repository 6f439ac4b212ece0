"""Looking: what an orchestrator tells of runs and agents, from the engine and from the store. Nothing here changes anything."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from agenticflow.agents.states import AgentState
from agenticflow.app.engine.assembly import Engine
from agenticflow.app.engine.explaining import Explained, explain
from agenticflow.app.engine.liveness import LivenessReport, Watch
from agenticflow.app.execution import WorkflowState
from agenticflow.app.registration.agents import agent_state_at
from agenticflow.app.schedules.absence import absent
from agenticflow.app.steering import LOCAL_OWNER
from agenticflow.core.clocks import Clock
from agenticflow.core.ids import check_id, check_run
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.comparison import Difference, compare_runs
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.interventions.intervention import check_words
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.runtime.replay import state_at
from agenticflow.storage.rows import RunRow

__all__ = ["Looking"]


class Looking(ABC):
    """The looks of an orchestrator at what there is."""

    _clock: Clock
    _performs: bool

    @abstractmethod
    async def _running(self) -> Engine:
        """Return the engine, started."""

    async def get_workflow_state(
        self, workflow_id: str, run_no: int | None = None, *, at_version: int | None = None
    ) -> WorkflowState:
        """Return where a run and its tasks stand, with ``last_success``, or where they stood after event ``at_version``.

        Raises ``WorkflowNotFoundError``, ``InvalidInput`` for a version it has not.
        """
        engine = await self._running()
        await asyncio.sleep(0)  # who asks in a loop must not keep the engine from going on, whatever the store
        stream_id = (await self._row(engine, workflow_id, run_no)).stream_id
        if at_version is not None:
            return WorkflowState(await state_at(engine.store, WorkflowGuest(), stream_id, at_version))
        return WorkflowState(await engine.host.read(stream_id))

    async def diff_workflows(
        self, left: str, right: str, *, left_run: int | None = None, right_run: int | None = None
    ) -> list[Difference]:
        """Return how two runs (by default the latest of their workflows) differ. Raises ``WorkflowNotFoundError``."""
        engine = await self._running()
        states = [
            await state_at(engine.store, WorkflowGuest(), (await self._row(engine, workflow_id, run_no)).stream_id)
            for workflow_id, run_no in ((left, left_run), (right, right_run))
        ]
        return compare_runs(*states)

    async def get_agent_state(self, agent_id: str, *, at_version: int | None = None) -> AgentState:
        """Return the state of an agent as its stream has it, by default after the last event recorded, else after ``at_version``.

        What was not recorded yet, a moment ago, is not in it; ``get_agent(agent_id).get_state()`` is the state now. An agent
        without events is idle. Raises ``InvalidInput`` for what is no id or no version.
        """
        return await agent_state_at((await self._running()).store, agent_id, at_version)

    async def list_workflows(
        self,
        *,
        status: WorkflowStatus | str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        """Return up to ``limit`` runs, newest first; ``after`` is the ``stream_id`` of the last one of the page before.

        Raises ``InvalidInput`` for a limit below 1 and an ``after`` that is no id, ``ValueError`` for a status there is not.
        """
        if after is not None:
            check_id(after, "a run")
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise InvalidInput(f"a page of {limit!r:.80} runs", hint="give a whole number, from 1")
        engine = await self._running()
        wanted = None if status is None else WorkflowStatus(status).value
        return await engine.store.list_runs(kind="workflow", status=wanted, is_open=is_open, after=after, limit=limit)

    async def why(self, workflow_id: str, task_key: str | None = None, run_no: int | None = None) -> Explained:
        """Return what each open branch of a run waits for, or one task of it: since when, until when, what would unblock it.

        Raises ``WorkflowNotFoundError``, ``InvalidInput`` for a task the workflow has not.
        """
        if task_key is not None:
            check_words(LOCAL_OWNER, "", task_key)
        engine = await self._running()
        stream_id = (await self._row(engine, workflow_id, run_no)).stream_id
        return await explain(engine, stream_id, task_key, performs=self._performs)

    async def check_liveness(self) -> LivenessReport:
        """Look at every open run of the store; return those that wait for nothing that will come. There should be none."""
        engine = await self._running()
        watch = engine.watch or Watch(engine, self._clock, performs=self._performs)
        return await watch.check()

    async def _row(self, engine: Engine, workflow_id: str, run_no: int | None = None) -> RunRow:
        check_run(workflow_id, run_no)
        row = await engine.store.get_run(workflow_id, run_no)
        if row is None:
            raise await absent(engine, workflow_id, run_no)
        return row
