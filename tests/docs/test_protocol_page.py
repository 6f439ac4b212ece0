"""The page of the protocol says what the decider does, and what it does keeps the rules of the house."""

from __future__ import annotations

import pytest

from agenticflow.orchestration.state import TaskStatus
from tests.docs.protocol_tables import NOTHING, PAGE, PARTS, REFUSED, REPORTS, RUNS, TASKS, came_of, has_place
from tests.docs.test_reference import tables
from tests.docs.written_parts import names_of_parts, part

ENDED = ("COMPLETED", "FAILED", "COMPENSATED", "CANCELLED", "CONTINUED")


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_part_is_on_the_page() -> None:
    assert names_of_parts(page()) == list(PARTS)


@pytest.mark.parametrize("name", PARTS)
def test_the_page_says_what_the_decider_does(name: str) -> None:
    assert part(page(), name) == PARTS[name](), "run `make names`"


def test_a_run_that_has_ended_takes_nothing_any_more() -> None:
    rows = {cells[0].strip("`"): set(cells[1:]) for cells in tables(part(page(), "run"))[0][1]}
    for status in ENDED:
        assert rows[status] <= {REFUSED, NOTHING}
    assert len(rows) == len(RUNS)


def test_what_is_reported_of_an_older_attempt_changes_nothing_anywhere() -> None:
    [older] = [column for column in REPORTS if column.name == "of an older attempt"]
    cells = {
        (row.status, row.words): came_of(row, older, lambda run: run.status)[0]
        for row in TASKS
        if has_place(row, older)
    }
    assert set(cells.values()) == {NOTHING}
    assert len(cells) >= 8


def test_work_that_must_not_happen_twice_is_never_scheduled_again_by_a_report() -> None:
    rows = {row.words: row for row in TASKS if row.status is TaskStatus.RUNNING}
    found = {came_of(rows["at most once"], column, lambda run: run.statuses["a"])[0] for column in REPORTS}
    assert found == {NOTHING, "`COMPLETED`", "`FAILED`", "`UNKNOWN`", "`WAITING`"}
