"""``simulate`` on a workflow of somebody's own: what it finds, what it asks of the case, and that a failing seed can be played again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agenticflow import EffectClass, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.errors import InvalidInput
from agenticflow.testing import CrashCase, CrashSignal, FaultKind, Resolution, crash_search, simulate, sometimes


def booking(effect: EffectClass = EffectClass.AT_MOST_ONCE, **options: Any) -> CrashCase:
    """Return a booking that is confirmed by a signal and approved by a person; the money must not be taken twice."""
    taken: list[str] = []

    @worker("take")
    async def take(context: TaskContext) -> str:
        taken.append(context.task_key)
        return "taken"

    @worker("book")
    def book(context: TaskContext) -> str:
        sometimes("it was booked in a thread")
        return "booked"

    tasks = [
        TaskDefinition.wait_for("go", "go"),
        TaskDefinition.ask("ok", "Shall I?", ["go"]),
        TaskDefinition("take", "take", dependencies=["ok"], effect=effect),
        TaskDefinition("book", "book", dependencies=["take"]),
    ]

    def look(task_key: str) -> Resolution:
        return Resolution("completed", "taken") if taken else Resolution("run_again")

    case = CrashCase(
        WorkflowDefinition(tasks),
        workers=[take, book],
        signals=[CrashSignal("go", after_seconds=0.01)],
        resolve=look,
        check=lambda: [] if len(taken) <= 1 else [f"taken {len(taken)} times"],
    )
    return replace(case, **options)


def test_a_sound_workflow_is_sound() -> None:
    report = simulate(booking, schedules=150, may_abort=True, marks=["it was booked in a thread"])
    assert report.is_sound, str(report)
    assert report.schedules == 150
    assert set(report.faults) > {FaultKind.KILL.value, FaultKind.REFUSED.value, FaultKind.CLOCK_JUMP.value}


def test_the_careless_is_told_with_a_seed_that_plays_it_again() -> None:
    def careless() -> CrashCase:
        return booking(EffectClass.IDEMPOTENT)

    (violation,) = simulate(careless, seed=56, schedules=300).violations
    assert violation.problems == ["taken 2 times"]
    assert len(violation.plan.split("; ")) <= 4
    (again,) = simulate(careless, seed=violation.seed, schedules=1).violations
    assert (again.problems, again.plan, again.story) == (violation.problems, violation.plan, violation.story)


def test_only_the_faults_that_are_asked_for_are_injected() -> None:
    report = simulate(booking, schedules=60, faults={FaultKind.KILL}, may_pause=False)
    assert report.faults.keys() == {FaultKind.KILL.value}
    assert "a run was paused" not in report.marks


def test_at_most_once_is_what_full_durability_gives() -> None:
    assert simulate(booking, schedules=150, faults={FaultKind.POWER_LOSS}).is_sound
    lossy = simulate(booking, schedules=300, faults={FaultKind.POWER_LOSS}, durability="normal")
    assert lossy.violations[0].problems == ["taken 2 times"]


def test_a_workflow_that_breaks_its_own_promise_is_told_at_once() -> None:
    report = simulate(lambda: booking(check=lambda: ["wrong from the beginning"]), schedules=100)
    assert report.schedules == 0
    assert report.violations[0].problems == ["wrong from the beginning"]


def test_a_workflow_is_searched_as_it_is() -> None:
    @worker("greet")
    async def greet(name: str) -> str:
        return f"hello {name}"

    greeting = WorkflowDefinition([TaskDefinition("greet", "greet", params={"name": "${input.name}"})])
    searched = crash_search(greeting, workers=[greet], input={"name": "ada"})
    assert not searched.violations, str(searched)
    assert searched.kills > 10
    report = simulate(greeting, workers=[greet], input={"name": "ada"}, schedules=30)
    assert report.is_sound, str(report)
    assert report.calls >= 30


@pytest.mark.parametrize(
    ("given", "options", "what"),
    [
        (5, {}, "5 cannot be searched"),
        (booking(), {}, "each kill needs a fresh one"),
        (lambda: 5, {}, "made 5 and no CrashCase"),
        (booking, {"input": 1}, "belong into the case"),
    ],
)
def test_what_cannot_be_searched_is_told(given: Any, options: dict[str, Any], what: str) -> None:
    for search in (crash_search, simulate):
        with pytest.raises(InvalidInput, match=what):
            search(given, **options)


def test_a_case_with_steer_is_refused() -> None:
    async def steer(orchestrator: object, workflow_id: str) -> None:
        raise AssertionError("nobody steers")

    with pytest.raises(InvalidInput, match="cannot be simulated"):
        simulate(lambda: booking(steer=steer))
