"""What the calls of a run cost beside the budgets of those who make them: its own budget, and those of the runs that it is a part of.

Nothing of it is recorded anew. The limits stand in the definition of a run, and whose sub-workflow it is with its start, so every process
that takes it up finds the same budgets, also in the next run of its chain.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from agenticflow.core.engine import Execution
from agenticflow.errors import CommandRefused, InvalidInput, WorkflowNotFoundError
from agenticflow.orchestration.guest import KIND as WORKFLOWS
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.state import RunState, WorkflowStatus
from agenticflow.resilience.budgets import Budget, KeepsBudgets
from agenticflow.resilience.budgets.guest import KIND
from agenticflow.runtime.host import Host
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = ["RunBudgets", "budget_of_run"]

_PREFIX: Final = f"{WORKFLOWS}-"
PAGE: Final = 1_000
_PART: Final = "~"
"""In the id of every sub-workflow."""
_GOES_ON: Final = frozenset({WorkflowStatus.FAILED, WorkflowStatus.PARTIALLY_FAILED, WorkflowStatus.CONTINUED})
"""Ends after which there may be another run: somebody allows more and resumes, or it goes on by itself."""
_GOING_ON: Final[tuple[dict[str, Any], ...]] = (
    {"is_open": True},
    {"status": WorkflowStatus.FAILED.value},
    {"status": WorkflowStatus.PARTIALLY_FAILED.value},
)
"""Filters of runs that go on, or may."""
_COUNTED: Final = Budget()
"""No limits: what is spent of it is spent of what it is inside of."""


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
        given, left = await self._given(stream_of(workflow_id, run_no))
        lineage = () if left is None else await self._kept_for(left, given[-1][0] if given else None)
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

    async def _given(self, stream_id: str) -> tuple[list[tuple[str, Budget | str]], str | None]:
        """Return the budgets in the definitions of a run and of all that it is a part of, with their workflow ids, its own first.

        And the outermost of these when it is not the whole: a part that goes on by itself may outlive what it is a part of.
        """
        found: list[tuple[str, Budget | str]] = []
        state = await self._run(stream_id)
        while True:
            budget = state.laid_out.definition.budget
            if budget is not None:
                found.append((state.workflow_id, budget))
            whole = await self._whole_of(state)
            if whole is None:
                return found, None
            try:
                state = await self._run(whole)
            except WorkflowNotFoundError:  # retention has let go of it
                return found, state.workflow_id

    async def _whole_of(self, state: RunState) -> str | None:
        """Return the run that this one is a part of. One that somebody has resumed by itself says so no more; those before it do."""
        for run_no in range(state.run_no, 0, -1):
            if run_no < state.run_no:
                state = await self._run(stream_of(state.workflow_id, run_no))
            if state.parent is not None:
                return state.parent[0] if state.parent[0].startswith(_PREFIX) else None
            if _PART not in state.workflow_id:
                break
        return None

    async def _kept_for(self, part: str, owner: str | None) -> tuple[str, ...]:
        """Return what the calls of a part cost whose whole is gone, around the budget of the ``owner`` inside of it, when one has any."""
        if owner is not None:
            with suppress(InvalidInput):  # it is not open yet
                return (await self._keeper.get(budget_of_run(owner))).lineage[1:]
        if owner == part:
            return ()
        try:
            view = await self._keeper.get(budget_of_run(part))
        except InvalidInput:  # nothing limited the whole
            return ()
        if view.closed_at is not None:
            view = await self._keeper.open(view.budget_id, _COUNTED, view.lineage[1] if len(view.lineage) > 1 else None)
        return view.lineage

    async def keep_for_parts(self, deleted_before: int | None) -> None:
        """See to it that what limits a part still does when retention has let go of the whole, whose definition says it.

        A part that goes on, and has no budget of its own, gets one without limits inside of what its calls cost; that keeps those open.
        """
        if deleted_before is None:
            return
        for filters in _GOING_ON:
            after: str | None = None
            while rows := await self._store.list_runs(kind=WORKFLOWS, after=after, limit=PAGE, **filters):
                after = rows[-1].stream_id
                for row in rows:
                    if _PART in row.execution_id:
                        await self._keep_for(row, deleted_before)
                self._host.actors.forget_ended()  # many may have been read, and nobody asks them for anything

    async def _keep_for(self, row: RunRow, deleted_before: int) -> None:
        newest = await self._store.get_run(row.execution_id)
        if newest != row or await self._is_over(row.execution_id, deleted_before):
            return
        state = await self._run(row.stream_id)
        stream_id = await self._whole_of(state)
        whole = None if stream_id is None else await self._store.get_run(Execution.of(stream_id).id)
        if whole is None or whole.is_open or state.laid_out.definition.budget is not None:
            return
        with suppress(InvalidInput):  # what it names is not there: then its calls are refused, and cost nothing
            if lineage := await self.lineage(row.execution_id, row.run_no):
                await self._keeper.open(budget_of_run(row.execution_id), _COUNTED, lineage[0])

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
        left: dict[str, None] = {}  # those that were kept for parts after retention had let go of their workflows
        around: set[str] = set()  # those that others are inside of, whose workflows go on
        after: str | None = None
        while rows := await self._store.list_runs(kind=KIND, is_open=True, after=after, limit=PAGE):
            after = rows[-1].stream_id
            for budget_id in (row.execution_id for row in rows if row.execution_id.startswith(_PREFIX)):
                outer = (await self._keeper.get(budget_id)).lineage[1:]
                if not await self._is_over(budget_id.removeprefix(_PREFIX), deleted_before):
                    around.update(outer)
                    continue
                over.append(budget_id)
                for one in outer:
                    if one.startswith(_PREFIX) and await self._store.get_run(one.removeprefix(_PREFIX)) is None:
                        left[one] = None
        closed = 0
        for budget_id in (*over, *left):
            if budget_id not in around:
                # A call whose cost was never settled keeps it open, and counted; one that was kept for a part may be gone itself.
                with suppress(CommandRefused, InvalidInput):
                    await self._keeper.close(budget_id)
                    closed += 1
        return closed

    async def _is_over(self, workflow_id: str, deleted_before: int | None) -> bool:
        run = await self._store.get_run(workflow_id)
        if run is None or run.is_open or run.ended_at is None:
            return False  # also what somebody has called like this by chance
        is_due = deleted_before is not None and run.ended_at <= deleted_before
        return is_due or run.status not in _GOES_ON
