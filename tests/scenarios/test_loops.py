"""Loops: again until it is good, with a limit."""

from __future__ import annotations

from typing import Any

from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, once, task


def refining(**options: Any) -> TaskDefinition:
    options = {"repeat_until": "${refine.score} >= 3", **options}
    return task("refine", params={"before": "${previous}", "no": "${iteration}"}, **options)


def test_a_loop_runs_until_its_condition_holds_and_has_the_last_result() -> None:
    run = Run(refining(), task("after", "refine", params={"score": "${refine.score}"}))
    for number in range(3):
        assert list(run.dispatched) == [f"refine[{number}]"]
        run.succeed(f"refine[{number}]", value={"score": number + 1})
    assert list(run.dispatched) == ["after"]
    assert run.params("after") == {"score": 3}
    assert run.result("refine") == {"score": 3}
    run.succeed("after")
    assert run.status == "COMPLETED"


def test_each_iteration_sees_the_result_before_and_its_number() -> None:
    run = Run(refining(repeat_from={"score": "${start}"}), input={"start": 0})
    assert run.params("refine[0]") == {"before": {"score": 0}, "no": 0}
    run.succeed("refine[0]", value={"score": 1})
    assert run.params("refine[1]") == {"before": {"score": 1}, "no": 1}


def test_an_iteration_may_look_at_other_things_too() -> None:
    run = Run(
        task("load"),
        task("loop", "load", repeat_until="${iteration} > 1", params={"x": "${load} ${start}"}),
        input={"start": 1},
    )
    run.succeed("load", value="a")
    assert run.params("loop[0]") == {"x": "a 1"}


def test_without_a_start_the_first_iteration_sees_nothing() -> None:
    assert Run(refining()).params("refine[0]") == {"before": None, "no": 0}


def test_each_iteration_has_its_own_retries() -> None:
    run = Run(refining())
    run.fail("refine[0]")
    run.wait(60)
    run.succeed("refine[0]", value={"score": 1})
    assert run.record("refine[1]").attempt == 1


def test_a_loop_that_reaches_its_limit_has_failed() -> None:
    run = Run(refining(max_iterations=2))
    run.succeed("refine[0]", value={"score": 1})
    run.succeed("refine[1]", value={"score": 2})
    assert run.status == "FAILED"
    assert run.errors("refine")[0].type == "LoopLimit"
    assert "after 2 iterations ${refine.score} >= 3 does not hold" in run.errors("refine")[0].message


def test_a_loop_may_take_what_it_has_at_its_limit() -> None:
    run = Run(refining(max_iterations=2, on_limit="complete"))
    run.succeed("refine[0]", value={"score": 1})
    run.succeed("refine[1]", value={"score": 2})
    assert run.status == "COMPLETED"
    assert run.result("refine") == {"score": 2}


def test_the_condition_may_count_iterations() -> None:
    run = Run(task("tick", repeat_until="${iteration} == 2"))
    run.succeed("tick[0]")
    run.succeed("tick[1]")
    assert run.status == "COMPLETED"


def test_a_failed_iteration_fails_the_loop_and_a_condition_that_cannot_be_decided_too() -> None:
    run = Run(refining())
    run.fail_for_good("refine[0]")
    assert (run.status, run.statuses["refine"]) == ("FAILED", "FAILED")
    run = Run(refining())
    run.succeed("refine[0]", value=7)
    assert run.status == "FAILED"
    assert "leads nowhere" in run.errors("refine")[0].message


def test_a_loop_waits_between_its_iterations_also_over_a_pause() -> None:
    run = Run(refining(repeat_delay_seconds=30))
    assert list(run.dispatched) == ["refine[0]"], "not before the first"
    run.succeed("refine[0]", value={"score": 1})
    assert (run.status, run.due) == ("WAITING", 30)
    run.pause()
    assert run.due is None
    run.wait(60)
    assert run.statuses["refine[1]"] == "WAITING"
    run.resume()
    run.wait(0)
    assert run.statuses["refine[1]"] == "SCHEDULED"


def test_an_iteration_whose_key_cannot_be_made_fails_when_its_delay_is_over() -> None:
    run = Run(refining(repeat_delay_seconds=30, locks=["on ${previous.name}"], repeat_from={"name": "x"}))
    run.succeed("refine[0]", value={"score": 1})
    run.wait(31)
    assert run.status == "FAILED"
    assert "leads nowhere" in run.errors("refine[1]")[0].message


def test_the_next_run_keeps_the_iterations_there_were() -> None:
    run = Run(refining(repeat_delay_seconds=30))
    run.succeed("refine[0]", value={"score": 1})
    run.wait(31)
    run.fail_for_good("refine[1]")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert list(again.dispatched) == []
    again.wait(31)
    assert list(again.in_work) == ["refine[1]"]
    assert again.params("refine[1]")["before"] == {"score": 1}


def test_the_next_run_keeps_a_loop_that_is_done() -> None:
    run = Run(refining(), task("after", "refine"))
    run.succeed("refine[0]", value={"score": 5})
    run.fail_for_good("after")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert list(again.dispatched) == ["after"]
    assert again.result("refine") == {"score": 5}


def test_an_abort_ends_a_loop() -> None:
    run = Run(refining())
    run.abort()
    run.cancelled("refine[0]")
    assert run.status == "CANCELLED"
    assert not run.facts(f.LoopEnded)


def test_at_most_once_work_may_be_an_iteration() -> None:
    run = Run(once("pay", repeat_until="${pay} == 'done'"))
    run.started("pay[0]")
    run.crash()
    assert run.status == "NEEDS_ATTENTION"
    run.resolve("pay[0]", "completed", "done")
    assert run.status == "COMPLETED"
