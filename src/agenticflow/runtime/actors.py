"""What the host keeps of one execution in memory, and the forms its work takes at the edges: requests, answers, sequels, index rows.

Nothing here decides, waits or writes: that is the host's.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from agenticflow.core.decider import Command
from agenticflow.core.engine import ActivityFinished, Effect, Guest, Listed
from agenticflow.core.events import EventMetadata
from agenticflow.core.results import Outcome, OutcomeKind, describe_error
from agenticflow.core.types import MAX_COMMIT_BYTES, SNAPSHOT_EVERY
from agenticflow.core.values import Values
from agenticflow.errors import InvariantError
from agenticflow.runtime.failpoints import reach
from agenticflow.storage.rows import Blob, Row, RunRow, Snapshot, ValueRow

__all__ = [
    "Actor",
    "Actors",
    "Answer",
    "Listing",
    "Reporter",
    "Request",
    "Sequel",
    "Waiting",
    "as_failure",
    "is_success",
    "metadata_of",
    "refuse",
    "run_row",
]

Told_contra = TypeVar("Told_contra", contravariant=True)
MAX_BATCH: Final = 2_000
MAX_BATCH_BYTES: Final = MAX_COMMIT_BYTES // 4
Listing = Callable[[Any], Sequence[Listed]]
"""Of a state: what follows for lists from ``state.unlisted``, which is emptied then. Asked only when there is something in it."""


class Answer(msgspec.Struct, frozen=True):
    """What became of a submitted command."""

    version: int
    """Version of the stream after it."""
    facts: int
    """How many facts it made true; 0 means it changed nothing."""
    is_repeated: bool = False
    """Whether its command id had been decided before."""


class Waiting(Protocol[Told_contra]):
    """Somebody who waits for something: a future is one. Is told on the event loop, in the middle of a turn: it must not take long."""

    def done(self) -> bool:
        """Whether it waits no more."""

    def set_result(self, result: Told_contra, /) -> None:
        """It has come."""

    def set_exception(self, error: Exception, /) -> None:
        """It will not come."""


class Request(msgspec.Struct, eq=False):
    """A command, who waits for its answer, and what follows from it elsewhere."""

    command: Command
    command_id: str | None
    answer: Waiting[Answer] | None
    sequels: Sequence[Sequel] = ()


class Sequel(Protocol):
    """A command to another execution that follows from facts, and is known before they are committed.

    It may be decided and committed along with them; nobody relies on that. When it was not, it is asked for in the usual way once the
    facts take effect.
    """

    @property
    def stream_id(self) -> str:
        """Whose command it is."""

    @property
    def command(self) -> Command:
        """What follows."""

    @property
    def effect(self) -> Effect | None:
        """The effect it stands for; ``None`` when it follows without one: from the end of the execution, or from a command."""

    def taken(self) -> None:
        """The facts take effect, and what the command came to is committed with them: nobody has to ask for it any more."""


class Reporter(Protocol):
    """Somebody who reports the end of an execution to another one."""

    @property
    def stream_id(self) -> str:
        """To whom."""

    def foresee(self, state: Any) -> Sequel | None:
        """Return the report of the end that ``state`` is at, ``None`` when more has to be known for it."""

    def ended(self, state: Any) -> None:
        """The end is committed. When what ``foresee`` returned was taken, that has reported it, and nothing is left to do."""


class Actor:
    """One execution in memory."""

    __slots__ = (
        "conflicts",
        "dispatched",
        "ended",
        "execution_id",
        "failures",
        "guest",
        "inbox",
        "is_busy",
        "is_deciding",
        "listed",
        "listing",
        "loading",
        "reporter",
        "seen",
        "settled",
        "snapshot_version",
        "state",
        "stream_id",
        "told",
        "version",
        "watched",
    )

    def __init__(self, stream_id: str, execution_id: str, guest: Guest[Any], listing: Listing | None = None) -> None:
        self.stream_id = stream_id
        self.execution_id = execution_id
        self.listing = listing
        """What of the state is listed beside the index row."""
        self.guest = guest
        self.state: Any = None
        self.version = 0
        self.inbox: deque[Request] = deque()
        self.is_busy = False
        self.listed: tuple[str, int | None] | None = None
        self.told = "NEW"
        """The status that was measured last."""
        self.snapshot_version = 0
        self.ended: list[Waiting[Any]] = []
        """Who waits for the end."""
        self.watched: list[Waiting[None]] = []
        """Who waits for whatever happens next."""
        self.reporter: Reporter | None = None
        """Who reports the end elsewhere."""
        self.loading: asyncio.Future[None] | None = None
        self.seen = -1
        """Its version when it was last asked who could leave."""
        self.conflicts = 0
        """Commits in a row that somebody else was faster than."""
        self.failures = 0
        """Turns in a row that the store failed."""
        self.dispatched = -1
        """Version up to which effects were handed out here; -1 when that is not our business, or not known yet."""
        self.is_deciding = False
        """Whether the state holds facts that are not committed yet."""
        self.settled: list[asyncio.Future[None]] = []
        """Who waits for the facts being decided to be committed, or thrown away."""

    @property
    def is_idle(self) -> bool:
        """Whether nobody is about anything of it here."""
        return not self.is_busy and not self.inbox and self.loading is None

    def take_batch(self) -> list[Request]:
        """Take what goes into one commit: one command that has an id, or as many as fit of those that have none."""
        inbox = self.inbox
        batch = [inbox.popleft()]
        if batch[0].command_id is not None:
            return batch
        size = 0
        while inbox and len(batch) < MAX_BATCH and inbox[0].command_id is None:
            command = inbox[0].command
            size += len(command.outcome.value) if type(command) is ActivityFinished else 1_000
            if size > MAX_BATCH_BYTES:
                break
            batch.append(inbox.popleft())
        return batch

    def add_rows(self, version: int, rows: list[Row], now: int) -> None:
        """Add what else has to be recorded with the events up to ``version``: how the execution is listed now, and a snapshot."""
        state = self.state
        listed = (state.status, state.next_due)
        if listed != self.listed:
            self.listed = listed
            rows.append(run_row(self.stream_id, self.guest, state, version))
        if self.listing is not None:
            if state.unlisted:
                rows.extend(self.listed_rows(now))
            if state.made:
                rows.extend(Blob(name, data) for name, data in state.made)
                state.made.clear()
        if version - self.snapshot_version >= SNAPSHOT_EVERY and state.is_open:
            self.snapshot_version = version
            reach("host.snapshot")
            rows.append(Snapshot(stream_id=self.stream_id, version=version, data=self.guest.snapshot(state)))

    def begin(self, values: Values) -> None:
        """Have the state that the execution has before its first event."""
        self.state, self.version = self.guest.initial(self.stream_id), 0
        self.state.values = values

    def tell_settled(self) -> None:
        """The facts that were being decided are committed, or thrown away: tell who waits for that."""
        for waiting in self.settled:
            if not waiting.done():
                waiting.set_result(None)
        self.settled.clear()

    def forget(self) -> None:
        """Throw the folded state away; the next turn folds it from the store."""
        self.state = None
        self.version = 0
        self.listed = None

    def listed_rows(self, now: int) -> list[ValueRow]:
        """Return what has to be written into lists because of the state, once."""
        entries = [] if self.listing is None else self.listing(self.state)
        self.state.unlisted.clear()
        return [ValueRow(one.namespace, one.key, one.value, now) for one in entries]

    def tell_the_change(self) -> None:
        """Tell everybody who waits for whatever happens next that something has."""
        waiting, self.watched = self.watched, []
        for one in waiting:
            if not one.done():
                one.set_result(None)

    def tell_the_news(self) -> None:
        """Tell everybody who waits here how the execution stands, which was read again."""
        self.tell_the_change()
        if not self.state.is_open:
            self.tell_the_end()

    def tell_the_end(self) -> None:
        """Hand the state to everybody who waits for the end."""
        if self.ended:
            waiting, self.ended = self.ended, []
            for one in waiting:
                if not one.done():
                    one.set_result(self.state)
        if (reporter := self.reporter) is not None:
            self.reporter = None
            reporter.ended(self.state)


class Actors(dict[str, Actor]):
    """The executions in memory, by stream. Of those that nobody is about some leave when there are more than ``limit``.

    Rather those that nothing has happened to since the last time some had to leave, and some of all ages: were it always the oldest, then
    of many that go on in turn each would have left just before its turn came.
    """

    def __init__(self, limit: int) -> None:
        super().__init__()
        self._limit = limit
        self._full = limit
        """From so many on some leave: more than ``limit`` when hardly anybody could, because somebody is about nearly all of them."""
        self.guests: dict[str, Guest[Any]] = {}
        """What runs the executions of each kind."""
        self.listings: dict[str, Listing] = {}

    def of(self, stream_id: str) -> Actor:
        """Return the execution, new when it is not in memory. Raises ``InvariantError`` when nobody here runs its kind."""
        actor = self.get(stream_id)
        if actor is None:
            kind, _, run = stream_id.partition("-")
            guest = self.guests.get(kind)
            if guest is None:
                raise InvariantError(f"nobody here runs {stream_id!r}")
            if len(self) >= self._full:
                self._evict()
            actor = self[stream_id] = Actor(stream_id, run.rpartition("/")[0], guest, self.listings.get(kind))
        return actor

    def peek(self, stream_id: str) -> Any:
        """Return the committed state if it is in memory, else ``None``. Look, do not touch, do not keep it across an await."""
        actor = self.get(stream_id)
        return None if actor is None or actor.is_deciding or actor.version == 0 else actor.state

    def is_busy(self, stream_id: str) -> bool:
        """Whether a command of the execution waits here, or is being decided or committed."""
        actor = self.get(stream_id)
        return actor is not None and not actor.is_idle

    def report_with(self, stream_id: str, reporter: Reporter) -> bool:
        """Have the end reported by ``reporter``; ``False`` when the execution is not open, or not in memory, or has one."""
        actor = self.get(stream_id)
        if actor is None or actor.state is None or not actor.state.is_open or actor.reporter is not None:
            return False
        actor.reporter = reporter
        return True

    def stop(self, error: Exception) -> None:
        """Tell whoever still waits that nothing will come."""
        for actor in self.values():
            refuse(actor.inbox, error)
            actor.inbox.clear()
            for waiting in (*actor.ended, *actor.watched):
                if not waiting.done():
                    waiting.set_exception(error)
            actor.ended.clear()
            actor.watched.clear()
            actor.reporter = None  # the execution goes on after the next start

    def _evict(self) -> None:
        wanted = max(1, self._limit // 10)
        quiet: list[str] = []
        others: list[str] = []
        for stream_id, actor in self.items():
            if actor.is_idle and not actor.ended and not actor.watched and actor.reporter is None:
                (quiet if actor.version == actor.seen else others).append(stream_id)
            actor.seen = actor.version
        leaving = _some_of(quiet, wanted)
        leaving += _some_of(others, wanted - len(leaving))
        for stream_id in leaving:
            del self[stream_id]
        # Looking costs as much as there are: not again before there are a tenth more.
        self._full = max(self._limit, len(self) + wanted)

    def forget_ended(self) -> None:
        """Keep nothing of executions that have ended: the store may have let go of them."""
        for stream_id, actor in list(self.items()):
            if actor.is_idle and actor.state is not None and not actor.state.is_open:
                del self[stream_id]


def _some_of(given: list[str], count: int) -> list[str]:
    """Return so many, if there are, from the first to the last."""
    return given[:: max(1, len(given) // count)][:count] if count else []


class _EngineMetadata(msgspec.Struct, omit_defaults=True):
    """The two fields of ``EventMetadata`` that the engine's own events carry."""

    causation_id: str
    correlation_id: str


