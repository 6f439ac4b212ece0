"""The journal of a task as a decider: which calls a handler has made, and what came of them. One stream for all attempts of a task.

A guest of the engine that is no workflow and asks for no effects: attempts write through commands (``core.journal`` says what a call is).
Whoever opens it last has it: an attempt that was superseded can write nothing more, and one process that does not know of the other meets
a conflict of versions, reads again, and is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Command, Fact, FactCodec
from agenticflow.core.engine import Execution, Summary, TimersDue
from agenticflow.core.guests import TasklessGuest, read_snapshot
from agenticflow.core.journal import MAX_CALLS, MAX_JOURNAL_BYTES, CallEffect, Entry, Fingerprint
from agenticflow.core.results import ErrorInfo
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.core.values import Values
from agenticflow.errors import BoundExceeded, CommandRefused, InvariantError

__all__ = [
    "JOURNAL_FACTS",
    "EndCall",
    "ForgetCalls",
    "JournalCallEnded",
    "JournalCallStarted",
    "JournalCallWithdrawn",
    "JournalCallsForgotten",
    "JournalGuest",
    "JournalOpened",
    "JournalState",
    "OpenJournal",
    "StartCall",
    "WithdrawCall",
    "journal_of",
]

KIND: Final = "journal"
MAX_ID_CHARS: Final = 200
_STREAM: Final = "journal-<workflow id>~<effect key>/1"
_FORM: Final = 1


def journal_of(workflow_id: str, effect_key: str, parent: tuple[str, str, int] | None = None) -> Execution:
    """Return the journal of the task with this effect key. Its id is that of a part of the workflow, so that it is kept as long."""
    name = f"{workflow_id}~{effect_key}"
    # A long id is cut as those of sub-workflows are (storage.retention.family_of).
    if len(name) > MAX_ID_CHARS:
        name = f"{name[:100]}~{codec.content_hash(name.encode())}"
    return Execution(KIND, name, 1, parent)


class JournalOpened(Fact, frozen=True, gc=False):
    """An attempt writes from now on; earlier ones do not any more."""

    event_type: ClassVar[str] = "journal_opened"
    stream: ClassVar[str] = _STREAM
    parent: tuple[str, str, int]
    """Stream, task key and token of the attempt."""
    run_no: int
    attempt: int = 1


class JournalCallStarted(Fact, frozen=True, gc=False):
    """A call that must not happen twice is about to be made."""

    event_type: ClassVar[str] = "journal_call_started"
    stream: ClassVar[str] = _STREAM
    key: str
    fingerprint: Fingerprint


class JournalCallEnded(Fact, frozen=True, gc=False):
    """Something came of a call. ``is_given`` says that the value stands for an outcome that nobody knows."""

    event_type: ClassVar[str] = "journal_call_ended"
    stream: ClassVar[str] = _STREAM
    key: str
    fingerprint: Fingerprint = ()
    """Empty when it was recorded that the call starts."""
    value: bytes | None = None
    error: ErrorInfo | None = None
    is_given: bool = False


class JournalCallWithdrawn(Fact, frozen=True, gc=False):
    """A call that was about to be made was not."""

    event_type: ClassVar[str] = "journal_call_withdrawn"
    stream: ClassVar[str] = _STREAM
    key: str


class JournalCallsForgotten(Fact, frozen=True, gc=False):
    """The handler does not repeat itself from this call on: it and those after it count no more."""

    event_type: ClassVar[str] = "journal_calls_forgotten"
    stream: ClassVar[str] = _STREAM
    key: str
    count: int


JOURNAL_FACTS: Final = FactCodec(
    [JournalOpened, JournalCallStarted, JournalCallEnded, JournalCallWithdrawn, JournalCallsForgotten]
)


class OpenJournal(Command, frozen=True, kw_only=True):
    """Let this attempt write. Attempts are told apart by the run and, within one, by their tokens: the later has the higher."""

    parent: tuple[str, str, int]
    """Stream, task key and token of the attempt."""
    run_no: int
    attempt: int = 1


class StartCall(Command, frozen=True, kw_only=True):
    """Record that a call that must not happen twice is about to be made, by who opened the journal at version ``opening``."""

    opening: int
    key: str
    fingerprint: Fingerprint


class EndCall(Command, frozen=True, kw_only=True):
    """Record what came of a call."""

    opening: int
    key: str
    fingerprint: Fingerprint
    effect: CallEffect
    value: bytes | None = None
    error: ErrorInfo | None = None
    is_given: bool = False


class WithdrawCall(Command, frozen=True, kw_only=True):
    """Record that a call was not made."""

    opening: int
    key: str


class ForgetCalls(Command, frozen=True, kw_only=True):
    """Forget a call and all that were recorded after it."""

    opening: int
    key: str


class _Saved(msgspec.Struct):
    form: int
    version: int
    opening: int
    holder: tuple[int, int]
    task_key: str
    entries: dict[str, Entry]
    opened_at: int
    written_at: int


class JournalState:
    """The calls of a task, as folded."""

    __slots__ = (
        "bytes",
        "entries",
        "holder",
        "opened_at",
        "opening",
        "stream_id",
        "task_key",
        "values",
        "version",
        "written_at",
    )

    status = "KEPT"
    is_open = True
    """Another attempt may write."""
    next_due = None
    """Nothing happens here by itself."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self.values = Values()
        self.version = 0
        self.opening = 0
        """The version at which whoever has it opened it."""
        self.holder = (0, 0)
        """Run and token of the attempt that has it."""
        self.task_key = ""
        self.entries: dict[str, Entry] = {}
        """By key, in the order in which they began."""
        self.bytes = 0
        """Of keys, fingerprints and values."""
        self.opened_at = 0
        self.written_at = 0


