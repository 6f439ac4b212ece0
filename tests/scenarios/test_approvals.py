"""Approvals: a task that waits for a person."""

from __future__ import annotations

from typing import Any

from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, task


def asking(**options: Any) -> tuple[TaskDefinition, ...]:
    return (
        task("draft"),
        TaskDefinition.ask("may", "Publish ${draft.title}?", {"draft"}, **options),
        task("publish", "may", params={"answer": "${may.note}"}),
        task("other"),
    )


def test_a_question_waits_and_only_its_branch_with_it() -> None:
    run = Run(*asking())
    run.succeed("draft", value={"title": "Spring"})
    assert run.facts(f.ApprovalRequired)[0].question == "Publish Spring?"
    assert run.statuses["may"] == "WAITING"
    run.succeed("other")
    assert run.status == "WAITING"
    run.approve("may", {"note": "fine"})
    assert run.params("publish") == {"answer": "fine"}
    run.succeed("publish")
    assert run.status == "COMPLETED"
    assert run.facts(f.ApprovalGranted)[0].decided_by == "ada"


def test_a_rejection_is_a_failure_with_the_words_of_who_rejected() -> None:
    run = Run(*asking())
    run.succeed("draft", value={"title": "Spring"})
    run.reject("may", by="bob", comment="too early")
    run.succeed("other")
    assert run.status == "FAILED"
    assert (run.errors("may")[0].type, run.errors("may")[0].message) == (
        "ApprovalRejected",
        "bob rejected it: too early",
    )


def test_a_rejection_may_lead_another_way() -> None:
    run = Run(TaskDefinition.ask("may", "Go?", fallback="ask_again"), task("ask_again"), task("go", "may"))
    run.reject("may")
    assert list(run.dispatched) == ["ask_again"]
    run.succeed("ask_again", value="changed")
    assert run.result("may") == "changed"


def test_nobody_answers_in_time() -> None:
    run = Run(TaskDefinition.ask("may", "Go?", total_timeout_seconds=3_600))
    run.wait(3_601)
    assert run.status == "FAILED"
    assert "nobody answered within its total limit of 3600 s" in run.errors("may")[0].message


def test_an_answer_nobody_waits_for_is_refused() -> None:
    run = Run(*asking())
    for command in (
        c.Approve(now=run.now, task_key="may", requested_by="ada"),
        c.Reject(now=run.now, task_key="draft", requested_by="ada"),
    ):
        run.refused(command, "does not wait for an answer .waiting for one: none")
    run.succeed("draft", value={"title": "x"})
    run.refused(c.Approve(now=run.now, task_key="draft", requested_by="ada"), "waiting for one: may")
    run.approve("may")
    run.refused(c.Approve(now=run.now, task_key="may", requested_by="bob"))


def test_an_answer_is_taken_while_the_run_is_paused_and_acts_when_it_goes_on() -> None:
    run = Run(TaskDefinition.ask("may", "Go?"), task("go", "may"))
    run.pause()
    run.approve("may")
    assert not run.in_work
    run.resume()
    assert run.in_work == ["go"]


def test_an_abort_takes_the_question_back() -> None:
    run = Run(TaskDefinition.ask("may", "Go?"))
    run.abort()
    assert run.status == "CANCELLED"
    assert run.statuses["may"] == "CANCELLED"


def test_a_question_that_cannot_be_worded_is_a_failure() -> None:
    run = Run(task("draft"), TaskDefinition.ask("may", "Publish ${draft.title}?", {"draft"}))
    run.succeed("draft", value=1)
    assert run.status == "FAILED"
