"""The terms of an approval: who may answer, how many have to, until when, with what, and who else after a while."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import Approval, Escalation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.approvals import facts as a
from agenticflow.orchestration.plan import compile_plan
from agenticflow.orchestration.waiting import sentence, waits_of
from tests.scenarios.runs import SECOND, START, Run, task

AMOUNT = {
    "type": "object",
    "properties": {"amount": {"type": "integer", "maximum": 1_000}},
    "required": ["amount"],
    "additionalProperties": False,
}


def asking(question: str = "Pay?", *, options: dict[str, Any] | None = None, **terms: Any) -> Run:
    """A question under these terms, what it gates, and a branch beside it."""
    return Run(
        TaskDefinition.ask("may", Approval(question, **terms), **(options or {})),
        task("pay", "may", params={"what": "${may.value}"}),
        task("other"),
    )


# --- who ----------------------------------------------------------------------------------------------------------------


def test_only_who_is_asked_may_answer_and_the_others_are_told_who() -> None:
    run = asking(assignees=["ada", "bob"])
    run.refused(run.answering("may", by="carl"), "ada, bob may answer 'may'; 'carl' is not one of them")
    run.refused(run.rejecting("may", by="carl"), "'carl' is not one of them")
    run.answer("may", by="bob")
    assert run.statuses["may"] == "COMPLETED"
    assert run.result("may") == {"approved": True, "by": "bob", "comment": "", "value": None}


def test_references_say_who_and_what() -> None:
    run = Run(
        task("draft"),
        TaskDefinition.ask(
            "may",
            Approval(
                "Pay ${draft.sum}?",
                assignees="${draft.owners}",
                escalation=[Escalation(60, ["${draft.boss}"])],
                arguments={"sum": "${draft.sum}"},
            ),
            {"draft"},
        ),
    )
    run.succeed("draft", value={"sum": 5, "owners": ["ada"], "boss": "eve"})
    request = run.request("may")
    assert (request.question, request.people, request.terms.arguments) == ("Pay 5?", ["ada"], {"sum": 5})
    assert request.terms.escalation == ((START + 60 * SECOND, ("eve",)),)


@pytest.mark.parametrize("owners", [[], [1], "", {"a": 1}, ["x" * 201]])
def test_references_that_give_nobody_fail_the_task(owners: object) -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", Approval("Pay?", assignees="${draft.owners}"), {"draft"}))
    run.succeed("draft", value={"owners": owners})
    assert "not 1 to 100 names" in run.errors("may")[0].message


def test_references_that_give_too_few_for_the_quorum_fail_the_task() -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", Approval("?", assignees="${draft}", quorum=2), {"draft"}))
    run.succeed("draft", value=["ada"])
    assert "needs 2 of ada" in run.errors("may")[0].message


# --- how many -----------------------------------------------------------------------------------------------------------


def test_a_quorum_waits_for_its_last_approval() -> None:
    run = asking(assignees=["ada", "bob", "carl"], quorum=2)
    run.answer("may", by="ada", comment="fine")
    assert run.statuses["may"] == "WAITING"
    run.refused(run.answering("may", {"x": 1}, by="ada"), "'ada' has approved 'may' already, in other words")
    run.answer("may", by="carl")
    result = run.result("may")
    assert isinstance(result, dict)
    assert result["by"] == "carl"
    assert result["answers"] == [
        {"by": "ada", "comment": "fine", "value": None},
        {"by": "carl", "comment": "", "value": None},
    ]


def test_the_same_answer_of_the_same_person_changes_nothing() -> None:
    run = asking(assignees=["ada", "bob"], quorum=2)
    assert run.answer("may", by="ada")
    assert not run.answer("may", by="ada")
    run.answer("may", by="bob")
    assert not run.answer("may", by="bob")
    assert not run.answer("may", by="ada")
    run.refused(run.answering("may", by="eve"), "does not wait for an answer")
    run.succeed("other", "pay")
    assert run.status == "COMPLETED"
    assert not run.answer("may", by="bob")
    run.refused(run.rejecting("may", by="bob"), "takes no rejection")


def test_one_rejection_ends_it_unless_told_otherwise() -> None:
    run = asking(assignees=["ada", "bob"], quorum=2)
    run.answer("may", by="ada")
    run.reject("may", by="bob", comment="no money")
    assert run.errors("may")[0].message == "bob rejected it: no money"
    assert not run.reject("may", by="bob", comment="no money")


def test_with_rejections_that_do_not_end_it_the_quorum_decides() -> None:
    run = asking(assignees=["ada", "bob", "carl"], quorum=2, rejection_ends=False)
    run.reject("may", by="ada")
    assert run.statuses["may"] == "WAITING"
    run.refused(run.answering("may", by="ada"), "'ada' has rejected 'may' already")
    run.reject("may", by="bob", comment="no")
    assert run.errors("may")[0].message == "bob rejected it: no"


def test_anybody_may_outvote_a_rejection() -> None:
    run = asking(quorum=1, rejection_ends=False)
    run.reject("may", by="ada")
    run.reject("may", by="bob")
    run.answer("may", by="carl")
    assert run.statuses["may"] == "COMPLETED"


def test_who_may_answer_later_counts_for_what_can_be_reached() -> None:
    run = asking(assignees=["ada"], rejection_ends=False, escalation=[Escalation(60, ["eve"])])
    run.reject("may", by="ada")
    assert run.statuses["may"] == "WAITING"
    run.wait(60)
    run.answer("may", by="eve")
    assert run.statuses["may"] == "COMPLETED"


# --- until when ---------------------------------------------------------------------------------------------------------


def test_a_deadline_fails_the_task() -> None:
    run = asking(deadline_seconds=3_600)
    assert run.due == 3_600
    run.wait(3_600)
    error = run.errors("may")[0]
    assert (error.type, error.message) == ("TaskTimeout", "task 'may': nobody answered within 3600 s")
    run.refused(run.answering("may"), "does not wait")


def test_a_deadline_approves_with_its_default() -> None:
    run = asking(deadline_seconds=60, on_deadline="approve", default={"amount": 1}, response_schema=AMOUNT)
    run.wait(60)
    assert run.result("may") == {
        "approved": True,
        "by": "engine",
        "comment": "nobody answered within 60 s",
        "value": {"amount": 1},
    }
    assert run.params("pay") == {"what": {"amount": 1}}


def test_a_deadline_approves_the_arguments_as_they_are() -> None:
    run = asking(deadline_seconds=60, on_deadline="approve", arguments=[7])
    run.wait(60)
    assert run.params("pay") == {"what": [7]}


def test_a_deadline_rejects_and_says_how_many_had_approved() -> None:
    run = asking(assignees=["ada", "bob"], quorum=2, deadline_seconds=60, on_deadline="reject")
    run.answer("may", by="ada")
    run.wait(60)
    assert run.errors("may")[0].message == "engine rejected it: 1 of 2 approved within 60 s"


def test_a_deadline_that_approves_names_who_had_approved() -> None:
    run = asking(assignees=["ada", "bob"], quorum=2, deadline_seconds=60, on_deadline="approve")
    run.answer("may", by="ada", comment="yes")
    run.wait(60)
    result = run.result("may")
    assert isinstance(result, dict)
    assert result["answers"] == [{"by": "ada", "comment": "yes", "value": None}]


def test_an_answer_after_the_deadline_is_refused_also_when_nobody_looked() -> None:
    run = asking(deadline_seconds=60, on_deadline="reject")
    run.sleep(65)
    run.refused(run.answering("may"), "the deadline for an answer to 'may' passed 5 s ago.*reject")
    run.timers()
    assert run.errors("may")[0].type == "ApprovalRejected"


def test_the_total_limit_of_the_task_goes_on_counting() -> None:
    run = asking(assignees=["ada"], escalation=[Escalation(60, ["bob"])], options={"total_timeout_seconds": 90})
    assert run.due == 60
    run.wait(90)
    assert "nobody answered within its total limit of 90 s" in run.errors("may")[0].message
    assert run.due is None


def test_deadlines_survive_a_crash_and_come_while_the_run_is_paused() -> None:
    run = asking(deadline_seconds=60, on_deadline="approve", default=3)
    run.pause()
    run.crash()
    run.wait(60)
    assert run.statuses["may"] == "COMPLETED"
    assert "pay" not in run.in_work
    run.resume()
    assert "pay" in run.in_work


# --- who else -----------------------------------------------------------------------------------------------------------


def test_an_escalation_lets_more_people_answer_step_by_step() -> None:
    run = asking(assignees=["ada"], escalation=[Escalation(60, ["bob"]), Escalation(120, ["eve", "ada"])])
    run.refused(run.answering("may", by="bob"), "not one of them")
    run.wait(60)
    assert (run.request("may").level, run.request("may").people) == (1, ["ada", "bob"])
    run.wait(60)
    assert (run.request("may").level, run.request("may").people) == (2, ["ada", "bob", "eve"])
    assert [fact.to for fact in run.facts(a.ApprovalEscalated)] == [("bob",), ("eve", "ada")]
    run.answer("may", by="eve")
    assert run.statuses["may"] == "COMPLETED"


def test_steps_that_nobody_looked_at_count_and_are_recorded_when_somebody_looks() -> None:
    run = asking(
        assignees=["ada"], escalation=[Escalation(60, ["bob"]), Escalation(120, ["eve"])], deadline_seconds=200
    )
    run.sleep(130)
    run.refused(run.answering("may", by="carl"), "ada, bob, eve may answer")
    run.delegate("may", "carl", by="eve")
    assert run.request("may").people == ["ada", "carl"]
    run.timers()
    run.timers()
    assert run.request("may").people == ["ada", "carl", "bob"]
    run.answer("may", by="carl")
    assert run.statuses["may"] == "COMPLETED"


# --- with what ----------------------------------------------------------------------------------------------------------


def test_edited_arguments_reach_the_gated_task() -> None:
    run = asking(arguments={"amount": 900}, response_schema=AMOUNT)
    run.answer("may", {"amount": 800})
    assert run.params("pay") == {"what": {"amount": 800}}


def test_an_approval_without_a_value_takes_the_arguments_as_they_are() -> None:
    run = asking(arguments={"amount": 900})
    run.answer("may")
    assert run.params("pay") == {"what": {"amount": 900}}
    assert not run.answer("may")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"amount": 2_000}, "answer.amount is 2000, above the maximum 1000"),
        ({"amount": "2"}, "answer.amount is '2', not integer"),
        ({}, "answer.amount is missing"),
        ({"amount": 1, "tip": 1}, "answer.tip is not asked for; there are amount"),
        (None, "answer is None, not object.*give a value with the answer"),
    ],
)
def test_an_answer_has_to_fit_its_form_and_the_error_names_the_field(value: object, words: str) -> None:
    run = asking(response_schema=AMOUNT)
    run.invalid(run.answering("may", value), words)
    assert run.statuses["may"] == "WAITING"


def test_what_a_quorum_or_a_proposal_says_has_a_limit() -> None:
    run = asking(assignees=["ada", "bob"], quorum=2)
    run.invalid(run.answering("may", "x" * 40_000), "40,004 bytes, above the limit of 32,768")
    run.answer("may", "y" * 30_000)
    run.invalid(run.answering("may", "x" * 40_000, by="bob"), "above the limit of 65,536")
    run.answer("may", "x" * 30_000, by="bob")


def test_arguments_that_are_too_large_to_be_shown_fail_the_task() -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", Approval("Pay?", arguments="${draft}"), {"draft"}))
    run.succeed("draft", value="x" * 20_000)
    assert "above the limit of 16,384" in run.errors("may")[0].message


def test_a_default_that_turns_out_not_to_fit_fails_the_task() -> None:
    asks = Approval(
        "Pay?", arguments="${draft}", deadline_seconds=5, on_deadline="approve", response_schema={"type": "integer"}
    )
    run = Run(task("draft"), TaskDefinition.ask("may", asks, {"draft"}))
    run.succeed("draft", value="much")
    assert "default is 'much', not integer" in run.errors("may")[0].message


# --- which ones ---------------------------------------------------------------------------------------------------------


def test_several_at_once_are_told_apart_and_answered_in_any_order_and_in_part() -> None:
    run = Run(*(TaskDefinition.ask(name, f"{name}?") for name in "abc"), task("end", "a", "b", "c"))
    tokens = {name: run.request(name).token for name in "abc"}
    assert len(set(tokens.values())) == 3
    run.answer("c", token=tokens["c"])
    run.refused(run.answering("a", token=tokens["c"]), "there is no request 'w/1/a@")
    run.answer("a", token=tokens["a"])
    assert run.statuses == {"a": "COMPLETED", "b": "WAITING", "c": "COMPLETED"}
    run.answer("b", token=tokens["b"])
    assert run.in_work == ["end"]


def test_an_answer_to_a_closed_request_is_refused_with_how_it_ended() -> None:
    run = asking(assignees=["ada", "bob"])
    token = run.request("may").token
    run.answer("may", token=token)
    run.refused(run.answering("may", by="bob", token=token), f"'w/1/may@{token}' is closed: ada approved it")
    run.refused(run.delegating("may", "eve", token=token), "is closed")
    assert not run.answer("may", token=token)


def test_a_request_whose_task_was_cancelled_says_so() -> None:
    run = asking()
    token = run.request("may").token
    run.cancel_task("may")
    run.refused(run.answering("may", token=token), "its task has ended without an answer")


def test_an_answer_that_was_rejected_says_so() -> None:
    run = asking()
    token = run.request("may").token
    run.reject("may", by="bob")
    run.refused(run.answering("may", token=token), "bob rejected it")


# --- handing it on ------------------------------------------------------------------------------------------------------


def test_who_may_answer_can_hand_that_on() -> None:
    run = asking(assignees=["ada", "bob"])
    run.delegate("may", "carl", by="ada")
    assert not run.delegate("may", "carl", by="ada")
    assert run.request("may").people == ["carl", "bob"]
    run.refused(run.answering("may", by="ada"), "'ada' has handed it on")
    run.answer("may", by="carl")
    assert run.facts(f.ApprovalGranted)[0].decided_by == "carl"


def test_handing_on_goes_in_no_circle_and_not_for_ever() -> None:
    run = asking(assignees=["ada", "zoe"])
    run.delegate("may", "bob", by="ada")
    run.refused(run.delegating("may", "ada", by="bob"), "in a circle: ada -> bob -> ada")
    run.refused(run.delegating("may", "bob", by="bob"), "'bob' may answer 'may' already")
    run.refused(run.delegating("may", "zoe", by="bob"), "'zoe' may answer 'may' already")
    run.refused(run.delegating("may", "eve", by="carl"), "'carl' is not one of them")
    for number in range(9):
        run.delegate("may", f"p{number + 1}", by="bob" if number == 0 else f"p{number}")
    run.refused(run.delegating("may", "last", by="p9"), "handed on 10 times, that is the limit")


def test_what_anybody_may_answer_is_not_handed_on() -> None:
    run = asking()
    run.refused(run.delegating("may", "bob"), "anybody may answer 'may'")


def test_a_person_who_handed_it_on_is_not_asked_again_by_an_escalation() -> None:
    run = asking(assignees=["ada"], escalation=[Escalation(60, ["ada", "eve"])])
    run.delegate("may", "bob")
    run.wait(60)
    assert run.request("may").people == ["bob", "eve"]


# --- looking ------------------------------------------------------------------------------------------------------------


def test_why_says_who_is_asked_since_when_and_until_when() -> None:
    run = asking(assignees=["ada", "bob"], deadline_seconds=60, options={"total_timeout_seconds": 100})
    (wait,) = [wait for wait in waits_of(run.state) if wait.task_key == "may"]
    words = sentence(wait, "w")
    assert "task 'may' waits for ada or bob to answer: Pay?" in words
    assert f"`agenticflow approvals approve w/1/may@{run.request('may').token}`" in words
    assert (wait.since, wait.until) == (START, START + 60 * SECOND)


# --- what is refused before anything runs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terms", "words"),
    [
        ({"question": ""}, "question of an approval is ''"),
        ({"assignees": "ada"}, "not a list of names"),
        ({"assignees": [""]}, "not 1 to 100 names"),
        ({"assignees": {"ada": 1}}, "not 1 to 100 names"),
        ({"quorum": 0}, "quorum is 0, not a whole number from 1 to 100"),
        ({"quorum": True}, "quorum is True"),
        ({"assignees": ["ada"], "quorum": 2}, "a quorum of 2 cannot be reached by 1: ada"),
        ({"rejection_ends": "no"}, "rejection_ends is 'no'"),
        ({"deadline_seconds": 0}, "deadline_seconds is 0"),
        ({"deadline_seconds": True}, "deadline_seconds is True"),
        ({"on_deadline": "reject"}, "need deadline_seconds"),
        ({"deadline_seconds": 5, "on_deadline": "explode"}, "on_deadline='explode' is unknown"),
        ({"deadline_seconds": 5, "default": 1}, "default needs on_deadline='approve'"),
        (
            {"deadline_seconds": 5, "on_deadline": "approve", "default": "x" * 20_000},
            "default has 20,003 bytes, above the limit of 16,384",
        ),
        ({"response_schema": {"type": "money"}}, "type is 'money', not one of"),
        ({"escalation": ["bob"]}, "escalation is"),
        ({"escalation": [Escalation(5, ["bob"])]}, "escalation needs assignees"),
        ({"assignees": ["ada"], "escalation": [Escalation(0, ["bob"])]}, "give seconds above 0"),
        (
            {"assignees": ["ada"], "escalation": [Escalation(9, ["bob"]), Escalation(5, ["eve"])]},
            "after_seconds of an escalation is 5, give seconds above 9",
        ),
        (
            {"assignees": ["ada"], "escalation": [Escalation(9, ["bob"])], "deadline_seconds": 9},
            "an escalation after 9 s never comes: the deadline is after 9 s",
        ),
        (
            {"assignees": ["ada"], "escalation": [Escalation(n + 1, ["bob"]) for n in range(11)]},
            "escalation has 11 steps",
        ),
        (
            {"deadline_seconds": 5, "on_deadline": "approve", "default": {}, "response_schema": AMOUNT},
            "default.amount is missing",
        ),
        (
            {"deadline_seconds": 5, "on_deadline": "approve", "arguments": 1, "response_schema": AMOUNT},
            "arguments is 1, not object",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(terms: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        Approval(terms.pop("question", "Pay?"), **terms)
    assert words in str(refused.value)


def test_a_deadline_after_the_total_limit_is_refused() -> None:
    with pytest.raises(DefinitionError, match="after 60 s never comes: its total_timeout_seconds is 60"):
        TaskDefinition.ask("may", Approval("Pay?", deadline_seconds=60), total_timeout_seconds=60)
    TaskDefinition.ask("may", Approval("Pay?"), total_timeout_seconds=60)


def test_terms_that_are_too_large_for_an_event_fail_the_task() -> None:
    crowd = [f"{number:03}{'x' * 190}" for number in range(100)]
    steps = [Escalation(number + 1, crowd) for number in range(10)]
    run = Run(TaskDefinition.ask("may", Approval("Pay?", assignees=["ada"], escalation=steps)))
    assert "above the limit of 131,072" in run.errors("may")[0].message


def test_an_approval_is_a_text_or_its_terms() -> None:
    with pytest.raises(DefinitionError, match="approval of task 'may' is a int"):
        TaskDefinition("may", approval=3)  # type: ignore[arg-type]  # the point of the test


def test_references_of_the_terms_are_checked_before_anything_runs() -> None:
    definition = WorkflowDefinition(
        [task("draft"), TaskDefinition.ask("may", Approval("Pay?", assignees="${draft.owners}"))]
    )
    with pytest.raises(DefinitionError, match=r"uses \$\{draft\.owners\} but does not depend on 'draft'"):
        compile_plan(definition)


def test_equal_terms_have_equal_hashes() -> None:
    def hash_of(schema: dict[str, object], people: Any) -> str:
        asks = Approval("Pay?", assignees=people, response_schema=schema, escalation=[Escalation(5, {"y", "x"})])
        return WorkflowDefinition([TaskDefinition.ask("may", asks)]).content_hash

    left = hash_of({"type": "object", "title": "t"}, {"b", "a"})
    assert left == hash_of({"title": "t", "type": "object"}, ["a", "b"])
    assert left != hash_of({"title": "t", "type": "object"}, ["a", "c"])


def test_a_failure_that_is_a_rejection_is_permanent() -> None:
    run = asking()
    run.reject("may")
    error: ErrorInfo = run.errors("may")[0]
    assert error.is_permanent
