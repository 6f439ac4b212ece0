"""What the calls of a run cost beside the budgets of those who make them: its own budget, and those of the runs that it is a part of.

Nothing of it is recorded anew. The limits stand in the definition of a run, and whose sub-workflow it is with its start, so every process
that takes it up finds the same budgets, also in the next run of its chain.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from agenticflow.errors import CommandRefused, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.guest import KIND as WORKFLOWS
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.state import RunState, WorkflowStatus
from agenticflow.resilience.budgets import Budget, KeepsBudgets
from agenticflow.resilience.budgets.guest import KIND
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["RunBudgets", "budget_of_run"]

_PREFIX: Final = f"{WORKFLOWS}-"
PAGE: Final = 1_000
_GOES_ON: Final = frozenset({WorkflowStatus.FAILED, WorkflowStatus.PARTIALLY_FAILED, WorkflowStatus.CONTINUED})
"""Ends after which there may be another run: somebody allows more and resumes, or it goes on by itself."""


def budget_of_run(workflow_id: str) -> str:
    """Return the id of the budget that is of this workflow alone, in all runs of its chain."""
    return f"{_PREFIX}{workflow_id}"


class RunBudgets:
    """Finds, opens and closes the budgets of runs. Holds nothing."""

    def __init__(self, host: Host, store: Store, keeper: KeepsBudgets) -> None:
        self._host = host
        self._store = store
        self._keeper = keeper

    async def lineage(self, workflow_id: str, run_no: int) -> tuple[str, ...]:
        """Return the budgets that each call of a run costs, all open, the innermost first; none when there are no limits.

        Raises ``InvalidInput`` when the definition names a budget that is not there, ``WorkflowNotFoundError`` for no run.
        """
        given, is_whole = await self._given(stream_of(workflow_id, run_no))
        lineage = () if is_whole or not given else await self._around(given[-1][0])
        for owner, budget in reversed(given):
            if isinstance(budget, str):
                found = (await self._keeper.get(budget)).lineage
            else:
                # Again and again: one that was closed when its run was over goes on.
                parent = lineage[0] if lineage else None
                found = (await self._keeper.open(budget_of_run(owner), budget, parent)).lineage
            lineage = (*found, *(one for one in lineage if one not in found))
        return lineage

    async def newest(self, workflow_id: str) -> tuple[str, ...]:
        """The same for the newest run of a workflow."""
        row = await self._store.get_run(workflow_id)
        return await self.lineage(workflow_id, 1 if row is None else row.run_no)

    async def _given(self, stream_id: str) -> tuple[list[tuple[str, Budget | str]], bool]:
        """Return the budgets in the definitions of a run and of all that it is a part of, with their workflow ids, its own first.

        And whether all of these are there: a part that goes on by itself may outlive what it is a part of.
        """
        found: list[tuple[str, Budget | str]] = []
        state = await self._run(stream_id)
        while True:
            budget = state.laid_out.definition.budget
            if budget is not None:
                found.append((state.workflow_id, budget))
            if state.parent is None or not state.parent[0].startswith(_PREFIX):
                return found, True
            try:
                state = await self._run(state.parent[0])
            except WorkflowNotFoundError:  # retention has let go of it
                return found, False

    async def _around(self, workflow_id: str) -> tuple[str, ...]:
        """Return what the budget of a workflow was opened inside of."""
        try:
            return (await self._keeper.get(budget_of_run(workflow_id))).lineage[1:]
        except InvalidInput:
            return ()

    async def _run(self, stream_id: str) -> RunState:
        """Return a run that has begun; what is not committed yet may be in it."""
        # Whoever begins to spend does not wait until a busy run is quiet: what is asked here stands since its start.
        actor = self._host.actors.get(stream_id)
        known: RunState | None = None if actor is None else actor.state
        if known is not None and known.plan is not None:
            return known
        state: RunState = await self._host.read(stream_id)
        return state

    async def close_ended(self, deleted_before: int | None) -> int:
        """Close the budgets of workflows that are over, so that retention may let go of them; return how many.

        One that has failed may be given more and go on: its budget stays open until the workflow itself is due, by ``deleted_before``.
        """
        over: list[str] = []
        around: set[str] = set()  # those that others are inside of, whose workflows go on
        after: str | None = None
        while rows := await self._store.list_runs(kind=KIND, is_open=True, after=after, limit=PAGE):
            after = rows[-1].stream_id
            for budget_id in (row.execution_id for row in rows if row.execution_id.startswith(_PREFIX)):
                if await self._is_over(budget_id.removeprefix(_PREFIX), deleted_before):
                    over.append(budget_id)
                else:
                    around.update((await self._keeper.get(budget_id)).lineage[1:])
        closed = 0
        for budget_id in over:
            if budget_id not in around:
                with suppress(CommandRefused):  # a call whose cost was never settled keeps it open, and counted
                    await self._keeper.close(budget_id)
                    closed += 1
        return closed

    async def _is_over(self, workflow_id: str, deleted_before: int | None) -> bool:
        run = await self._store.get_run(workflow_id)
        if run is None or run.is_open or run.ended_at is None:
            return False  # also what somebody has called like this by chance
        is_due = deleted_before is not None and run.ended_at <= deleted_before
        return is_due or run.status not in _GOES_ON
