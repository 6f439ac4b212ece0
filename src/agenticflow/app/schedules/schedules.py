"""``orchestrator.schedules``: create a schedule, steer it, see what it did and when it is due next.

Nothing here decides: arguments are checked, time and seed are stamped into a command, and the host is asked. The rules of time zones come
from the system, or from the package ``tzdata`` where the system has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from agenticflow.app.engine.assembly import Engine
from agenticflow.app.engine.launching import zone_of
from agenticflow.app.engine.starting import check_workflow_id
from agenticflow.app.registration.workflows import AnyWorkflow, Workflows
from agenticflow.app.schedules.absence import starter_of
from agenticflow.app.schedules.views import ScheduleView, view_of_schedule
from agenticflow.core import codec
from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command
from agenticflow.core.ids import check_id
from agenticflow.errors import (
    CommandRefused,
    DefinitionError,
    InvalidInput,
    WorkflowNotFoundError,
)
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.orchestration.planning.functions import WorkflowFunction
from agenticflow.orchestration.schedules import facts as f
from agenticflow.orchestration.schedules.facts import CatchUp, Overlap, ScheduleSpec
from agenticflow.orchestration.schedules.guest import KIND, ScheduleGuest, fill_in, stream_of_schedule
from agenticflow.orchestration.schedules.moments import cron_of
from agenticflow.orchestration.schedules.state import ScheduleState, ScheduleStatus
from agenticflow.runtime.clock import new_seed
from agenticflow.storage.rows import RunRow

__all__ = ["Schedules"]

E = TypeVar("E", Overlap, CatchUp)
LOCAL_OWNER: Final = "local-owner"
MAX_ID_CHARS: Final = 120
MAX_DEFINITION_BYTES: Final = 128 * 1024
MAX_INPUT_BYTES: Final = 32 * 1024
MIN_EVERY_SECONDS: Final = 0.01
MAX_EVERY_SECONDS: Final = 10 * 366 * 86_400.0
MAX_WINDOW_SECONDS: Final = 366 * 86_400.0
MAX_JITTER_SECONDS: Final = 86_400.0
MAX_LISTED: Final = 1_000
MAX_YEAR: Final = 2_200
NANOSECONDS: Final = 1_000_000_000
_NEXT_STREAM_SECONDS: Final = 0.05
_MAX_TRIES: Final = 100
"""While a schedule goes over into its next stream, which takes two commits."""


class Schedules:
    """The schedules of one store. ``engine`` gives the running engine, which starts what is due if it ``performs``."""

    def __init__(
        self,
        engine: Callable[[], Awaitable[Engine]],
        workflows: Workflows,
        clock: Clock,
        *,
        performs: bool = True,
    ) -> None:
        self._engine = engine
        self._workflows = workflows
        self._performs = performs
        self._clock = clock
        self._guest = ScheduleGuest(zone_of)

    async def create(
        self,
        schedule_id: str,
        workflow: AnyWorkflow,
        *,
        cron: str | None = None,
        every: timedelta | float | None = None,
        at: datetime | None = None,
        timezone: str = "UTC",
        input: Mapping[str, object] | None = None,
        overlap: Overlap | str = Overlap.SKIP,
        catch_up: CatchUp | str = CatchUp.LAST,
        catch_up_window: timedelta | float = timedelta(days=1),
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        max_runs: int | None = None,
        jitter: timedelta | float = 0,
        replace: bool = False,
    ) -> ScheduleView:
        """Create a schedule and return once it is durable.

        It is due by ``cron`` in ``timezone``, ``every`` so often, or once, ``at`` a moment. A ``workflow`` given by its name is looked up
        when a moment comes, and ``waits_for`` of the view says so while nobody here has registered it; a definition is kept as it is now.
        In ``input`` ``"${schedule.due}"``, ``"${schedule.id}"`` and ``"${schedule.number}"`` are filled in. Times are aware
        ``datetime``s; durations are ``timedelta``s or seconds. Creating again what is there already, also what is completed, changes
        nothing; what has ended makes room for another under its id. With ``replace`` one that is there and is another is changed to this.

        Raises:
            InvalidInput: an argument makes no sense, or the schedule would never be due.
            CommandRefused: there is another schedule of this id.
        """
        _check_id(schedule_id)
        spec = self._spec(
            schedule_id,
            workflow,
            {
                "cron": cron,
                "every": every,
                "at": at,
                "timezone": timezone,
                "input": input,
                "overlap": overlap,
                "catch_up": catch_up,
                "catch_up_window": catch_up_window,
                "start_at": start_at,
                "end_at": end_at,
                "max_runs": max_runs,
                "jitter": jitter,
            },
        )
        engine = await self._engine()
        for _ in range(_MAX_TRIES):
            row = await engine.store.get_run(schedule_id, kind=KIND)
            if row is not None and row.status != ScheduleStatus.DELETED:
                state: ScheduleState = await engine.host.read(row.stream_id)
                if state.spec == spec:
                    return await self._view(engine, row.stream_id)
                if row.status != ScheduleStatus.COMPLETED and replace:
                    return await self._command(
                        schedule_id, lambda now: f.ChangeSchedule(now=now, spec=spec, requested_by=LOCAL_OWNER)
                    )
                if row.status != ScheduleStatus.COMPLETED:
                    raise CommandRefused(
                        f"there is another schedule {schedule_id!r} already",
                        hint="replace it (replace=True, --replace), delete the other one first, or use another id",
                    )
            command = f.CreateSchedule(now=self._clock.now_ns(), spec=spec, seed=new_seed(), requested_by=LOCAL_OWNER)
            stream_id = stream_of_schedule(schedule_id, 1 if row is None else row.run_no + 1)
            try:
                await engine.host.submit(stream_id, command)
            except CommandRefused as error:
                if await engine.store.get_run(schedule_id, kind=KIND) == row:
                    raise InvalidInput(error.message, hint=error.hint) from error
                continue  # somebody else created it in the same moment
            return await self._view(engine, stream_id)
        raise CommandRefused(f"the schedule {schedule_id!r} is created and deleted all the time")

    async def change(self, schedule_id: str, **changes: Any) -> ScheduleView:
        """Change what is given, by the names that ``create`` has, also ``workflow``; the rest stays. Moments are counted anew from now.

        Raises ``WorkflowNotFoundError``, ``InvalidInput``, ``CommandRefused`` for a schedule that has ended.
        """
        engine = await self._engine()
        state: ScheduleState = await engine.host.read((await self._row(engine, schedule_id)).stream_id)
        old = state.asked
        if {"cron", "every", "at"} & changes.keys():
            old = msgspec.structs.replace(old, cron=None, every_ns=None, at=None)
        spec = self._spec(schedule_id, changes.pop("workflow", None), changes, old)
        return await self._command(
            schedule_id, lambda now: f.ChangeSchedule(now=now, spec=spec, requested_by=LOCAL_OWNER)
        )

    async def pause(self, schedule_id: str, *, reason: str = "") -> ScheduleView:
        """Start nothing until ``resume``; what runs goes on."""
        return await self._command(
            schedule_id, lambda now: f.PauseSchedule(now=now, requested_by=LOCAL_OWNER, reason=reason)
        )

    async def resume(self, schedule_id: str, *, reason: str = "") -> ScheduleView:
        """Go on with the first moment that is still to come; those that passed meanwhile are skipped."""
        return await self._command(
            schedule_id, lambda now: f.ResumeSchedule(now=now, requested_by=LOCAL_OWNER, reason=reason)
        )

    async def delete(self, schedule_id: str, *, reason: str = "") -> ScheduleView:
        """End the schedule; what it started goes on. The id is free again."""
        return await self._command(
            schedule_id, lambda now: f.DeleteSchedule(now=now, requested_by=LOCAL_OWNER, reason=reason)
        )

    async def trigger(self, schedule_id: str, *, trigger_id: str | None = None) -> ScheduleView:
        """Start the workflow now, under the schedule's overlap policy; the moments to come stay as they are.

        With a ``trigger_id`` asking again, also after a crash, changes nothing.

        Raises ``CommandRefused`` when the policy starts nothing now.
        """
        if trigger_id is not None:
            check_id(trigger_id, "a trigger")
        command_id = None if trigger_id is None else f"trigger:{schedule_id}:{trigger_id}"
        return await self._command(schedule_id, lambda now: f.TriggerSchedule(now=now), command_id)

    async def get(self, schedule_id: str) -> ScheduleView:
        """Return a schedule as it stands. Raises ``WorkflowNotFoundError``."""
        engine = await self._engine()
        await asyncio.sleep(0)  # who asks in a loop must not keep the engine from going on, whatever the store
        return await self._view(engine, (await self._row(engine, schedule_id)).stream_id)

    async def list(
        self, *, only_open: bool = False, after: str | None = None, limit: int = 100
    ) -> Sequence[ScheduleView]:
        """Return up to ``limit`` schedules, newest first; ``after`` is the id of the last one of the page before."""
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"limit={limit!r:.80} makes no sense", hint=f"give 1 to {MAX_LISTED}")
        engine = await self._engine()
        last = None if after is None else (await self._row(engine, after)).stream_id
        found: list[ScheduleView] = []
        while len(found) < limit:
            rows = await engine.store.list_runs(kind=KIND, is_open=True if only_open else None, after=last, limit=limit)
            for row in rows:
                if row.status != ScheduleStatus.CONTINUED and len(found) < limit:
                    found.append(await self._view(engine, row.stream_id))
            if len(rows) < limit:
                break
            last = rows[-1].stream_id
        return found

    # --- what is asked ----------------------------------------------------------------------------------------------

    def _spec(
        self,
        schedule_id: str,
        workflow: AnyWorkflow | None,
        given: Mapping[str, Any],
        old: ScheduleSpec | None = None,
    ) -> ScheduleSpec:
        """Return what ``given`` asks for, over ``old``. Raises ``InvalidInput``."""
        fields: dict[str, Any] = {} if old is None else msgspec.structs.asdict(old)
        for name, value in given.items():
            convert = _ARGUMENTS.get(name)
            if convert is None:
                raise InvalidInput(
                    f"a schedule has no {name!r}", hint=f"there are {', '.join(['workflow', *_ARGUMENTS])}"
                )
            field, take = convert
            fields[field] = None if value is None else take(name, value)
        if workflow is not None or old is None:
            fields["workflow"], fields["definition"] = self._workflow(workflow)
        fields["input"] = fields.get("input") or codec.NULL
        spec = ScheduleSpec(**fields)
        if sum(one is not None for one in (spec.cron, spec.every_ns, spec.at)) != 1:
            raise InvalidInput(
                f"when is the schedule {schedule_id!r} due?", hint="give one of cron=…, every=… and at=…"
            )
        zone_of(spec.timezone)
        try:
            fill_in(spec.input, schedule_id, 1, 0)
        except DefinitionError as error:
            raise InvalidInput(
                f"the input of schedule {schedule_id!r}: {error.message}", hint="write $${ for the text ${"
            ) from error
        return spec

    def _workflow(self, workflow: AnyWorkflow | None) -> tuple[str, bytes | None]:
        if isinstance(workflow, WorkflowFunction):
            # It is meant by its name: each firing starts the version that is registered then.
            self._workflows.add(workflow)
            return workflow.name, None
        if isinstance(workflow, WorkflowDefinition):
            plan = self._workflows.plan(workflow)
            if len(plan.encoded) > MAX_DEFINITION_BYTES:
                raise InvalidInput(
                    f"the definition of {workflow.name!r} has {len(plan.encoded):,} bytes, a schedule keeps {MAX_DEFINITION_BYTES:,}",
                    hint="register it, and give the schedule its name",
                )
            return workflow.name, plan.encoded
        if isinstance(workflow, str) and workflow:
            return workflow, None
        raise InvalidInput(
            f"a workflow is a WorkflowDefinition, a function under @workflow, or the name of one, not a {type(workflow).__name__}"
        )

    # --- asking -----------------------------------------------------------------------------------------------------

    async def _command(
        self, schedule_id: str, command: Callable[[int], Command], command_id: str | None = None
    ) -> ScheduleView:
        engine = await self._engine()
        for _ in range(_MAX_TRIES):
            row = await self._row(engine, schedule_id)
            try:
                await engine.host.submit(row.stream_id, command(self._clock.now_ns()), command_id)
            except CommandRefused:
                state: ScheduleState = await engine.host.read(row.stream_id)
                if state.left not in (ScheduleStatus.CONTINUING, ScheduleStatus.CONTINUED):
                    raise
                await asyncio.sleep(_NEXT_STREAM_SECONDS)
            else:
                return await self._view(engine, row.stream_id)
        raise CommandRefused(
            f"the schedule {schedule_id!r} does not come to its next stream", hint="its owner has to run"
        )

    async def _row(self, engine: Engine, schedule_id: str) -> RunRow:
        check_id(schedule_id, "a schedule")
        row = await engine.store.get_run(schedule_id, kind=KIND)
        if row is None:
            raise WorkflowNotFoundError(
                f"there is no schedule {schedule_id!r} in this store",
                hint="`agenticflow schedules list` shows what there is",
            )
        return row

    async def _view(self, engine: Engine, stream_id: str) -> ScheduleView:
        state: ScheduleState = await engine.host.read(stream_id)
        starter = await starter_of(engine, state, self._workflows if self._performs else None)
        return view_of_schedule(state, self._guest, self._clock.now_ns(), starter)


# --- arguments ----------------------------------------------------------------------------------------------------------


def _check_id(schedule_id: str) -> None:
    try:
        check_workflow_id(schedule_id)
    except InvalidInput:
        is_wrong = True
    else:
        is_wrong = len(schedule_id) > MAX_ID_CHARS
    if is_wrong:
        raise InvalidInput(
            f"{schedule_id!r:.80} is no id of a schedule",
            hint=f"use 1 to {MAX_ID_CHARS} printable characters without '/'",
        )


def _cron(name: str, value: object) -> str:
    return cron_of(value).text if isinstance(value, str) else cron_of(repr(value)).text


def _every(name: str, value: object) -> int:
    return _duration(name, value, MIN_EVERY_SECONDS, MAX_EVERY_SECONDS)


def _window(name: str, value: object) -> int:
    return _duration(name, value, 0, MAX_WINDOW_SECONDS)


def _jitter(name: str, value: object) -> int:
    return _duration(name, value, 0, MAX_JITTER_SECONDS)


def _duration(name: str, value: object, least: float, most: float) -> int:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not least <= seconds <= most:
        raise InvalidInput(
            f"{name}={value!r} makes no sense", hint=f"give a timedelta or seconds, from {least:g} to {most:g} s"
        )
    return round(seconds * NANOSECONDS)


def _time(name: str, value: object) -> int:
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise InvalidInput(
            f"{name}={value!r} is no moment",
            hint="give it with its zone: datetime(2027, 1, 1, tzinfo=UTC), or 2027-01-01T00:00:00Z",
        )
    if not 1970 < value.year < MAX_YEAR:
        raise InvalidInput(f"{name}={value!r} is out of reach", hint=f"give a moment between 1971 and {MAX_YEAR - 1}")
    # in integers: a float of seconds does not tell microseconds of our days apart
    return (value - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1_000


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name}={value!r} is no text")
    return value


def _count(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name}={value!r} makes no sense", hint="give a number of 1 or more, or None")
    return value


def _input(name: str, value: object) -> bytes:
    if not isinstance(value, Mapping):
        raise InvalidInput(f"the input of a schedule is a dict, not a {type(value).__name__}")
    data = codec.encode(value)
    if len(data) > MAX_INPUT_BYTES:
        raise InvalidInput(
            f"the input of a schedule has {len(data):,} bytes, the limit is {MAX_INPUT_BYTES:,}",
            hint="give it where its data is",
        )
    return data


def _overlap(name: str, value: object) -> Overlap:
    return _one_of(name, value, Overlap)


def _catch_up(name: str, value: object) -> CatchUp:
    return _one_of(name, value, CatchUp)


def _one_of(name: str, value: Any, kinds: type[E]) -> E:
    try:
        return kinds(value)
    except ValueError as error:
        raise InvalidInput(f"{name}={value!r} is none", hint=f"there are {', '.join(kinds)}") from error


_ARGUMENTS: Final[Mapping[str, tuple[str, Callable[[str, object], object]]]] = {
    "cron": ("cron", _cron),
    "every": ("every_ns", _every),
    "at": ("at", _time),
    "timezone": ("timezone", _text),
    "input": ("input", _input),
    "overlap": ("overlap", _overlap),
    "catch_up": ("catch_up", _catch_up),
    "catch_up_window": ("window_ns", _window),
    "start_at": ("start_at", _time),
    "end_at": ("end_at", _time),
    "max_runs": ("max_runs", _count),
    "jitter": ("jitter_ns", _jitter),
}
