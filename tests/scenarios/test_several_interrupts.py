"""A handler that asks several things at once: each is a request of its own, and the handler runs again with every answer."""

from __future__ import annotations

import pytest

from agenticflow.core import codec
from agenticflow.core.interrupts import MAX_INTERRUPTS, Ask, OnDeadline, Reply, reply_in
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import TaskDefinition
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import facts as a
from agenticflow.orchestration.inbox.listing import view_of_request
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.waiting import sentence, waits_of
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import GUEST, Run, once, task

THREE = (Ask("a", question="A?"), Ask("b", question="B?"), Ask("c", question="C?"))


def asking(*asks: Ask, **options: object) -> Run:
    """A run whose task has asked."""
    run = Run(task("t", **options), task("other"))
    run.interrupt_all("t", *(asks or THREE))
    return run


def open_keys(run: Run) -> list[str]:
    return list(run.state.requests.get("t", {}))


def verdicts(run: Run) -> dict[str, bool]:
    return {key: reply_in(reply).is_approved for key, reply in GUEST.inputs(run.state, "t").replies.items()}


def test_each_is_a_request_of_its_own_and_only_the_task_waits() -> None:
    run = asking()
    assert open_keys(run) == ["a", "b", "c"]
    assert len({run.request("t", key).token for key in "abc"}) == 3
    assert run.statuses == {"t": "WAITING", "other": "SCHEDULED"}
    views = [view_of_request(run.state, run.request("t", key)) for key in "abc"]
    assert [(view.interrupt_key, view.question) for view in views] == [("a", "A?"), ("b", "B?"), ("c", "C?")]
    assert len({view.approval_id for view in views}) == 3


def test_they_are_answered_in_any_order_and_in_part() -> None:
    run = asking()
    tokens = {key: run.request("t", key).token for key in "abc"}
    run.answer("t", 2, token=tokens["b"])
    again = run.dispatched["t"]
    assert (again.attempt, again.generation) == (1, 0)
    assert run.replies("t") == {"b": 2}
    run.interrupt_all("t", THREE[0], THREE[2])
    assert run.statuses["t"] == "WAITING"
    assert {key: run.request("t", key).token for key in open_keys(run)} == {"a": tokens["a"], "c": tokens["c"]}
    assert len(run.facts(a.TaskInterrupted)) == 3
    run.answer("t", 3, token=tokens["c"])
    run.interrupt_all("t", THREE[0])
    run.answer("t", 1)
    assert run.replies("t") == {"a": 1, "b": 2, "c": 3}
    run.succeed("t", "other")
    assert run.status == "COMPLETED"
    assert not run.facts(a.InterruptWithdrawn)


def test_an_answer_by_the_key_of_the_task_has_to_say_which() -> None:
    run = asking(*THREE[:2])
    first = run.request("t", "a").token
    run.refused(run.answering("t"), "asks 2 questions at once")
    run.refused(
        run.rejecting("t"),
        f"`agenticflow approvals` does: w/1/t@{first}",
    )
    run.answer("t", token=first)
    assert not run.answer("t", token=first)
    run.interrupt_all("t", THREE[1])
    run.answer("t", 5)
    assert run.replies("t") == {"a": None, "b": 5}


def test_an_answer_that_comes_while_the_handler_runs_has_it_run_again() -> None:
    run = asking()
    tokens = {key: run.request("t", key).token for key in "abc"}
    run.answer("t", 1, token=tokens["a"])
    run.started("t")
    run.answer("t", 2, token=tokens["b"])
    assert run.statuses["t"] == "RUNNING"
    assert not run.dispatched
    run.interrupt_all("t", THREE[1], THREE[2], Ask("d"))
    assert run.dispatched["t"].attempt == 1
    assert run.replies("t") == {"a": 1, "b": 2}
    assert open_keys(run) == ["c", "d"]
    run.succeed("t")
    assert not run.state.requests
    run.refused(run.answering("t", token=tokens["c"]), "is closed: its task has ended without an answer")


