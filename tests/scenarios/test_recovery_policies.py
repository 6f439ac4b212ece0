"""What happens when a task has failed for good: skip it, fall back, ask another agent."""

from __future__ import annotations

import pytest

from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.plan import compile_plan
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, definition_of, once, task

TWICE = RetryPolicy(max_attempts=2, jitter=False)


def test_a_failure_that_is_skipped_does_not_end_the_run() -> None:
    run = Run(task("extra", on_failure="skip"), task("main"), task("end", "extra", "main"), task("below", "extra"))
    run.fail_for_good("extra")
    assert run.statuses["below"] == "SKIPPED"
    run.succeed("main")
    assert list(run.dispatched) == ["end"]
    run.succeed("end")
    assert (run.status, run.statuses["extra"]) == ("COMPLETED", "FAILED")


def test_skipping_comes_after_all_attempts() -> None:
    run = Run(task("extra", on_failure="skip", retry_policy=TWICE))
    run.fail("extra")
    assert run.statuses["extra"] == "RETRYING"
    run.wait(1)
    run.fail("extra")
    assert run.status == "COMPLETED"


def test_a_skipped_map_is_no_failure_whichever_item_failed() -> None:
    run = Run(task("map", for_each=[1, 2], on_failure="skip"), task("end", "map"))
    run.fail_for_good("map[0]")
    run.succeed("map[1]")
    assert run.status == "COMPLETED"
    assert run.statuses == {"map": "FAILED", "map[0]": "FAILED", "map[1]": "COMPLETED", "end": "SKIPPED"}


def test_a_fallback_runs_only_after_a_failure_and_its_result_stands_in() -> None:
    run = Run(
        task("fast", fallback="slow"),
        task("slow", params={"why": "${start}"}),
        task("end", "fast", params={"got": "${fast.value}"}),
        input={"start": 1},
    )
    assert run.in_work == ["fast"]
    run.fail_for_good("fast")
    assert list(run.dispatched) == ["slow"]
    run.succeed("slow", value={"value": 7})
    assert run.statuses["fast"] == "COMPLETED"
    assert run.params("end") == {"got": 7}
    run.succeed("end")
    assert run.status == "COMPLETED"


def test_a_fallback_nobody_needs_is_skipped() -> None:
    run = Run(task("fast", fallback="slow"), task("slow"), task("sorry", "slow"))
    run.succeed("fast")
    assert run.status == "COMPLETED"
    assert run.statuses == {"fast": "COMPLETED", "slow": "SKIPPED", "sorry": "SKIPPED"}
    assert run.facts(f.TaskSkipped)[0].reason == "what it is the fallback of has not failed"


def test_a_fallback_that_fails_too_leaves_the_failure() -> None:
    run = Run(task("fast", fallback="slow"), task("slow"), task("end", "fast"))
    run.fail_for_good("fast")
    run.fail_for_good("slow")
    assert run.status == "FAILED"
    assert "end" not in run.statuses


def test_a_fallback_that_fails_or_is_skipped_leaves_a_failure_that_may_be_skipped() -> None:
    for condition in (None, "1 == 2"):
        run = Run(task("fast", fallback="slow", on_failure="skip"), task("slow", when=condition), task("end", "fast"))
        run.fail_for_good("fast")
        if condition is None:
            run.fail_for_good("slow")
        assert run.status == "COMPLETED"
        assert run.statuses["end"] == "SKIPPED"


def test_a_fallback_that_was_cancelled_before_stands_in_for_nobody() -> None:
    run = Run(task("a", cancels={"slow"}), task("fast", fallback="slow"), task("slow"))
    run.succeed("a")
    run.fail_for_good("fast")
    assert (run.status, run.statuses["slow"]) == ("FAILED", "CANCELLED")


