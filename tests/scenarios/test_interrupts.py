"""A handler that asks a person in its middle: its attempt ends there, and it runs again with the answer."""

from __future__ import annotations

from agenticflow.core.interrupts import MAX_INTERRUPTS
from agenticflow.orchestration import TaskDefinition
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import facts as a
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.waiting import sentence, waits_of
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import GUEST, START, Run, once, task

ALIVE = Holding(frozenset(), None)


def test_the_task_waits_for_the_answer_and_its_handler_runs_again_as_the_same_attempt() -> None:
    run = Run(task("draft"), task("other"))
    first = run.token("draft")
    run.interrupt("draft", {"title": "Spring"}, question="Which title?")
    assert run.statuses["draft"] == "WAITING"
    assert run.in_work == ["other"]
    run.answer("draft", "Summer")
    again = run.dispatched["draft"]
    assert (again.attempt, again.generation) == (1, 0)
    assert again.token != first
    assert run.replies("draft") == {"": "Summer"}
    run.succeed("draft", "other", value="done")
    assert run.status == "COMPLETED"
    assert not run.facts(f.TaskRetryScheduled)


def test_what_is_shown_is_the_answer_of_a_plain_yes() -> None:
    run = Run(task("draft"))
    run.interrupt("draft", {"title": "Spring"})
    assert run.request("draft").question == "task 'draft' asks"
    run.answer("draft")
    assert run.replies("draft") == {"": {"title": "Spring"}}


def test_a_form_needs_an_answer_that_fits_it() -> None:
    run = Run(task("draft"))
    run.interrupt("draft", "How much?", response_schema={"type": "integer", "minimum": 1})
    assert run.request("draft").question == "How much?"
    run.invalid(run.answering("draft"), "answer is None, not integer")
    run.invalid(run.answering("draft", 0), "answer is 0, below the minimum 1")
    run.answer("draft", 5)
    assert run.replies("draft") == {"": 5}


def test_several_questions_of_a_handler_have_their_own_answers() -> None:
    run = Run(task("draft"))
    run.interrupt("draft", key="title")
    first = run.request("draft").token
    run.answer("draft", "Spring")
    run.interrupt("draft", key="price")
    run.refused(run.answering("draft", 3, by="bob", token=first), "is closed: ada approved it")
    run.answer("draft", 7)
    assert run.replies("draft") == {"title": "Spring", "price": 7}
    assert run.record("draft").attempt == 1


def test_several_people_may_have_to_agree_and_more_are_asked_after_a_while() -> None:
    run = Run(task("draft"))
    run.interrupt(
        "draft", "Pay?", assignees=("ada", "bob"), quorum=2, escalation=((60, ("eve",)),), deadline_seconds=90
    )
    run.answer("draft", 5, by="ada")
    assert run.statuses["draft"] == "WAITING"
    run.refused(run.answering("draft", 5, by="eve"), "'eve' is not one of them")
    run.wait(60)
    run.answer("draft", 4, by="eve")
    assert run.replies("draft") == {"": 4}
    assert "draft" in run.in_work


def test_a_no_decides_unless_the_others_can_still_agree() -> None:
    run = Run(task("first"), task("second"))
    run.interrupt("first", assignees=("ada", "bob", "eve"), quorum=2, rejection_ends=False)
    run.reject("first", by="ada")
    assert run.statuses["first"] == "WAITING"
    run.reject("first", by="bob")
    run.interrupt("second", assignees=("ada", "bob"), quorum=2)
    run.reject("second", by="ada")
    assert (run.statuses["first"], run.statuses["second"]) == ("FAILED", "FAILED")


def test_answers_are_kept_for_the_attempts_after_a_failure() -> None:
    run = Run(task("draft", retry_policy=RetryPolicy(3, 4.0)))
    run.interrupt("draft")
    run.answer("draft", 1)
    run.fail("draft")
    run.wait(10)
    assert run.record("draft").attempt == 2
    assert run.replies("draft") == {"": 1}


def test_waiting_is_no_attempt() -> None:
    run = Run(task("draft", retry_policy=RetryPolicy(2, 4.0)))
    for key in "abc":
        run.interrupt("draft", key=key)
        run.answer("draft", key)
    run.fail("draft")
    assert run.statuses["draft"] == "RETRYING"


