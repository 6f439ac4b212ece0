"""The watch over every open run: a query that finds what is stuck, and the alarm that rings within a minute of a breach.

The index is read first; a run is looked into when its row alone does not prove it alive. What looks broken is looked at again after a
moment: work on its way from hand to hand is nobody's for a turn of the loop. The alarm is recorded once for each breach, on a stream of
its own, and what was lost on its way to whoever performs it is handed on again, which is safe because every receiver knows it by its
token and takes it once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from typing import Final

import msgspec

from agenticflow.app.engine.explaining import MAX_WAITS, Held, gate_state
from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Fact
from agenticflow.core.engine import ActivityFinished, ContinueExecution, Execution, RunActivity, RunChild
from agenticflow.errors import AgenticFlowError, WorkflowNotFoundError
from agenticflow.orchestration.guest import WorkflowGuest, stream_of
from agenticflow.orchestration.liveness import (
    ALARM_FACTS,
    ALARM_STREAM,
    LATE_SECONDS,
    Breach,
    BreachKey,
    Holding,
    LivenessBreached,
    LivenessRestored,
    breaches_of,
)
from agenticflow.orchestration.schedules.guest import KIND as SCHEDULE
from agenticflow.orchestration.schedules.state import ScheduleState, ScheduleStatus
from agenticflow.orchestration.state import RunState, WorkflowStatus
from agenticflow.runtime.timers import Tick
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.rows import RunRow

__all__ = ["LivenessReport", "Watch"]

log = logging.getLogger("agenticflow.engine")

LOOK_SECONDS: Final = 20.0
"""How often the watch looks; a breach is told at the look after it, well within a minute."""
CONFIRM_SECONDS: Final = (0.1, 0.4, 1.5)
"""When what looks broken is looked at again, each after the one before: a slow disk may take a second to answer who has it in hand."""
PAGE: Final = 1_000
TURN_ROWS: Final = 1_000
"""Runs looked at before the event loop has its turn."""
MAX_TOLD: Final = 20
"""Breaches of one look that the log names."""
MAX_PER_COMMIT: Final = 1_000
NANOSECONDS: Final = 1_000_000_000
_PARKED: Final = frozenset({WorkflowStatus.WAITING, WorkflowStatus.NEEDS_ATTENTION})
"""Nothing is in work: the row says all there is to say, as long as its timer is set."""


class LivenessReport(msgspec.Struct, frozen=True):
    """What a look at every open run found."""

    open_runs: int
    looked_into: int
    """Of these, those whose row alone did not prove them alive."""
    is_performed: bool
    """Whether the process that looked runs the store; else nobody could be asked who has what in hand."""
    breaches: tuple[Breach, ...]

    @property
    def is_alive(self) -> bool:
        """Whether no run is stuck."""
        return not self.breaches


class _Everything:
    """Holds every token: where nobody performs, nothing can be asked for."""

    def __contains__(self, _: object) -> bool:
        return True


class Watch:
    """Looks, and raises the alarm."""

    def __init__(self, engine: Held, clock: Clock, *, performs: bool = True) -> None:
        self._engine = engine
        self._clock = clock
        self._performs = performs
        self._guest = WorkflowGuest()
        self._task: asyncio.Task[None] | None = None
        self._open: dict[BreachKey, LivenessBreached] | None = None
        """What was told and not taken back, once the stream was read."""
        self._version = 0

    # --- the query --------------------------------------------------------------------------------------------------

    async def check(self) -> LivenessReport:
        """Return what is stuck now. Changes nothing. Takes a moment only when something looks broken."""
        report, suspects = await self._look_at_all()
        for seconds in CONFIRM_SECONDS:
            if not suspects:
                break
            await self._pause(seconds)
            again = {**await self._look_into(_streams_of(suspects.values())), **await self._unstarted()}
            suspects = {key: breach for key, breach in suspects.items() if key in again}
        return msgspec.structs.replace(report, breaches=tuple(suspects.values()))

    async def _look_at_all(self) -> tuple[LivenessReport, dict[BreachKey, Breach]]:
        """Read the index, look into what it does not prove."""
        store, now = self._engine.store, self._clock.now_ns()
        count = 0
        unproven: list[str] = []
        after: str | None = None
        while rows := await store.list_runs(kind=self._guest.kind, is_open=True, after=after, limit=PAGE):
            unproven += [row.stream_id for row in rows if not self._is_proven(row, now)]
            count += len(rows)
            after = rows[-1].stream_id
            await asyncio.sleep(0)
        suspects = {**await self._look_into(unproven), **await self._unstarted()}
        return LivenessReport(count, len(unproven), self._performs, ()), suspects

    async def _unstarted(self) -> dict[BreachKey, Breach]:
        """Return the schedules that go on and whose workflow nobody here can start."""
        if not self._performs:
            return {}
        host, store, known = self._engine.host, self._engine.store, self._engine.workflows
        found: dict[BreachKey, Breach] = {}
        after: str | None = None
        while rows := await store.list_runs(kind=SCHEDULE, is_open=True, after=after, limit=PAGE):
            for row in rows:
                if row.name in known or row.status == ScheduleStatus.PAUSED:
                    continue
                state: ScheduleState = await host.read(row.stream_id)
                if state.left is None and not state.is_known(known):
                    since = min((firing.due for firing in state.running.values()), default=state.anchor)
                    breach = Breach(state.schedule_id, state.run_no, "starter", since)
                    found[breach.key] = breach
            after = rows[-1].stream_id
            await asyncio.sleep(0)
        return found

    def _is_proven(self, row: RunRow, now: int) -> bool:
        """Whether the row alone shows that the run is alive: nothing of it is in work, and its next timer is set."""
        if row.status not in _PARKED:
            return False
        if row.next_due is None or not self._performs:
            return True
        is_late = row.next_due + LATE_SECONDS * NANOSECONDS < now
        return not is_late and self._engine.host.timer_of(row.stream_id) == row.next_due

    async def _look_into(self, streams: Collection[str]) -> dict[BreachKey, Breach]:
        """Fold these runs, as far as they are not in memory, and ask whether somebody is about each of their branches."""
        host, now = self._engine.host, self._clock.now_ns()
        tokens: dict[str, set[int]] = {}
        untold = await self._take_stock(streams, tokens) if self._performs and streams else set()
        found: dict[BreachKey, Breach] = {}
        for number, stream_id in enumerate(streams, 1):
            if number % TURN_ROWS == 0:
                await asyncio.sleep(0)
            state: RunState | None = host.actors.peek(stream_id)
            if state is None:
                try:
                    state = await host.read(stream_id)
                except WorkflowNotFoundError:
                    continue
            # Where nobody performs, nobody is late.
            moment = now if self._performs else min(now, state.next_due or now)
            for breach in breaches_of(state, self._holding(stream_id, state, tokens), moment):
                if (stream_id, breach.token) in untold:
                    breach = msgspec.structs.replace(breach, missing="sub_workflow")
                found[breach.key] = breach
        if self._performs and streams:
            for breach in await self._at_gates(set(streams)):
                found[breach.key] = breach
        return found

    def _holding(self, stream_id: str, state: RunState, tokens: dict[str, set[int]]) -> Holding:
        host = self._engine.host
        if not self._performs:
            return Holding(_Everything(), state.next_due, is_continuing=True, needs_code=True)
        return Holding(
            tokens.get(stream_id, ()),
            host.timer_of(stream_id),
            host.actors.is_busy(stream_id),
            self._engine.children.is_continuing(stream_id),
            self._engine.planners.waits_for(stream_id) is not None,
        )

    async def _take_stock(self, streams: Collection[str], tokens: dict[str, set[int]]) -> set[tuple[str, int]]:
        """Add, by stream, the tokens of the attempts that somebody here is about; return those of sub-workflows that have ended."""
        untold: set[tuple[str, int]] = set()
        streams = set(streams)
        for (stream_id, effect), _ in self._engine.dispatcher.kept():
            tokens.setdefault(stream_id, set()).add(effect.token)
        for attempt in self._engine.dispatcher.attempts():
            tokens.setdefault(attempt.stream_id, set()).add(attempt.effect.token)
        for parent, request, child in self._engine.children.watched():
            if child is not None and parent in streams and not await self._is_open(child):
                untold.add((parent, request.token))
            else:
                tokens.setdefault(parent, set()).add(request.token)
        return untold

    async def _is_open(self, child: str) -> bool:
        """Whether the sub-workflow has not ended, or its end is only now being told."""
        host = self._engine.host
        state: RunState | None = host.actors.peek(child)
        if state is not None:
            return state.is_open or host.actors.is_busy(child)
        execution = Execution.of(child)
        row = await self._engine.store.get_run(execution.id, execution.run_no)
        return row is None or row.is_open

    async def _at_gates(self, streams: Collection[str]) -> list[Breach]:
        """Return who has a permit and was not told, and which gate has lost its timer."""
        host = self._engine.host
        found: list[Breach] = []
        gates: dict[str, tuple[Collection[str], bool]] = {}
        for gate, stream_id, token in self._engine.gates.waiting():
            if stream_id not in streams or host.actors.is_busy(gate):
                continue
            if gate not in gates:
                state = await gate_state(host, gate)
                due = state.next_due
                gates[gate] = state.holders.keys(), due is None or host.timer_of(gate) == due
            holders, has_timer = gates[gate]
            if not has_timer or f"{stream_id}@{token}" in holders:
                found += self._not_let_in(stream_id, token)
        return found

    def _not_let_in(self, stream_id: str, token: int) -> list[Breach]:
        state: RunState | None = self._engine.host.actors.peek(stream_id)
        if state is None:
            return []
        return [
            Breach(state.workflow_id, state.run_no, "permit", record.scheduled_at, record.key, token)
            for record in state.tasks.values()
            if record.token == token
        ]

    # --- the alarm --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look again and again, until ``stop``."""
        self._task = asyncio.get_running_loop().create_task(self._go_on(), name="liveness watch")

    async def stop(self) -> None:
        """Look no more. A second call does nothing."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _go_on(self) -> None:
        while True:
            await self._pause(LOOK_SECONDS)
            try:
                await self.look()
            except AgenticFlowError as error:
                log.error("the watch over open runs could not look: %s", error)
            except Exception:
                # A mistake of ours must not end the watch: then nobody would tell of the next run that is stuck.
                log.exception("the watch over open runs met a mistake and looks on; please report it")

    async def look(self) -> None:
        """Check, record and log what has changed, and hand on again what was lost."""
        breaches = (await self.check()).breaches
        told = await self._told()
        found = {breach.key: breach for breach in breaches}
        new = [breach for key, breach in found.items() if key not in told]
        over = [breach for key, breach in told.items() if key not in found]
        if new or over:
            await self._tell(new, over)
        by_run: dict[str, list[Breach]] = {}
        for breach in breaches:
            if breach.missing == "starter":
                continue  # only whoever registers it can mend that
            by_run.setdefault(stream_of(breach.workflow_id, breach.run_no), []).append(breach)
        for stream_id, broken in by_run.items():
            await self._mend(stream_id, broken)

    async def _told(self) -> dict[BreachKey, LivenessBreached]:
        """Return what was told and not taken back, also by an earlier life of the process."""
        if self._open is None:
            self._open, self._version = {}, 0
            while page := await self._engine.store.read_page(ALARM_STREAM, self._version, PAGE):
                for stored in page:
                    self._take(ALARM_FACTS.decode(stored.event_type, stored.data, stored.schema_version))
                self._version = page[-1].version
        return self._open

    def _take(self, fact: Fact) -> None:
        assert self._open is not None  # whoever takes has read
        if isinstance(fact, LivenessBreached):
            self._open[_key(fact)] = fact
        elif isinstance(fact, LivenessRestored):
            self._open.pop(_key(fact), None)

    async def _tell(self, new: list[Breach], over: Iterable[LivenessBreached]) -> None:
        now = self._clock.now_ns()
        facts: list[Fact] = [
            LivenessBreached(one.workflow_id, one.run_no, one.missing, one.since, one.task_key, one.token)
            for one in new
        ]
        facts += [LivenessRestored(one.workflow_id, one.run_no, one.missing, one.task_key, one.token) for one in over]
        for start in range(0, len(facts), MAX_PER_COMMIT):
            part = facts[start : start + MAX_PER_COMMIT]
            events = [NewEvent(fact.event_type, ALARM_FACTS.encode(fact), now) for fact in part]
            try:
                commit = Commit(stream_id=ALARM_STREAM, expected=self._version, events=events)
                self._version = (await self._engine.store.commit(commit)).version
            except AgenticFlowError:
                self._open = None  # what was recorded is read again before anything more is told
                raise
            for fact in part:
                self._take(fact)
        for breach in new[:MAX_TOLD]:
            log.critical("%s", breach.words)
        if len(new) > MAX_TOLD:
            log.critical("… and %d more branches of runs are stuck", len(new) - MAX_TOLD)
        for restored in facts[len(new) :][:MAX_TOLD]:
            log.warning("%s goes on, or has ended: it is stuck no more", restored)

    async def _mend(self, stream_id: str, breaches: Sequence[Breach]) -> None:
        """Hand on again what was lost on its way: whoever has it already takes it once, by its token."""
        engine = self._engine
        state: RunState = await engine.host.read(stream_id)
        if engine.host.actors.is_busy(stream_id):
            return  # somebody is at it after all
        missing = {breach.missing for breach in breaches}
        tokens = {breach.token for breach in breaches if breach.missing == "attempt"}
        if "timer" in missing:
            engine.host.set_timer(stream_id, state.next_due)
        recovery = self._guest.recover(state, self._clock.now_ns())
        for command in recovery.commands:
            # At-most-once work that nobody performs is not handed on: what became of it is in question, as after a restart.
            if isinstance(command, ActivityFinished) and command.token in tokens:
                engine.host.tell(stream_id, command)
        for effect in recovery.effects:
            is_lost = isinstance(effect, (RunActivity, RunChild)) and effect.token in tokens
            if is_lost or (isinstance(effect, ContinueExecution) and "next_run" in missing):
                engine.dispatcher.perform(stream_id, effect)
        waiting = {breach.token for breach in breaches if breach.missing == "permit"}
        for gate, stream, token in engine.gates.waiting() if waiting else ():
            if stream == stream_id and token in waiting:
                await self._grant(gate, f"{stream_id}@{token}")

    async def _grant(self, gate: str, holder: str) -> None:
        state = await gate_state(self._engine.host, gate)
        if holder in state.holders:
            self._engine.gates.granted(gate, holder)
        else:
            self._engine.host.set_timer(gate, state.next_due)

    # --- time -------------------------------------------------------------------------------------------------------

    async def _pause(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        handle = loop.call_later(seconds, Tick(future))
        try:
            await future
        finally:
            handle.cancel()


def _streams_of(breaches: Iterable[Breach]) -> set[str]:
    return {stream_of(breach.workflow_id, breach.run_no) for breach in breaches if breach.missing != "starter"}


def _key(fact: LivenessBreached | LivenessRestored) -> BreachKey:
    return fact.workflow_id, fact.run_no, fact.missing, fact.task_key, fact.token


def liveness_answer(report: LivenessReport) -> dict[str, object]:
    """Return the report as plain data, at most ``MAX_WAITS`` breaches of it."""
    return {
        "open_runs": report.open_runs,
        "is_performed": report.is_performed,
        "breaches": [{**msgspec.to_builtins(breach), "words": breach.words} for breach in report.breaches[:MAX_WAITS]],
        "more": max(len(report.breaches) - MAX_WAITS, 0),
    }