def test_answers_before_it_is_its_turn_are_all_there_when_it_is() -> None:
    run = asking()
    tokens = [run.request("t", key).token for key in "abc"]
    run.pause()
    for number, token in enumerate(tokens):
        run.answer("t", number, token=token)
    assert run.statuses["t"] == "READY"
    run.resume()
    assert run.replies("t") == {"a": 0, "b": 1, "c": 2}
    assert len(run.facts(f.TaskScheduled)) == 3


def test_what_is_not_asked_any_more_is_withdrawn() -> None:
    run = asking()
    gone = run.request("t", "c").token
    run.answer("t", 1, token=run.request("t", "a").token)
    run.interrupt_all("t", THREE[1])
    assert [fact.token for fact in run.facts(a.InterruptWithdrawn)] == [gone]
    assert open_keys(run) == ["b"]
    run.refused(run.answering("t", token=gone), "is closed: its handler does not ask it any more")
    run.answer("t", 2)
    run.interrupt_all("t", THREE[2])
    assert run.request("t", "c").token != gone
    run.answer("t", 3)
    assert run.replies("t") == {"a": 1, "b": 2, "c": 3}


def test_withdrawn_for_something_new() -> None:
    run = asking(*THREE[:2])
    run.answer("t", 1, token=run.request("t", "a").token)
    facts = run.interrupt_all("t", Ask("d"))
    assert [type(fact) for fact in facts] == [a.InterruptWithdrawn, a.TaskInterrupted]
    assert run.record("t").question == "task 't' asks"


def test_a_no_fails_the_task_and_takes_the_other_questions_back() -> None:
    run = asking()
    run.reject("t", by="bob", token=run.request("t", "b").token)
    assert run.errors("t")[0].message == "bob rejected it"
    assert not run.state.requests
    assert run.statuses["t"] == "FAILED"


def test_a_no_may_be_a_reply() -> None:
    run = asking(Ask("a", on_rejection="return"), Ask("b"))
    token = run.request("t", "a").token
    run.reject("t", by="bob", comment="too dear", token=token)
    assert "t" in run.dispatched
    reply = reply_in(GUEST.inputs(run.state, "t").replies["a"])
    assert reply == Reply(None, is_approved=False, by="bob", comment="too dear")
    assert not run.ask(run.rejecting("t", by="bob", token=token))
    run.refused(run.answering("t", by="eve", token=token), "is closed: bob rejected it")
    run.interrupt_all("t", Ask("b"))
    run.answer("t")
    assert verdicts(run) == {"a": False, "b": True}


def test_a_no_of_several_people_may_be_a_reply() -> None:
    run = asking(Ask("", assignees=("x", "y", "z"), quorum=2, rejection_ends=False, on_rejection="return"))
    run.reject("t", by="x")
    assert run.statuses["t"] == "WAITING"
    run.reject("t", by="y")
    assert verdicts(run) == {"": False}


def test_a_no_while_the_handler_runs_fails_the_task_when_it_comes_to_it() -> None:
    run = asking()
    run.answer("t", 1, token=run.request("t", "a").token)
    token = run.request("t", "b").token
    run.reject("t", by="bob", comment="no", token=token)
    assert run.statuses["t"] == "SCHEDULED"
    run.refused(run.answering("t", by="eve", token=token), "is closed: bob rejected it")
    assert not run.ask(run.rejecting("t", by="bob", comment="no", token=token))
    run.interrupt_all("t", THREE[1], THREE[2])
    assert run.statuses["t"] == "FAILED"
    assert run.errors("t")[0].message == "bob rejected it: no"
    assert not run.state.requests


def test_a_no_that_the_handler_does_not_come_to_changes_nothing() -> None:
    run = asking()
    run.answer("t", 1, token=run.request("t", "a").token)
    run.reject("t", token=run.request("t", "b").token)
    run.succeed("t", "other")
    assert run.status == "COMPLETED"