class JournalGuest(TasklessGuest[JournalState]):
    """Decides over the streams ``journal-<workflow id>~<effect key>/1``. Holds nothing; after a crash the attempt opens it again."""

    kind = KIND
    codec = JOURNAL_FACTS

    def initial(self, stream_id: str, snapshot: bytes | None = None) -> JournalState:
        return JournalState(stream_id) if snapshot is None else _restored(stream_id, snapshot)

    def decide(self, state: JournalState, command: Command) -> Sequence[Fact]:
        match command:
            case OpenJournal():
                return _open(state, command)
            case StartCall():
                _check_holder(state, command.opening)
                return _start(state, command)
            case EndCall():
                _check_holder(state, command.opening)
                return _end(state, command)
            case WithdrawCall(opening=opening, key=key):
                _check_holder(state, opening)
                entry = state.entries.get(key)
                return () if entry is None or entry.is_over else (JournalCallWithdrawn(key),)
            case ForgetCalls(opening=opening, key=key):
                _check_holder(state, opening)
                return _forget(state, key)
            case TimersDue():
                return ()
            case _:
                raise InvariantError(f"a journal does not know the command {type(command).__name__}")

    def advance(self, state: JournalState, now: int) -> Sequence[Fact]:
        return ()

    def evolve(self, state: JournalState, fact: Fact, version: int, at: int) -> None:
        match fact:
            case JournalOpened(parent=(_, task_key, token)):
                state.opening, state.holder, state.task_key = version, (fact.run_no, token), task_key
            case JournalCallStarted(key, fingerprint):
                state.entries[key] = Entry(fingerprint, "at_most_once", state.opening)
                state.bytes += _size(key, fingerprint)
            case JournalCallEnded(key=key):
                entry = state.entries.get(key)
                if entry is None:
                    entry = state.entries[key] = Entry(fact.fingerprint, "idempotent", state.opening)
                    state.bytes += _size(key, fact.fingerprint)
                entry.value, entry.error, entry.opening = fact.value, fact.error, state.opening
                state.bytes += len(fact.value or b"")
            case JournalCallWithdrawn(key):
                _drop(state, [key])
            case JournalCallsForgotten(key):
                _drop(state, _from(state, key))
            case _:
                raise InvariantError(f"a journal does not know the fact {type(fact).__name__}")
        state.version, state.written_at = version, at
        state.opened_at = state.opened_at or at

    # --- what the engine asks ---------------------------------------------------------------------------------------

    def summary(self, state: JournalState) -> Summary:
        execution = Execution.of(state.stream_id)
        return Summary(
            execution_id=execution.id,
            run_no=execution.run_no,
            name=state.task_key,
            status=state.status,
            # Nobody has to look after it when a process starts; it goes when the workflow it is a part of goes.
            is_open=False,
            started_at=state.opened_at,
            ended_at=state.written_at,
        )

    def snapshot(self, state: JournalState) -> bytes:
        return codec.encode(
            _Saved(
                _FORM,
                state.version,
                state.opening,
                state.holder,
                state.task_key,
                state.entries,
                state.opened_at,
                state.written_at,
            )
        )


