"""Cron expressions: which wall times they name, checked against another reader of the same language."""

# ruff: noqa: DTZ001 - wall times have no zone

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from croniter import croniter
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.errors import InvalidInput
from agenticflow.orchestration.schedules.cron import Cron

MONDAY = datetime(2024, 1, 1)
FAR = datetime(2040, 1, 1)


def first(text: str, since: datetime = MONDAY, until: datetime = FAR) -> datetime | None:
    return Cron(text).following(since, until)


@pytest.mark.parametrize(
    ("text", "since", "expected"),
    [
        ("0 3 * * *", MONDAY, datetime(2024, 1, 1, 3)),
        ("0 3 * * *", datetime(2024, 1, 1, 3), datetime(2024, 1, 1, 3)),
        ("0 3 * * *", datetime(2024, 1, 1, 3, 0, 1), datetime(2024, 1, 2, 3)),
        ("0 3 * * *", datetime(2024, 1, 1, 3, 0, 0, 1), datetime(2024, 1, 2, 3)),
        ("*/15 * * * *", datetime(2024, 1, 1, 23, 46), datetime(2024, 1, 2)),
        ("5/20 9-17/4 * * *", datetime(2024, 1, 1, 9, 46), datetime(2024, 1, 1, 13, 5)),
        ("0 0 29 feb *", datetime(2025, 1, 1), datetime(2028, 2, 29)),
        ("0 0 31 * *", datetime(2024, 4, 1), datetime(2024, 5, 31)),
        ("0 12 * * MON-fri", datetime(2024, 1, 6), datetime(2024, 1, 8, 12)),
        ("0 12 * * 7", MONDAY, datetime(2024, 1, 7, 12)),
        ("0 12 * * 0", MONDAY, datetime(2024, 1, 7, 12)),
        ("0 0 13 * fri", MONDAY, datetime(2024, 1, 5)),
        ("1,2,3 4 5 6 *", MONDAY, datetime(2024, 6, 5, 4, 1)),
        ("@hourly", datetime(2024, 1, 1, 0, 1), datetime(2024, 1, 1, 1)),
        ("@Weekly", MONDAY, datetime(2024, 1, 7)),
        ("@yearly", datetime(2024, 1, 1, 0, 1), datetime(2025, 1, 1)),
    ],
)
def test_the_first_wall_time(text: str, since: datetime, expected: datetime) -> None:
    assert first(text, since) == expected


def test_nothing_before_the_end_is_nothing() -> None:
    assert first("0 3 * * *", MONDAY, datetime(2024, 1, 1, 3)) is None
    assert first("0 3 2 * *", MONDAY, datetime(2024, 1, 1, 23)) is None
    assert first("0 3 * * *", MONDAY, datetime(2024, 1, 1, 3, 1)) == datetime(2024, 1, 1, 3)


def test_naming_every_hour_is_naming_none() -> None:
    assert [Cron(text).counts_hours for text in ("0 * * * *", "0 0-23 * * *", "0 */2 * * *", "0 3 * * *")] == [
        True,
        True,
        False,
        False,
    ]
    assert repr(Cron("@daily")) == "Cron('@daily')"


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has 0 fields"),
        ("* * * *", "has 4 fields"),
        ("* * * * * *", "has 6 fields"),
        ("60 * * * *", "the minute '60' .* not within 0 and 59"),
        ("* 24 * * *", "the hour '24'"),
        ("* * 0 * *", "the day of the month '0'"),
        ("* * * 13 *", "the month '13'"),
        ("* * * * 8", "the day of the week '8'"),
        ("* * * foo *", "has 'foo' in it"),
        ("* * * * mon-", "no number, range or step"),
        ("5-3 * * * *", "goes backwards"),
        ("*/0 * * * *", "a step of 0"),
        ("L * * * *", "has 'L' in it"),
        ("1,,2 * * * *", "has '' in it"),
        ("0 0 30 2 *", "no day on which"),
        ("* " * 200, "no cron expression"),
    ],
)
def test_what_is_no_expression_is_told_with_its_field(text: str, what: str) -> None:
    with pytest.raises(InvalidInput, match=what):
        Cron(text)


def fields(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    # a range of one number is read wrongly by the other one
    span = st.tuples(number, number).filter(lambda two: two[0] != two[1]).map(lambda two: f"{min(two)}-{max(two)}")
    part = st.one_of(number.map(str), span, st.tuples(span, st.integers(1, 9)).map(lambda two: f"{two[0]}/{two[1]}"))
    return st.one_of(
        st.just("*"),
        st.integers(2, 9).map(lambda step: f"*/{step}"),
        st.lists(part, min_size=1, max_size=3).map(",".join),
    )


# One of the two kinds of days is left open: what both together mean is told differently by different readers.
DAYS = st.one_of(
    st.tuples(fields(1, 28), st.just("*")),
    st.tuples(st.just("*"), fields(0, 6)),
    st.just(("13", "5")),
    st.just(("1,15", "1-3")),
)


@settings(max_examples=300, deadline=None)
@given(
    minute=fields(0, 59),
    hour=fields(0, 23),
    days=DAYS,
    month=fields(1, 12),
    since=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),
)
def test_another_reader_says_the_same(
    minute: str, hour: str, days: tuple[str, str], month: str, since: datetime
) -> None:
    text = f"{minute} {hour} {days[0]} {month} {days[1]}"
    ours, theirs = Cron(text), croniter(text, since)
    for _ in range(5):
        expected = theirs.get_next(datetime)
        assert ours.following(since + timedelta(microseconds=1), expected + timedelta(days=1)) == expected, text
        since = expected