def test_a_rejection_fails_the_task_and_its_fallback_stands_in() -> None:
    run = Run(task("draft", fallback="plain"), task("plain"))
    run.interrupt("draft")
    run.reject("draft", by="bob", comment="not like this")
    assert run.errors("draft")[0].message == "bob rejected it: not like this"
    run.succeed("plain", value=3)
    assert run.result("draft") == 3


def test_only_who_is_asked_may_answer_and_may_hand_it_on() -> None:
    run = Run(task("draft"))
    run.interrupt("draft", assignees=("ada",))
    run.refused(run.answering("draft", by="bob"), "ada may answer 'draft'")
    run.delegate("draft", "bob")
    run.answer("draft", by="bob")
    assert run.in_work == ["draft"]


def test_a_deadline_gives_the_default_a_no_or_a_failure() -> None:
    run = Run(task("yes"), task("no"), task("late", fallback="instead"), task("instead"))
    run.interrupt("yes", deadline_seconds=60, on_deadline="approve", default=3)
    run.interrupt("no", deadline_seconds=60, on_deadline="reject")
    run.interrupt("late", deadline_seconds=60)
    run.wait(60)
    assert run.replies("yes") == {"": 3}
    assert run.errors("no")[0].message == "engine rejected it: nobody answered within 60 s"
    assert run.errors("late")[0].type == "TaskTimeout"
    assert run.in_work == ["yes", "instead"]


def test_the_total_limit_is_from_the_first_scheduling_and_goes_on_while_it_waits() -> None:
    run = Run(task("draft", total_timeout_seconds=100))
    run.wait(40)
    run.interrupt("draft")
    run.answer("draft", 1)
    assert len(run.state.timers) == 1
    run.interrupt("draft", key="b")
    assert run.due == 100
    run.wait(60)
    assert "nobody answered within its total limit of 100 s" in run.errors("draft")[0].message


def test_the_limit_of_an_attempt_begins_with_the_handler_that_goes_on() -> None:
    run = Run(task("draft", timeout_seconds=50))
    run.started("draft", limit=50)
    run.interrupt("draft")
    assert run.record("draft").deadline is None
    run.wait(500)
    run.answer("draft")
    assert run.dispatched["draft"].deadline is None


def test_a_question_that_is_answered_while_the_run_is_paused_goes_on_with_it() -> None:
    run = Run(task("each", for_each=[1, 2]))
    run.interrupt("each[0]")
    run.pause()
    run.resume()
    run.timers()
    assert run.statuses["each[0]"] == "WAITING"
    run.pause()
    run.answer("each[0]", 5)
    assert run.in_work == ["each[1]"]
    run.resume()
    assert run.in_work == ["each[0]", "each[1]"]
    run.succeed("each[0]", "each[1]", value=1)
    assert run.status == "COMPLETED"


def test_a_waiting_handler_takes_no_place() -> None:
    run = Run(task("a"), task("b"), max_parallel=1)
    run.interrupt("a")
    assert run.in_work == ["b"]
    run.answer("a")
    assert run.in_work == ["b"]
    run.succeed("b")
    assert run.in_work == ["a"]


def test_options_of_a_first_attempt_are_not_looked_at_again() -> None:
    run = Run(task("a", when="true == true", limits=[Limit("api", rate=5)], total_timeout_seconds=60))
    permits = run.dispatched["a"].permits
    run.interrupt("a")
    run.answer("a")
    assert run.dispatched["a"].permits == permits
    run.succeed("a")
    assert run.status == "COMPLETED"


def test_an_abort_takes_the_question_back() -> None:
    run = Run(task("draft"))
    run.interrupt("draft")
    token = run.request("draft").token
    run.abort()
    assert run.statuses["draft"] == "CANCELLED"
    run.refused(run.answering("draft", token=token), "takes no approval")


def test_a_handler_that_asks_while_the_run_is_being_cancelled_has_ended() -> None:
    run = Run(task("draft"))
    run.abort()
    run.interrupt("draft")
    assert run.status == "CANCELLED"


def test_a_stale_question_changes_nothing() -> None:
    run = Run(task("draft"))
    token = run.token("draft")
    run.interrupt("draft")
    assert not run.interrupt("draft", token=token)
    run.answer("draft")
    assert not run.interrupt("draft", token=token)
    assert len(run.facts(a.TaskInterrupted)) == 1


