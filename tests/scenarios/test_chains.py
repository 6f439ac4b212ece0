"""Chains of runs: what the next run of a workflow keeps, and where it goes on."""

from __future__ import annotations

import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.values import Values, store_form
from agenticflow.errors import CommandRefused, InvalidInput, InvariantError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals.facts import AnswersKept
from agenticflow.orchestration.chain import Carried, carry_over
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.evolve import evolve
from agenticflow.orchestration.guest import stream_of
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.snapshots import restore, take
from agenticflow.resilience import RetryPolicy
from agenticflow.testing.scenarios import given
from tests.scenarios.runs import GUEST, START, Run, task

LINE = (task("a"), task("b", "a"), task("c", "b"), task("side"))


def failed_at_b() -> Run:
    run = Run(*LINE)
    run.succeed("a", value="A")
    run.succeed("side", value="S")
    run.fail_for_good("b")
    return run


def next_run(run: Run, from_task: str | None = None, run_no: int = 2) -> Run:
    return Run(*run.definition.tasks, run_no=run_no, carried=carry_over(run.state, from_task))


def test_the_next_run_goes_on_after_the_last_success() -> None:
    again = next_run(failed_at_b())
    assert again.in_work == ["b"]
    assert again.result("a") == "A"
    again.succeed("b")
    again.succeed("c")
    assert again.status == "COMPLETED"
    assert [fact.task_key for fact in again.facts(f.TaskScheduled)] == ["b", "c"]


def test_a_completed_task_to_go_on_from_is_kept_and_what_depends_on_it_runs_again() -> None:
    run = Run(*LINE)
    for key in ("a", "b", "c", "side"):
        run.succeed(key, value=key)
    again = next_run(run, "a")
    assert again.in_work == ["b"]
    assert set(again.statuses) == {"a", "b", "side"}
    assert again.dispatched["b"].generation == 1
    again.succeed("b")
    assert again.dispatched["c"].generation == 1


def test_a_task_that_has_not_succeeded_is_run_with_what_depends_on_it() -> None:
    again = next_run(failed_at_b(), "b")
    assert again.in_work == ["b"]
    assert again.dispatched["b"].generation == 0


def test_generations_add_up_along_the_chain() -> None:
    run = Run(*LINE)
    for key in ("a", "b", "c", "side"):
        run.succeed(key)
    second = next_run(run, "a")
    second.succeed("b")
    second.succeed("c")
    third = next_run(second, "a", run_no=3)
    assert third.dispatched["b"].generation == 2


def test_paths_that_meet_again_run_again_once() -> None:
    run = Run(task("a"), task("l", "a"), task("r", "a"), task("end", "l", "r"))
    for key in ("a", "l", "r", "end"):
        run.succeed(key)
    assert carry_over(run.state, "a").generations == {"l": 1, "r": 1, "end": 1}


def test_timers_and_signals_that_were_over_are_not_waited_for_again() -> None:
    run = Run(TaskDefinition.timer("t", 60), TaskDefinition.wait_for("s", "go"), task("bad", "t", "s"))
    run.signal("go", "now")
    run.wait(60)
    run.fail_for_good("bad")
    again = next_run(run)
    assert again.in_work == ["bad"]
    assert again.result("s") == "now"


def test_conditions_are_decided_again_and_give_the_same() -> None:
    tasks = (task("a"), task("no", "a", when="${a} > 5"), task("b", "no", "a"))
    run = Run(*tasks)
    run.succeed("a", value=1)
    run.fail_for_good("b")
    assert next_run(run).statuses == {"a": "COMPLETED", "no": "SKIPPED", "b": "SCHEDULED"}


def test_a_run_that_kept_everything_ends_at_once() -> None:
    run = Run(task("a"), task("b"))
    run.succeed("a")
    run.abort()
    run.succeed("b")
    assert run.status == "CANCELLED"
    assert next_run(run).status == "COMPLETED"


def test_an_open_run_is_not_followed_by_another() -> None:
    run = Run(task("a"))
    with pytest.raises(CommandRefused, match="its run has not ended"):
        carry_over(run.state)


def test_an_unknown_task_to_go_on_from_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"no task 'x'.*it has a, b, c, side"):
        carry_over(failed_at_b().state, "x")


