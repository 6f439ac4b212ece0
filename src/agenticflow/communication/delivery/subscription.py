"""One subscriber: what waits for it, the tasks that call its handler, and what becomes of an event it cannot deal with.

An event enters by ``offer`` or ``press`` (ephemeral: the sender may have to wait, see ``BackPressure``), by ``offer_stored`` or
``put_stored`` (from the store: nobody waits but its own reader). It leaves handled, as a dead letter, or, with ``drop_oldest``, counted.
A task per place in ``concurrency`` is made when first needed and waits for work; no task and no timer is made for an event.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final

from agenticflow.communication.bus import (
    BusMonitor,
    EventHandler,
    SubscriptionOptions,
    SubscriptionStatistics,
    topic_of,
)
from agenticflow.communication.delivery.queues import Lanes, Line, Progress, Queue
from agenticflow.communication.facts import DEAD_LETTERS
from agenticflow.core.clocks import ambient
from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.core.results import ErrorInfo, describe_error
from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["Bury", "Log", "Subscription"]

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]
Bury = Callable[["Subscription", AgenticEvent, ErrorInfo, int], Awaitable[None]]
"""Makes a dead letter of an event; returns when it is safe."""

EVENTS_A_TURN: Final = 32
"""Events after which a subscriber that never waits lets others have their turn."""
_NOT_HANDLED: Final = ErrorInfo(type="SubscriptionEnded", message="the subscription ended before its turn came")


class _Entry:
    """An event on its way to the handler."""

    __slots__ = ("event", "key", "position", "reply")

    def __init__(self, event: AgenticEvent, key: Hashable, position: int | None) -> None:
        self.event = event
        self.key = key
        self.position = position
        """Its place in the store; ``None`` when it is ephemeral, or delivered again by hand."""
        self.reply: asyncio.Future[ErrorInfo | None] | None = None
        """Where the outcome goes of an event that is delivered again by hand."""

    def answer(self, error: ErrorInfo | None) -> None:
        """Tell who waits for the outcome."""
        if self.reply is not None and not self.reply.done():
            self.reply.set_result(error)


def _key_of_entry(entry: _Entry) -> Hashable:
    return entry.key


def _stream_of(event: AgenticEvent) -> Hashable:
    return event.stream_id if isinstance(event, RecordedEvent) else topic_of(event.event_type)


class Subscription:
    """See the module. ``progress`` is ``None`` until it hears from a store."""

    def __init__(
        self,
        options: SubscriptionOptions,
        handler: EventHandler,
        *,
        bury: Bury,
        log: Log,
        monitor: BusMonitor | None,
    ) -> None:
        self.options = options
        self.subscription_id = options.subscription_id
        self.progress: Progress | None = None
        self.advanced: Callable[[], None] | None = None
        """Called when a stored event has been handled."""
        self.read_position = 0
        """Position of the last stored event that was put in, or looked at and passed over."""
        self.is_behind = False
        self.has_caught_up = False
        """Whether it has ever heard live events; until then it replays, and nobody is held back by it."""
        self._handler = handler
        self._bury = bury
        self._log = log
        self._monitor = monitor
        self._key = (options.key or _stream_of) if options.concurrency > 1 else None
        self._queue: Queue[_Entry] = Line() if self._key is None else Lanes(_key_of_entry)
        self._size = options.queue_size
        self._threshold = options.back_pressure.threshold(options.queue_size)
        self._idle: list[asyncio.Future[None]] = []
        self._waiters: deque[asyncio.Future[None]] = deque()
        """Senders that wait for room, in the order in which they came."""
        self._working: set[_Entry] = set()
        self._is_over = False
        self._delivered = self._failed = self._dead = self._dropped = 0
        self.tasks: set[asyncio.Task[None]] = set()

    # --- in -----------------------------------------------------------------------------------------------------------

    def offer(self, event: AgenticEvent) -> bool:
        """Take an ephemeral event if nobody has to wait for it; return whether it was taken. After the end it is dropped."""
        if len(self._queue) >= self._threshold or self._waiters:
            return self._is_over
        self._put(event, None)
        return True

    async def press(self, event: AgenticEvent, sender: asyncio.Task[Any] | None) -> None:
        """Take an ephemeral event that was not taken when offered, after the wait that the policy asks of ``sender``.

        Raises ``BoundExceeded`` when the policy says ``reject`` and the queue is still full.
        """
        await self.hold_back(sender)
        if self._is_over:
            return
        if len(self._queue) >= self._size:
            match self.options.back_pressure.when_full:
                case "reject":
                    raise self._no_room(event)
                case "dead_letter":
                    await self._bury(self, event, describe_error(self._no_room(event)), 0)
                    self._dead += 1
                    return
                case "drop_oldest":
                    self._dropped += 1
                    oldest = self._queue.oldest()
                    if oldest is None or oldest.position is not None or oldest.reply is not None:
                        return  # what is in the store, or was put in by hand, does not make room for what is not
                    self._queue.drop_oldest()
        self._put(event, None)

    @property
    def is_pressed(self) -> bool:
        """Whether senders of what goes by way of the store should wait."""
        return self.has_caught_up and len(self._queue) >= self._threshold

    async def hold_back(self, sender: asyncio.Task[Any] | None) -> None:
        """Let ``sender`` wait until the load is below the policy's threshold, at most as long as the policy says.

        Its own handler does not wait: only it could make room.
        """
        delay = self.options.back_pressure.delay_seconds(len(self._queue), self._size)
        if delay <= 0 or sender in self.tasks:
            return
        await self._wait_for_room(self._threshold, asyncio.get_running_loop().time() + delay)

    def offer_stored(self, event: RecordedEvent) -> bool:
        """Take an event of the store if there is room; return whether it was taken."""
        if len(self._queue) >= self._size:
            return False
        self._put_stored(event)
        return True

    async def put_stored(self, event: RecordedEvent) -> None:
        """Take an event of the store as soon as there is room."""
        await self._wait_for_room(self._size, None)
        self._put_stored(event)

    async def deliver_again(self, event: AgenticEvent) -> ErrorInfo | None:
        """Put an event in by hand, behind what waits; return ``None`` when it was handled, else the error it failed with.

        Raises ``InvalidInput`` in its own handler, which would wait for itself.
        """
        if asyncio.current_task() in self.tasks:
            raise InvalidInput(
                f"the handler of subscription {self.subscription_id!r} cannot wait for its own next event",
                hint="retry dead letters from outside the handler",
            )
        entry = self._entry(event, None)
        entry.reply = asyncio.get_running_loop().create_future()
        await self._wait_for_room(self._size, None)
        self._enqueue(entry)
        return await entry.reply

    def _put(self, event: AgenticEvent, position: int | None) -> None:
        self._enqueue(_Entry(event, None, position) if self._key is None else self._entry(event, position))

    def _put_stored(self, event: RecordedEvent) -> None:
        assert self.progress is not None
        self.read_position = event.position
        self.progress.begin(event.position)
        self._put(event, event.position)

    def _entry(self, event: AgenticEvent, position: int | None) -> _Entry:
        key: Hashable = None
        if self._key is not None:
            try:
                key = self._key(event)
                hash(key)
            except Exception as error:  # noqa: BLE001 - the user's function; the event is delivered all the same
                key = None
                self._log.warning(
                    "the key of event %s for %r cannot be told: %s", event.id, self.subscription_id, error
                )
        return _Entry(event, key, position)

    def _enqueue(self, entry: _Entry) -> None:
        if self._is_over:
            entry.answer(_NOT_HANDLED)
            return
        self._queue.put(entry)
        while self._idle:
            waiter = self._idle.pop()
            if not waiter.done():
                waiter.set_result(None)
                return
        if len(self.tasks) < self.options.concurrency:
            task = asyncio.get_running_loop().create_task(self._serve(), name=f"subscription {self.subscription_id}")
            self.tasks.add(task)

    async def _wait_for_room(self, limit: int, until: float | None) -> None:
        """Return when fewer than ``limit`` wait, at the moment ``until``, or at the end."""
        loop = asyncio.get_running_loop()
        while len(self._queue) >= limit and not self._is_over:
            left = None if until is None else until - loop.time()
            if left is not None and left <= 0:
                return
            waiter = loop.create_future()
            self._waiters.append(waiter)
            try:
                await asyncio.wait((waiter,), timeout=left)
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _make_room(self, *, is_empty: bool) -> None:
        """Wake the sender that has waited longest, if the load allows; everybody when nothing is left to wake them later."""
        while self._waiters and (is_empty or len(self._queue) < self._threshold):
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                if not is_empty:
                    return

    def _no_room(self, event: AgenticEvent) -> BoundExceeded:
        return BoundExceeded(
            f"the queue of subscription {self.subscription_id!r} to {self.options.pattern.text!r} is full: {self._size:,} events wait "
            f"before {event.event_type!r} {event.id}",
            hint="make its handler faster, give it concurrency=, or a larger queue_size=",
        )

    # --- out ----------------------------------------------------------------------------------------------------------

    async def _serve(self) -> None:
        queue, working = self._queue, self._working
        loop = asyncio.get_running_loop()
        turns = 0
        while not self._is_over:
            entry = queue.take()
            if entry is None:
                if self._waiters:
                    self._make_room(is_empty=len(queue) == 0)
                turns = 0
                waiter = loop.create_future()
                self._idle.append(waiter)
                await waiter
                continue
            working.add(entry)
            if self._waiters:
                self._make_room(is_empty=False)
            try:
                error = await self._deal_with(entry)
            except BaseException:
                entry.answer(_NOT_HANDLED)
                raise
            finally:
                working.discard(entry)
                queue.finished(entry)
            entry.answer(error)
            if entry.position is not None and self.progress is not None:
                self.progress.end(entry.position)
                if self.advanced is not None:
                    self.advanced()
            turns += 1
            if turns >= EVENTS_A_TURN:
                turns = 0
                await asyncio.sleep(0)

    async def _deal_with(self, entry: _Entry) -> ErrorInfo | None:
        """Call the handler until it succeeds or the policy gives up; return the last error then, after it became a dead letter."""
        event = entry.event
        attempt = 1
        while True:
            try:
                answer = self._handler(event)
                if answer is not None and inspect.isawaitable(answer):
                    await answer
            except asyncio.CancelledError as error:
                task = asyncio.current_task()
                if self._is_over or task is None or task.cancelling():
                    raise
                failure: BaseException = error  # it awaited something that was cancelled: its failure, not our end
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the subscriber's and disturbs nobody else
                failure = error
            else:
                self._delivered += 1
                if self._monitor is not None:
                    self._tell(lambda monitor: monitor.event_delivered(event, self.subscription_id))
                return None
            info = describe_error(failure, trace="".join(traceback.format_exception(failure)))
            self._failed += 1
            if self._monitor is not None:
                self._tell(self._told_of_failure(event, info, attempt))
            delay = self.options.retry_policy.delay_after(attempt, info, seed=self.subscription_id, task_key=event.id)
            if delay is None:
                await self._give_up(entry, info, attempt, failure)
                return info
            self._log.warning(
                "the handler of %r failed on event %s, attempt %d of %d: %s",
                self.options.pattern.text,
                event.id,
                attempt,
                self.options.retry_policy.max_attempts,
                info,
            )
            await asyncio.sleep(delay)
            attempt += 1

    async def _give_up(self, entry: _Entry, info: ErrorInfo, attempts: int, failure: BaseException) -> None:
        event = entry.event
        self._log.error(
            "the handler of %r failed on event %s for good: %s",
            self.options.pattern.text,
            event.id,
            info,
            exc_info=failure,
        )
        if entry.reply is not None:
            return
        if not (isinstance(event, RecordedEvent) and event.stream_id.startswith(DEAD_LETTERS)):
            await self._bury(self, event, info, attempts)
        self._dead += 1

    async def give_up_unread(self, event: RecordedEvent, info: ErrorInfo) -> None:
        """Make a dead letter of an event of the store that cannot be decoded; nothing was given to the handler."""
        await self._bury(self, event, info, 0)
        self._dead += 1

    def _told_of_failure(self, event: AgenticEvent, info: ErrorInfo, attempt: int) -> Callable[[BusMonitor], None]:
        return lambda monitor: monitor.delivery_failed(event, self.subscription_id, info, attempt)

    def _tell(self, call: Callable[[BusMonitor], None]) -> None:
        tell(self._monitor, call, self._log)

    # --- about it -----------------------------------------------------------------------------------------------------

    def statistics(self) -> SubscriptionStatistics:
        """Return how it is doing now."""
        oldest = self._queue.oldest()
        moments = [entry.event.timestamp for entry in self._working]
        if oldest is not None:
            moments.append(oldest.event.timestamp)
        lag_ns = ambient.clock.now_ns() - min(moments) if moments else 0
        return SubscriptionStatistics(
            subscription_id=self.subscription_id,
            pattern=self.options.pattern.text,
            is_durable=self.options.name is not None,
            delivered=self._delivered,
            failed=self._failed,
            dead=self._dead,
            dropped=self._dropped,
            queued=len(self._queue),
            in_work=len(self._working),
            is_behind=self.is_behind,
            lag_seconds=max(0, lag_ns) / 1e9,
            position=None if self.progress is None else self.progress.position,
        )

    def end(self) -> None:
        """Deliver nothing more. A handler at work is interrupted, unless it is the one that asks."""
        self._is_over = True
        while (entry := self._queue.drop_oldest()) is not None:
            entry.answer(_NOT_HANDLED)
        self._make_room(is_empty=True)
        current = asyncio.current_task()
        for task in self.tasks:
            if task is not current:
                task.cancel()


def tell(monitor: BusMonitor | None, call: Callable[[BusMonitor], None], log: Log) -> None:
    """Tell the monitor; it may not disturb the bus."""
    if monitor is not None:
        try:
            call(monitor)
        except Exception:  # the user's code; it was only to be told
            log.exception("the monitor of the bus failed")