def test_fallbacks_may_have_fallbacks() -> None:
    tasks = (task("a", fallback="b"), task("b", fallback="c"), task("c"), task("end", "a", params={"got": "${a}"}))
    run = Run(*tasks)
    run.fail_for_good("a")
    run.fail_for_good("b")
    run.succeed("c", value="c")
    assert run.params("end") == {"got": "c"}
    run = Run(*tasks)
    run.fail_for_good("a")
    run.fail_for_good("b")
    run.fail_for_good("c")
    assert run.status == "FAILED"
    run = Run(*tasks)
    run.succeed("a", value="a")
    run.succeed("end")
    assert run.status == "COMPLETED"
    assert (run.statuses["b"], run.statuses["c"]) == ("SKIPPED", "SKIPPED")


def test_a_fallback_is_given_what_the_task_it_stands_in_for_was_given() -> None:
    run = Run(task("load"), task("fast", "load", fallback="slow"), task("slow", params={"rows": "${load}"}))
    run.succeed("load", value=[1])
    run.fail_for_good("fast")
    assert run.params("slow") == {"rows": [1]}


def test_a_map_stands_in_with_the_results_of_its_items() -> None:
    run = Run(
        task("fast", fallback="each"),
        task("each", for_each=[1, 2], fallback="last"),
        task("last"),
        task("end", "fast", params={"got": "${fast}"}),
    )
    run.fail_for_good("fast")
    run.succeed("each[1]", value="b")
    run.succeed("each[0]", value="a")
    assert (run.statuses["fast"], run.statuses["last"]) == ("COMPLETED", "SKIPPED")
    assert run.params("end") == {"got": ["a", "b"]}
    run.fail_for_good("end")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["end"]
    assert again.params("end") == {"got": ["a", "b"]}


def test_a_map_that_stands_in_for_a_map_gives_its_own_results() -> None:
    run = Run(
        task("many", for_each=[1, 2, 3], fallback="few"), task("few", for_each=[1], fallback="none"), task("none")
    )
    run.fail_for_good("many[0]")
    run.succeed("many[1]", value="of many")
    run.succeed("many[2]", value="of many")
    run.succeed("few[0]", value="of few")
    assert (run.status, run.result("many")) == ("COMPLETED", ["of few"])


def test_a_map_with_large_results_that_stood_in_is_asked_again_in_the_next_run() -> None:
    run = Run(task("fast", fallback="each"), task("each", for_each=[1]), task("end", "fast"), task("below", "each"))
    run.fail_for_good("fast")
    run.succeed("each[0]")
    run.fail_for_good("end")
    run.fail_for_good("below")
    run.record("each[0]").value, _ = store_form(codec.encode("x" * 100_000))  # as the host records it
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["fast"]
    again.fail_for_good("fast")
    assert sorted(again.in_work) == ["below", "end"], "its items are kept"


def test_a_loop_stands_in_with_its_last_result() -> None:
    run = Run(
        task("fast", fallback="loop"),
        task("loop", repeat_until="${iteration} == 2"),
        task("end", "fast", params={"got": "${fast}"}),
    )
    run.fail_for_good("fast")
    run.succeed("loop[0]", value=1)
    run.succeed("loop[1]", value=2)
    assert run.params("end") == {"got": 2}
    run.fail_for_good("end")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["end"]


def test_the_next_run_keeps_what_stood_in() -> None:
    run = Run(task("fast", fallback="slow"), task("slow"), task("end", "fast"))
    run.fail_for_good("fast")
    run.succeed("slow", value=7)
    run.fail_for_good("end")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["end"]
    assert again.result("fast") == 7
    from_there = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state, "slow"))
    assert from_there.in_work == ["end"], "a completed task is kept"


def test_running_the_task_again_runs_its_fallback_only_if_needed() -> None:
    run = Run(task("first"), task("fast", "first", fallback="slow"), task("slow"))
    run.succeed("first")
    run.fail_for_good("fast")
    run.succeed("slow", value=7)
    assert run.status == "COMPLETED"
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state, "first"))
    assert again.in_work == ["fast"]
    again.succeed("fast")
    assert again.status == "COMPLETED"
    assert again.statuses["slow"] == "SKIPPED"


