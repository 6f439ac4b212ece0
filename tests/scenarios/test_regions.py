"""Cancelling: a task, a region, or all the rest of a run, because another task is done."""

from __future__ import annotations

import pytest

from agenticflow.core.results import OutcomeKind
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.plan import compile_plan
from tests.scenarios.runs import Run, definition_of, once, task


def test_a_task_cancels_others_when_it_is_completed() -> None:
    run = Run(
        task("a", cancels={"b", "later"}), task("b"), task("c"), task("later", "c"), task("end", "b", "later", "c")
    )
    running = run.token("b")
    run.succeed("a")
    assert run.stopped == [running]
    assert {run.statuses["b"], run.statuses["later"]} == {"CANCELLED"}
    assert run.facts(f.TasksCancelled)[0].cancelled_by == "a"
    run.ended("b", OutcomeKind.CANCELLED, token=running)
    run.succeed("c")
    assert list(run.dispatched) == ["end"], "what was cancelled counts as skipped"
    run.succeed("end")
    assert run.status == "COMPLETED"


def test_a_task_that_fails_cancels_nothing() -> None:
    run = Run(task("a", cancels={"b"}), task("b"))
    run.fail_for_good("a")
    assert run.statuses["b"] == "SCHEDULED"


def test_what_is_done_stays_done() -> None:
    run = Run(task("a", cancels={"b"}), task("b"))
    run.succeed("b", value=1)
    run.succeed("a")
    assert run.statuses["b"] == "COMPLETED"
    assert run.status == "COMPLETED"


def test_a_map_and_a_loop_are_cancelled_with_what_they_have_in_work() -> None:
    run = Run(
        task("a", cancels=["map", "loop"]),
        task("map", for_each=[1, 2, 3, 4], max_parallel=2),
        task("loop", repeat_until="${iteration} > 5"),
        task("after", "map", "loop", join="settled"),
    )
    run.succeed("map[0]")
    run.fail_for_good("map[1]")
    tokens = {run.token(key) for key in ("map[2]", "map[3]", "loop[0]")}
    run.succeed("a")
    assert set(run.stopped) == tokens
    assert run.statuses["map"] == run.statuses["map[3]"] == run.statuses["loop"] == "CANCELLED"
    assert "after" in run.dispatched
    run.succeed("after")
    run.wait(11)
    assert run.status == "COMPLETED", "a failed item of a map that nobody wanted is no failure"


def test_what_waits_behind_max_parallel_is_not_started_after_the_cancel() -> None:
    run = Run(task("a", cancels={"b"}), task("b"), task("c"), max_parallel=1)
    assert list(run.in_work) == ["a"]
    run.succeed("a")
    assert run.statuses["b"] == "CANCELLED"
    assert list(run.in_work) == ["c"]


def test_a_canceled_task_with_a_fallback_takes_it_along() -> None:
    run = Run(task("a", cancels={"b"}), task("b", fallback="c"), task("c"), task("after", "b"))
    run.fail_for_good("b")
    assert "c" in run.in_work
    run.succeed("a")
    assert run.statuses["c"] == "CANCELLED"
    run.wait(11)
    assert run.status == "FAILED", "b has failed, and nothing stood in for it"


def test_at_most_once_work_whose_outcome_is_in_question_is_not_cancelled_away() -> None:
    run = Run(task("a", cancels={"pay"}), once("pay"))
    run.started("pay")
    run.crash()
    run.succeed("a")
    assert (run.statuses["pay"], run.status) == ("UNKNOWN", "NEEDS_ATTENTION")


def test_an_answer_about_an_item_of_a_map_that_is_over_advances_nothing() -> None:
    run = Run(task("a", cancels={"pay"}), once("pay", for_each=[1, 2]), task("b", "pay"))
    run.started("pay[0]")
    run.crash()
    run.succeed("a")
    assert (run.statuses["pay"], run.statuses["pay[0]"]) == ("CANCELLED", "UNKNOWN")
    run.resolve("pay[0]", "completed", "done")
    assert run.statuses["pay"] == "CANCELLED"
    assert run.statuses["b"] == "SKIPPED"


def test_a_failure_after_the_abort_starts_no_fallback() -> None:
    run = Run(task("a", fallback="b"), task("b"), task("c"))
    run.abort()
    run.fail_for_good("a")
    run.cancelled("c")
    assert run.status == "CANCELLED"
    assert "b" not in run.statuses


