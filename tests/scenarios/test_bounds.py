"""Bounds: a run that grows without end is stopped before its history does damage."""

from __future__ import annotations

import msgspec

from agenticflow.core import codec
from agenticflow.core.context import CancelReason
from agenticflow.core.engine import StopActivity
from agenticflow.core.types import MAX_RUN_EVENTS
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.advance import HISTORY_RESERVE
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.run import RunDecider
from tests.scenarios.runs import Run, task

LIMIT = MAX_RUN_EVENTS - HISTORY_RESERVE


def grown(run: Run) -> Run:
    """``run`` as if its history had reached the limit."""
    run.state.version = LIMIT + 1
    return run


def test_a_run_at_the_limit_of_its_history_is_ended_with_room_for_what_is_in_flight() -> None:
    run = Run(task("a"), task("b", "a"))
    facts = RunDecider().advance(grown(run).state, run.now)
    assert isinstance(facts[0], f.WorkflowCancelRequested)
    assert facts[0].cause == "history_limit"
    assert f"{LIMIT + 1:,} events" in facts[0].reason
    stop, *_ = WorkflowGuest().effects(run.state, facts[0], run.state.version)
    assert isinstance(stop, StopActivity)
    assert stop.cancel_reason is CancelReason.LIMIT


def test_the_end_says_that_a_bound_was_passed() -> None:
    run = Run(task("a"), task("b", "a"))
    run.ask(c.Pause(now=run.now, requested_by="x"))
    decider = RunDecider()
    state = grown(run).state
    for fact in decider.advance(state, run.now):
        decider.evolve(state, fact, state.version + 1, run.now)
    decider.evolve(state, f.TaskCancelled("a", state.tasks["a"].token), state.version + 1, run.now)
    (end,) = decider.advance(state, run.now)
    assert isinstance(end, f.WorkflowFailed)
    assert (end.error.type, end.error.code, end.remaining) == ("BoundExceeded", "history_limit", ["b"])


def test_a_run_that_is_done_when_it_reaches_the_limit_is_done() -> None:
    run = Run(task("a"))
    decider, state = RunDecider(), run.state
    done = f.TaskCompleted("a", run.token("a"), msgspec.Raw(codec.NULL))
    decider.evolve(state, done, LIMIT + 1, run.now)
    assert list(decider.advance(state, run.now)) == [f.WorkflowCompleted()]


def test_signals_without_end_do_not_fill_the_history() -> None:
    run = Run(TaskDefinition.wait_for("a", "wanted"))
    run.state.version = LIMIT
    facts = RunDecider().decide(run.state, c.Signal(now=run.now, signal="other", value=b"\xc0", requested_by="x"))
    RunDecider().evolve(run.state, facts[0], LIMIT + 1, run.now)
    assert isinstance(RunDecider().advance(run.state, run.now)[0], f.WorkflowCancelRequested)