def test_a_task_is_given_to_the_next_agent_when_one_has_failed_for_good() -> None:
    run = Run(
        task("work", on_failure="reassign", reassign_to=["second", "third"], retry_policy=TWICE), task("end", "work")
    )
    assert run.dispatched["work"].performer_id == "agent"
    run.fail("work")
    run.wait(1)
    run.fail("work")
    assert run.dispatched["work"].performer_id == "second"
    assert run.record("work").attempt == 3
    run.fail("work")
    assert run.statuses["work"] == "RETRYING", "the next agent has all its attempts"
    run.wait(1)
    run.fail_for_good("work")
    assert run.dispatched["work"].performer_id == "third"
    run.succeed("work")
    assert "end" in run.dispatched
    assert [fact.performer_id for fact in run.facts(f.TaskReassigned)] == ["second", "third"]


def test_a_payment_that_did_not_happen_may_have_a_fallback() -> None:
    run = Run(once("pay", fallback="other"), task("other"), task("more"))
    run.started("pay")
    run.crash()
    run.resolve("pay", "failed")
    run.succeed("other", value=1)
    assert run.statuses["pay"] == "COMPLETED"


def test_when_there_is_nobody_left_the_task_has_failed() -> None:
    run = Run(task("work", on_failure="reassign", reassign_to=["second"]))
    run.fail_for_good("work")
    run.fail_for_good("work")
    assert run.status == "FAILED"
    assert [error.attempt for error in run.errors("work")] == [1, 2]


def test_an_agent_that_does_not_let_go_is_told_to_when_another_gets_the_task() -> None:
    run = Run(task("work", on_failure="reassign", reassign_to=["second"], retry_policy=RetryPolicy(max_attempts=1)))
    first = run.token("work")
    run.time_out("work", is_abandoned=True)
    assert run.stopped == [first]
    assert run.dispatched["work"].performer_id == "second"


def test_a_task_that_may_be_reassigned_without_a_list_says_so_to_whoever_dispatches_it() -> None:
    run = Run(task("work", on_failure="reassign", capabilities=["ocr"]))
    assert run.dispatched["work"].is_movable
    assert run.dispatched["work"].capabilities == ("ocr",)
    run.fail_for_good("work")
    assert run.status == "FAILED"


def test_an_end_in_the_middle_of_a_reassignment_is_an_end() -> None:
    run = Run(task("work", on_failure="reassign", reassign_to=["second"]))
    run.abort()
    run.fail_for_good("work")
    assert run.status == "CANCELLED"


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        ([task("a", fallback="nobody")], "falls back to 'nobody', which does not exist"),
        ([task("a", fallback="b"), task("b", "a")], "tasks wait for each other|cannot have dependencies"),
        ([task("a", fallback="a")], "wait for each other"),
        ([task("a", fallback="c"), task("b", fallback="c"), task("c")], "the fallback of 2 tasks"),
    ],
)
def test_impossible_fallbacks_are_told(tasks: list[object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        compile_plan(definition_of(tasks))  # type: ignore[arg-type]  # a list of tasks


def test_work_that_must_not_run_twice_cannot_be_reassigned() -> None:
    with pytest.raises(DefinitionError, match="cannot be given to another agent"):
        once("pay", on_failure="reassign", reassign_to=["b"])


def test_a_fallback_may_be_cancelled_before_anybody_comes_to_what_it_stands_in_for() -> None:
    tasks = (task("a", cancels={"spare"}), task("b", "a", fallback="spare"), task("spare"), task("end", "b"))
    run = Run(*tasks)
    run.succeed("a")
    assert run.statuses["spare"] == "CANCELLED"
    run.fail_for_good("b")
    assert run.status == "FAILED", "nobody stood in"
    run = Run(*tasks)
    run.succeed("a")
    run.succeed("b")
    run.succeed("end")
    assert run.status == "COMPLETED"
