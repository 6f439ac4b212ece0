"""The host: for each execution, load, fold, decide, commit, and only then dispatch and answer.

One actor per execution; its commands are taken in turn, and many that queued meanwhile go into one commit. The state is private to
the actor. When a commit fails the folded state is thrown away and folded again: the store is the fence. Commands come in
from callers (``submit``, answered) and from workers (``report``, not answered); effects go out to the dispatcher.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from agenticflow.core.clocks import Clock
from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import ActivityInput, Effect, Guest, ProcessDeath, RunActivity, TimersDue
from agenticflow.core.measures import Measures
from agenticflow.core.types import ADVISED_RUN_EVENTS, MAX_RUN_EVENTS
from agenticflow.core.values import BlobMissing, Values
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConcurrencyConflict,
    InvariantError,
    OutcomeUnknown,
    StoreUnavailable,
    TemporaryError,
    WorkflowNotFoundError,
)
from agenticflow.runtime.actors import (
    Actor,
    Actors,
    Answer,
    Listing,
    Request,
    Sequel,
    Waiting,
    as_failure,
    is_success,
    refuse,
)
from agenticflow.runtime.failpoints import reach
from agenticflow.runtime.loading import Loader, answered_before
from agenticflow.runtime.timers import Timers
from agenticflow.runtime.turns.sequels import Foresee, Sequels
from agenticflow.runtime.turns.turn import Turn
from agenticflow.storage.rows import RunRow
from agenticflow.storage.store import Store

__all__ = ["Host"]

log = logging.getLogger("agenticflow.engine")

MAX_INBOX: Final = 20_000
"""Commands of callers that wait for their turn in one execution."""
MAX_CONFLICTS: Final = 10
RETRY_FIRST_SECONDS: Final = 0.05
RETRY_LAST_SECONDS: Final = 5.0
_INTERRUPTED: Final[AgenticFlowError | None] = OutcomeUnknown("a turn was interrupted while it was committed")


class Host:
    """Runs executions of any kind over one store."""

    def __init__(self, store: Store, clock: Clock, *, max_actors: int = 20_000) -> None:
        self._store = store
        self._clock = clock
        self.actors = Actors(max_actors)
        """The executions in memory."""
        self._timers = Timers(clock, self._timer_due)
        self._tasks: set[asyncio.Task[None]] = set()
        self._values = Values()
        self._loader = Loader(store, self._values)
        self._sequels = Sequels(self.actors, self._values)
        self._perform: Callable[[str, Effect], None] = _nobody_performs
        self.is_closing = False
        self.is_taking_effect = False
        """Whether facts that are committed are being dispatched right now."""
        self._following: list[Actor] = []
        """Those that got commands meanwhile: whoever takes this turn takes theirs next."""
        self.stale_reports = 0
        """Reports whose token was not current: counted, otherwise without effect."""
        self.measures: Measures | None = None
        """Somebody listens to what the engine measures."""

    def add_guest(self, guest: Guest[Any], listing: Listing | None = None) -> None:
        """Run executions of this kind. ``listing`` says what of their state is found by lists, beside the index of executions."""
        self.actors.guests[guest.kind] = guest
        if listing is not None:
            self.actors.listings[guest.kind] = listing

    @property
    def store(self) -> Store:
        """What it works over."""
        return self._store

    def perform_with(self, perform: Callable[[str, Effect], None], foresee: Foresee | None = None) -> None:
        """Hand committed effects to ``perform(stream_id, effect)``. What ``foresee`` knows before that to follow from one elsewhere goes
        into the transaction of what asks for it."""
        self._perform = perform
        self._sequels.foresee = foresee

    def measure_with(self, measures: Measures) -> None:
        """Measure from now on; before anything is recovered, so that nothing is missed."""
        self.measures = self._timers.measures = measures

    # --- commands ---------------------------------------------------------------------------------------------------

    async def submit(self, stream_id: str, command: Command, command_id: str | None = None) -> Answer:
        """Decide and commit ``command``; return once it is durable.

        Raises what the decider or the store refuses it with. A caller that is cancelled does not know the outcome; with a
        ``command_id`` it may ask again.
        """
        if self.is_closing:
            raise StoreUnavailable("the engine is stopping and takes no commands", hint="start it again")
        actor = self.actors.of(stream_id)
        if len(actor.inbox) >= MAX_INBOX:
            raise BoundExceeded(
                f"{len(actor.inbox):,} commands wait for {stream_id!r} already", hint="send them more slowly"
            )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        actor.inbox.append(Request(command, command_id, answer))
        if not actor.is_busy:
            self._spawn(self._pump(actor))
        return await answer

    async def demand(self, stream_id: str, command: Command) -> Answer:
        """Like ``submit``, by somebody who is cancelled only when the engine stops: spares the way over another task."""
        actor = self.actors.of(stream_id)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        actor.inbox.append(Request(command, None, answer))
        if not actor.is_busy:
            await self._pump(actor)
        return await answer

    def report(self, stream_id: str, command: Command, sequels: Sequence[Sequel] = ()) -> Coroutine[Any, Any, None]:
        """Take the outcome of an attempt. To be awaited at once: until it is committed, or somebody else is at it and it will be soon."""
        actor = self.actors.of(stream_id)
        actor.inbox.append(Request(command, None, None, sequels))
        return self._pump(actor)

    def tell(self, stream_id: str, command: Command) -> None:
        """Have ``command`` decided soon; nobody waits for its answer. What the store fails at is tried again."""
        if self.is_closing:
            return
        self._enqueue(stream_id, Request(command, None, None))

    def ask(self, stream_id: str, command: Command, answer: Waiting[Answer]) -> None:
        """Like ``tell``, but ``answer`` is told what comes of it, or why nothing does."""
        self._enqueue(stream_id, Request(command, None, answer))

    def _enqueue(self, stream_id: str, request: Request) -> None:
        actor = self.actors.of(stream_id)
        actor.inbox.append(request)
        if actor.is_busy:
            return
        if self.is_taking_effect:
            self._following.append(actor)
        else:
            self._spawn(self._pump(actor))

    async def is_in_work(self, stream_id: str, token: int) -> bool:
        """Whether the attempt with this token has not ended. Raises ``WorkflowNotFoundError``."""
        state = await self.read(stream_id)
        return self.actors.of(stream_id).guest.is_in_work(state, token)

    def inputs_at_hand(self, stream_id: str, task_key: str) -> ActivityInput:
        """Return what the handler of ``task_key`` is given, while a fact of this execution takes effect. Raises ``BlobMissing``."""
        actor = self.actors[stream_id]
        return actor.guest.inputs(actor.state, task_key)

    async def inputs(self, stream_id: str, task_key: str) -> ActivityInput:
        """Return what the handler of ``task_key`` is given. Raises ``InvalidInput``."""
        actor = self.actors.of(stream_id)
        if actor.state is None:
            await self._ensure(actor)
        try:
            return actor.guest.inputs(actor.state, task_key)
        except BlobMissing:
            with self._values.gathering():
                while True:
                    await self._ensure(actor)
                    try:
                        return actor.guest.inputs(actor.state, task_key)
                    except BlobMissing as missing:
                        await self._loader.fetch(missing, stream_id)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def read(self, stream_id: str) -> Any:
        """Return the committed state. It is the actor's own: look, do not touch, do not keep it across an await.

        Raises ``WorkflowNotFoundError`` when the stream has no events.
        """
        actor = self.actors.of(stream_id)
        await self._settle(actor)
        if actor.version == 0 and not actor.is_busy:
            self.actors.pop(stream_id, None)
            raise WorkflowNotFoundError(
                f"there is no {stream_id!r} in this store", hint="`agenticflow runs list` shows what there is"
            )
        return actor.state

    async def fetch(self, stream_id: str, missing: BlobMissing) -> None:
        """Bring the blob that a pure reader of the state asked for; it is ``gathering`` what it needs."""
        await self._loader.fetch(missing, stream_id)

    async def ended(self, stream_id: str) -> Any:
        """Wait until the execution has ended; return its final state."""
        actor = self.actors.get(stream_id)
        if actor is None or not actor.version or actor.is_deciding:
            state = await self.read(stream_id)
            if not state.is_open:
                return state
            actor = self.actors.of(stream_id)
        elif not actor.state.is_open:
            return actor.state
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        actor.ended.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future in actor.ended:
                actor.ended.remove(future)
            raise

    def timer_of(self, stream_id: str) -> int | None:
        """Return the moment at which the execution will be told the time, ``None`` when it will not."""
        return self._timers.moment_of(stream_id)

    def set_timer(self, stream_id: str, moment: int | None) -> None:
        """Have the execution told the time at ``moment``, which is the earliest its committed state wants."""
        self._timers.set(stream_id, moment)

    # --- life -------------------------------------------------------------------------------------------------------

    async def recover(self, *, batch: int = 100, died: ProcessDeath | None = None) -> int:
        """Take up every open execution of the kinds known here; return how many. ``died`` says how the process before ended."""
        rows: list[RunRow] = []
        after: str | None = None
        while page := await self._store.list_runs(is_open=True, after=after, limit=1_000):
            rows.extend(row for row in page if row.kind in self.actors.guests)
            after = page[-1].stream_id
        reach("host.recovering")
        for start in range(0, len(rows), batch):
            await asyncio.gather(*(self._recover_one(row.stream_id, died) for row in rows[start : start + batch]))
        if self.measures is not None:
            self.measures.recovered(len(rows))
        return len(rows)

    async def _recover_one(self, stream_id: str, died: ProcessDeath | None) -> None:
        actor = self.actors.of(stream_id)
        # A parent that is taken up may ask for its child first: then the child's state is what it would be if it were new.
        await self._settle(actor)
        if not actor.state.is_open:
            return
        recovery = actor.guest.recover(actor.state, self._clock.now_ns(), died)
        for effect in recovery.effects:
            self._perform(stream_id, effect)
        # What became ready in the last moment before the crash is committed with the fact that made it ready, so there is
        # nothing to advance here; due timers come by themselves.
        actor.inbox.extend(Request(command, None, None) for command in recovery.commands)
        self._timers.set(stream_id, actor.state.next_due)
        if actor.inbox and not actor.is_busy:
            await self._pump(actor)
        reach("host.recovered")

    async def stop(self) -> None:
        """Finish what is being committed; take nothing new."""
        self.is_closing = True
        self._timers.stop()
        for actor in self.actors.values():
            if actor.inbox and not actor.is_busy:
                self._spawn(self._pump(actor))
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=10)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=1)
        self.actors.stop(_stopped())

    # --- the turn of an actor ---------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            if self.is_closing and isinstance(error, (TemporaryError, OutcomeUnknown)):
                return  # the store is away while the engine stops: the next start finds what is open
            # Whoever waited for an answer has it as an exception; this is for whoever runs the process.
            log.critical("a turn of the engine ended: %s", error)

    async def _pump(self, actor: Actor) -> None:
        """Take the actor's commands in turn until there are none, and then those of actors that got some by that."""
        first = actor
        while True:
            if not actor.is_busy:
                actor.is_busy = True
                try:
                    while actor.inbox:
                        await self._take_turn(actor)
                        if self._following and actor.inbox:
                            self._spawn_following()
                except BaseException as error:
                    self._spawn_following()
                    if actor is first or not isinstance(error, Exception):
                        raise
                    log.critical("a turn of the engine ended: %s", error)
                finally:
                    actor.is_busy = False
            if not self._following:
                return
            actor = self._following.pop()
            self._spawn_following()

    def _spawn_following(self) -> None:
        """Have those that got commands served by tasks of their own: nobody may wait for another's commit."""
        following, self._following = self._following, []
        for actor in following:
            self._spawn(self._pump(actor))

    async def _take_turn(self, actor: Actor) -> None:
        batch = actor.take_batch()
        actor.is_deciding = True
        try:
            await self._turn(actor, batch)
            actor.conflicts = actor.failures = 0
        except ConcurrencyConflict as conflict:
            actor.forget()
            actor.conflicts += 1
            actor.dispatched = -1  # what somebody else made true is theirs to dispatch
            if actor.conflicts > MAX_CONFLICTS:
                refuse(batch, conflict)
                batch = [request for request in batch if request.answer is None]
                actor.inbox.extendleft(reversed(batch))
                actor.is_deciding = False
                await asyncio.sleep(RETRY_FIRST_SECONDS)
            else:
                actor.inbox.extendleft(reversed(batch))
        except asyncio.CancelledError:
            actor.forget()
            refuse(batch, _stopped())
            raise
        except Exception as error:
            actor.forget()
            actor.is_deciding = False
            if not await self._survive(actor, batch, error):
                raise
        finally:
            actor.is_deciding = False
            if actor.settled:
                actor.tell_settled()

    async def _turn(self, actor: Actor, batch: list[Request]) -> None:
        if actor.state is None:
            await self._prepare(actor, batch[0].command)
        turn = Turn(actor)
        for request in batch:
            try:
                try:
                    if request.command.blobs:
                        await self._decide(turn, request)
                    else:
                        turn.decide(request.command, request.answer, request.sequels)
                except BlobMissing:
                    await self._decide(turn, request)
            except AgenticFlowError as refusal:
                if isinstance(refusal, InvariantError) or request.answer is None or turn.is_torn:
                    raise
                if turn.facts:  # it may be refused for what is not true yet: it is told when that is, or has failed
                    turn.refusals.append((request, refusal))
                else:
                    await self._refuse_or_repeat(actor.stream_id, request, refusal)
        self.stale_reports += turn.stale
        reach("host.decided")
        if turn.facts:
            turn.close(batch[0].command_id, batch[-1].command.now)
            may_have_sequels = turn.start is not None or turn.brought or actor.reporter is not None
            if may_have_sequels and len(turns := self._sequels.behind(turn)) > 1:
                await self._commit_in_order(turns)
            else:  # nearly always
                asked = 0 if self.measures is None else self._clock.now_ns()
                committed = await self._store.commit(turn.commit)
                if self.measures is not None:
                    self.measures.committed(len(turn.facts), self._clock.now_ns() - asked)
                reach("host.committed")
                if committed.is_repeated:
                    turn.repeat(committed.version)
                else:
                    self._take_effect(turn)
        elif actor.state is not None:
            # Nothing new; but what was read again after a conflict may be news to whoever waits here.
            self._timers.set(actor.stream_id, actor.state.next_due)
            actor.tell_the_news()
        if turn.answers or turn.refusals:
            turn.answer()

    async def _decide(self, turn: Turn, request: Request) -> None:
        """Decide a command that comes with large values, or asks for them: they are fetched one by one."""
        with self._values.gathering():
            # Those it brings are in no store yet: they have to be at hand until they are.
            for name, data in request.command.blobs:
                self._values.put(name, data)
            while True:
                try:
                    turn.decide(request.command, request.answer, request.sequels)
                    return
                except BlobMissing as missing:
                    await self._loader.fetch(missing, turn.actor.stream_id)

    async def _commit_in_order(self, turns: list[Turn]) -> None:
        """Make turns true that follow from each other; then they take effect.

        Raises what the first fails with. Those that fail behind it are as if they had never been: its effects ask for the same.
        """
        free, fate = 1, _INTERRUPTED  # how many are free, and what became of the others
        try:
            asked = 0 if self.measures is None else self._clock.now_ns()
            answers = await self._store.commit_in_order([turn.commit for turn in turns])
            reach("host.committed")
            last = answers[-1]
            if isinstance(last, AgenticFlowError):
                if len(answers) == 1:
                    fate = last if isinstance(last, OutcomeUnknown) else None  # a conflict is not theirs
                    raise last
                turns = self._cut(turns, len(answers) - 1, last)
            if self.measures is not None:
                for turn in turns:
                    self.measures.committed(len(turn.facts), self._clock.now_ns() - asked)
            self._take_effect(turns[0])
            for turn in turns[1:]:
                self._take_effect(turn)
                free += 1
                if self._sequels.free(turn):
                    self._following.append(turn.actor)
        finally:
            if free < len(turns):
                self._let_go(turns[free:], fate)

    def _cut(self, turns: list[Turn], made: int, fate: AgenticFlowError) -> list[Turn]:
        """Of turns that follow from each other the first ``made`` are true, and ``fate`` befell the next: return those."""
        self._let_go(turns[made:], fate)
        return self._sequels.of_first(turns, made)

    def _let_go(self, turns: Sequence[Turn], fate: AgenticFlowError | None) -> None:
        self._sequels.throw_away(turns, None if self.is_closing else fate)
        self._following.extend(turn.actor for turn in turns if self._sequels.free(turn))

    async def _refuse_or_repeat(self, stream_id: str, request: Request, refusal: AgenticFlowError) -> None:
        # What was accepted once is not refused to who asks again.
        command_id = request.command_id
        version = None if command_id is None else await answered_before(self._store, stream_id, command_id)
        if version is None:
            refuse([request], refusal)
        elif request.answer is not None and not request.answer.done():
            request.answer.set_result(Answer(version, 0, is_repeated=True))

    def _take_effect(self, turn: Turn) -> None:
        """The facts are committed: dispatch what they ask for, tell who waits for the end, set the timer."""
        actor, sequels, version = turn.actor, turn.sequels, turn.version
        state, stream_id = actor.state, actor.stream_id
        actor.version = actor.dispatched = version
        if self.measures is not None:
            self.measures.took_effect(actor.guest.kind, turn.facts, actor.told, state.status)
            actor.told = state.status
        self.is_taking_effect = True
        try:
            for effect in turn.effects:
                if not (sequels and turn.take(effect)):
                    self._perform(stream_id, effect)
            self._timers.set(stream_id, state.next_due)
            if sequels:
                turn.take(None)
            if not state.is_open:
                actor.tell_the_end()
                if not actor.inbox:
                    self.actors.pop(stream_id, None)
            if actor.watched:
                actor.tell_the_change()
        finally:
            self.is_taking_effect = False
        if version >= ADVISED_RUN_EVENTS > version - len(turn.facts):
            log.warning(
                "%s has %d events; split it, or continue in a new run: %d is the end",
                stream_id,
                version,
                MAX_RUN_EVENTS,
            )
        reach("host.dispatched")

    def _catch_up(self, actor: Actor, facts: list[Fact]) -> None:
        """The commit of these facts was not answered, but it happened: do now what they ask for."""
        guest, state, stream_id = actor.guest, actor.state, actor.stream_id
        if self.measures is not None:
            self.measures.took_effect(guest.kind, facts, state.status, state.status)
        at = actor.version - len(facts)
        is_open = {e.token for e in guest.recover(state, self._clock.now_ns()).effects if type(e) is RunActivity}
        for fact in facts:
            at += 1
            for effect in guest.effects(state, fact, at):
                if type(effect) is not RunActivity or effect.token in is_open:
                    self._perform(stream_id, effect)
        self._timers.set(stream_id, state.next_due)
        actor.tell_the_news()

    # --- failure ----------------------------------------------------------------------------------------------------

    async def _survive(self, actor: Actor, batch: list[Request], error: Exception) -> bool:
        """Deal with a failed turn: callers are told, reports are kept and tried again. Returns ``False`` for a bug."""
        refuse(batch, error)
        reports = [request for request in batch if request.answer is None]
        if isinstance(error, OutcomeUnknown):
            # What was written after all is found by reading again, which any command brings about.
            actor.dispatched = max(actor.dispatched, 0)
            reports.append(Request(TimersDue(now=self._clock.now_ns()), None, None))
        if not reports:
            return not isinstance(error, InvariantError)
        if isinstance(error, BoundExceeded):
            actor.inbox.extendleft(Request(as_failure(r.command, error), None, None) for r in reversed(reports))
            return len(reports) > 1 or is_success(reports[0].command)
        if not isinstance(error, (TemporaryError, OutcomeUnknown)) or self.is_closing:
            log.error("cannot record outcomes of %s: %s", actor.stream_id, error)
            return False
        actor.inbox.extendleft(reversed(reports))
        delay = min(RETRY_FIRST_SECONDS * 2**actor.failures, RETRY_LAST_SECONDS)
        actor.failures = min(actor.failures + 1, 10)
        log.warning("cannot record outcomes of %s, trying again in %.2f s: %s", actor.stream_id, delay, error)
        await asyncio.sleep(delay)
        return True

    # --- loading ----------------------------------------------------------------------------------------------------

    async def _ensure(self, actor: Actor) -> None:
        """Have the state in memory. Several may ask at once: one folds."""
        while actor.state is None:
            if actor.loading is not None:
                await asyncio.wait([actor.loading])
                continue
            loading = actor.loading = asyncio.get_running_loop().create_future()
            try:
                news = await self._loader.load(actor)
                if news:
                    self._catch_up(actor, news)
            finally:
                actor.loading = None
                loading.set_result(None)

    async def _prepare(self, actor: Actor, command: Command) -> None:
        """Have the state in memory that ``command`` is decided by."""
        if command.opens_stream and actor.loading is None and not actor.conflicts:
            # If the stream is not empty after all, the commit meets a conflict, and the next turn reads it.
            actor.begin(self._values)
        else:
            await self._ensure(actor)

    async def _settle(self, actor: Actor) -> None:
        """Have the state in memory, and no fact in it that is not committed."""
        while True:
            if actor.is_deciding:
                settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                actor.settled.append(settled)
                await settled
            elif actor.state is None:
                await self._ensure(actor)
            else:
                return

    # --- timers -----------------------------------------------------------------------------------------------------

    def _timer_due(self, stream_id: str) -> None:
        if self.is_closing:
            return
        reach("timers.due")
        self._enqueue(stream_id, Request(TimersDue(now=self._clock.now_ns()), None, None))


def _nobody_performs(stream_id: str, effect: Effect) -> None:
    """Without a dispatcher effects stay in the store; whoever takes the execution up later finds them there."""


def _stopped() -> StoreUnavailable:
    return StoreUnavailable("the engine was stopped", hint="start it again and ask once more")
