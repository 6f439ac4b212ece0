"""Sub-workflows: how a task's request for a run of another workflow is met, and what that run's end means for the task.

The first attempt of a task starts the child, a later one opens the next run of the child's chain, which keeps what was done. Asking again
for the same attempt, after a crash, finds the run it started.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from agenticflow.app.engine.starting import Parent, continued_run, first_run, next_run, undoing_run
from agenticflow.app.execution import failure_of
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.engine import ContinueExecution, RunChild
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.core.types import Blobs
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    CommandRefused,
    ConcurrencyConflict,
    InvariantError,
    OutcomeUnknown,
    WorkflowIdConflict,
)
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.guest import encoded_output, stream_of
from agenticflow.orchestration.plan import Plan, decode_plan
from agenticflow.orchestration.state import IN_QUESTION, Phase, RunState, WorkflowStatus, undo_key
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.host import Host
from agenticflow.storage.store import Store

__all__ = ["SubWorkflows"]

GRACE_SECONDS: Final = 10.0
MAX_DEPTH: Final = 50
PAGE_EVENTS: Final = 2_000
MOST_RACES: Final = 3
MAX_NAMED: Final = 5
PARENT: Final = "parent"
"""Who pauses a child with its parent."""


class SubWorkflows:
    """The launcher of children that are workflows. ``named`` gives the plan of a registered one, or raises ``WorkflowNotFoundError``."""

    def __init__(self, host: Host, store: Store, clock: Clock, named: Callable[[str], Plan]) -> None:
        self._host = host
        self._store = store
        self._clock = clock
        self._named = named

    def first(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> tuple[str, Command] | None:
        if effect.depth > MAX_DEPTH:  # a workflow that names itself would go on for ever
            raise BoundExceeded(
                f"the sub-workflow of task {effect.task_key!r} would be {effect.depth} deep, the limit is {MAX_DEPTH}",
                hint="end the recursion with a condition (`when`), or continue as new",
            )
        plan = self._named(effect.name) if effect.definition is None else decode_plan(effect.definition)
        command = first_run(
            plan,
            params,
            effect.execution_id,
            requested_by=stream_id,
            now=self._clock.now_ns(),
            parent=(stream_id, effect.task_key, effect.token),
            depth=effect.depth,
        )
        return stream_of(effect.execution_id, 1), command

    async def launch(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> str:
        parent = (stream_id, effect.task_key, effect.token)
        if effect.is_undoing:
            return await self._undo(effect, parent)
        if effect.attempt == 1 and (first := self.first(stream_id, effect, params)) is not None:
            # Nearly always there is none yet; the store is the one that knows, and it refuses a second beginning.
            child, command = first
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
            if state.is_paused and state.phase is Phase.RUNNING:
                await self._go_on_with(stream_id, row.stream_id)
            return row.stream_id
        command = next_run(state, carry_over(state), requested_by=stream_id, now=self._clock.now_ns(), parent=parent)
        await self._host.submit(stream_of(effect.execution_id, command.run_no), command)
        return stream_of(effect.execution_id, command.run_no)

    async def _undo(self, effect: RunChild, parent: Parent) -> str:
        """Start the run that undoes the child, or find it. Raises ``CommandRefused`` when what the child did for this parent is not what
        its latest run has to undo: then a person has to look."""
        stream_id, child = parent[0], effect.execution_id
        above: RunState = await self._host.read(stream_id)
        reason = "it is not wanted any more" if above.problem is None else str(above.problem.error)
        message = f"workflow {above.workflow_id!r}, which it is a part of, is undone: {reason}"[:1_000]
        for _ in range(MOST_RACES):
            row = await self._store.get_run(child)
            state: RunState | None = None if row is None else await self._host.read(row.stream_id)
            if row is None or state is None:
                raise CommandRefused(
                    f"nothing is known of the sub-workflow {child!r} any more",
                    hint="undo by hand what it did, then say 'completed'",
                )
            if state.parent is not None and _chain_of(state.parent[0]) == _chain_of(stream_id):
                if state.parent[1] == effect.task_key:
                    return row.stream_id
                if state.parent[1] == effect.task_key.removeprefix(undo_key("")) and _is_completed(state):
                    now = self._clock.now_ns()
                    why = ErrorInfo("ParentUndone", message, "undone", is_permanent=True, at=now)
                    command = undoing_run(state, why, requested_by=stream_id, now=now, parent=parent)
                    following = stream_of(child, command.run_no)
                    reach("children.before_launch")
                    with suppress(CommandRefused):  # somebody was faster: that run is looked at
                        await self._host.submit(following, command)
                        return following
                    continue
            raise CommandRefused(
                f"the sub-workflow {child!r} was run again by somebody else, its run {row.run_no} is {state.status}",
                hint="see what it did and undo it by hand, then say 'completed'",
            )
        raise ConcurrencyConflict(child, 0, 1)

    def question(self, state: RunState) -> ErrorInfo | None:
        if state.status is not WorkflowStatus.NEEDS_ATTENTION:
            return None
        unknown = [key for key, record in state.tasks.items() if record.status in IN_QUESTION]
        keys = ", ".join(repr(key) for key in unknown[:MAX_NAMED])
        return ErrorInfo(
            "NeedsAttention",
            f"its sub-workflow {state.workflow_id!r} waits for a person about {keys}; what is decided there is enough: "
            f"`agenticflow debug why {state.workflow_id}` says how",
            OutcomeUnknown.code,
        )

    async def _go_on_with(self, parent: str, child: str) -> None:
        """A process may die after the parent goes on and before its child does. One that a person has paused stays as it is."""
        if (await self._host.read(parent)).is_paused:
            return
        last = ""
        version = 0
        while page := await self._store.read_page(child, version, PAGE_EVENTS):
            for stored in page:
                if stored.event_type == f.WorkflowPaused.event_type:
                    fact = f.FACTS.decode(stored.event_type, stored.data, stored.schema_version)
                    last = fact.requested_by if isinstance(fact, f.WorkflowPaused) else last
            version = page[-1].version
        if last == PARENT:
            await self.pause(child, is_paused=False)

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
        command = c.Abort(now=self._clock.now_ns(), requested_by=PARENT, reason=reason, grace_seconds=GRACE_SECONDS)
        await self._host.submit(child, command)

    async def pause(self, child: str, *, is_paused: bool) -> None:
        now = self._clock.now_ns()
        kind = c.Pause if is_paused else c.Resume
        await self._host.submit(child, kind(now=now, requested_by=PARENT, reason="as its parent"))

    def outcome_at_hand(self, state: RunState) -> tuple[Outcome, Blobs]:
        if state.outcome is WorkflowStatus.COMPLETED:
            try:
                stored, blobs = store_form(encoded_output(state))
            except AgenticFlowError as error:
                problem = ErrorInfo(type(error).__name__, str(error), error.code, is_permanent=True)
                return Outcome(OutcomeKind.FAILED, error=problem), ()
            outcome = Outcome(OutcomeKind.SUCCEEDED, stored, is_undoable=bool(state.undoable))
            return outcome, blobs
        if state.outcome is WorkflowStatus.COMPENSATED and state.parent and state.parent[1].startswith(undo_key("")):
            return Outcome(OutcomeKind.SUCCEEDED, codec.NULL), ()  # that was all it had to do
        failure = failure_of(state)
        kinds = tuple(kind.__name__ for kind in type(failure).__mro__[:-1])
        return Outcome(
            OutcomeKind.FAILED, error=ErrorInfo(type(failure).__name__, failure.message, failure.code, kinds=kinds)
        ), ()

    async def outcome(self, child: str, state: RunState) -> tuple[Outcome, Blobs]:
        with state.values.gathering():  # large values are fetched, and kept until all are there
            while True:
                try:
                    return self.outcome_at_hand(state)
                except BlobMissing as missing:
                    await self._host.fetch(child, missing)


def _is_completed(state: RunState) -> bool:
    return state.phase is Phase.ENDED and state.outcome is WorkflowStatus.COMPLETED


def _chain_of(stream_id: str) -> str:
    return stream_id.rpartition("/")[0]
