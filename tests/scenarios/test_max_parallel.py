"""How many tasks of one run are in work at once, and what does not count."""

from __future__ import annotations

from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, task

TWICE = RetryPolicy(max_attempts=2, jitter=False)


def test_what_nobody_works_on_takes_no_place_and_waits_for_none() -> None:
    run = Run(
        task("first"),
        task("second"),
        TaskDefinition.timer("nap", 10),
        TaskDefinition.wait_for("call", "ring"),
        TaskDefinition.ask("may", "May I?"),
        TaskDefinition.choice("route", {"taken": "1 == 1", "other": None}),
        task("taken", "route"),
        task("other", "route"),
        task("third", "other"),
        max_parallel=1,
    )
    assert run.in_work == ["first"]
    assert {run.statuses[key] for key in ("nap", "call", "may")} == {"WAITING"}
    assert run.due == 10, "a timer counts from the moment when it became ready"
    assert run.result("route") == "taken"
    assert (run.statuses["other"], run.statuses["third"]) == ("SKIPPED", "SKIPPED")
    run.succeed("first")
    assert run.in_work == ["second"]


def test_a_task_keeps_its_place_between_two_attempts() -> None:
    run = Run(task("flaky", retry_policy=TWICE), task("other"), max_parallel=1)
    run.fail("flaky")
    assert run.in_work == []
    run.wait(60)
    assert run.in_work == ["flaky"]
    run.succeed("flaky")
    assert run.in_work == ["other"]


def test_a_loop_gives_its_place_away_between_two_iterations_and_waits_for_one_again() -> None:
    run = Run(
        TaskDefinition.timer("later", 3),
        task("poll", repeat_until="${iteration} == 2", repeat_delay_seconds=5),
        task("other", "later"),
        max_parallel=1,
    )
    run.succeed("poll[0]")
    run.wait(10)
    assert run.in_work == ["other"]
    assert run.statuses["poll[1]"] == "READY"
    run.succeed("other")
    assert run.in_work == ["poll[1]"]
    run.succeed("poll[1]")
    assert run.status == "COMPLETED"


def test_the_place_of_a_retry_that_is_not_wanted_any_more_is_free() -> None:
    run = Run(
        task("flaky", retry_policy=TWICE),
        task("other"),
        TaskDefinition.wait_for("stop", "stop", cancels={"flaky"}),
        max_parallel=1,
    )
    run.fail("flaky")
    run.signal("stop")
    assert run.in_work == ["other"]
