"""How the workflow of a moment is started, and what its end means: the launcher of sub-workflows, which also knows schedules.

A moment starts its workflow once. Asking again, after a crash or in the schedule's next stream, finds it under its id, however it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import tzinfo
from typing import Final
from zoneinfo import ZoneInfo

from agenticflow.app.engine.starting import first_run
from agenticflow.app.engine.sub_workflows import SubWorkflows
from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.core.engine import ContinueExecution, RunChild
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.core.types import Blobs
from agenticflow.errors import CommandRefused, InvalidInput, WorkflowIdConflict
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.plan import decode_plan
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.schedules.facts import ContinueSchedule, NextScheduleOpened
from agenticflow.orchestration.schedules.guest import KIND, stream_of_schedule
from agenticflow.orchestration.schedules.state import ScheduleState, what_is_left
from agenticflow.orchestration.state import RunState, WorkflowStatus

__all__ = ["Launches", "zone_of"]

_PREFIX: Final = f"{KIND}-"


def zone_of(name: str) -> tzinfo:
    """Return the rules of a time zone by its IANA name. Raises ``InvalidInput``."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # a KeyError is a name that is not found
        raise InvalidInput(
            f"there is no time zone {name!r:.80} here",
            hint="write it as in 'Europe/Zurich'; a system without time zones needs the package tzdata",
        ) from error


class Launches(SubWorkflows):
    """The launcher of whatever starts workflows: tasks and schedules."""

    replan: Callable[[str], ReplanTerms | None] = staticmethod(lambda name: None)
    """Says how a workflow of that name asks for another plan; sub-workflows do not, their parent does."""

    async def launch(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> str:
        if not stream_id.startswith(_PREFIX):
            return await super().launch(stream_id, effect, params)
        row = await self._store.get_run(effect.execution_id)
        if row is None:
            plan = self._named(effect.name) if effect.definition is None else decode_plan(effect.definition)
            parent = (stream_id, effect.task_key, effect.token)
            now = self._clock.now_ns()
            terms = self.replan(plan.definition.name)
            command = first_run(
                plan, params, effect.execution_id, requested_by=stream_id, now=now, parent=parent, replan=terms
            )
            child = stream_of(effect.execution_id, 1)
            try:
                await self._host.demand(child, command)
            except CommandRefused:
                # Somebody was faster: the schedule's stream before this one, or another program that took the id.
                row = await self._store.get_run(effect.execution_id)
                if row is None:
                    raise
            else:
                return child
        state: RunState = await self._host.read(row.stream_id)
        if state.parent is None or _id_of(state.parent[0]) != _id_of(stream_id):
            raise WorkflowIdConflict(
                f"the schedule would start {effect.execution_id!r}, which somebody else started",
                hint="give workflows you start yourself other ids",
            )
        return row.stream_id

    async def carry_on(self, stream_id: str, effect: ContinueExecution) -> None:
        if not stream_id.startswith(_PREFIX):
            await super().carry_on(stream_id, effect)
            return
        state: ScheduleState = await self._host.read(stream_id)
        now = self._clock.now_ns()
        with suppress(CommandRefused):  # it was opened before a crash
            following = stream_of_schedule(effect.execution_id, effect.run_no + 1)
            await self._host.submit(following, ContinueSchedule(now=now, left=what_is_left(state)))
        await self._host.submit(stream_id, NextScheduleOpened(now=now))

    def first(self, stream_id: str, effect: RunChild, params: dict[str, object]) -> tuple[str, Command] | None:
        # What a moment starts may be there already, started from the schedule's stream before this one.
        return None if stream_id.startswith(_PREFIX) else super().first(stream_id, effect, params)

    def outcome_at_hand(self, state: RunState) -> tuple[Outcome, Blobs]:
        if state.parent is None or not state.parent[0].startswith(_PREFIX):
            return super().outcome_at_hand(state)
        # How it ended is what a schedule records, and not what came of it.
        if state.outcome is WorkflowStatus.COMPLETED:
            return Outcome(OutcomeKind.SUCCEEDED, codec.NULL), ()
        if state.outcome is WorkflowStatus.CANCELLED:
            return Outcome(OutcomeKind.CANCELLED), ()
        return super().outcome_at_hand(state)


def _id_of(stream_id: str) -> str:
    return stream_id.rpartition("/")[0]
