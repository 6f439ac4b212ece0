"""What a run spent its time on, folded from its events."""

from __future__ import annotations

from agenticflow.core.events import AgenticEvent
from agenticflow.orchestration.timeline import SECOND, Ending, Timeline, gantt, timeline_of


def at(seconds: float, event_type: str, **payload: object) -> AgenticEvent:
    return AgenticEvent(event_type, payload, timestamp=int(seconds * SECOND), id=f"{event_type}@{seconds}")


def folded(*events: AgenticEvent) -> Timeline:
    return timeline_of([at(100, "workflow_started"), *events])


def test_each_attempt_has_a_row_with_its_end_and_what_was_wrong() -> None:
    error = {"type": "ValueError", "message": "no luck"}
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(102, "task_retry_scheduled", task_key="a", error=error, retry_at=105 * SECOND),
        at(105, "task_scheduled", task_key="a", attempt=2),
        at(106, "task_completed", task_key="a"),
        at(106, "workflow_completed"),
    )
    first, second = line.rows
    assert (first.attempt, first.outcome, first.error, first.seconds(0)) == (
        1,
        Ending.RETRIED,
        "ValueError: no luck",
        2,
    )
    assert (second.attempt, second.outcome, second.wait_seconds, second.seconds(0)) == (2, Ending.COMPLETED, 3, 1)
    assert (line.started_at, line.ended_at) == (100 * SECOND, 106 * SECOND)


def test_the_wait_lasts_until_the_handler_is_known_to_have_started() -> None:
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(104, "task_started", task_key="a"),
        at(105, "task_started", task_key="a"),
        at(105, "task_started", task_key="nobody"),
    )
    [row] = line.rows
    assert (row.wait_seconds, row.started_at, row.outcome) == (4, 104 * SECOND, Ending.OPEN)
    assert row.seconds(107 * SECOND) == 7


def test_a_handler_that_asks_has_a_row_for_the_wait_between_its_work() -> None:
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(102, "task_interrupted", task_key="a", key="", question="?"),
        at(110, "interrupt_answered", task_key="a"),
        at(110, "task_scheduled", task_key="a", attempt=1),
        at(111, "task_completed", task_key="a"),
    )
    assert [(row.kind, row.outcome, row.seconds(0)) for row in line.rows] == [
        ("attempt", Ending.INTERRUPTED, 2),
        ("approval", Ending.COMPLETED, 8),
        ("attempt", Ending.COMPLETED, 1),
    ]


def test_a_handler_that_asks_several_things_waits_once_until_there_is_an_answer() -> None:
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(101, "task_interrupted", task_key="a", key="x", question="?"),
        at(101, "task_interrupted", task_key="a", key="y", question="?"),
        at(103, "interrupt_answered", task_key="a"),
        at(103, "task_scheduled", task_key="a", attempt=1),
        at(104, "interrupt_answered", task_key="a"),
        at(105, "task_interrupted_again", task_key="a", is_due=True),
        at(105, "interrupt_answered", task_key="a"),
        at(105, "task_scheduled", task_key="a", attempt=1),
        at(106, "task_interrupted_again", task_key="a"),
        at(109, "interrupt_answered", task_key="a"),
        at(109, "task_scheduled", task_key="a", attempt=1),
        at(110, "interrupt_answered", task_key="a"),
        at(111, "task_interrupted", task_key="a", key="z", question="?"),
        at(111, "task_interrupted_again", task_key="a", is_due=True),
        at(111, "task_scheduled", task_key="a", attempt=1),
        at(112, "task_completed", task_key="a"),
    )
    assert [(row.kind, row.outcome, row.seconds(0)) for row in line.rows] == [
        ("attempt", Ending.INTERRUPTED, 1),
        ("approval", Ending.COMPLETED, 2),
        ("attempt", Ending.INTERRUPTED, 2),
        ("attempt", Ending.INTERRUPTED, 1),
        ("approval", Ending.COMPLETED, 3),
        ("attempt", Ending.INTERRUPTED, 2),
        ("approval", Ending.COMPLETED, 0),
        ("attempt", Ending.COMPLETED, 1),
    ]


