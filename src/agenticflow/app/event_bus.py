"""The event bus: who is interested is told. A hint, never the truth: what matters is in the store.

With a store, ``publish`` commits the event to the stream ``topic-<first part of its type>`` first, and subscribers are told of every
event of the store, the engine's included. Without one, or with ``durable=False``, it is ephemeral: an event nobody listens to is gone,
and so is what waits when the process ends. How events are matched, queued, retried and given up is the business of ``communication``;
here the parts are put together.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

from agenticflow.app.wiring import open_broker
from agenticflow.communication.bus import (
    QUEUE_SIZE,
    BusMonitor,
    DeadLetter,
    EventHandler,
    Replay,
    SubscriptionOptions,
    SubscriptionStatistics,
    topic_of,
)
from agenticflow.communication.delivery.deadletters import Letters, MemoryLetters, StoredLetters
from agenticflow.communication.delivery.feed import Feed
from agenticflow.communication.delivery.positions import Bookmarks
from agenticflow.communication.delivery.router import Router
from agenticflow.communication.delivery.subscription import Log, Subscription, tell
from agenticflow.communication.matching import EventPattern, EventPatterns
from agenticflow.core.clocks import ambient
from agenticflow.core.events import AgenticEvent
from agenticflow.core.ids import check_id
from agenticflow.core.results import ErrorInfo
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import ConfigurationError, InvalidInput
from agenticflow.resilience import BackPressure, RetryPolicy
from agenticflow.storage.store import Store

__all__ = ["EventBus", "EventHandler"]

MAX_LISTED: Final = 10_000
DEFAULT_LISTED: Final = 100
_DEFAULT_RETRY = RetryPolicy()
_DEFAULT_PRESSURE = BackPressure()


class _StoreSide:
    """What the bus has because it has a store."""

    def __init__(self, store: Store, router: Router, log: Log) -> None:
        self.store = store
        self.feed = Feed(store, router, log)
        self.bookmarks = Bookmarks(store, self.feed, log)
        self.letters = StoredLetters(store, log)


class EventBus:
    """``bus = EventBus(); await bus.subscribe("task_completed", handler)``.

    ``backend`` carries what is in no store: ``"memory"``, inside this process. ``store`` is where ``publish`` records; an orchestrator
    brings its own to a bus that has none. ``event_monitor`` is told what happens (see ``BusMonitor``), ``logger`` takes the place of the
    logger ``agenticflow.bus``, ``schemas`` check what is published ephemerally (a store has its own).
    """

    def __init__(
        self,
        backend: str = "memory",
        *,
        store: Store | None = None,
        event_monitor: BusMonitor | None = None,
        logger: Log | None = None,
        schemas: SchemaRegistry | None = None,
    ) -> None:
        if store is not None and not isinstance(store, Store):
            raise ConfigurationError(
                f"the store of an event bus is an open store, not {store!r:.60}",
                hint='write EventBus(store=await open_store("sqlite:///state.db")), or leave it to the orchestrator',
            )
        self.store = store
        self._is_attached = False
        """Whether the store is an orchestrator's, which takes it along when it stops."""
        self._broker = open_broker(backend)
        self._is_listening = False
        self._monitor = event_monitor
        self._log: Log = logger or logging.getLogger("agenticflow.bus")
        self._schemas = schemas
        self._router = Router()
        self._starting = asyncio.Lock()
        self._side: _StoreSide | None = None
        self._memory_letters = MemoryLetters(self._log)

    # --- publish and subscribe ------------------------------------------------------------------------------------------

    async def subscribe(
        self,
        pattern: str | Sequence[str],
        handler: EventHandler,
        *,
        name: str | None = None,
        replay: Replay = "new",
        from_position: int | None = None,
        concurrency: int = 1,
        key: Callable[[AgenticEvent], Hashable] | None = None,
        retry_policy: RetryPolicy = _DEFAULT_RETRY,
        back_pressure: BackPressure = _DEFAULT_PRESSURE,
        queue_size: int = QUEUE_SIZE,
    ) -> str:
        """Call ``handler(event)`` for every event whose type matches ``pattern``, or one of several; return the subscription's id.

        Patterns: ``communication.matching``. Events come one at a time and in order; with ``concurrency`` above 1 so many at a time, and
        in order for each ``key(event)``, by default its stream. A handler that raises is called again as ``retry_policy`` says, then the
        event becomes a dead letter and the next is delivered. ``queue_size`` events wait in memory; from which load on publishers wait is
        the business of ``back_pressure``, except that what is in a store is never dropped: a subscriber that is too slow reads it there.

        With a store: ``replay="all"`` begins with its first event, ``from_position=n`` after position *n*. A ``name`` makes the
        subscription durable and is its id: its position is kept in the store, and subscribing under the same name after a restart goes on
        there (``replay`` and ``from_position`` count the first time only), each event at least once. Until the bus has a store these
        three wait for it.

        Raises ``InvalidInput`` for arguments that make no sense and for a name that is subscribed already.
        """
        options = SubscriptionOptions(
            pattern=EventPattern(pattern) if isinstance(pattern, str) else EventPatterns(pattern),
            subscription_id=name if name is not None else ambient.ids.next_id(),
            name=name,
            replay=replay,
            from_position=from_position,
            concurrency=concurrency,
            key=key,
            retry_policy=retry_policy,
            back_pressure=back_pressure,
            queue_size=queue_size,
        )
        if not callable(handler):
            raise InvalidInput(f"the handler for {pattern!r} is a {type(handler).__name__}, not a function")
        if not _takes_one(handler):
            raise InvalidInput(
                f"the handler for {pattern!r} cannot be called with an event alone",
                hint="write async def on_event(event): …",
            )
        if self._router.get(options.subscription_id) is not None:
            raise InvalidInput(
                f"the subscription {options.subscription_id!r} exists already",
                hint="unsubscribe it first, or choose another name",
            )
        if self.store is None and (name is not None or replay != "new" or from_position is not None):
            self._log.warning(
                "the subscription to %r keeps and replays nothing until the bus has a store: an orchestrator brings one",
                pattern,
            )
        subscription = Subscription(options, handler, bury=self._bury, log=self._log, monitor=self._monitor)
        self._router.add(subscription)
        try:
            await self.start()
        except BaseException:
            self._router.remove(options.subscription_id)
            subscription.end()
            raise
        return options.subscription_id

    async def unsubscribe(self, subscription_id: str) -> None:
        """End the subscription; an unknown id changes nothing. A durable one keeps its position and may be subscribed again."""
        check_id(subscription_id, "a subscription")
        subscription = self._router.remove(subscription_id)
        if subscription is not None:
            await self._end([subscription])

    async def publish(self, event: AgenticEvent, *, durable: bool = True) -> None:
        """Tell the subscribers; with a store, commit first.

        Waits as long as the ``back_pressure`` of the subscribers it concerns asks for. Without a store, or with ``durable=False``, raises
        ``BoundExceeded`` when one of them rejects it; with a store the errors of ``append``. A registered schema that the payload does
        not fit raises ``InvalidInput``.
        """
        if not isinstance(event, AgenticEvent):
            raise InvalidInput(f"only AgenticEvent can be published, not {type(event).__name__}")
        if durable and self.store is not None:
            await self._router.hold_back(event.event_type)
            await self.store.append(topic_of(event.event_type), [event])
        else:
            schemas = self._schemas if self.store is None else self.store.schemas
            if schemas is not None:
                schemas.check(event.event_type, event.schema_version, event.payload)
            if not self._is_listening:
                await self._listen()
            await self._broker.send(event)
        if self._monitor is not None:
            tell(self._monitor, lambda monitor: monitor.event_published(event), self._log)

    # --- life -------------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen to the broker and follow the store, if there is one; implied by use, a second call does nothing."""
        if not self._is_listening:
            await self._listen()
        if self.store is None or not len(self._router):
            return
        async with self._starting:
            if self.store is None:
                return
            if self._side is None:
                self._side = _StoreSide(self.store, self._router, self._log)
            await self._side.feed.open()
            for subscription in self._router:
                if subscription.progress is None:
                    await self._join(self._side, subscription)

    async def stop(self) -> None:
        """End all subscriptions, write down where durable ones stand, let go of a store that was attached; a second call does nothing."""
        subscriptions = list(self._router)
        for subscription in subscriptions:
            self._router.remove(subscription.subscription_id)
        await self._end(subscriptions)
        if self._side is not None:
            side, self._side = self._side, None
            await side.feed.close()
            await side.bookmarks.close()
        if self._is_attached:
            self.store, self._is_attached = None, False
        self._is_listening = False
        await self._broker.close()

    async def attach(self, store: Store) -> None:
        """Follow ``store`` from now on; an orchestrator attaches its bus by itself.

        Raises ``ConfigurationError`` when the bus has another store: what is published would be recorded where the orchestrator never
        looks.
        """
        if self.store is None:
            self.store, self._is_attached = store, True
        elif self.store is not store:
            raise ConfigurationError(
                "the event bus has another store than the orchestrator",
                hint="give the store to one of them: Orchestrator(bus) uses the bus's, EventBus() takes the orchestrator's",
            )
        await self.start()

    async def _listen(self) -> None:
        self._is_listening = True
        try:
            await self._broker.listen(self._router.deliver)
        except BaseException:
            self._is_listening = False
            raise

    async def _join(self, side: _StoreSide, subscription: Subscription) -> None:
        options = subscription.options
        if options.from_position is not None:
            start = options.from_position
        else:
            start = 0 if options.replay == "all" else await side.store.last_position()
        if options.name is not None:
            start = await side.bookmarks.place_of(subscription, options.name, start)
        if self._router.get(subscription.subscription_id) is subscription:
            side.feed.join(subscription, start)

    async def _end(self, subscriptions: Sequence[Subscription]) -> None:
        tasks: set[asyncio.Task[None]] = set()
        for subscription in subscriptions:
            if self._side is not None:
                self._side.feed.leave(subscription)
            subscription.end()
            tasks |= subscription.tasks
        current = asyncio.current_task()
        tasks = {task for task in tasks if task is not current}
        if tasks:
            await asyncio.wait(tasks, timeout=5)
        if self._side is not None:
            for subscription in subscriptions:
                await self._side.bookmarks.finish(subscription)

    # --- how it is doing, and what it gave up -------------------------------------------------------------------------------

    def statistics(self) -> list[SubscriptionStatistics]:
        """Return how each subscription is doing, in the order subscribed."""
        return [subscription.statistics() for subscription in self._router]

    async def dead_letters(self, subscription: str | None = None, *, limit: int = DEFAULT_LISTED) -> list[DeadLetter]:
        """Return up to ``limit`` events that a subscriber (by default any) gave up and nobody has dealt with, oldest first.

        With a store they are there after a restart; without one the newest thousand are kept in memory.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_LISTED:
            raise InvalidInput(f"limit is {limit!r:.80}", hint=f"give a whole number from 1 to {MAX_LISTED:,}")
        if subscription is not None:
            check_id(subscription, "a subscription")
        return list(await self._letters.open_letters(subscription, limit))

    async def retry_dead_letter(self, letter_id: str) -> bool:
        """Give the event to its subscriber again, behind what waits; return whether it was handled. Then the letter is closed, else it
        stays.

        Raises ``InvalidInput`` when no letter of that id is open, or its subscription is not there.
        """
        letters = self._letters
        check_id(letter_id, "a dead letter")
        letter = await letters.get(letter_id, is_to_be_delivered=True)
        subscription = self._router.get(letter.subscription)
        if subscription is None:
            raise InvalidInput(
                f"the subscription {letter.subscription!r} of dead letter {letter_id!r} is not there",
                hint="subscribe under that name first; the letters of a subscription without a name can only be discarded after its end",
            )
        error = await subscription.deliver_again(letter.event)
        if error is None:
            await letters.close(letter, "delivered")
        return error is None

    async def discard_dead_letter(self, letter_id: str, *, reason: str = "") -> None:
        """Close a letter without delivering it. Raises ``InvalidInput`` when none of that id is open."""
        check_id(letter_id, "a dead letter")
        letters = self._letters
        await letters.close(await letters.get(letter_id), "discarded", reason)

    @property
    def _letters(self) -> Letters:
        if self._side is not None:
            return self._side.letters
        return self._memory_letters if self.store is None else StoredLetters(self.store, self._log)

    async def _bury(self, subscription: Subscription, event: AgenticEvent, error: ErrorInfo, attempts: int) -> None:
        options = subscription.options
        letter = await self._letters.record(options.subscription_id, options.pattern.text, event, error, attempts)
        if self._monitor is not None:
            tell(self._monitor, lambda monitor: monitor.event_dead_lettered(letter), self._log)


def _takes_one(handler: Callable[..., Any]) -> bool:
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        return False
    except ValueError:
        return True  # one that is not written in Python says nothing about itself
    return True
