"""Sub-workflows: how a task's request for a run of another workflow is met, and what that run's end means for the task.

The first attempt of a task starts the child, a later one opens the next run of the child's chain, which keeps what was done. Asking again
for the same attempt, after a crash, finds the run it started.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agenticflow.app.engine.starting import continued_run, first_run, next_run
from agenticflow.app.execution import failure_of
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.engine import ContinueExecution, RunChild
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import AgenticFlowError, BoundExceeded, CommandRefused, InvariantError, WorkflowIdConflict
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.guest import run_output, stream_of
from agenticflow.orchestration.plan import Plan, decode_plan
from agenticflow.orchestration.state import Phase, RunState, WorkflowStatus
from agenticflow.runtime.coordination.children import Blobs
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["SubWorkflows"]

GRACE_SECONDS: Final = 10.0
MAX_DEPTH: Final = 50


class SubWorkflows:
    """The launcher of children that are workflows. ``named`` gives the plan of a registered one, or raises ``WorkflowNotFoundError``."""

    def __init__(self, host: Host, store: Store, clock: Clock, named: Callable[[str], Plan]) -> None:
        self._host = host
        self._store = store
        self._clock = clock
        self._named = named

    async def launch(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> str:
        parent = (stream_id, effect.task_key, effect.token)
        if effect.attempt == 1:
            if effect.depth > MAX_DEPTH:  # a workflow that names itself would go on for ever
                raise BoundExceeded(
                    f"the sub-workflow of task {effect.task_key!r} would be {effect.depth} deep, the limit is {MAX_DEPTH}",
                    hint="end the recursion with a condition (`when`), or continue as new",
                )
            # Nearly always there is none yet; the store is the one that knows, and it refuses a second beginning.
            plan = self._named(effect.name) if effect.definition is None else decode_plan(effect.definition)
            command = first_run(
                plan,
                params,
                effect.execution_id,
                requested_by=stream_id,
                now=self._clock.now_ns(),
                parent=parent,
                depth=effect.depth,
            )
            child = stream_of(effect.execution_id, 1)
            try:
                await self._host.demand(child, command)
            except CommandRefused:
                pass  # there is one: it is found below
            else:
                return child
        row = await self._store.get_run(effect.execution_id)
        if row is None:
            raise InvariantError(f"the sub-workflow {effect.execution_id!r} was started before and is not there")
        state: RunState = await self._host.read(row.stream_id)
        if state.parent is None or _chain_of(state.parent[0]) != _chain_of(stream_id):
            raise WorkflowIdConflict(
                f"the sub-workflow of task {effect.task_key!r} would be {effect.execution_id!r}, which somebody else started",
                hint="start the parent under another workflow_id",
            )
        if state.parent == parent or state.phase is not Phase.ENDED or state.outcome is WorkflowStatus.COMPLETED:
            return row.stream_id
        command = next_run(state, carry_over(state), requested_by=stream_id, now=self._clock.now_ns(), parent=parent)
        await self._host.submit(stream_of(effect.execution_id, command.run_no), command)
        return stream_of(effect.execution_id, command.run_no)

    async def carry_on(self, stream_id: str, effect: ContinueExecution) -> None:
        state: RunState = await self._host.read(stream_id)
        now = self._clock.now_ns()
        command = continued_run(state, effect.input, now=now)
        with suppress(CommandRefused):  # it was started before a crash
            await self._host.submit(stream_of(effect.execution_id, command.run_no), command)
        await self._host.submit(stream_id, c.NextRunStarted(now=now))

    def successor(self, child: str, state: RunState) -> str | None:
        return stream_of(state.workflow_id, state.run_no + 1) if state.outcome is WorkflowStatus.CONTINUED else None

    async def find(self, effect: RunChild) -> str | None:
        row = await self._store.get_run(effect.execution_id)
        return None if row is None else row.stream_id

    async def abort(self, child: str, reason: str) -> None:
        command = c.Abort(now=self._clock.now_ns(), requested_by="parent", reason=reason, grace_seconds=GRACE_SECONDS)
        await self._host.submit(child, command)

    async def pause(self, child: str, *, is_paused: bool) -> None:
        now = self._clock.now_ns()
        kind = c.Pause if is_paused else c.Resume
        await self._host.submit(child, kind(now=now, requested_by="parent", reason="as its parent"))

    async def outcome(self, child: str, state: RunState) -> tuple[Outcome, Blobs]:
        if state.outcome is WorkflowStatus.COMPLETED:
            try:
                value = run_output(state)
            except BlobMissing:  # large values are fetched, and kept until all are there
                value = await self._large_output(child, state)
            try:
                stored, blob = store_form(codec.encode(value))
            except AgenticFlowError as error:
                problem = ErrorInfo(type(error).__name__, str(error), error.code, is_permanent=True)
                return Outcome(OutcomeKind.FAILED, error=problem), ()
            return Outcome(OutcomeKind.SUCCEEDED, stored), (blob,) if blob is not None else ()
        failure = failure_of(state)
        kinds = tuple(kind.__name__ for kind in type(failure).__mro__[:-1])
        return Outcome(
            OutcomeKind.FAILED, error=ErrorInfo(type(failure).__name__, failure.message, failure.code, kinds=kinds)
        ), ()

    async def _large_output(self, child: str, state: RunState) -> object:
        with state.values.gathering():
            while True:
                try:
                    return run_output(state)
                except BlobMissing as missing:
                    await self._host.fetch(child, missing)


def _chain_of(stream_id: str) -> str:
    return stream_id.rpartition("/")[0]
