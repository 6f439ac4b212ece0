"""Runs that go on for ever: the end of one is the beginning of the next, with another input and an empty history."""

from __future__ import annotations

import pytest

from agenticflow.core import codec
from agenticflow.core.engine import ContinueExecution
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import GUEST, Run, task

TASKS = (
    task("page"),
    TaskDefinition(
        "again", continue_with={"cursor": "${page.next}"}, dependencies={"page"}, when="${page.next} != null"
    ),
    task("other"),
)


def next_run_started(run: Run) -> None:
    run.ask(c.NextRunStarted(now=run.now))


def test_the_run_ends_and_asks_for_the_next_with_its_input() -> None:
    run = Run(*TASKS)
    run.succeed("page", value={"next": 7})
    assert run.status == "RUNNING"
    run.cancelled("other")
    assert run.effects == [ContinueExecution("w", 1, codec.encode({"cursor": 7}))]
    assert (run.status, run.state.is_open, run.state.next_due) == ("RUNNING", True, None)
    next_run_started(run)
    assert (run.status, run.state.is_open) == ("CONTINUED", False)


def test_a_condition_that_does_not_hold_lets_the_run_end_as_any_other() -> None:
    run = Run(*TASKS)
    run.succeed("page", value={"next": None})
    run.succeed("other")
    assert run.status == "COMPLETED"


def test_after_a_crash_the_next_run_is_asked_for_again() -> None:
    run = Run(*TASKS)
    run.succeed("page", value={"next": 7})
    run.cancelled("other")
    recovery = GUEST.recover(run.state, run.now)
    assert list(recovery.effects) == [ContinueExecution("w", 1, codec.encode({"cursor": 7}))]
    next_run_started(run)
    next_run_started(run)
    assert len(run.facts(f.WorkflowContinued)) == 1


def test_between_two_runs_nothing_is_taken_any_more() -> None:
    run = Run(*TASKS)
    run.succeed("page", value={"next": 7})
    run.cancelled("other")
    run.refused(c.Pause(now=run.now, requested_by="ada"), "is being continued in the next")
    assert run.succeed("page", token=run.token("page")) == []
    assert run.timers() == []


def test_an_abort_that_comes_first_is_an_abort() -> None:
    run = Run(*TASKS)
    run.abort()
    run.cancelled("page")
    run.cancelled("other")
    assert run.status == "CANCELLED"
    next_run_started(run)
    assert run.status == "CANCELLED"


def test_the_work_of_the_next_run_is_other_work() -> None:
    run = Run(task("a"), first_generation=3)
    assert run.dispatched["a"].generation == 3


def test_an_input_for_the_next_run_is_bounded() -> None:
    run = Run(task("page"), TaskDefinition("again", continue_with="${page}", dependencies={"page"}))
    run.succeed("page", value="x" * 70_000)
    assert run.status == "FAILED"
    assert "above the limit of 65,536" in run.errors("again")[0].message


def test_what_continues_has_no_agent() -> None:
    with pytest.raises(DefinitionError, match=r"waits \(continue_with\)"):
        task("a", continue_with={"x": 1})