def test_a_deferred_choice_is_made_by_what_happens_first() -> None:
    tasks = (
        TaskDefinition.wait_for("paid", "payment", cancels={"expired"}),
        TaskDefinition.timer("expired", 3_600, cancels={"paid"}),
        task("ship", "paid"),
        task("release", "expired"),
    )
    run = Run(*tasks)
    run.signal("payment", 12)
    assert list(run.dispatched) == ["ship"]
    run.succeed("ship")
    assert (run.status, run.statuses["release"]) == ("COMPLETED", "SKIPPED")
    run = Run(*tasks)
    run.wait(3_601)
    assert run.statuses["paid"] == "CANCELLED"
    assert run.in_work == ["release"]


def test_of_two_timers_due_when_nobody_looked_only_the_first_has_ended() -> None:
    run = Run(
        TaskDefinition.timer("short", 10, cancels={"long"}),
        TaskDefinition.timer("long", 20, cancels={"short"}),
        task("a", "short"),
        task("b", "long"),
    )
    run.sleep(60)
    run.timers()
    assert run.in_work == ["a"]
    assert run.statuses["long"] == "CANCELLED"


def test_a_task_may_end_the_run() -> None:
    run = Run(
        task("found", ends_run=True),
        task("search"),
        task("later", "search"),
        TaskDefinition.timer("nap", 60),
        output="${found}",
    )
    searching = run.token("search")
    run.succeed("found", value="it")
    assert run.stopped == [searching]
    assert run.status == "RUNNING"
    run.cancelled("search")
    assert run.status == "COMPLETED"
    assert run.output == "it"
    assert run.state.next_due is None


def test_a_run_that_a_task_ended_is_completed_although_another_had_failed() -> None:
    run = Run(task("found", ends_run=True), task("bad"), task("other"))
    run.fail_for_good("bad")
    run.succeed("found")
    run.cancelled("other")
    assert run.status == "COMPLETED"


def test_an_end_whose_output_leads_nowhere_is_a_failure() -> None:
    run = Run(task("found", ends_run=True), task("other"), output="${other.value}")
    run.succeed("found")
    run.cancelled("other")
    assert run.status == "FAILED"


def test_the_next_run_cancels_again_what_was_not_wanted() -> None:
    run = Run(task("a", cancels={"b"}), task("b"), task("bad"))
    run.succeed("a")
    run.fail_for_good("bad")
    run.wait(11)
    assert run.status == "FAILED"
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["bad"]
    assert again.statuses["b"] == "CANCELLED"


def test_many_are_cancelled_in_few_facts() -> None:
    run = Run(
        task("a", cancels=[f"t{i}" for i in range(1_200)]), *(task(f"t{i}", "b") for i in range(1_200)), task("b")
    )
    run.succeed("a")
    assert [len(fact.task_keys) for fact in run.facts(f.TasksCancelled)] == [500, 500, 200]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"cancels": {"nobody"}}, "cancels 'nobody', which does not exist"), ({"cancels": {"a"}}, "cancels itself")],
)
def test_impossible_regions_are_told(options: dict[str, object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        compile_plan(definition_of([task("a", **options), task("b")]))


def test_a_person_may_cancel_a_task_and_the_run_goes_on_without_it() -> None:
    run = Run(task("a"), task("b"), task("end", "a", "b"))
    token = run.token("a")
    run.cancel_task("a", reason="we have that already")
    assert run.stopped == [token]
    assert "we have that already" in str(run.effects[0])
    fact = run.facts(f.TasksCancelled)[0]
    assert (fact.cancelled_by, fact.decided_by, fact.reason) == ("", "ada", "we have that already")
    run.ended("a", OutcomeKind.CANCELLED, token=token)
    run.succeed("b")
    assert list(run.dispatched) == ["end"]


def test_what_has_not_begun_and_what_runs_as_a_whole_can_be_cancelled_by_a_person() -> None:
    run = Run(task("a"), task("later", "a"), task("map", for_each=[1, 2]))
    run.cancel_task("later")
    run.cancel_task("map")
    assert run.statuses["later"] == run.statuses["map[0]"] == run.statuses["map"] == "CANCELLED"
    assert "cancelled" in str(run.effects[0])
    run.succeed("a")
    run.wait(11)
    assert run.status == "COMPLETED"


def test_what_cannot_be_cancelled_is_refused_in_words() -> None:
    run = Run(task("a"), task("map", for_each=[1, 2]))
    run.succeed("a")
    run.refused(c.CancelTask(now=run.now, task_id="a", requested_by="ada"), "is COMPLETED, there is nothing to cancel")
    run.scenario.when(c.CancelTask(now=run.now, task_id="map[0]", requested_by="ada")).then_refused(
        InvalidInput, "has no task 'map.0.'"
    )
