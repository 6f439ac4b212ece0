"""When a schedule is due: intervals, one moment, or a cron expression on the wall clock of a time zone. Pure; the zone is handed in.

What is due when the wall clock is set: an expression that names hours (``30 2 * * *``) is due once on every day that has such a wall time:
one that is left out is due at the moment the clock is set forward, one that comes twice is due the first time. An expression that names no
hours (``*/15 * * * *``) counts hours as they pass: it skips what is left out and is due again in the hour that is repeated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Final

from agenticflow.core import codec
from agenticflow.orchestration.schedules.cron import Cron
from agenticflow.orchestration.schedules.facts import Moment, ScheduleSpec

__all__ = ["Moments", "cron_of", "iso"]

NANOSECONDS: Final = 1_000_000_000
_DAY: Final = 86_400
_WEEK: Final = 7 * _DAY
_EPOCH: Final = datetime(1970, 1, 1)  # noqa: DTZ001 - wall times have no zone
_FIRST_LOOK_NS: Final = 3_600 * NANOSECONDS


@lru_cache(maxsize=256)
def cron_of(text: str) -> Cron:
    """Return the parsed expression. Raises ``InvalidInput``."""
    return Cron(text)


def iso(moment: int) -> str:
    """Return a moment as people and programs read it: ``2026-03-29T01:00:00Z``, with a fraction only where it has one."""
    seconds, rest = divmod(moment, NANOSECONDS)
    text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    return f"{text}.{rest:09d}".rstrip("0") + "Z" if rest else f"{text}Z"


class Moments:
    """The moments of one schedule. ``anchor`` is where an interval counts from when it has no ``start_at``."""

    __slots__ = ("_anchor", "_seed", "_spec", "_zone")

    def __init__(self, spec: ScheduleSpec, anchor: int, seed: str, zone: tzinfo) -> None:
        self._spec = spec
        self._anchor = anchor if spec.start_at is None else spec.start_at
        self._seed = seed
        self._zone = zone

    def after(self, moment: int) -> int | None:
        """Return the first due moment after ``moment``, ``None`` when there is none."""
        spec = self._spec
        if spec.start_at is not None and moment < spec.start_at:
            moment = spec.start_at - 1
        found = self._after(moment)
        return None if found is None or (spec.end_at is not None and found > spec.end_at) else found

    def _after(self, moment: int) -> int | None:
        spec = self._spec
        if spec.at is not None:
            return spec.at if spec.at > moment else None
        if spec.every_ns is not None:
            # From its start on when it has one, otherwise for the first time when one interval has passed.
            least = 0 if spec.start_at is not None else 1
            return self._anchor + max(least, (moment - self._anchor) // spec.every_ns + 1) * spec.every_ns
        return _following(cron_of(spec.cron or ""), self._zone, moment // NANOSECONDS) * NANOSECONDS

    def newest(self, since: int, until: int, count: int) -> list[int]:
        """Return the last ``count`` due moments from ``since`` to ``until``, both included, in order."""
        if self._spec.every_ns is not None:
            # The grid is known: nobody has to walk over years of seconds.
            since = max(since, until - count * self._spec.every_ns + 1)
        look = _FIRST_LOOK_NS
        while True:
            start = max(since, until - look)
            found = deque(self._between(start, until), maxlen=count)
            if len(found) == count or start == since:
                return list(found)
            look *= 4

    def _between(self, since: int, until: int) -> Iterator[int]:
        due = self.after(since - 1)
        while due is not None and due <= until:
            yield due
            due = self.after(due)

    def moment(self, due: int) -> Moment:
        """Return when the due moment is acted on: later by its part of the jitter, and before the next one is due."""
        jitter = self._spec.jitter_ns
        if not jitter:
            return Moment(due, due)
        following = self.after(due)
        room = jitter if following is None else min(jitter, following - due)
        part = int(codec.content_hash(f"{self._seed}:{due}".encode())[:8], 16)
        return Moment(due, due + ((room * part) >> 32))

    def next(self, moment: int) -> Moment | None:
        """Return the first moment that is due after ``moment``."""
        due = self.after(moment)
        return None if due is None else self.moment(due)


def _following(cron: Cron, zone: tzinfo, after: int) -> int:
    """Return the first second after ``after`` at which ``cron`` is due in ``zone``.

    The offset of a zone is the same for weeks: within such a stretch wall times and moments are in the same order. It begins a day
    before, so that it is known which wall times have just been there for the first time.
    """
    at = after - _DAY
    offset = _offset(zone, at)
    again: datetime | None = None
    while True:  # a week on each time; an expression is due within years, or it is refused
        end, new = _stretch(zone, at, offset)
        if end > after:
            since = _wall(max(at, after + 1), offset)
            if again is not None:
                since = max(since, again)
            found = cron.following(since, _wall(end, offset))
            if found is not None:
                return int((found - _EPOCH).total_seconds()) - offset
        again = None
        if new < offset and not cron.counts_hours:
            again = _wall(end, offset)
        elif new > offset and not cron.counts_hours and end > after:
            left_out = cron.following(_wall(end, offset), _wall(end, new))
            if left_out is not None:
                return end
        at, offset = end, new


def _stretch(zone: tzinfo, at: int, offset: int) -> tuple[int, int]:
    """Return where the stretch with this offset ends, at most a week on, and the offset there."""
    low, high = at, at + _WEEK
    new = _offset(zone, high)
    if new == offset:
        return high, offset
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high, _offset(zone, high)


def _offset(zone: tzinfo, at: int) -> int:
    there = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)).astimezone(zone)
    offset = there.utcoffset()
    return 0 if offset is None else int(offset.total_seconds())


def _wall(at: int, offset: int) -> datetime:
    return _EPOCH + timedelta(seconds=at + offset)
