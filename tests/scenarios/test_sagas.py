"""Sagas: what was done is undone when the run fails or is aborted, the last first."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core.results import ErrorInfo, OutcomeKind
from agenticflow.errors import CommandRefused, DefinitionError, InvariantError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over, fork_of
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.evolve import evolve
from agenticflow.orchestration.plan import compile_plan
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import Run, definition_of, once, task

ORDER = (
    task("validate"),
    task("reserve", "validate", compensation="release", params={"item": "${what}"}),
    task("charge", "reserve", compensation=Compensation("bank", "refund", {"receipt": "${charge.receipt}"})),
    task("ship", "charge", retry_policy=RetryPolicy(max_attempts=1)),
)


def order(*tasks: TaskDefinition, **options: Any) -> Run:
    return Run(*(tasks or ORDER), input={"what": "book"}, **options)


def until_ship(run: Run) -> Run:
    run.succeed("validate")
    run.succeed("reserve", value={"id": 7})
    run.succeed("charge", value={"receipt": "r1"})
    return run


def test_a_failed_run_undoes_what_it_did_the_last_first() -> None:
    run = until_ship(order())
    run.fail("ship", RuntimeError("no driver"))
    assert run.status == "COMPENSATING"
    assert run.in_work == ["undo:charge"]
    undo = run.dispatched["undo:charge"]
    assert (undo.performer_id, undo.task_type) == ("bank", "refund")
    assert run.params("undo:charge") == {"receipt": "r1"}
    run.succeed("undo:charge")
    assert list(run.dispatched) == ["undo:reserve"]
    assert run.params("undo:reserve") == {"item": "book"}, "what the task was given"
    run.succeed("undo:reserve")
    assert run.status == "COMPENSATED"
    assert run.facts(f.CompensationStarted)[0].failed == ["ship"]
    assert "no driver" in run.facts(f.CompensationStarted)[0].error.message


def test_a_run_that_did_nothing_to_undo_just_fails() -> None:
    run = order()
    run.fail_for_good("validate")
    assert run.status == "FAILED"


def test_a_run_that_succeeds_undoes_nothing() -> None:
    run = until_ship(order())
    run.succeed("ship")
    assert run.status == "COMPLETED"


def test_an_abort_undoes_too_and_so_does_a_limit_of_the_run() -> None:
    run = until_ship(order())
    run.abort("changed my mind")
    run.cancelled("ship")
    assert run.in_work == ["undo:charge"]
    run.succeed("undo:charge")
    run.succeed("undo:reserve")
    assert run.status == "COMPENSATED"
    assert "changed my mind" in run.facts(f.CompensationStarted)[0].error.message
    run = until_ship(order(timeout_seconds=60))
    run.wait(61)
    run.cancelled("ship")
    assert run.status == "COMPENSATING"


def test_an_undoing_has_its_own_attempts() -> None:
    run = until_ship(order())
    run.fail("ship")
    run.fail("undo:charge", ConnectionError("bank is closed"))
    assert (run.statuses["undo:charge"], run.status) == ("RETRYING", "COMPENSATING")
    run.wait(60)
    run.succeed("undo:charge")
    assert run.in_work == ["undo:reserve"]


def test_what_cannot_be_undone_waits_for_a_person_and_holds_back_the_rest() -> None:
    run = until_ship(order())
    run.fail("ship")
    run.fail_for_good("undo:charge")
    assert (run.status, run.statuses["undo:charge"]) == ("NEEDS_ATTENTION", "UNKNOWN")
    assert not run.in_work
    run.resolve("undo:charge", "run_again")
    assert run.in_work == ["undo:charge"]
    run.fail_for_good("undo:charge")
    run.resolve("undo:charge", "completed", reason="done at the counter")
    assert run.in_work == ["undo:reserve"]
    run.fail_for_good("undo:reserve")
    run.resolve("undo:reserve", "failed", reason="written off")
    assert run.status == "COMPENSATED"
    assert run.statuses["undo:reserve"] == "FAILED"


ONCE = Compensation("bank", "refund", effect="at_most_once")  # type: ignore[arg-type]  # as people write it


def test_an_undoing_that_must_not_run_twice_waits_for_a_person_when_nobody_knows_what_became_of_it() -> None:
    run = until_ship(order(ORDER[0], ORDER[1], task("charge", "reserve", compensation=ONCE), ORDER[3]))
    run.fail("ship")
    assert run.dispatched["undo:charge"].effect == "at_most_once"
    run.started("undo:charge")
    assert run.crash() == {}, "its process died in the middle: nobody runs it again by itself"
    assert (run.status, run.statuses["undo:charge"]) == ("NEEDS_ATTENTION", "UNKNOWN")
    with pytest.raises(CommandRefused, match="whether task 'undo:charge'") as refused:
        fork_of(run.state)
    assert "from_task='charge'" in refused.value.hint
    assert "charge" not in fork_of(run.state, "reserve").kept
    run.resolve("undo:charge", "run_again")
    run.started("undo:charge")
    run.time_out("undo:charge")
    assert run.statuses["undo:charge"] == "UNKNOWN"
    run.resolve("undo:charge", "completed")
    run.succeed("undo:reserve")
    assert run.status == "COMPENSATED"


def test_an_undoing_that_must_not_run_twice_is_not_tried_again() -> None:
    run = until_ship(order(ORDER[0], ORDER[1], task("charge", "reserve", compensation=ONCE), ORDER[3]))
    run.fail("ship")
    run.started("undo:charge")
    run.fail("undo:charge", ConnectionError("bank is closed"))
    assert run.statuses["undo:charge"] == "UNKNOWN"
    with pytest.raises(DefinitionError, match="at_most_once and cannot have 3 attempts"):
        Compensation("bank", effect="at_most_once", retry_policy=RetryPolicy())  # type: ignore[arg-type]  # as above
    with pytest.raises(DefinitionError, match="the effect of a compensation is 'often'"):
        Compensation("bank", effect="often")  # type: ignore[arg-type]  # that is the point


def test_items_and_iterations_are_undone_one_by_one() -> None:
    run = order(
        task("each", for_each=[1, 2], params={"n": "${item}"}, compensation="undo"),
        task("loop", repeat_until="${loop} > 1", params={"before": "${previous}"}, compensation="undo"),
        task("bad", "each", "loop"),
    )
    run.succeed("each[1]", value="b")
    run.succeed("loop[0]", value=1)
    run.succeed("each[0]", value="a")
    run.succeed("loop[1]", value=2)
    run.fail_for_good("bad")
    undone = []
    while run.in_work:
        undone += [(run.in_work[0], run.params(run.in_work[0]))]
        run.succeed(run.in_work[0])
    assert undone == [
        ("undo:loop[1]", {"before": 1}),
        ("undo:each[0]", {"n": 1}),
        ("undo:loop[0]", {"before": None}),
        ("undo:each[1]", {"n": 2}),
    ]
    assert run.status == "COMPENSATED"


def test_work_that_went_through_late_is_undone_with_the_rest() -> None:
    run = order(
        task("first", compensation="undo"),
        task("slow", "first", compensation="undo", timeout_seconds=5, retry_policy=RetryPolicy(max_attempts=1)),
    )
    run.succeed("first")
    token = run.token("slow")
    run.time_out("slow", is_abandoned=True)
    run.succeed("slow", value="late", token=token)
    assert run.in_work == ["undo:slow"]
    run.succeed("undo:slow")
    assert run.in_work == ["undo:first"]


def test_a_result_that_comes_during_the_abort_is_undone_too() -> None:
    run = order(task("first", compensation="undo"), task("other"))
    run.abort()
    run.succeed("first", value=1)
    run.cancelled("other")
    assert run.in_work == ["undo:first"]


def test_a_payment_in_question_is_decided_and_then_undone() -> None:
    run = order(task("first", compensation="undo"), once("pay", compensation="undo"))
    run.succeed("first")
    run.started("pay")
    run.abort(grace=5)
    run.wait(6)
    assert run.statuses["pay"] == "UNKNOWN"
    run.succeed("undo:first")
    assert run.status == "NEEDS_ATTENTION"
    run.refused(c.Resolve(now=run.now, task_key="pay", decision="run_again", requested_by="ada"), "is being undone")
    run.resolve("pay", "completed", {"receipt": 1})
    assert run.in_work == ["undo:pay"]
    run.succeed("undo:pay")
    assert run.status == "COMPENSATED"


def test_while_it_is_undone_nothing_else_is_taken() -> None:
    run = until_ship(order())
    run.fail("ship")
    run.refused(c.Pause(now=run.now, requested_by="ada"), "is being undone")
    run.refused(c.Abort(now=run.now, requested_by="ada"), "is being undone")
    assert run.due is None


def test_the_next_run_does_again_what_was_undone() -> None:
    run = until_ship(order())
    run.fail("ship")
    run.succeed("undo:charge")
    run.succeed("undo:reserve")
    again = order(run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["reserve"], "validating needs no undoing and is kept"
    assert again.dispatched["reserve"].generation == 1, "other work than what was undone"


def test_what_was_written_off_is_not_done_again() -> None:
    run = until_ship(order())
    run.fail("ship")
    run.fail_for_good("undo:charge")
    run.resolve("undo:charge", "failed")
    run.succeed("undo:reserve")
    again = order(run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["reserve", "ship"], "the charge stands"


def test_after_a_crash_the_undoing_goes_on() -> None:
    run = until_ship(order())
    run.fail("ship")
    assert list(run.crash()) == ["undo:charge"]


def test_a_paused_run_that_has_failed_undoes_all_the_same() -> None:
    run = until_ship(order())
    run.pause()
    run.fail("ship")
    assert run.in_work == ["undo:charge"]


def test_a_result_of_the_run_that_cannot_be_made_undoes_too() -> None:
    run = Run(task("a", compensation="undo"), output="${a.missing}")
    run.succeed("a", value=1)
    assert run.status == "COMPENSATING"


def test_an_ended_by_undoing_outcome_of_an_attempt_given_up_changes_nothing() -> None:
    run = until_ship(order())
    run.fail("ship")
    token = run.token("undo:charge")
    run.time_out("undo:charge")
    assert run.ended("undo:charge", OutcomeKind.SUCCEEDED, token=token) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"compensation": 5}, "compensation of task 'a' is 5"),
        ({"compensation": ""}, "compensation of task 'a' is"),
    ],
)
def test_what_undoes_nothing_is_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        task("a", **options)


def test_what_does_nothing_cannot_be_undone() -> None:
    with pytest.raises(DefinitionError, match="nothing that a compensation could undo"):
        TaskDefinition.timer("nap", 5, compensation="undo")


def test_undoing_what_nothing_undoes_would_be_a_bug() -> None:
    run = Run(task("a"), task("b"))
    run.succeed("a")
    run.state.undoable.append("a")
    with pytest.raises(InvariantError, match="nothing undoes task 'a'"):
        evolve(run.state, f.CompensationStarted(error=ErrorInfo("X", "y")), 9, 1)


def test_references_of_a_compensation_are_checked() -> None:
    wrong = task("a", compensation=Compensation("bank", params={"x": "${b}", "own": "${a}"}))
    with pytest.raises(DefinitionError, match=r"task 'a' uses \$\{b\} but does not depend on 'b'"):
        compile_plan(definition_of([wrong, task("b")]))
    definition = WorkflowDefinition([task("a", compensation=Compensation("bank", params={"x": "${nowhere}"}))])
    assert compile_plan(definition).free_roots == {"nowhere"}