def _open(state: JournalState, command: OpenJournal) -> Sequence[Fact]:
    _, task_key, token = command.parent
    if (command.run_no, token) < state.holder:
        raise CommandRefused(
            f"a later attempt writes the journal of {task_key!r}", hint="end: this attempt was superseded"
        )
    _check_room(state, 0)
    return (JournalOpened(command.parent, command.run_no, command.attempt),)


def _check_holder(state: JournalState, opening: int) -> None:
    if opening != state.opening or not opening:
        raise CommandRefused(
            f"another attempt has opened the journal of {state.task_key!r} since",
            hint="end: this attempt was superseded",
        )


def _check_room(state: JournalState, size: int) -> None:
    if len(state.entries) >= MAX_CALLS or state.bytes + size > MAX_JOURNAL_BYTES or state.version >= MAX_RUN_EVENTS - 1:
        raise BoundExceeded(
            f"the journal of {state.task_key!r} has {len(state.entries):,} calls of {state.bytes:,} bytes; "
            f"the limits are {MAX_CALLS:,} and {MAX_JOURNAL_BYTES:,}",
            hint="divide the work into several tasks",
        )


def _start(state: JournalState, command: StartCall) -> Sequence[Fact]:
    entry = state.entries.get(command.key)
    if entry is None:
        _check_room(state, _size(command.key, command.fingerprint))
        return (JournalCallStarted(command.key, command.fingerprint),)
    if entry.opening == state.opening and not entry.is_over and entry.fingerprint == command.fingerprint:
        return ()  # asked again, because the answer was not heard
    raise CommandRefused(
        f"the call {command.key!r} of {state.task_key!r} has begun before", hint="it is not made again"
    )


def _end(state: JournalState, command: EndCall) -> Sequence[Fact]:
    entry = state.entries.get(command.key)
    if entry is None:
        if command.effect == "at_most_once":
            raise CommandRefused(
                f"the call {command.key!r} of {state.task_key!r} has not begun", hint="record its start first"
            )
        _check_room(state, _size(command.key, command.fingerprint) + len(command.value or b""))
        return (JournalCallEnded(command.key, command.fingerprint, command.value, command.error),)
    if entry.is_over:
        if entry.opening == state.opening and (entry.value, entry.error) == (command.value, command.error):
            return ()
        raise CommandRefused(f"the call {command.key!r} of {state.task_key!r} is over", hint="what came of it stands")
    if entry.opening != state.opening and not command.is_given:
        raise CommandRefused(
            f"the call {command.key!r} of {state.task_key!r} was begun by an earlier attempt",
            hint="nobody knows its end",
        )
    return (JournalCallEnded(command.key, (), command.value, command.error, command.is_given),)


def _forget(state: JournalState, key: str) -> Sequence[Fact]:
    gone = _from(state, key)
    if not gone:
        return ()
    for one in gone:
        if state.entries[one].effect == "at_most_once":
            raise CommandRefused(
                f"the journal of {state.task_key!r} cannot be forgotten from {key!r} on: {one!r} must not happen twice",
                hint="ask the same again, or under another key",
            )
    return (JournalCallsForgotten(key, len(gone)),)


def _from(state: JournalState, key: str) -> list[str]:
    """Return the keys of the call and of all that were recorded after it."""
    keys = list(state.entries)
    return keys[keys.index(key) :] if key in state.entries else []


def _drop(state: JournalState, keys: Sequence[str]) -> None:
    for key in keys:
        entry = state.entries.pop(key)
        state.bytes -= _size(key, entry.fingerprint) + len(entry.value or b"")


def _size(key: str, fingerprint: Fingerprint) -> int:
    return len(key) + sum(len(name) + len(part) for name, part in fingerprint)


def _restored(stream_id: str, data: bytes) -> JournalState:
    saved = read_snapshot(stream_id, data, _Saved, _FORM)
    state = JournalState(stream_id)
    state.version, state.opening, state.holder, state.task_key = (
        saved.version,
        saved.opening,
        saved.holder,
        saved.task_key,
    )
    state.entries, state.opened_at, state.written_at = saved.entries, saved.opened_at, saved.written_at
    state.bytes = sum(_size(key, one.fingerprint) + len(one.value or b"") for key, one in saved.entries.items())
    return state