def test_who_tries_it_again_asks_again_what_was_refused() -> None:
    run = asking(retry_policy=RetryPolicy(1))
    run.answer("t", 1, token=run.request("t", "a").token)
    run.reject("t", token=run.request("t", "b").token)
    run.interrupt_all("t", *THREE[1:])
    run.retry("t")
    assert run.replies("t") == {"a": 1}
    run.interrupt_all("t", *THREE[1:])
    assert open_keys(run) == ["b", "c"]
    run.answer("t", 2, token=run.request("t", "b").token)
    assert run.replies("t") == {"a": 1, "b": 2}


def test_deadlines_that_pass_together_are_one_decision() -> None:
    run = asking(
        Ask("a", deadline_seconds=60, on_deadline="approve", default=1),
        Ask("b", deadline_seconds=60, on_deadline="reject", on_rejection="return"),
        Ask("c", deadline_seconds=90, on_deadline="approve", default=3),
    )
    assert run.due == 60
    run.wait(60)
    assert verdicts(run) == {"a": True, "b": False}
    assert len(run.facts(f.TaskScheduled)) == 3
    run.wait(30)
    assert run.replies("t") == {"a": 1, "b": None, "c": 3}
    assert "t" in run.in_work


def test_of_deadlines_that_pass_together_one_that_fails_the_task_decides() -> None:
    run = asking(
        Ask("a", deadline_seconds=60, on_deadline="approve", default=1),
        Ask("b", deadline_seconds=60),
        Ask("c", deadline_seconds=60, on_deadline="reject"),
    )
    run.wait(60)
    assert run.errors("t")[0].type == "TaskTimeout"
    assert not run.state.requests
    assert not run.facts(a.InterruptAnswered)


@pytest.mark.parametrize(
    ("on_deadline", "kind", "words"),
    [
        ("fail", "TaskTimeout", "its deadline has passed"),
        ("reject", "ApprovalRejected", "engine rejected it"),
    ],
)
def test_a_deadline_that_passes_while_the_handler_runs_is_met_when_it_comes_to_it(
    on_deadline: OnDeadline, kind: str, words: str
) -> None:
    run = asking(Ask("a"), Ask("b", deadline_seconds=60, on_deadline=on_deadline))
    token = run.request("t", "b").token
    run.answer("t", 1, token=run.request("t", "a").token)
    run.wait(60)
    assert run.statuses["t"] == "SCHEDULED"
    run.refused(run.answering("t", token=token), words)
    run.interrupt_all("t", Ask("b"))
    assert run.errors("t")[0].type == kind


def test_more_people_are_asked_also_while_the_handler_runs() -> None:
    run = asking(
        Ask("a"),
        Ask("b", assignees=("x",), escalation=((60, ("y",)),)),
        Ask("c", deadline_seconds=60, on_deadline="approve"),
    )
    run.answer("t", 1, token=run.request("t", "a").token)
    run.wait(60)
    assert run.request("t", "b").people == ["x", "y"]
    assert run.replies("t") == {"a": 1, "c": None}


def test_questions_stay_open_between_attempts() -> None:
    run = asking(retry_policy=RetryPolicy(3, 4.0))
    run.answer("t", 1, token=run.request("t", "a").token)
    run.fail("t")
    assert open_keys(run) == ["b", "c"]
    run.answer("t", 2, token=run.request("t", "b").token)
    assert run.statuses["t"] == "RETRYING"
    run.wait(10)
    assert run.record("t").attempt == 2
    assert run.replies("t") == {"a": 1, "b": 2}


def test_a_failure_for_good_takes_them_back() -> None:
    run = asking()
    run.answer("t", 1, token=run.request("t", "a").token)
    run.fail_for_good("t")
    assert not run.state.requests