def test_large_kept_results_stay_references() -> None:
    """What is kept may be larger than an event: then it is a reference, and its bytes are asked for."""
    value, (blob,) = store_form(codec.encode("x" * 100_000))
    kept, (kept_blob,) = store_form(
        codec.encode({f"t{i}": codec.encode("y" * 1_000) for i in range(99)} | {"big": value})
    )
    tasks = [task(f"t{i}") for i in range(99)] + [task("big"), task("end", "big")]
    story = given(GUEST, stream_id=stream_of("w", 2))
    story.state.values = Values()
    story.when(
        c.StartRun(
            now=START,
            workflow_id="w",
            run_no=2,
            definition=compile_plan(Run(*tasks).definition).encoded,
            input=codec.NULL,
            seed="",
            fingerprint="",
            requested_by="x",
            kept=kept,
            blobs=(kept_blob, blob),
        )
    )
    assert [fact.task_key for fact in story.facts if isinstance(fact, f.TaskScheduled)] == ["end"]
    assert story.state.tasks["big"].value == value
    assert GUEST.inputs(story.state, "end").results["big"] == "x" * 100_000


def test_nothing_kept_is_a_fresh_start() -> None:
    assert Run(*LINE, run_no=2, carried=Carried({}, {}, {})).in_work == ["a", "side"]


def test_a_signal_that_no_task_took_is_taken_by_the_next_run() -> None:
    first = Run(task("a", retry_policy=RetryPolicy(max_attempts=1)), TaskDefinition.wait_for("gate", "open", {"a"}))
    first.signal("open", "early")
    first.signal("open", "later")
    first.fail("a")
    carried = carry_over(first.state)
    second = Run(*first.definition.tasks, run_no=2, carried=carried)
    second.succeed("a")
    assert second.status == "COMPLETED"
    assert second.result("gate") == "early"
    assert carry_over(second.state).signals == {"open": [codec.encode("later")]}


def test_what_people_answered_a_handler_that_runs_again_is_not_asked_again() -> None:
    run = Run(task("a"), task("b", "a"), task("side"))
    run.interrupt("a", key="done")
    run.answer("a", "yes")
    run.succeed("a", "side")
    run.interrupt("b", key="title")
    run.answer("b", "Spring")
    run.interrupt("b", key="price")
    run.answer("b", 7)
    run.interrupt("b", key="colour")
    run.abort()
    carried = carry_over(run.state)
    assert list(carried.answers) == ["b"], "who has a result asks nobody any more"
    second = Run(*run.definition.tasks, run_no=2, carried=carried)
    assert second.dispatched["b"].generation == 0
    assert second.replies("b") == {"title": "Spring", "price": 7}, "a question without an answer is asked anew"
    second.interrupt("b", key="colour")
    second.answer("b", "red")
    second.fail_for_good("b")
    third = next_run(second, run_no=3)
    assert third.replies("b") == {"title": "Spring", "price": 7, "colour": "red"}
    third.succeed("b")
    assert next_run(third, "a", run_no=4).replies("b") == {}, "work that is asked for anew asks anew"


def test_what_a_person_runs_again_asks_anew_and_what_has_failed_does_not() -> None:
    run = Run(task("pay", effect="at_most_once"), task("b"))
    for key in ("pay", "b"):
        run.interrupt(key)
        run.answer(key, 5)
    run.started("pay")
    run.crash()
    run.abort()
    run.cancelled("b")
    second = next_run(run, "pay")
    assert (second.dispatched["pay"].generation, second.dispatched["b"].generation) == (1, 0)
    assert (second.replies("pay"), second.replies("b")) == ({}, {"": 5})
    second.fail_for_good("b")
    second.started("pay")
    second.crash()
    second.resolve("pay", "run_again")
    assert second.replies("pay") == {}
    assert restore("workflow-w/2", take(second.state)).answers == {"b": {"": codec.encode(answer_of(5))}}


def answer_of(value: object) -> dict[str, object]:
    return {"approved": True, "by": "ada", "comment": "", "value": value}


def test_a_rejection_is_no_answer_and_a_fork_asks_anew() -> None:
    run = Run(task("a"), task("b"))
    run.interrupt("a")
    run.reject("a")
    run.interrupt("b")
    run.answer("b", 5)
    run.fail_for_good("b")
    assert next_run(run).replies("a") == {}
    assert next_run(run).replies("b") == {"": 5}


def test_answers_that_are_no_mapping_would_be_a_bug() -> None:
    run = Run(task("a"))
    with pytest.raises(InvariantError, match="answers of run 'workflow-w/1' are no mapping"):
        evolve(run.state, AnswersKept(msgspec.Raw(codec.encode([1]))), 9, 1)