def test_at_most_once_work_that_asks_is_not_in_question() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.interrupt("pay")
    assert run.status == "WAITING"
    run.crash()
    assert run.statuses["pay"] == "WAITING"
    run.answer("pay")
    assert run.statuses["pay"] == "SCHEDULED"
    run.started("pay")
    run.succeed("pay")
    assert run.status == "COMPLETED"


def test_at_most_once_work_that_was_given_up_and_asks_is_known() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    assert run.statuses["pay"] == "UNKNOWN"
    run.interrupt("pay")
    assert run.statuses["pay"] == "WAITING"


def test_one_that_was_given_up_and_asks_while_the_run_ends_stays_unknown() -> None:
    run = Run(once("pay"), task("other"))
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.abort()
    assert not run.interrupt("pay")


def test_running_it_again_asks_again() -> None:
    run = Run(once("pay"))
    run.started("pay")
    run.interrupt("pay")
    run.answer("pay", 5)
    run.started("pay")
    run.time_out("pay")
    run.resolve("pay", "run_again")
    assert run.replies("pay") == {}


def test_what_undoes_may_ask_as_well() -> None:
    run = Run(task("a", compensation="undo"), task("b", "a"))
    run.succeed("a", value=1)
    run.fail_for_good("b")
    run.interrupt("undo:a", "Undo it?")
    assert run.status == "COMPENSATING"
    run.answer("undo:a")
    run.succeed("undo:a")
    assert run.status == "COMPENSATED"


def test_another_agent_finds_the_answers_too() -> None:
    run = Run(task("move", on_failure="reassign", reassign_to=["second"], retry_policy=RetryPolicy(1)))
    run.interrupt("move")
    run.answer("move", 3)
    run.fail("move")
    assert run.dispatched["move"].performer_id == "second"
    run.interrupt("move", key="b")
    run.answer("move", 4)
    assert run.replies("move") == {"": 3, "b": 4}
    assert run.dispatched["move"].attempt == 2


def test_a_handler_cannot_ask_for_ever() -> None:
    run = Run(task("draft"))
    for number in range(MAX_INTERRUPTS):
        run.interrupt("draft", key=str(number))
        run.answer("draft", number)
    run.interrupt("draft", key="once more")
    assert run.errors("draft")[0].message == "its handler asked more than 100 times"


def test_why_says_what_the_handler_asks() -> None:
    run = Run(task("draft"))
    run.wait(5)
    run.interrupt("draft", question="Which title?", assignees=("ada",))
    (wait,) = waits_of(run.state)
    assert "task 'draft' waits for ada to answer: Which title?" in sentence(wait, "w")
    assert (wait.since, wait.until) == (START + 5_000_000_000, None)


def test_waiting_for_a_person_is_alive_and_a_deadline_that_nobody_set_is_not() -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", "Go?"))
    run.interrupt("draft", deadline_seconds=60)
    assert not breaches_of(run.state, Holding(frozenset(), run.state.next_due), run.now)
    assert [breach.missing for breach in breaches_of(run.state, ALIVE, run.now)] == ["timer"]
    run.state.timers.clear()
    assert [breach.missing for breach in breaches_of(run.state, ALIVE, run.now)] == ["decision"]


def test_the_total_limit_passes_also_while_it_waits_for_its_turn() -> None:
    run = Run(task("other"), task("draft", total_timeout_seconds=100))
    run.interrupt("other")
    run.interrupt("draft")
    run.pause()
    run.answer("other")
    run.answer("draft", 1)
    run.wait(100)
    assert run.errors("draft")[0].type == "TaskTimeout"
    run.resume()
    run.succeed("other")
    assert run.status == "FAILED"


def test_a_snapshot_keeps_what_is_open_and_what_was_answered() -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", "Go?"))
    run.interrupt("draft", key="a")
    run.answer("draft", 5)
    run.interrupt("draft", key="b")
    run.answer("may", by="bob")
    restored = GUEST.initial(run.state.stream_id, GUEST.snapshot(run.state))
    assert restored.requests == run.state.requests
    assert restored.answered == run.state.answered
    assert restored.answered["draft"]["a"].answer is not None
