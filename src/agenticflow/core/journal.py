"""The journal of a task: steps of a handler that is not ours, each with what came of it, so that another attempt does not do them again.

``TaskJournal`` is the face that handlers use (``context.journal``); ``JournalDesk`` is the port of whoever writes the journal of one
attempt (``runtime.coordination.journals``), ``resilience.journal`` decides what may be written. Pure: nothing here waits by itself or
touches a store.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, Protocol, TypeVar

import msgspec

from agenticflow.core import codec
from agenticflow.core.interrupts import interrupt_in
from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.errors import InvalidInput, NonDeterminismError, OutcomeUnknown, PermanentError

__all__ = [
    "MAX_CALLS",
    "MAX_JOURNAL_BYTES",
    "MAX_KEY_CHARS",
    "CallEffect",
    "Entry",
    "Fingerprint",
    "JournalDesk",
    "KeepsJournals",
    "OnDifference",
    "TaskJournal",
    "fingerprint_of",
    "first_difference",
]

T = TypeVar("T")
CallEffect = Literal["idempotent", "at_most_once"]
OnDifference = Literal["fail", "forget"]
Fingerprint = tuple[tuple[str, str], ...]
"""What was asked: the name of each part and the part itself, or its digest where it is long."""
MAX_KEY_CHARS: Final = 200
MAX_CALLS: Final = 10_000
"""Of one journal."""
MAX_JOURNAL_BYTES: Final = 64 * 1024 * 1024
"""Of what is kept of the calls of one journal, large values apart."""
_LAST_ITEMS: Final = 20
"""Of a list: how many have a part of their own; all before them share one."""
_MAX_PARTS: Final = 100
_SHOWN_BYTES: Final = 48
_NOT_GIVEN: Final = object()


def fingerprint_of(request: object) -> Fingerprint:
    """Return what tells ``request`` from another: for a mapping a part for each key, for a list in it a part for each of the last items.

    Bounded, however long the request is. Raises ``NotSerializable``.
    """
    if not isinstance(request, Mapping):
        return (("request", _shown(request)),)
    parts: list[tuple[str, str]] = []
    for key in sorted(request, key=str)[:_MAX_PARTS]:
        value = request[key]
        if isinstance(value, (list, tuple)):
            parts.extend(_parts_of_list(str(key), value))
        else:
            parts.append((str(key), _shown(value)))
    if len(parts) > _MAX_PARTS or len(request) > _MAX_PARTS:
        parts = [*parts[: _MAX_PARTS - 1], ("the rest", _shown(dict(request)))]
    return tuple(parts)


def _parts_of_list(key: str, items: Sequence[object]) -> list[tuple[str, str]]:
    first = max(0, len(items) - _LAST_ITEMS)
    parts = [(f"len({key})", str(len(items)))]
    if first:
        parts.append((f"{key}[:{first}]", _shown(items[:first])))
    parts.extend((f"{key}[{place}]", _shown(items[place])) for place in range(first, len(items)))
    return parts


def _shown(value: object) -> str:
    data = codec.encode(value, is_canonical=True)
    if len(data) > _SHOWN_BYTES or not isinstance(value, (str, int, float, bool, type(None))):
        return f"#{codec.content_hash(data)[:16]}"
    return repr(value)


def first_difference(recorded: Fingerprint, asked: Fingerprint) -> str | None:
    """Return, in words, where two requests begin to differ; ``None`` when they are equal."""
    if recorded == asked:
        return None
    before, now = dict(recorded), dict(asked)
    for name in [*now, *before]:
        if before.get(name) != now.get(name):
            return f"{name} was {before.get(name, 'not there')} and is {now.get(name, 'not there')}"
    return "its parts are in another order"


class Entry(msgspec.Struct, array_like=True):
    """One call, as it is folded."""

    fingerprint: Fingerprint
    effect: CallEffect
    opening: int
    """Of whose attempt: the version at which it opened the journal."""
    value: bytes | None = None
    """Encoded, or a stand-in for a large value; ``None`` while nothing has come of it."""
    error: ErrorInfo | None = None

    @property
    def is_over(self) -> bool:
        """Whether something has come of it."""
        return self.value is not None or self.error is not None


class JournalDesk(Protocol):
    """Writes the journal in the name of one attempt. Every method opens it first when need be.

    Raises ``TaskCancelled`` when another attempt has opened it since, or this one is over, ``CommandRefused`` for what may not be written,
    ``BoundExceeded`` when it is full, ``StoreUnavailable`` when the store does not come back in time.
    """

    @property
    def is_superseded(self) -> bool:
        """Whether another attempt was found to have it: nothing that comes of this one counts."""

    async def find(self, key: str) -> Entry | None:
        """Return what is recorded of the call, its value at hand."""

    async def start(self, key: str, fingerprint: Fingerprint) -> None:
        """Record that a call that must not happen twice is about to be made."""

    async def end(
        self,
        key: str,
        fingerprint: Fingerprint,
        effect: CallEffect,
        *,
        value: bytes | None = None,
        error: ErrorInfo | None = None,
        is_given: bool = False,
    ) -> None:
        """Record what came of a call. It is written even when the caller is cancelled meanwhile. ``is_given`` says that ``value`` stands
        for an outcome that nobody knows."""

    async def withdraw(self, key: str) -> None:
        """Record that a call that was about to be made was not."""

    async def forget(self, key: str) -> None:
        """Forget the call and all that were recorded after it."""

    def wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        """Have ``work`` done on the event loop, from a thread; return what comes of it."""

    def close(self) -> None:
        """The attempt is over: write nothing more in its name."""


class KeepsJournals(Protocol):
    """Where the journals of tasks are."""

    def desk(
        self, *, workflow_id: str, run_no: int, task_key: str, generation: int, token: int, attempt: int
    ) -> JournalDesk:
        """Return the desk of one attempt. Its journal is that of every attempt of the task: nothing is read or written yet."""


class TaskJournal:
    """What a handler has done so far, by keys of its own. Equal for all attempts of a task, also after a restart and in the next run."""

    __slots__ = ("_answered", "_counts", "_desk", "_name", "_underway")

    def __init__(self, desk: JournalDesk, task_key: str) -> None:
        self._desk = desk
        self._name = task_key
        self._counts: dict[str, int] = {}
        self._answered: set[str] = set()
        self._underway: set[str] = set()

    def numbered(self, kind: str) -> str:
        """Return the key of the next call of its ``kind``: ``"model-1"``, ``"model-2"``. Only for calls that come in the same order each
        time; those that are made at once have keys of their own, or a kind each."""
        number = self._counts[kind] = self._counts.get(kind, 0) + 1
        return f"{kind}-{number}"

    async def call(
        self,
        key: str,
        perform: Callable[[], Awaitable[object]],
        *,
        effect: CallEffect = "idempotent",
        request: object = None,
        interrupted: object = _NOT_GIVEN,
        on_difference: OnDifference = "fail",
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> object:
        """Return what is recorded under ``key``, plain data as results of tasks are; when nothing is, ``perform`` and record it first.

        An idempotent call that raised, or whose process died, is made again by the next attempt. One that must happen at most once is
        recorded before it is made: what it raised is recorded too and raised again as ``PermanentError``; if nobody knows what came of it
        this is ``interrupted``, or ``OutcomeUnknown`` is raised. ``request`` is what is asked. When something else was recorded under the
        key, the handler does not repeat itself, which is a ``NonDeterminismError``; ``on_difference="forget"`` forgets that call and all
        after it instead, unless one of them must not happen twice. ``before`` is awaited when the call is to be made, before anything says
        so; what it raises leaves no trace. Raises ``InvalidInput`` for a key that was answered in this attempt
        already.
        """
        fingerprint = self._begin(key, effect, request)
        try:
            entry = await self._recorded(key, fingerprint, effect, on_difference, interrupted, before)
            if entry is not None:
                return self._value_of(key, entry)
            try:
                value = codec.encode(await perform())
            except BaseException as error:
                await self._failed(key, fingerprint, effect, error)
                raise
            await self._desk.end(key, fingerprint, effect, value=value)
            return self._answer(key, value)
        finally:
            self._underway.discard(key)

    def call_from_thread(
        self,
        key: str,
        perform: Callable[[], object],
        *,
        effect: CallEffect = "idempotent",
        request: object = None,
        interrupted: object = _NOT_GIVEN,
        on_difference: OnDifference = "fail",
    ) -> object:
        """``call`` for handlers that run in threads: ``perform`` is a plain function, and runs in the thread that calls."""
        fingerprint = self._begin(key, effect, request)
        desk = self._desk
        try:
            entry = desk.wait_for(self._recorded(key, fingerprint, effect, on_difference, interrupted))
            if entry is not None:
                return self._value_of(key, entry)
            try:
                value = codec.encode(perform())
            except BaseException as error:
                desk.wait_for(self._failed(key, fingerprint, effect, error))
                raise
            desk.wait_for(desk.end(key, fingerprint, effect, value=value))
            return self._answer(key, value)
        finally:
            self._underway.discard(key)

    @property
    def is_superseded(self) -> bool:
        """Whether another attempt has the journal by now: this one can write nothing, and nothing that comes of it counts."""
        return self._desk.is_superseded

    def close(self) -> None:
        """The attempt is over."""
        self._desk.close()

    def _begin(self, key: str, effect: str, request: object) -> Fingerprint:
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_CHARS:
            raise InvalidInput(
                f"{key!r:.80} is no key of a call: text of 1 to {MAX_KEY_CHARS} characters",
                hint='name what is done: journal.call("fetch-prices", …)',
            )
        if effect not in ("idempotent", "at_most_once"):
            raise InvalidInput(f"effect={effect!r} of {key!r} is unknown", hint='use "idempotent" or "at_most_once"')
        if key in self._answered or key in self._underway:
            raise InvalidInput(
                f"the handler of {self._name!r} makes two calls under the key {key!r}",
                hint='give each its own, or number them: journal.numbered("model")',
            )
        fingerprint = fingerprint_of(request)
        self._underway.add(key)
        return fingerprint

    async def _recorded(
        self,
        key: str,
        fingerprint: Fingerprint,
        effect: CallEffect,
        on_difference: OnDifference,
        interrupted: object,
        before: Callable[[], Awaitable[None]] | None = None,
    ) -> Entry | None:
        """Return what came of the call before; ``None`` when it is to be made, and may be."""
        entry = await self._desk.find(key)
        if entry is not None:
            difference = first_difference(entry.fingerprint, fingerprint)
            if entry.effect != effect:
                difference = f"its effect was {entry.effect!r} and is {effect!r}"
            if difference is None and entry.is_over:
                return entry
            if difference is None:
                return await self._unknown(key, fingerprint, effect, interrupted)
            if on_difference != "forget":
                raise NonDeterminismError(
                    f"the handler of {self._name!r} does not repeat what its journal has under {key!r}: {difference}",
                    hint="ask the same again, or under another key; run_again of the task begins with an empty journal",
                )
            await self._desk.forget(key)
        if before is not None:
            await before()
        if effect == "at_most_once":
            await self._desk.start(key, fingerprint)
        return None

    async def _unknown(self, key: str, fingerprint: Fingerprint, effect: CallEffect, interrupted: object) -> Entry:
        if interrupted is _NOT_GIVEN:
            raise OutcomeUnknown(
                f"nobody knows what came of the call {key!r} of {self._name!r}: it was begun, and its process ended",
                hint="find out whether it happened, then resolve the task",
            )
        value = codec.encode(interrupted)
        # Recorded, so that what follows from it stays true whatever is given next time.
        await self._desk.end(key, fingerprint, effect, value=value, is_given=True)
        return Entry(fingerprint, effect, 0, value)

    async def _failed(self, key: str, fingerprint: Fingerprint, effect: CallEffect, error: BaseException) -> None:
        """Record what has to be of a call that raised. An idempotent one is as if it had not been made."""
        if effect != "at_most_once" or isinstance(error, OutcomeUnknown):
            return
        if interrupt_in(error) is not None:
            await self._desk.withdraw(key)
        elif isinstance(error, Exception):
            await self._desk.end(key, fingerprint, effect, error=describe_error(error))

    def _value_of(self, key: str, entry: Entry) -> object:
        if entry.value is not None:
            return self._answer(key, entry.value)
        raise PermanentError(
            f"the call {key!r} of {self._name!r} failed, and must not happen twice: {entry.error}",
            hint="run_again of the task begins with an empty journal",
        )

    def _answer(self, key: str, value: bytes) -> object:
        self._answered.add(key)
        return codec.decode(value)
