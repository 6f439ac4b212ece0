"""A gate: who holds a key, who waits for it, and when the next may have it. One stream for each key, over all runs of a store.

A pure decider, and a guest of the engine that is no workflow. Whoever holds the key is named by the stream and token of an attempt; asking
twice changes nothing, so after a crash everybody simply asks again. Limits come with each request: those asked for last are in force.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.engine import (
    Effect,
    Execution,
    GrantPermit,
    Permit,
    Summary,
    TimersDue,
)
from agenticflow.core.guests import TasklessGuest, read_snapshot
from agenticflow.core.values import Values
from agenticflow.errors import CommandRefused, InvariantError

__all__ = [
    "GATE_FACTS",
    "Acquire",
    "GateClosed",
    "GateGuest",
    "GateState",
    "PermitGranted",
    "PermitReleased",
    "PermitRequested",
    "Release",
]

KIND: Final = "gate"
NANOSECONDS: Final = 1_000_000_000
MAX_EVENTS: Final = 10_000
"""Events of one stream of a gate; when nobody is there it goes on in the next."""
MAX_WAITING: Final = 100_000
_FORM: Final = 1


class PermitRequested(Fact, frozen=True, gc=False):
    """Somebody waits for the key."""

    event_type: ClassVar[str] = "permit_requested"
    holder: str
    permit: Permit
    priority: int = 0


class PermitGranted(Fact, frozen=True, gc=False):
    """Somebody has the key. ``permit`` is there when nobody had to wait."""

    event_type: ClassVar[str] = "permit_granted"
    holder: str
    permit: Permit | None = None


class PermitReleased(Fact, frozen=True, gc=False):
    """Somebody gave the key back, or waits for it no more."""

    event_type: ClassVar[str] = "permit_released"
    holder: str


class GateClosed(Fact, frozen=True, gc=False):
    """Terminal: this stream is long enough; the gate goes on in the next."""

    event_type: ClassVar[str] = "gate_closed"


GATE_FACTS: Final = FactCodec([PermitRequested, PermitGranted, PermitReleased, GateClosed])


class Acquire(Command, frozen=True, kw_only=True):
    """Ask for the key, as ``holder``."""

    holder: str
    permit: Permit
    priority: int = 0
    at_once: bool = False
    """Whether it is taken only if nobody has to wait for it; otherwise this changes nothing."""


class Release(Command, frozen=True, kw_only=True):
    """Give the key back, or wait for it no more."""

    holder: str


class _Waiting(msgspec.Struct, array_like=True):
    holder: str
    priority: int


class _Saved(msgspec.Struct):
    form: int
    version: int
    permit: Permit | None
    holders: list[str]
    queue: list[_Waiting]
    starts: list[int]
    opened_at: int
    closed_at: int | None


class GateState:
    """Who has the key and who waits, as folded."""

    __slots__ = (
        "closed_at",
        "holders",
        "opened_at",
        "permit",
        "queue",
        "starts",
        "stream_id",
        "values",
        "version",
    )

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = 0
        self.permit: Permit | None = None
        """The limits in force."""
        self.holders: dict[str, None] = {}
        self.queue: list[_Waiting] = []
        """Who waits, in the order in which they get it."""
        self.starts: deque[int] = deque()
        """When the last ones got it, as many as the rate looks back on."""
        self.opened_at = 0
        self.closed_at: int | None = None

    @property
    def status(self) -> str:
        """Word for the index."""
        if self.closed_at is not None:
            return "CLOSED"
        return "WAITED_FOR" if self.queue else ("HELD" if self.holders else "FREE")

    @property
    def is_open(self) -> bool:
        """Whether somebody may still ask here."""
        return self.closed_at is None

    @property
    def next_due(self) -> int | None:
        """When the rate lets the next one in."""
        permit = self.permit
        if not self.queue or permit is None or permit.rate is None or self._is_full(permit):
            return None
        return self._free_at(permit)

    def has_room(self, now: int, permit: Permit | None = None) -> bool:
        """Whether one more may have the key now, under the limits of ``permit`` or else those in force."""
        permit = permit or self.permit
        if permit is None:
            return True
        return not self._is_full(permit) and (permit.rate is None or self._free_at(permit) <= now)

    def _is_full(self, permit: Permit) -> bool:
        return permit.max_concurrent is not None and len(self.holders) >= permit.max_concurrent

    def _free_at(self, permit: Permit) -> int:
        rate = permit.rate or 0
        if len(self.starts) < rate:
            return 0
        return self.starts[-rate] + int(permit.per_seconds * NANOSECONDS)

    def is_waiting(self, holder: str) -> bool:
        """Whether ``holder`` waits for the key."""
        return any(waiting.holder == holder for waiting in self.queue)

    def is_quiet(self, now: int) -> bool:
        """Whether nobody is there, and nothing has to be remembered for the rate."""
        if self.holders or self.queue:
            return False
        permit = self.permit
        period = 0 if permit is None or permit.rate is None else int(permit.per_seconds * NANOSECONDS)
        return not self.starts or self.starts[-1] + period <= now


class GateGuest(TasklessGuest[GateState]):
    """Decides over the streams ``gate-<key>/<run no>``. Holds nothing."""

    kind = KIND
    codec = GATE_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> GateState:
        return GateState(stream_id) if snapshot is None else _restored(stream_id, snapshot)

    def decide(self, state: GateState, command: Command) -> Sequence[Fact]:
        match command:
            case Acquire():
                return self._acquire(state, command)
            case Release(holder=holder):
                return (PermitReleased(holder),) if holder in state.holders or state.is_waiting(holder) else ()
            case TimersDue(now=now):
                return self.advance(state, now)
            case _:
                raise InvariantError(f"a gate does not know the command {type(command).__name__}")

    def _acquire(self, state: GateState, command: Acquire) -> Sequence[Fact]:
        if state.closed_at is not None:
            if command.at_once:
                return ()
            raise CommandRefused(f"the gate {state.stream_id!r} is closed", hint="ask its next run")
        if command.holder in state.holders or state.is_waiting(command.holder):
            return ()
        if not state.queue and state.has_room(command.now, command.permit):
            return (PermitGranted(command.holder, command.permit),)
        if command.at_once:
            return ()
        if len(state.queue) >= MAX_WAITING:
            raise CommandRefused(
                f"{MAX_WAITING:,} attempts wait for {command.permit.key!r} already", hint="start less at once"
            )
        return (PermitRequested(command.holder, command.permit, command.priority),)

    def advance(self, state: GateState, now: int) -> Sequence[Fact]:
        if state.closed_at is not None:
            return ()
        if state.queue:
            return (PermitGranted(state.queue[0].holder),) if state.has_room(now) else ()
        return (GateClosed(),) if state.version >= MAX_EVENTS and state.is_quiet(now) else ()

    def evolve(self, state: GateState, fact: Fact, version: int, at: int) -> None:
        # No match: a lock is had and given back with every attempt, and patterns cost more than all they lead to.
        if isinstance(fact, PermitGranted):
            state.permit = permit = fact.permit or state.permit
            _stop_waiting(state, fact.holder)
            state.holders[fact.holder] = None
            state.starts.append(at)
            kept = 1 if permit is None else permit.rate or 1
            while len(state.starts) > kept:
                state.starts.popleft()
        elif isinstance(fact, PermitReleased):
            state.holders.pop(fact.holder, None)
            _stop_waiting(state, fact.holder)
        elif isinstance(fact, PermitRequested):
            state.permit = fact.permit
            place = len(state.queue)
            while place and state.queue[place - 1].priority < fact.priority:
                place -= 1
            state.queue.insert(place, _Waiting(fact.holder, fact.priority))
        elif isinstance(fact, GateClosed):
            state.closed_at = at
        else:
            raise InvariantError(f"a gate does not know the fact {type(fact).__name__}")
        state.version = version
        state.opened_at = state.opened_at or at

    # --- what the engine asks ---------------------------------------------------------------------------------------

    def effects(self, state: GateState, fact: Fact, version: int) -> Sequence[Effect]:
        return (GrantPermit(fact.holder),) if isinstance(fact, PermitGranted) else ()

    def summary(self, state: GateState) -> Summary:
        execution = Execution.of(state.stream_id)
        return Summary(
            execution_id=execution.id,
            run_no=execution.run_no,
            name=execution.id,
            status=state.status,
            # What nobody holds or waits for needs nobody's attention after a restart.
            is_open=bool(state.holders or state.queue),
            next_due=state.next_due,
            started_at=state.opened_at,
            ended_at=state.closed_at,
        )

    def snapshot(self, state: GateState) -> bytes:
        return codec.encode(
            _Saved(
                _FORM,
                state.version,
                state.permit,
                list(state.holders),
                state.queue,
                list(state.starts),
                state.opened_at,
                state.closed_at,
            )
        )


def _stop_waiting(state: GateState, holder: str) -> None:
    queue = state.queue
    if queue and queue[0].holder == holder:
        del queue[0]
    elif queue:
        state.queue = [waiting for waiting in queue if waiting.holder != holder]


def _restored(stream_id: str, data: bytes) -> GateState:
    saved = read_snapshot(stream_id, data, _Saved, _FORM)
    state = GateState(stream_id)
    state.version, state.permit = saved.version, saved.permit
    state.holders, state.queue, state.starts = dict.fromkeys(saved.holders), saved.queue, deque(saved.starts)
    state.opened_at, state.closed_at = saved.opened_at, saved.closed_at
    return state
