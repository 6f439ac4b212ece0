"""Another plan for a run that would fail: when it is asked for, what a plan may change, and what becomes of the run without one."""

from __future__ import annotations

import pytest

from agenticflow.core.engine import AskForPlan
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.replanning.facts import ReplanRefused, ReplanRequested
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.orchestration.state import TOTAL
from agenticflow.orchestration.waiting import sentence, waits_of
from tests.scenarios.runs import GUEST, SECOND, START, Run, task

TERMS = ReplanTerms(2, 60.0)


def failing() -> Run:
    """A run whose task ``bad`` has failed, and that asks for another plan."""
    run = Run(task("bad"), task("after", "bad"), task("good"), replan=TERMS)
    run.succeed("good")
    run.fail_for_good("bad")
    return run


# --- when it asks -------------------------------------------------------------------------------------------------------


def test_a_run_that_would_fail_asks_first_and_waits() -> None:
    run = failing()
    assert run.facts(ReplanRequested) == [ReplanRequested(1, ("bad",), START + 60 * SECOND)]
    assert run.effects[-1] == AskForPlan(1, START + 60 * SECOND)
    assert (run.status, run.due) == ("RUNNING", 60)
    assert breaches_of(run.state, Holding((), run.state.next_due), run.now) == []
    (wait,) = waits_of(run.state)
    assert sentence(wait, "w").startswith("the run would fail, and waits for another plan, request 1, since 2023-11-14")
    assert "whoever plans has to answer" in sentence(wait, "w")


def test_it_asks_when_nothing_else_is_in_work() -> None:
    run = Run(task("bad"), task("slow"), replan=TERMS)
    run.fail_for_good("bad")
    assert run.facts(ReplanRequested) == []
    run.succeed("slow")
    assert len(run.facts(ReplanRequested)) == 1


def test_who_has_no_terms_does_not_ask() -> None:
    run = Run(task("bad"))
    run.fail_for_good("bad")
    assert run.status == "FAILED"


def test_a_crash_in_between_has_it_asked_again() -> None:
    run = failing()
    assert AskForPlan(1, START + 60 * SECOND) in GUEST.recover(run.state, run.now).effects
    run.abort()
    assert [e for e in GUEST.recover(run.state, run.now).effects if isinstance(e, AskForPlan)] == []


# --- what comes before it and after it ----------------------------------------------------------------------------------


def test_another_agent_and_a_fallback_come_first() -> None:
    run = Run(
        task("bad", on_failure="reassign", reassign_to=["second"]),
        task("weak", fallback="other"),
        task("other"),
        replan=TERMS,
    )
    run.fail_for_good("bad")
    assert run.dispatched["bad"].performer_id == "second"
    run.fail_for_good("bad")
    run.fail_for_good("weak")
    assert run.in_work == ["other"]
    run.fail_for_good("other")
    assert run.facts(ReplanRequested)[0].failed == ("bad", "weak", "other")


def test_what_is_skipped_asks_nobody() -> None:
    run = Run(task("bad", on_failure="skip"), task("good"), replan=TERMS)
    run.fail_for_good("bad")
    run.succeed("good")
    assert run.status == "COMPLETED"


def test_nothing_is_undone_before_there_is_an_answer() -> None:
    run = Run(task("good", compensation="undo"), task("bad", "good"), replan=TERMS)
    run.succeed("good")
    run.fail_for_good("bad")
    assert run.in_work == []
    run.propose(problems=("no idea",))
    assert run.in_work == ["undo:good"]


def test_a_plan_may_ask_a_person() -> None:
    run = failing()
    run.propose({"replace": TaskDefinition.ask("bad", "By hand?")})
    run.approve("bad")
    run.succeed("after")
    assert run.status == "COMPLETED"


# --- what a plan may change ---------------------------------------------------------------------------------------------


def test_a_failed_task_is_replaced_by_other_work() -> None:
    run = failing()
    facts = run.propose({"replace": task("bad", params={"careful": True})}, reason="more care")
    (modified,) = run.facts(f.WorkflowModified)
    assert (modified.modified_by, modified.reason, modified.number) == ("replan:planner", "more care", 1)
    assert facts == [modified, f.TaskScheduled("bad", 1)]
    assert run.dispatched["bad"].generation == 1
    run.succeed("bad", "after")
    assert run.status == "COMPLETED"


def test_a_failed_task_is_removed_with_what_hung_on_it() -> None:
    run = failing()
    run.propose({"remove": "bad"}, {"replace": task("after", "good")})
    assert run.in_work == ["after"]
    run.succeed("after")
    assert run.status == "COMPLETED"


def test_what_a_plan_leaves_failed_fails_the_run_in_the_end() -> None:
    run = failing()
    run.propose({"add": task("extra")})
    run.succeed("extra")
    assert run.facts(ReplanRequested)[-1].number == 2
    run.propose({"add": task("more")}, number=2)
    run.succeed("more")
    assert len(run.facts(ReplanRequested)) == 2, "it asks no more often than its terms say"
    assert run.status == "FAILED"


