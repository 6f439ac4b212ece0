"""What an agent has in mind: gone with the process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

__all__ = ["WorkingMemory"]


class WorkingMemory:
    """What an agent has in mind: values of any kind, at most ``max_items``; the least recently used one goes first."""

    __slots__ = ("_items", "max_items")

    def __init__(self, max_items: int) -> None:
        self._items: OrderedDict[str, Any] = OrderedDict()
        self.max_items = max_items

    def remember(self, key: str, value: Any) -> None:
        """Keep ``value`` under ``key``, in place of what was there."""
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self.max_items:
            self._items.popitem(last=False)

    def recall(self, key: str, default: Any = None) -> Any:
        """Return what was kept under ``key``, or ``default``."""
        if key not in self._items:
            return default
        self._items.move_to_end(key)
        return self._items[key]

    def forget(self, key: str) -> bool:
        """Drop what was kept under ``key``; return whether there was something."""
        return self._items.pop(key, self) is not self

    def clear(self) -> None:
        """Drop everything."""
        self._items.clear()

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def __iter__(self) -> Iterator[str]:
        """From the least to the most recently used."""
        return iter(tuple(self._items))

    def __len__(self) -> int:
        return len(self._items)