def test_what_only_waits_has_one_row_that_is_all_waiting() -> None:
    line = folded(
        at(100, "timer_set", task_key="t", due=105 * SECOND),
        at(100, "signal_awaited", task_key="s", signal="go"),
        at(100, "approval_required", task_key="p", question="?"),
        at(100, "approval_required", task_key="q", question="?"),
        at(105, "timer_fired", task_key="t"),
        at(107, "task_completed", task_key="s"),
        at(108, "approval_granted", task_key="p"),
        at(109, "approval_rejected", task_key="q", error={"type": "Rejected", "message": "no"}),
    )
    assert [(row.kind, row.wait_seconds, row.outcome) for row in line.rows] == [
        ("timer", 5, Ending.COMPLETED),
        ("signal", 7, Ending.COMPLETED),
        ("approval", 8, Ending.COMPLETED),
        ("approval", 9, Ending.FAILED),
    ]


def test_cancelled_work_ends_when_it_was_cancelled_or_with_the_run() -> None:
    line = folded(
        *(at(100, "task_scheduled", task_key=key, attempt=1) for key in ("a", "b", "c", "d")),
        at(101, "tasks_cancelled", task_keys=("a", "never began")),
        at(101, "tasks_cancelled", task_keys=None),
        at(102, "task_cancelled", task_key="b"),
        at(102, "task_reassigned", task_key="c", performer_id="other"),
        at(103, "workflow_cancelled"),
    )
    assert [(row.outcome, row.ended_at) for row in line.rows] == [
        (Ending.CANCELLED, 101 * SECOND),
        (Ending.CANCELLED, 102 * SECOND),
        (Ending.REASSIGNED, 102 * SECOND),
        (Ending.CANCELLED, 103 * SECOND),
    ]


def test_work_whose_outcome_nobody_knew_ends_when_somebody_says() -> None:
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=True and "one"),
        at(101, "task_outcome_unknown", task_key="a", reason="?"),
        at(109, "task_completed", task_key="a"),
        at(110, "choice_made", task_key="c", chosen=("x",)),
    )
    [row] = line.rows
    assert (row.attempt, row.outcome, row.ended_at) == (1, Ending.COMPLETED, 109 * SECOND)


def test_what_a_person_ends_ends_then() -> None:
    line = folded(
        at(100, "timer_set", task_key="t"),
        at(100, "signal_awaited", task_key="s", signal="go"),
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(101, "task_outcome_unknown", task_key="a", reason="?"),
        at(103, "task_skipped", task_key="t", reason="not today", decided_by="ada"),
        at(104, "task_result_given", task_key="s", decided_by="ada"),
        at(105, "task_skipped", task_key="a", reason="the bank will tell", decided_by="ada"),
        at(106, "task_skipped", task_key="b", reason="its condition does not hold"),
    )
    assert [(row.task_key, row.outcome, (row.ended_at or 0) // SECOND) for row in line.rows] == [
        ("t", Ending.CANCELLED, 103),
        ("s", Ending.COMPLETED, 104),
        ("a", Ending.CANCELLED, 105),
    ]


def test_the_bars_share_one_scale() -> None:
    line = folded(
        at(100, "task_scheduled", task_key="a", attempt=1),
        at(102, "task_started", task_key="a"),
        at(104, "task_retry_scheduled", task_key="a", error={}),
        at(106, "task_scheduled", task_key="a", attempt=2),
        at(100, "timer_set", task_key="t"),
        at(100, "timer_set", task_key="u"),
        at(105, "tasks_cancelled", task_keys=["u"]),
        at(108, "task_failed", task_key="a", error={}),
        at(109, "task_scheduled", task_key="b", attempt=1),
    )
    assert gantt(line, 110 * SECOND, width=10) == [
        "··▒▒      ",
        "    ··✗✗  ",
        "··········",
        "····░     ",
        "         ▓",
    ]
    assert len(gantt(line, 110 * SECOND, width=2)[0]) == 10


def test_a_run_of_no_length_is_shown_too() -> None:
    line = folded(at(100, "task_scheduled", task_key="a", attempt=1), at(100, "task_completed", task_key="a"))
    assert gantt(line, 100 * SECOND, width=10) == ["█         "]
    assert timeline_of([]).rows == []
