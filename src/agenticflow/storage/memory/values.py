"""Values by key in dictionaries: the part of the memory store that keeps what may be forgotten."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import islice
from typing import Final

from agenticflow.storage.key_values import (
    MAX_PAGE_BYTES,
    KeyValue,
    check_name,
    check_page,
    check_value,
    check_version,
    end_of_prefix,
)

__all__ = ["MemoryValues"]

REMOVED_PER_WRITE: Final = 16


class MemoryValues:
    """What ``KeyValues`` promises, without waiting for anything."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, KeyValue]] = {}
        self._keys: dict[str, list[str]] = {}
        """The keys of each namespace, sorted."""
        self._expiring: list[tuple[int, str, str]] = []
        """A heap; an entry whose value has another moment by now is passed over."""

    def get(self, namespace: str, key: str, now: int) -> KeyValue | None:
        check_name(namespace, key)
        found = self._values.get(namespace, {}).get(key)
        return None if found is None or _has_expired(found, now) else found

    def put(self, namespace: str, key: str, value: bytes, now: int, expires_at: int | None, expected: int) -> int:
        check_value(namespace, key, value, now, expires_at)
        found = self.get(namespace, key, now)
        version = 0 if found is None else found.version
        check_version(namespace, key, expected, version)
        values, keys = self._values.setdefault(namespace, {}), self._keys.setdefault(namespace, [])
        if key not in values:
            insort(keys, key)
        values[key] = KeyValue(namespace, key, value, version + 1, now, expires_at)
        if expires_at is not None:
            heappush(self._expiring, (expires_at, namespace, key))
        self.remove_expired(now, REMOVED_PER_WRITE)
        return version + 1

    def delete(self, namespace: str, key: str, expected: int) -> bool:
        check_name(namespace, key)
        found = self._values.get(namespace, {}).get(key)
        check_version(namespace, key, expected, 0 if found is None else found.version)
        if found is not None:
            self._remove(namespace, key)
        return found is not None

    def page(self, namespace: str, now: int, prefix: str, after: str | None, limit: int) -> Sequence[KeyValue]:
        check_page(namespace, prefix, after, limit)
        values, keys = self._values.get(namespace, {}), self._keys.get(namespace, [])
        start = bisect_left(keys, prefix) if after is None or after < prefix else bisect_right(keys, after)
        end = end_of_prefix(prefix)
        page: list[KeyValue] = []
        size = 0
        for key in islice(keys, start, len(keys) if end is None else bisect_left(keys, end)):
            found = values[key]
            if _has_expired(found, now):
                continue
            size += len(found.value)
            if len(page) == limit or (page and size > MAX_PAGE_BYTES):
                break
            page.append(found)
        return page

    def remove_expired(self, now: int, limit: int) -> int:
        """Remove up to ``limit`` values that have expired; return how many there were."""
        removed = 0
        while removed < limit and self._expiring and self._expiring[0][0] <= now:
            expires_at, namespace, key = heappop(self._expiring)
            found = self._values.get(namespace, {}).get(key)
            if found is not None and found.expires_at == expires_at:
                self._remove(namespace, key)
                removed += 1
        return removed

    def contents(self) -> Iterator[bytes]:
        """Yield the bytes of every value, expired or not."""
        for values in self._values.values():
            for found in values.values():
                yield found.value

    def _remove(self, namespace: str, key: str) -> None:
        values, keys = self._values[namespace], self._keys[namespace]
        del values[key]
        del keys[bisect_left(keys, key)]
        if not values:
            del self._values[namespace], self._keys[namespace]


def _has_expired(value: KeyValue, now: int) -> bool:
    return value.expires_at is not None and value.expires_at <= now
