"""Cron expressions: five fields, and which wall times they name. No time zone and no clock here: only calendar arithmetic.

The fields are minute, hour, day of the month, month and day of the week (0 or 7 is Sunday), each a list of numbers, ranges (``1-5``) and
steps (``*/15``, ``8-18/2``, ``5/10``); months and days of the week have names (``jan``, ``mon``). When both days are restricted, one of
them is enough. ``@hourly``, ``@daily``, ``@weekly``, ``@monthly`` and ``@yearly`` are short for the usual ones.
"""

from __future__ import annotations

import calendar
import re
from bisect import bisect_left
from datetime import date, datetime, timedelta
from typing import Final

from agenticflow.errors import InvalidInput

__all__ = ["Cron"]

MAX_TEXT: Final = 200
_YEARS_AHEAD: Final = 9
"""So far ahead a wall time is looked for: 29 February may be eight years away."""
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_DAYS: Final = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_FIELDS: Final[tuple[tuple[str, int, int, dict[str, int]], ...]] = (
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of the month", 1, 31, {}),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_SHORT: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_PART: Final = re.compile(r"(?:(\*)|(\w+)(?:-(\w+))?)(?:/(\d{1,4}))?", re.ASCII)
_HINT: Final = "write five fields: minute hour day-of-month month day-of-week, as in '30 3 * * mon-fri'"


class Cron:
    """A parsed expression. Raises ``InvalidInput`` for what is none, with the field that is wrong."""

    __slots__ = ("_any_day", "_days", "_hours", "_minutes", "_months", "_weekdays", "counts_hours", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or len(text) > MAX_TEXT:
            raise InvalidInput(f"{text!r:.80} is no cron expression", hint=_HINT)
        fields = _SHORT.get(text.strip().lower(), text).split()
        if len(fields) != len(_FIELDS):
            raise InvalidInput(f"the cron expression {text!r} has {len(fields)} fields and not 5", hint=_HINT)
        minutes, hours, days, months, weekdays = (
            _numbers(text, given, *field) for given, field in zip(fields, _FIELDS, strict=True)
        )
        self.text = text
        self._minutes, self._hours, self._months = sorted(minutes), sorted(hours), months
        self._days, self._weekdays = days, {day % 7 for day in weekdays}
        # A field that leaves nothing out restricts nothing: then the other one decides alone.
        self._any_day = len(days) == 31 or len(self._weekdays) == 7
        self.counts_hours = len(hours) == 24
        """Whether it names no hours, and so counts hours as they pass and not those on the wall."""
        if self.following(datetime(2000, 1, 1), datetime(2000 + _YEARS_AHEAD, 1, 1)) is None:  # noqa: DTZ001 - wall times
            raise InvalidInput(f"there is no day on which the cron expression {text!r} is due", hint=_HINT)

    def following(self, since: datetime, until: datetime) -> datetime | None:
        """Return the first wall time (without zone) at or after ``since`` and before ``until``, ``None`` when there is none."""
        if since.second or since.microsecond:
            since = since.replace(second=0, microsecond=0) + timedelta(minutes=1)
        day, hour, minute = since.date(), since.hour, since.minute
        while day <= until.date():
            if day.month not in self._months:
                first = 32 - day.day  # of the month after, whatever its length: on to its first day
                day = (day + timedelta(days=first)).replace(day=1)
                hour = minute = 0
                continue
            if self._has(day) and (found := self._within(day, hour, minute)) is not None:
                return found if found < until else None
            day, hour, minute = day + timedelta(days=1), 0, 0
        return None

    def _has(self, day: date) -> bool:
        of_month, of_week = day.day in self._days, day.isoweekday() % 7 in self._weekdays
        return of_month and of_week if self._any_day else of_month or of_week

    def _within(self, day: date, hour: int, minute: int) -> datetime | None:
        """Return the first wall time of ``day`` at or after ``hour:minute``."""
        place = bisect_left(self._hours, hour)
        if place < len(self._hours) and self._hours[place] == hour:
            later = bisect_left(self._minutes, minute)
            if later < len(self._minutes):
                return datetime(day.year, day.month, day.day, hour, self._minutes[later])  # noqa: DTZ001 - a wall time
            place += 1
        if place == len(self._hours):
            return None
        return datetime(day.year, day.month, day.day, self._hours[place], self._minutes[0])  # noqa: DTZ001 - a wall time

    def __repr__(self) -> str:
        return f"Cron({self.text!r})"


def _numbers(text: str, given: str, name: str, least: int, most: int, words: dict[str, int]) -> set[int]:
    """Return the numbers that one field names."""

    def wrong(what: str) -> InvalidInput:
        return InvalidInput(f"the {name} {given!r} of the cron expression {text!r} {what}", hint=_HINT)

    def number(word: str) -> int:
        value = words.get(word.lower(), -1) if not word.isdecimal() else int(word)
        if not least <= value <= most:
            raise wrong(f"has {word!r} in it, which is not within {least} and {most}")
        return value

    found: set[int] = set()
    for part in given.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise wrong(f"has {part!r} in it, which is no number, range or step")
        star, first, last, step = match.groups()
        low = least if star else number(first)
        high = most if star or (step and not last) else number(last or first)
        if low > high:
            raise wrong(f"has the range {part!r} in it, which goes backwards")
        if step is not None and int(step) == 0:
            raise wrong("has a step of 0 in it")
        found.update(range(low, high + 1, int(step or 1)))
    return found