def test_a_replaced_task_may_fail_again() -> None:
    run = failing()
    run.propose({"replace": task("bad")})
    run.fail_for_good("bad")
    assert run.facts(ReplanRequested)[-1].number == 2
    run.propose({"replace": task("bad")}, number=2)
    run.fail_for_good("bad")
    assert run.status == "FAILED"


def test_a_map_that_has_failed_is_replaced_with_its_items() -> None:
    run = Run(task("each", for_each=[1, 2]), task("end", "each"), replan=TERMS)
    run.succeed("each[0]")
    run.fail_for_good("each[1]")
    run.propose({"replace": task("each", for_each=[3])})
    assert run.in_work == ["each[0]"]
    run.succeed("each[0]", "end")
    assert run.status == "COMPLETED"


def test_a_fallback_that_failed_too_is_replaced_with_what_it_stood_in_for() -> None:
    run = Run(task("bad", fallback="other"), task("other"), task("after", "bad"), replan=TERMS)
    run.fail_for_good("bad")
    run.fail_for_good("other")
    run.propose({"replace": task("bad", fallback="other")}, {"replace": task("other")})
    assert run.in_work == ["bad"]
    run.fail_for_good("bad")
    run.succeed("other", "after")
    assert run.status == "COMPLETED"


def test_limits_of_what_was_replaced_ring_no_more() -> None:
    run = Run(task("bad", total_timeout_seconds=600), task("after", "bad"), replan=TERMS)
    run.fail_for_good("bad")
    run.propose({"remove": "bad"}, {"replace": task("after")})
    assert run.due is None
    run.wait(1_000)
    run.succeed("after")
    assert run.status == "COMPLETED"


# --- bad plans ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ([{"replace": task("good")}], "task 'good' has started, it is COMPLETED, and stays as it is"),
        ([{"remove": "bad"}], "task 'after' depends on 'bad', which does not exist"),
        ([{"add": task("x", "nowhere")}], "task 'x' depends on 'nowhere', which does not exist"),
    ],
    ids=["what is done", "what is needed", "what is not there"],
)
def test_a_bad_plan_is_refused_with_reasons_and_the_run_fails(given: list[dict[str, object]], words: str) -> None:
    run = failing()
    run.propose(*given)
    (refused,) = run.facts(ReplanRefused)
    assert (refused.number, refused.decided_by) == (1, "replan:planner")
    assert any(problem.startswith(words) for problem in refused.problems)
    assert run.status == "FAILED"


def test_what_was_done_inside_a_failed_map_and_can_be_undone_is_not_thrown_away() -> None:
    run = Run(task("each", for_each=[1, 2], compensation="undo"), replan=TERMS)
    run.succeed("each[0]")
    run.fail_for_good("each[1]")
    run.propose({"replace": task("each", for_each=[3])})
    assert "task 'each' has started" in run.facts(ReplanRefused)[0].problems[0]
    assert run.in_work == ["undo:each[0]"]


def test_without_an_answer_in_time_it_fails() -> None:
    run = failing()
    run.wait(59)
    assert run.status == "RUNNING"
    run.wait(1)
    assert run.facts(ReplanRefused) == [ReplanRefused(1, ("there was no answer within 60 s",))]
    assert run.status == "FAILED"
    assert run.propose({"replace": task("bad")}) == [], "too late"


def test_an_answer_to_another_request_changes_nothing() -> None:
    run = failing()
    assert run.propose({"replace": task("bad")}, number=7) == []
    run.propose({"replace": task("bad")})
    assert run.propose({"replace": task("bad")}) == []


def test_after_an_abort_no_plan_is_wanted() -> None:
    run = failing()
    run.abort()
    assert run.propose({"replace": task("bad")}) == []
    assert run.status == "CANCELLED"


def test_a_person_may_mend_it_while_the_run_waits() -> None:
    run = failing()
    run.retry("bad")
    run.propose(problems=("no idea",))
    run.succeed("bad", "after")
    assert run.status == "COMPLETED"


def test_for_the_same_failure_it_asks_once() -> None:
    run = failing()
    run.retry("bad")
    run.propose(problems=("no idea",))
    run.fail_for_good("bad")
    assert len(run.facts(ReplanRequested)) == 1
    assert run.status == "FAILED"


def test_reasons_are_cut() -> None:
    run = failing()
    run.propose(problems=("x" * 1_000,) * 30)
    (refused,) = run.facts(ReplanRefused)
    assert (len(refused.problems), len(refused.problems[0])) == (20, 500)


def test_a_timer_of_a_task_that_another_plan_took_out_is_nobodys() -> None:
    run = Run(task("a"))
    assert not run.state.is_timer_live((run.now, 1, TOTAL, "gone"))
