"""When a schedule is due: intervals, single moments, and wall clocks that are set forward and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.orchestration.schedules.cron import Cron
from agenticflow.orchestration.schedules.facts import Moment, ScheduleSpec
from agenticflow.orchestration.schedules.moments import Moments, iso

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca"]


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


def cron(text: str, zone: str = "UTC", **options: Any) -> Moments:
    return Moments(ScheduleSpec(workflow="w", cron=text, timezone=zone, **options), 0, "seed", ZoneInfo(zone))


def every(seconds: float, anchor: int = 0, **options: Any) -> Moments:
    return Moments(ScheduleSpec(workflow="w", every_ns=int(seconds * SECOND), **options), anchor, "seed", UTC)


def walls(moments: Moments, since: str, count: int, zone: str) -> list[str]:
    """The next wall times, each with its offset from UTC."""
    at, found = ns(datetime.fromisoformat(since)), []
    for _ in range(count):
        due = moments.after(at)
        assert due is not None
        assert due > at
        at = due
        found.append(datetime.fromtimestamp(due / SECOND, ZoneInfo(zone)).strftime("%d %H:%M%z"))
    return found


def test_a_time_that_is_left_out_is_due_when_the_clock_is_set_forward() -> None:
    night = cron("30 2 * * *", "Europe/Zurich")
    assert walls(night, "2026-03-28T00:00Z", 3, "Europe/Zurich") == ["28 02:30+0100", "29 03:00+0200", "30 02:30+0200"]


def test_several_times_that_are_left_out_are_one_and_the_same_moment() -> None:
    night = cron("0,30 2,3 * * *", "Europe/Zurich")
    assert walls(night, "2026-03-28T20:00Z", 3, "Europe/Zurich") == ["29 03:00+0200", "29 03:30+0200", "30 02:00+0200"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    night = cron("30 2 * * *", "Europe/Zurich")
    assert walls(night, "2026-10-24T12:00Z", 2, "Europe/Zurich") == ["25 02:30+0200", "26 02:30+0100"]
    # also for whoever asks in the repeated hour itself
    assert walls(night, "2026-10-25T01:10Z", 1, "Europe/Zurich") == ["26 02:30+0100"]


def test_without_hours_it_is_due_as_the_hours_pass() -> None:
    quarter = cron("30 * * * *", "Europe/Zurich")
    assert walls(quarter, "2026-03-29T00:00Z", 3, "Europe/Zurich") == [
        "29 01:30+0100",
        "29 03:30+0200",
        "29 04:30+0200",
    ]
    assert walls(quarter, "2026-10-25T00:00Z", 3, "Europe/Zurich") == [
        "25 02:30+0200",
        "25 02:30+0100",
        "25 03:30+0100",
    ]


def test_a_change_of_half_an_hour() -> None:
    night = cron("45 1 * * *", "Australia/Lord_Howe")
    assert walls(night, "2026-04-04T00:00Z", 2, "Australia/Lord_Howe") == ["05 01:45+1100", "06 01:45+1030"]


def test_a_day_that_was_left_out() -> None:
    noon = cron("0 12 * * *", "Pacific/Apia")  # there was no 30 December 2011
    assert walls(noon, "2011-12-29T00:00Z", 3, "Pacific/Apia") == ["29 12:00-1000", "31 00:00+1400", "31 12:00+1400"]


def test_an_expression_that_is_due_no_more_has_no_moment() -> None:
    assert (
        cron("0 0 1 1 *", end_at=ns(datetime(2027, 1, 1, tzinfo=UTC)) - 1).after(ns(datetime(2026, 2, 1, tzinfo=UTC)))
        is None
    )


def test_a_clock_set_forward_over_nothing_that_is_named_changes_nothing() -> None:
    noon = cron("0 12 * * *", "Europe/Zurich")
    assert walls(noon, "2026-03-28T20:00Z", 2, "Europe/Zurich") == ["29 12:00+0200", "30 12:00+0200"]


def test_the_longest_time_between_two_moments() -> None:
    # 2100 is no leap year
    leap = cron("0 0 29 2 *")
    found = leap.after(ns(datetime(2096, 3, 1, tzinfo=UTC)))
    assert found == ns(datetime(2104, 2, 29, tzinfo=UTC))


def test_an_interval_counts_from_its_creation_or_its_start() -> None:
    assert every(10, anchor=5 * SECOND).after(5 * SECOND) == 15 * SECOND
    assert every(10, anchor=5 * SECOND).after(0) == 15 * SECOND
    assert every(10, start_at=100 * SECOND).after(5 * SECOND) == 100 * SECOND
    assert every(10, start_at=100 * SECOND).after(100 * SECOND) == 110 * SECOND
    assert every(10, start_at=100 * SECOND, end_at=105 * SECOND).after(100 * SECOND) is None


def test_once_is_once() -> None:
    once = Moments(ScheduleSpec(workflow="w", at=7), 0, "seed", UTC)
    assert (once.after(6), once.after(7)) == (7, None)
    assert once.newest(0, 10, 3) == [7]
    assert once.next(7) is None
    assert once.next(0) == Moment(7, 7)


def test_the_newest_moments_of_years_are_found_without_walking_over_them() -> None:
    second = every(0.01)
    assert second.newest(0, 1_000 * 365 * DAY, 2) == [1_000 * 365 * DAY - SECOND // 100, 1_000 * 365 * DAY]
    assert cron("0 0 1 * *").newest(0, ns(datetime(2026, 3, 15, tzinfo=UTC)), 2) == [
        ns(datetime(2026, 2, 1, tzinfo=UTC)),
        ns(datetime(2026, 3, 1, tzinfo=UTC)),
    ]
    assert every(10).newest(15 * SECOND, 35 * SECOND, 9) == [20 * SECOND, 30 * SECOND]


def test_jitter_is_the_same_each_time_and_ends_before_the_next_moment() -> None:
    spec = ScheduleSpec(workflow="w", every_ns=10 * SECOND, jitter_ns=60 * SECOND)
    one, other = Moments(spec, 0, "one", UTC), Moments(spec, 0, "other", UTC)
    found = [one.moment(n * 10 * SECOND) for n in range(1, 50)]
    assert found == [one.moment(n * 10 * SECOND) for n in range(1, 50)]
    assert all(moment.due <= moment.at < moment.due + 10 * SECOND for moment in found)
    assert len({moment.at - moment.due for moment in found}) == 49
    assert found != [other.moment(n * 10 * SECOND) for n in range(1, 50)]
    last = Moments(ScheduleSpec(workflow="w", at=SECOND, jitter_ns=SECOND), 0, "one", UTC).moment(SECOND)
    assert SECOND <= last.at < 2 * SECOND


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1_500_000_000, "1970-01-01T00:00:01.5Z"),
        (1_700_000_000 * SECOND, "2023-11-14T22:13:20Z"),
    ],
)
def test_moments_in_words(moment: int, text: str) -> None:
    assert iso(moment) == text


# --- against the meaning, minute by minute --------------------------------------------------------------------------------

TEXTS = ["30 2 * * *", "*/7 * * * *", "15,45 * * * *", "0 0,1,2,3 * * *", "20-40/10 1-3 * * *", "0 4 * * sun"]


def by_definition(text: str, zone: str, since: datetime, hours: int) -> list[int]:
    """Every moment, found by looking at each minute: what the rules say, without any cleverness."""
    rules, known, seen, found = Cron(text), ZoneInfo(zone), set(), []

    def is_named(wall: datetime) -> bool:
        return rules.following(wall, wall + timedelta(minutes=1)) == wall

    start = since - timedelta(hours=30)
    before = start.astimezone(known).replace(tzinfo=None) - timedelta(minutes=1)
    for minute in range((hours + 30) * 60 + 1):
        at = start + timedelta(minutes=minute)
        wall = at.astimezone(known).replace(tzinfo=None)
        due = is_named(wall) and (rules.counts_hours or wall not in seen)
        if not rules.counts_hours:
            left_out = before + timedelta(minutes=1)
            while left_out < wall:  # the clock was set forward to here
                due = due or is_named(left_out)
                seen.add(left_out)
                left_out += timedelta(minutes=1)
        seen.add(wall)
        before = wall
        if due and at > since:
            found.append(ns(at))
    return found


@settings(max_examples=150, deadline=None)
@given(
    text=st.sampled_from(TEXTS),
    zone=st.sampled_from(ZONES),
    near=st.sampled_from(
        ["2026-03-29T01:00Z", "2026-10-25T01:00Z", "2026-03-08T07:00Z", "2026-11-01T06:00Z", "2026-04-04T15:00Z"]
    ),
    minutes=st.integers(-36 * 60, 12 * 60),
)
def test_moments_are_those_that_the_rules_name(text: str, zone: str, near: str, minutes: int) -> None:
    since = datetime.fromisoformat(near) + timedelta(minutes=minutes)
    moments, found, due = cron(text, zone), [], ns(since)
    while (due := moments.after(due) or 0) <= ns(since) + 40 * 3_600 * SECOND:
        found.append(due)
    assert found == by_definition(text, zone, since, 40)
    assert moments.newest(ns(since) + 1, ns(since) + 40 * 3_600 * SECOND, 5) == found[-5:]