def test_an_abort_takes_them_back_also_from_a_handler_that_runs() -> None:
    run = asking()
    token = run.request("t", "b").token
    run.answer("t", 1, token=run.request("t", "a").token)
    run.abort()
    assert not run.state.requests
    run.refused(run.answering("t", token=token), "takes no approval")


def test_running_it_again_takes_them_back() -> None:
    run = Run(once("t"))
    run.started("t")
    run.interrupt_all("t", *THREE)
    run.answer("t", 1, token=run.request("t", "a").token)
    run.started("t")
    run.time_out("t")
    assert open_keys(run) == ["b", "c"]
    run.resolve("t", "run_again")
    assert not run.state.requests
    assert run.replies("t") == {}


def test_a_task_whose_handler_has_asked_has_started() -> None:
    run = asking()
    run.pause()
    run.answer("t", 1, token=run.request("t", "a").token)
    assert run.statuses["t"] == "READY"
    removal = run.modification({"remove": "t"})
    run.scenario.when(removal).then_refused(DefinitionError, "task 't' has started, it is READY, and stays as it is")


def test_somebody_may_give_the_result_instead() -> None:
    run = asking()
    run.set_result("t", 5)
    assert run.result("t") == 5
    assert not run.state.requests


def test_at_most_once_work_may_have_several_open() -> None:
    run = Run(once("t"))
    run.started("t")
    run.interrupt_all("t", *THREE[:2])
    run.answer("t", 1, token=run.request("t", "a").token)
    run.started("t")
    run.time_out("t", is_abandoned=True)
    run.interrupt_all("t", THREE[1])
    assert run.statuses["t"] == "WAITING"
    run.crash()
    run.answer("t", 2)
    assert run.replies("t") == {"a": 1, "b": 2}


def test_more_than_a_task_may_ask_at_once_fails_it() -> None:
    run = Run(task("t"))
    run.interrupt_all("t", *(Ask(str(number)) for number in range(MAX_INTERRUPTS)))
    run.answer("t", token=run.request("t", "0").token)
    run.interrupt_all("t", *(Ask(f"new {number}") for number in range(MAX_INTERRUPTS)))
    assert run.errors("t")[0].message == "its handler asked more than 100 times"
    assert not run.state.requests


def test_why_says_how_many_more_there_are() -> None:
    run = asking(Ask("a", question="A?", deadline_seconds=90), Ask("b", deadline_seconds=60))
    (wait, *_) = waits_of(run.state)
    assert sentence(wait, "w").startswith("task 't' waits for somebody to answer: A? (and 1 more)")
    assert wait.until == run.now + 60_000_000_000


def test_waiting_for_several_is_alive() -> None:
    run = asking(Ask("a"), Ask("b", deadline_seconds=60))
    run.succeed("other")
    assert not breaches_of(run.state, Holding(frozenset(), run.state.next_due), run.now)
    run.state.timers.clear()
    assert [breach.missing for breach in breaches_of(run.state, Holding(frozenset(), None), run.now)] == ["decision"]


def test_a_snapshot_keeps_all_of_them() -> None:
    run = asking()
    run.answer("t", 5, token=run.request("t", "b").token)
    run.reject("t", token=run.request("t", "c").token)
    restored = GUEST.initial(run.state.stream_id, GUEST.snapshot(run.state))
    assert (restored.requests, restored.answered) == (run.state.requests, run.state.answered)


def test_a_snapshot_of_the_form_before_is_read() -> None:
    run = Run(task("t"), TaskDefinition.ask("may", "Go?"))
    run.interrupt("t", key="a")
    form = codec.decode(GUEST.snapshot(run.state))
    assert isinstance(form, dict)
    form["form"] = 4
    for request in form["requests"]:
        request.pop("refusal", None)
        request.pop("is_withdrawn", None)
    restored = GUEST.initial(run.state.stream_id, codec.encode(form))
    assert restored.requests == run.state.requests
