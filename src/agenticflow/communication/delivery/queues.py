"""What waits for a subscriber, in order. Pure: two queues with the same words, for one handler at a time and for several.

``put`` at the end, ``take`` what may be worked on next (``None`` when nothing may), ``finished`` afterwards. The length is what waits,
without what is in work. ``Progress`` knows up to where everything is done when work ends out of order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import Generic, Protocol, TypeVar

__all__ = ["Lanes", "Line", "Progress", "Queue"]

T = TypeVar("T")


class Queue(Protocol[T]):
    """Waiting items, in the order in which they may be taken."""

    def __len__(self) -> int:
        """Return how many wait."""

    def put(self, item: T) -> None:
        """Let ``item`` wait at the end."""

    def take(self) -> T | None:
        """Return the next item that may be worked on now; ``None`` when none may."""

    def finished(self, item: T) -> None:
        """The work on ``item`` has ended."""

    def oldest(self) -> T | None:
        """Return what has waited longest; ``None`` when nothing waits."""

    def drop_oldest(self) -> T | None:
        """Remove what has waited longest and return it; ``None`` when nothing waits."""

    def clear(self) -> None:
        """Forget what waits."""


class Line(Generic[T]):
    """One after the other, in the order put; for one worker."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: deque[T] = deque()

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        self._items.append(item)

    def take(self) -> T | None:
        return self._items.popleft() if self._items else None

    def finished(self, item: T) -> None:
        """Nothing was held."""

    def oldest(self) -> T | None:
        return self._items[0] if self._items else None

    def drop_oldest(self) -> T | None:
        return self.take()

    def clear(self) -> None:
        self._items.clear()


class Lanes(Generic[T]):
    """Side by side, but items of one key one after the other, in the order put; for several workers.

    A key is in work from ``take`` to ``finished``; its further items wait, those of other keys pass. Memory is that of the waiting items:
    a key without any is forgotten.
    """

    __slots__ = ("_busy", "_key", "_lanes", "_next", "_ready", "_waiting")

    def __init__(self, key: Callable[[T], Hashable]) -> None:
        self._key = key
        self._next = 0
        self._waiting: dict[int, T] = {}
        """Items by their number, oldest first."""
        self._lanes: dict[Hashable, deque[int]] = {}
        """Numbers of the waiting items of a key; of dropped ones too, until they would be taken."""
        self._ready: deque[Hashable] = deque()
        """Keys that have a lane and are not in work, each once, in the order in which they became so."""
        self._busy: set[Hashable] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T) -> None:
        key = self._key(item)
        number = self._next = self._next + 1
        self._waiting[number] = item
        lane = self._lanes.get(key)
        if lane is None:
            self._lanes[key] = deque((number,))
            if key not in self._busy:
                self._ready.append(key)
        else:
            lane.append(number)

    def take(self) -> T | None:
        while self._ready:
            key = self._ready.popleft()
            lane = self._lanes[key]
            while lane:
                item = self._waiting.pop(lane.popleft(), None)
                if item is not None:
                    if not lane:
                        del self._lanes[key]
                    self._busy.add(key)
                    return item
            del self._lanes[key]
        return None

    def finished(self, item: T) -> None:
        key = self._key(item)
        self._busy.discard(key)
        if key in self._lanes:
            self._ready.append(key)

    def oldest(self) -> T | None:
        return next(iter(self._waiting.values()), None)

    def drop_oldest(self) -> T | None:
        number = next(iter(self._waiting), None)
        return None if number is None else self._waiting.pop(number)

    def clear(self) -> None:
        self._waiting.clear()
        self._lanes.clear()
        self._ready.clear()


class Progress:
    """Up to which position everything is done. Positions begin in order and may end in any."""

    __slots__ = ("_begun", "_ended", "position")

    def __init__(self, position: int) -> None:
        self.position = position
        """Everything up to here is done."""
        self._begun: deque[int] = deque()
        self._ended: set[int] = set()

    @property
    def is_idle(self) -> bool:
        """Whether everything begun has ended."""
        return not self._begun

    def begin(self, position: int) -> None:
        """``position``, higher than all before, is to be done."""
        self._begun.append(position)

    def end(self, position: int) -> None:
        """``position`` is done."""
        self._ended.add(position)
        while self._begun and self._begun[0] in self._ended:
            self.position = self._begun.popleft()
            self._ended.discard(self.position)

    def pass_over(self, position: int) -> None:
        """Everything up to ``position`` is known to be of no interest; ignored while something is begun."""
        if not self._begun:
            self.position = max(self.position, position)
