"""What a completed sub-workflow did is undone with its parent: what the parent decides, and how the run begins that undoes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.engine import ActivityFinished, EffectClass, RunChild
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.core.values import store_form
from agenticflow.errors import CorruptStore
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import Compensation, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.guest import WorkflowGuest, stream_of
from agenticflow.orchestration.undoing.carrying import to_undo
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.testing.scenarios import Scenario, given
from tests.scenarios.runs import GUEST, Run, once, task

CHILD = WorkflowDefinition([task("pay", compensation="refund")], name="child")
ONCE = RetryPolicy(max_attempts=1)
WHY = ErrorInfo("ParentUndone", "its parent is undone", "undone")


def ended(
    run: Run, key: str, value: object = None, *, is_undoable: bool = True, token: int | None = None
) -> list[Fact]:
    """The child of ``key`` is completed."""
    outcome = Outcome(OutcomeKind.SUCCEEDED, codec.encode(value), is_undoable=is_undoable)
    return run.ask(ActivityFinished(now=run.now, task_key=key, token=token or run.token(key), outcome=outcome))


def in_question(run: Run, key: str, message: str) -> list[Fact]:
    return run.ended(key, OutcomeKind.UNKNOWN, error=ErrorInfo("NeedsAttention", message))


def parent(**options: Any) -> Run:
    child = TaskDefinition("child", workflow=CHILD, **options)
    return Run(child, task("ship", "child", retry_policy=ONCE))


def test_a_child_with_something_to_undo_is_asked_for_again() -> None:
    run = parent()
    before = run.children["child"]
    ended(run, "child", {"receipt": 1})
    run.fail("ship")
    assert run.status == "COMPENSATING"
    asked = run.children["undo:child"]
    assert (asked.execution_id, asked.is_undoing, before.is_undoing) == (before.execution_id, True, False)
    run.succeed("undo:child")
    assert run.status == "COMPENSATED"
    assert run.facts(f.TaskCompleted)[0].is_undoable


@pytest.mark.parametrize("options", [{"on_cancel": "detach"}, {}])
def test_one_that_goes_its_own_way_or_has_nothing_to_undo_is_left_alone(options: dict[str, Any]) -> None:
    run = parent(**options)
    ended(run, "child", is_undoable=bool(options))
    assert not any(fact.is_undoable for fact in run.facts(f.TaskCompleted))
    run.fail("ship")
    assert run.status == "FAILED"


def test_a_compensation_of_its_own_stands_for_it() -> None:
    run = parent(compensation="cancel")
    ended(run, "child", is_undoable=False)
    run.fail("ship")
    assert list(run.dispatched) == ["undo:child"]


def test_one_that_ends_late_is_undone_too() -> None:
    run = Run(TaskDefinition("child", workflow=CHILD), task("ship"), task("pay", compensation="refund"))
    token = run.token("child")
    run.succeed("pay")
    run.cancel_task("child")
    ended(run, "child", {"receipt": 2}, token=token)
    assert run.facts(f.TaskLateOutcome)[0].is_undoable
    run.fail_for_good("ship")
    assert list(run.children) == ["undo:child"]


def test_while_the_child_waits_for_a_person_so_does_the_parent() -> None:
    run = parent()
    ended(run, "child")
    run.fail("ship")
    in_question(run, "undo:child", "ask about 'undo:pay'")
    assert run.status == "NEEDS_ATTENTION"
    assert run.stopped == [], "what is being undone is undone to its end"
    assert "'undo:pay'" in run.facts(f.TaskOutcomeUnknown)[0].reason
    assert not in_question(run, "undo:child", "still"), "nothing new"
    assert not run.fail("undo:child"), "not written off by itself"
    recovered = GUEST.recover(run.state, run.now).effects
    assert [effect.is_undoing for effect in recovered if isinstance(effect, RunChild)] == [True]
    run.succeed("undo:child")
    assert run.status == "COMPENSATED"


def test_asked_to_run_again_it_is_the_same_child_that_is_undone() -> None:
    run = parent()
    ended(run, "child")
    run.fail("ship")
    first = run.children["undo:child"]
    in_question(run, "undo:child", "no")
    run.resolve("undo:child", "run_again")
    again = run.children["undo:child"]
    assert (again.execution_id, again.is_undoing) == (first.execution_id, True)
    assert again.token > first.token


def test_an_undoing_that_fails_after_all_still_waits_for_a_person() -> None:
    """Also when its time had run out and nobody knew: the error that comes late is no decision."""
    undo = Compensation("bank", "refund", effect=EffectClass.AT_MOST_ONCE, timeout_seconds=5)
    run = Run(task("pay", compensation=undo), task("ship", "pay", retry_policy=ONCE))
    run.succeed("pay")
    run.fail("ship")
    run.started("undo:pay")
    run.time_out("undo:pay", is_abandoned=True)
    assert run.status == "NEEDS_ATTENTION"
    assert not run.fail("undo:pay")
    assert run.status == "NEEDS_ATTENTION"


# --- the run that undoes ------------------------------------------------------------------------------------------------


def undoing(run: Run, guest: WorkflowGuest = GUEST) -> Run:
    """Return the run that undoes ``run``, as its launcher starts it."""
    found = to_undo(run.state)
    scenario: Scenario[Any] = given(guest, stream_id=stream_of("w", 2))
    following = Run(scenario=scenario, run_no=2, now=run.now)
    course, blobs = store_form(msgspec.msgpack.encode(found.course))
    following.ask(
        c.StartRun(
            now=run.now,
            workflow_id="w",
            run_no=2,
            definition=run.state.laid_out.encoded,
            input=run.state.input,
            seed="other",
            fingerprint="",
            requested_by="workflow-p/1",
            kept=codec.encode(found.carried.kept),
            generations=found.carried.generations,
            signals=codec.encode(found.carried.signals),
            feedback=tuple(found.carried.feedback),
            parent=("workflow-p/1", "undo:child", 9),
            undone_for=WHY,
            course=course,
            steps=found.steps,
            blobs=blobs,
        )
    )
    return following


def test_it_undoes_what_the_run_before_did_the_last_first_and_nothing_else() -> None:
    run = Run(
        task("look"),
        task("pay", "look", compensation=Compensation("bank", "refund", {"of": "${pay}", "seen": "${look}"})),
        task("each", "pay", for_each="${items}", compensation=Compensation("bank", "drop", {"item": "${item}"})),
        input={"items": ["a", "b"]},
        timeout_seconds=60,
    )
    run.say("mind the step")
    run.succeed("look", value="there")
    run.succeed("pay", value=7)
    run.succeed("each[1]", "each[0]")
    assert run.status == "COMPLETED"
    following = undoing(run)
    assert following.status == "COMPENSATING"
    assert following.params("undo:each[0]") == {"item": "a"}
    assert following.state.deadline is None, "what is undone has no limit"
    following.succeed("undo:each[0]")
    assert following.params("undo:each[1]") == {"item": "b"}
    following.succeed("undo:each[1]")
    assert following.params("undo:pay") == {"of": 7, "seen": "there"}
    following.succeed("undo:pay")
    assert following.status == "COMPENSATED"
    assert [type(fact) for fact in following.facts(f.TaskScheduled)] == [f.TaskScheduled] * 3
    again = carry_over(following.state)
    assert list(again.kept) == ["look"], "the rest would be done again"
    assert again.generations == {"pay": 1, "each[0]": 1, "each[1]": 1}


def test_what_went_through_late_is_undone_and_what_failed_is_not() -> None:
    run = Run(
        task("slow", on_failure="skip", total_timeout_seconds=5, compensation="refund"),
        task("never", on_failure="skip", compensation="refund", retry_policy=ONCE),
        once("other", compensation="refund"),
    )
    token = run.token("slow")
    run.fail("never")
    run.wait(6)
    run.succeed("slow", value="late", token=token)
    run.succeed("other")
    assert run.status == "COMPLETED"
    assert to_undo(run.state).course.order == ["slow", "other"]
    following = undoing(run)
    following.succeed("undo:other", "undo:slow")
    assert following.status == "COMPENSATED"


def test_what_cannot_be_read_is_told() -> None:
    run = Run(task("pay", compensation="refund"))
    started = f.CompensationStarted(error=WHY, undoing=msgspec.Raw(codec.encode("damaged")))
    with pytest.raises(CorruptStore, match="what run 'workflow-w/1' undoes cannot be read"):
        GUEST.evolve(run.state, started, run.state.version + 1, 0)
