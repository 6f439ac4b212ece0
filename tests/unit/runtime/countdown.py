"""A guest of the engine that is no workflow: it counts down, one activity a number, with a pause between two.

The engine has never heard of it. It proves that host, dispatcher, timers, recovery and index know only ``Execution``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.engine import (
    ActivityFinished,
    ActivityInput,
    ActivityStarted,
    Effect,
    EffectClass,
    ProcessDeath,
    Recovery,
    RunActivity,
    StopActivity,
    Summary,
    TellPerformer,
    TimersDue,
)
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.core.values import Values
from agenticflow.errors import CommandRefused, InvariantError

__all__ = ["Begin", "CountdownGuest", "CountdownState", "GiveUp", "stream_of"]

KIND: Final = "countdown"
PERFORMER: Final = "announcer"


class Begun(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_begun"
    start: int
    pause_ns: int
    effect: EffectClass
    note: msgspec.Raw


class NumberCalled(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_number_called"
    number: int


class NumberStarted(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_number_started"
    token: int


class NumberSaid(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_number_said"
    token: int
    said: msgspec.Raw


class NumberChoked(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_number_choked"
    token: int
    why: str


class PauseMade(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_pause_made"
    until: int


class PauseOver(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_pause_over"


class GivenUp(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_given_up"


class LiftedOff(Fact, frozen=True):
    event_type: ClassVar[str] = "countdown_lifted_off"


class Begin(Command, frozen=True, kw_only=True):
    """Count from ``start`` to 1. ``note`` is an encoded value that every activity is handed."""

    start: int
    pause_seconds: float = 0.0
    effect: EffectClass = EffectClass.IDEMPOTENT
    note: bytes = codec.NULL


class GiveUp(Command, frozen=True, kw_only=True):
    """Stop counting."""


def stream_of(execution_id: str, run_no: int = 1) -> str:
    return f"{KIND}-{execution_id}/{run_no}"


class CountdownState:
    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values(0)
        self.start = 0
        self.left = 0
        self.pause_ns = 0
        self.effect = EffectClass.IDEMPOTENT
        self.note = codec.NULL
        self.token: int | None = None
        self.attempt = 0
        self.is_running = False
        self.is_rested = True
        """Whether the pause before the next number is over; the first one needs none."""
        self.pause_until: int | None = None
        self.said: list[bytes] = []
        self.choked: list[str] = []
        self.outcome = ""
        self.began_at = 0
        self.ended_at: int | None = None

    @property
    def status(self) -> str:
        return self.outcome or ("COUNTING" if self.start else "NEW")

    @property
    def is_open(self) -> bool:
        return not self.outcome

    @property
    def next_due(self) -> int | None:
        return self.pause_until if self.is_open else None


class CountdownGuest:
    """Counts down over the streams ``countdown-<id>/<run>``."""

    codec: Final = FactCodec(
        [Begun, NumberCalled, NumberStarted, NumberSaid, NumberChoked, PauseMade, PauseOver, GivenUp, LiftedOff]
    )
    kind: Final = KIND

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> CountdownState:
        assert snapshot is None  # it is never long enough to have one
        return CountdownState(stream_id)

    def decide(self, state: CountdownState, command: Command) -> Sequence[Fact]:
        match command:
            case Begin():
                if state.start:
                    raise CommandRefused(f"{state.stream_id!r} counts already")
                pause_ns = int(command.pause_seconds * 1_000_000_000)
                return [Begun(command.start, pause_ns, command.effect, msgspec.Raw(command.note))]
            case GiveUp():
                if not state.is_open:
                    raise CommandRefused(f"{state.stream_id!r} is over")
                return [GivenUp()]
            case TimersDue(now=now):
                return [PauseOver()] if state.pause_until is not None and state.pause_until <= now else []
            case ActivityStarted(token=token):
                is_news = state.is_open and state.token == token and not state.is_running
                return [NumberStarted(token)] if is_news else []
            case ActivityFinished(token=token, outcome=outcome):
                if state.token != token or not state.is_open:
                    return []
                if outcome.kind is OutcomeKind.SUCCEEDED:
                    return [NumberSaid(token, msgspec.Raw(outcome.value))]
                return [NumberChoked(token, str(outcome.error or outcome.kind))]
            case _:
                raise InvariantError(f"a countdown does not know {command!r}")

    def advance(self, state: CountdownState, now: int) -> Sequence[Fact]:
        if not state.is_open or not state.start or state.token is not None or state.pause_until is not None:
            return ()
        if state.left == 0:
            return [LiftedOff()]
        if state.attempt == 3:
            return [GivenUp()]
        if state.pause_ns and not state.is_rested:
            return [PauseMade(now + state.pause_ns)]
        return [NumberCalled(state.left)]

    def evolve(self, state: CountdownState, fact: Fact, version: int, at: int) -> None:
        match fact:
            case Begun(start=start, pause_ns=pause_ns, effect=effect, note=note):
                state.start = state.left = start
                state.pause_ns, state.effect, state.note, state.began_at = pause_ns, effect, bytes(note), at
            case NumberCalled():
                state.token, state.is_running = version, False
                state.attempt += 1
            case NumberStarted():
                state.is_running = True
            case NumberSaid(said=said):
                state.said.append(bytes(said))
                state.token, state.attempt = None, 0
                state.left -= 1
                state.is_rested = False
            case NumberChoked(why=why):
                state.choked.append(why)
                state.token = None
            case PauseMade(until=until):
                state.pause_until = until
            case PauseOver():
                state.pause_until = None
                state.is_rested = True
            case GivenUp():
                state.outcome, state.ended_at = "GIVEN_UP", at
            case LiftedOff():
                state.outcome, state.ended_at = "LIFTED_OFF", at
            case _:
                raise InvariantError(f"a countdown does not know {fact!r}")

    def effects(self, state: CountdownState, fact: Fact, version: int) -> Sequence[Effect]:
        match fact:
            case NumberCalled():
                return [self._run(state)] if state.token == version else ()
            case NumberChoked():
                return [TellPerformer(PERFORMER, "task_failed")]
            case GivenUp():
                return [StopActivity(state.token, "given up")] if state.token is not None else ()
            case _:
                return ()

    def _run(self, state: CountdownState) -> RunActivity:
        assert state.token is not None
        return RunActivity(
            f"number-{state.left}", state.token, max(state.attempt, 1), PERFORMER, "call", state.effect, 30.0
        )

    def recover(self, state: CountdownState, now: int, died: ProcessDeath | None = None) -> Recovery:
        if state.token is None:
            return Recovery([], [])
        if state.is_running and state.effect is EffectClass.AT_MOST_ONCE:
            lost = Outcome(OutcomeKind.UNKNOWN)
            key = f"number-{state.left}"
            return Recovery([ActivityFinished(now=now, task_key=key, token=state.token, outcome=lost)], [])
        return Recovery([], [self._run(state)])

    def is_in_work(self, state: CountdownState, token: int) -> bool:
        return token == state.token

    def inputs(self, state: CountdownState, task_key: str) -> ActivityInput:
        note = codec.decode(state.values.resolve(state.note))
        params: dict[str, object] = {"number": state.left, "note": note}
        return ActivityInput(params, {}, codec.EMPTY, state.stream_id, 1, task_key)

    def summary(self, state: CountdownState) -> Summary:
        return Summary(
            execution_id=state.stream_id.removeprefix(f"{KIND}-").partition("/")[0],
            run_no=int(state.stream_id.rpartition("/")[2]),
            name="countdown",
            status=state.status,
            is_open=state.is_open,
            next_due=state.next_due,
            fingerprint="",
            started_at=state.began_at,
            ended_at=state.ended_at,
        )

    def snapshot(self, state: CountdownState) -> bytes:
        raise InvariantError("a countdown is never long enough")