assert set(_EngineMetadata.__struct_fields__) <= set(EventMetadata.__struct_fields__)
_encode: Final = msgspec.msgpack.Encoder().encode


def metadata_of(actor: Actor, command: Command) -> bytes:
    """Return who caused the facts of ``command``, encoded: for an outcome the scheduling of its attempt, by that event's id."""
    cause = f"{actor.stream_id}@{command.token}" if type(command) is ActivityFinished else type(command).__name__
    return _encode(_EngineMetadata(cause, actor.execution_id))


def run_row(stream_id: str, guest: Guest[Any], state: Any, version: int) -> RunRow:
    """Return the index row that follows from ``state``; also what ``store verify`` compares with."""
    summary = guest.summary(state)
    return RunRow(
        stream_id=stream_id,
        kind=guest.kind,
        execution_id=summary.execution_id,
        run_no=summary.run_no,
        name=summary.name,
        status=summary.status,
        is_open=summary.is_open,
        next_due=summary.next_due,
        fingerprint=summary.fingerprint,
        started_at=summary.started_at,
        ended_at=summary.ended_at,
        version=version,
    )


def refuse(requests: Iterable[Request], error: Exception) -> None:
    """Answer with ``error`` whoever still waits."""
    for request in requests:
        if request.answer is not None and not request.answer.done():
            request.answer.set_exception(error)


def is_success(command: Command) -> bool:
    """Whether the command reports a result."""
    return isinstance(command, ActivityFinished) and command.outcome.kind is OutcomeKind.SUCCEEDED


def as_failure(command: Command, error: Exception) -> Command:
    """Return the report of a result that does not fit as the report of a failure that does."""
    if not isinstance(command, ActivityFinished) or command.outcome.kind is not OutcomeKind.SUCCEEDED:
        return command
    outcome = Outcome(OutcomeKind.FAILED, error=describe_error(error))
    return ActivityFinished(now=command.now, task_key=command.task_key, token=command.token, outcome=outcome)
