"""Sub-workflows as a run sees them: asked for, told to stop, taken up again."""

from __future__ import annotations

import pytest

from agenticflow.core.engine import RunChild, StopActivity
from agenticflow.core.results import OutcomeKind
from agenticflow.errors import InvariantError
from agenticflow.orchestration import advance
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.guest import child_id
from tests.scenarios.runs import GUEST, Run, definition_of, task

INNER = definition_of([task("inner")], name="inner")


def parent() -> Run:
    return Run(
        TaskDefinition("child", workflow=INNER, params={"x": "${start}"}),
        task("other", cancels={"child"}),
        input={"start": 1},
    )


def test_a_child_is_asked_for_with_its_definition_and_its_input() -> None:
    run = parent()
    child = run.children["child"]
    assert (child.execution_id, child.attempt, child.name, child.is_detached) == ("w~child", 1, "child", False)
    assert child.definition == INNER.encoded()
    assert run.params("child") == {"x": 1}
    by_name = Run(TaskDefinition("child", workflow="inner", on_cancel="detach")).children["child"]
    assert (by_name.definition, by_name.name, by_name.is_detached) == (None, "inner", True)


def test_after_a_crash_open_children_are_asked_for_again() -> None:
    run = parent()
    effects = GUEST.recover(run.state, run.now).effects
    assert [type(effect) for effect in effects if isinstance(effect, RunChild)] == [RunChild]


def test_after_a_crash_a_child_that_is_not_wanted_is_told_again() -> None:
    run = parent()
    token = run.token("child")
    run.succeed("other")
    assert run.stopped == [token]
    effects = [e for e in GUEST.recover(run.state, run.now).effects if isinstance(e, (RunChild, StopActivity))]
    assert [(type(effect), effect.token) for effect in effects] == [(RunChild, token), (StopActivity, token)]
    assert GUEST.is_in_work(run.state, token), "it may still come"
    run.ended("child", OutcomeKind.CANCELLED, token=token)
    assert not GUEST.is_in_work(run.state, token)
    assert run.status == "COMPLETED"


def test_after_a_crash_in_the_middle_of_an_abort_children_are_told_again() -> None:
    run = Run(TaskDefinition("child", workflow=INNER))
    run.abort()
    effects = GUEST.recover(run.state, run.now).effects
    assert [type(effect) for effect in effects] == [RunChild, StopActivity]
    assert GUEST.is_in_work(run.state, run.token("child"))


def test_an_explicit_run_again_is_another_child() -> None:
    tasks = (task("first"), TaskDefinition("child", workflow=INNER, dependencies={"first"}))
    run = Run(*tasks)
    run.succeed("first")
    run.succeed("child")
    again = Run(*tasks, run_no=2, carried=carry_over(run.state, "first"))
    assert again.children["child"].execution_id == "w~child~1"


def test_deeply_nested_children_have_ids_of_bounded_length() -> None:
    name = child_id("w" * 150, "t" * 150, 3)
    assert len(name) <= 200
    assert name != child_id("w" * 150, "t" * 150, 4)


def test_a_loop_without_a_condition_would_be_a_bug() -> None:
    run = Run(task("plain"))
    run.state.undecided["plain"] = None
    with pytest.raises(InvariantError, match="is no loop"):
        advance.advance(run.state, run.now)


def test_what_remains_does_not_name_fallbacks_nobody_needed() -> None:
    run = Run(task("bad"), task("never", "bad", fallback="instead"), task("instead"))
    run.fail_for_good("bad")
    assert run.state.problem is not None
    assert run.state.problem.remaining == ["never"]
