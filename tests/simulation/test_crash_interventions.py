"""Killed at every point while people step in: skip, retry, give a result, say something, change the tasks that are to come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from agenticflow import (
    CommandRefused,
    DefinitionError,
    EffectClass,
    Orchestrator,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    worker,
)
from agenticflow.orchestration import UserIntervention
from agenticflow.testing.crashes import CrashCase, Resolution, crash_search

pytestmark = pytest.mark.proof

ONCE = RetryPolicy(max_attempts=1)
IN_A_YEAR = RetryPolicy(max_attempts=2, initial_delay_seconds=31_536_000, max_delay_seconds=31_536_000, jitter=False)
LOOK_SECONDS = 0.05


@worker("count")
async def count(value: int | None = None) -> int:
    await asyncio.sleep(0.001)
    return (value or 0) + 1


@worker("fail")
async def fail() -> None:
    await asyncio.sleep(0.001)
    raise ValueError("never")


def C(task_id: str, *after: str, value: object = None) -> TaskDefinition:  # noqa: N802
    return TaskDefinition(task_id, "count", params={"value": value}, dependencies=after)


def says(*interventions: UserIntervention) -> Callable[[Orchestrator, str], Awaitable[object]]:
    """Somebody who says all of it in each life again, and then opens the gate."""

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        for intervention in interventions:
            # Said again in the life after: it has been taken already, or the run is further on.
            with suppress(CommandRefused, DefinitionError):
                await orchestrator.intervene(workflow_id, intervention)
        with suppress(CommandRefused):
            await orchestrator.signal(workflow_id, "go", signal_id="once")

    return steer


def skips() -> CrashCase:
    """A task nobody has come to, one between two attempts, one that waits, one that has failed."""
    tasks = [
        TaskDefinition.wait_for("go", "go"),
        C("later", "go"),
        TaskDefinition("broken", "fail", retry_policy=ONCE),
        TaskDefinition("retried", "fail", retry_policy=IN_A_YEAR),
        TaskDefinition.timer("year", 31_536_000),
        TaskDefinition("end", "count", dependencies={"later", "broken", "retried", "year", "go"}, join="settled"),
    ]
    said = [UserIntervention("skip", "ada", task_key=key) for key in ("later", "year")]
    failed = [UserIntervention("skip", "ada", task_key=key) for key in ("broken", "retried")]

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        while True:
            tasks = (await orchestrator.get_workflow_state(workflow_id)).tasks
            if all(key in tasks and (tasks[key].errors or tasks[key].ended_at) for key in ("broken", "retried")):
                break
            await asyncio.sleep(LOOK_SECONDS)
        await says(*said, *failed)(orchestrator, workflow_id)

    return CrashCase(WorkflowDefinition(tasks), workers=[count, fail], steer=steer)


def retries() -> CrashCase:
    """What would be tried in a year is tried now, and what has failed for good as well, each as the same work."""
    keys: dict[str, set[str]] = {}
    is_mended: list[bool] = []

    @worker("pay")
    async def pay() -> str:
        await asyncio.sleep(0.001)
        if not is_mended:
            is_mended.append(True)
            raise ConnectionError("card refused")
        return "paid"

    @worker("second")
    async def second(context: TaskContext) -> str:
        await asyncio.sleep(0.001)
        keys.setdefault(context.task_key, set()).add(context.effect_key)
        if context.attempt == 1:
            raise ConnectionError("in the first attempt")
        return "done"

    tasks = [
        TaskDefinition.wait_for("go", "go"),
        TaskDefinition("retried", "second", retry_policy=IN_A_YEAR),
        TaskDefinition("broken", "second", retry_policy=ONCE),
        TaskDefinition("each", "second", for_each=[1, 2, 3], max_parallel=2, retry_policy=ONCE),
        TaskDefinition("pay", "pay", effect=EffectClass.AT_MOST_ONCE),
        C("end", "go", "retried", "broken", "each", "pay"),
    ]

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        waiting = ["retried", "broken", "each", "pay"]
        while waiting:
            seen = (await orchestrator.get_workflow_state(workflow_id)).tasks
            waiting = [key for key in waiting if seen[key].status is not TaskStatus.COMPLETED]
            for key in waiting:
                if seen[key].status in (TaskStatus.RETRYING, TaskStatus.FAILED):
                    await orchestrator.retry_task(workflow_id, key)
            await asyncio.sleep(LOOK_SECONDS)
        await says()(orchestrator, workflow_id)

    def check() -> list[str]:
        return [f"{key} is {len(different)} works" for key, different in keys.items() if len(different) > 1]

    return CrashCase(
        WorkflowDefinition(tasks),
        workers=[count, second, pay],
        steer=steer,
        check=check,
        resolve=lambda key: Resolution("completed", "paid"),
    )


def results() -> CrashCase:
    """Given to what nobody has come to, what waits, what has failed, a choice, and an item."""
    tasks = [
        TaskDefinition.wait_for("go", "go"),
        C("later", "go"),
        TaskDefinition.timer("year", 31_536_000),
        TaskDefinition.choice("route", {"x": "true", "y": None}, {"go"}),
        C("x", "route"),
        C("y", "route"),
        C("end", "later", "year", "x", "y", value="${later}"),
    ]
    said = [
        UserIntervention("set_result", "ada", task_key="later", value=41),
        UserIntervention("set_result", "ada", task_key="year", value="over"),
        UserIntervention("set_result", "ada", task_key="route", value="y"),
    ]
    return CrashCase(WorkflowDefinition(tasks, output=["${end}", "${year}"]), workers=[count], steer=says(*said))


def feedback() -> CrashCase:
    """Said once to a handler that runs and waits for it, heard again by whoever follows."""

    @worker("listen")
    async def listen(context: TaskContext) -> object:
        while not context.feedback:
            await asyncio.sleep(LOOK_SECONDS)
        return context.feedback[0].value

    tasks = [TaskDefinition("a", "listen"), TaskDefinition("b", "listen", dependencies={"a"})]

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        with suppress(CommandRefused):
            await orchestrator.give_feedback(workflow_id, {"tone": "polite"})

    return CrashCase(WorkflowDefinition(tasks, output=["${a}", "${b}"]), workers=[listen], steer=steer)


def modifications() -> CrashCase:
    """A step between two others, one more beside them, one less; at-most-once work among them."""
    tasks = [TaskDefinition.wait_for("go", "go"), C("b", "go"), C("gone", "b"), C("end", "b", value="${b}")]
    said = UserIntervention(
        "modify",
        "ada",
        modifications=[
            {"add": C("check", "go", value=10)},
            {"replace": C("b", "check", value="${check}")},
            {"remove": "gone"},
            {
                "add": TaskDefinition(
                    "pay", "count", params={"value": 1}, dependencies={"check"}, effect=EffectClass.AT_MOST_ONCE
                )
            },
            {"replace": C("end", "b", "pay", value="${b}")},
        ],
    )
    return CrashCase(
        WorkflowDefinition(tasks, output="${end}"),
        workers=[count],
        steer=says(said),
        resolve=lambda key: Resolution("completed", 2),
    )


def everything_paused() -> CrashCase:
    """Paused, changed, and let go on."""
    tasks = [C("a"), C("b", "a"), C("c", "b", value="${b}")]
    said = [
        UserIntervention("pause", "ada"),
        UserIntervention("modify", "ada", modifications=[{"replace": C("c", "b", value=100)}]),
        UserIntervention("resume", "ada"),
    ]

    definition = WorkflowDefinition([TaskDefinition.wait_for("go", "go"), *tasks, C("end", "c", "go")], output="${c}")
    return CrashCase(definition, workers=[count], steer=says(*said))


CASES = [skips, retries, results, feedback, modifications, everything_paused]


@pytest.mark.parametrize("new_case", CASES, ids=lambda new_case: new_case.__name__)
def test_killed_at_every_point_while_people_step_in(
    new_case: Callable[[], CrashCase], record_property: Callable[[str, object], None]
) -> None:
    report = crash_search(new_case, double_kills=20, time_limit_seconds=600, seed=4)
    what = new_case.__name__.replace("_", " ")
    record_property("crash", f"{what}|{report.points}|{report.kills}|{report.calls}|{len(report.violations)}")
    assert not report.violations, report
    assert report.kills >= report.points
