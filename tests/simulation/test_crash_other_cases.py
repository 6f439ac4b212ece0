"""Killed at every point: what the fifty tasks do not have. Threads, a queue, time limits, failures, maps, pauses, aborts, chains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import pytest

from agenticflow import (
    Agent,
    CommandRefused,
    EffectClass,
    Orchestrator,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    TaskStatus,
    WorkflowBuilder,
    WorkflowDefinition,
    WorkflowStatus,
    worker,
)
from agenticflow.testing.crashes import CrashCase, Resolution, crash_search

pytestmark = pytest.mark.proof


def threads_and_a_queue() -> CrashCase:
    """Plain functions run in threads; an agent with one seat takes ten tasks in turn."""
    clerk = Agent("clerk", {"stamping"})

    @clerk.task("stamp")
    def stamp(number: int) -> int:
        return number * number

    @worker("sum")
    def add_up(context: TaskContext) -> int:
        return sum(int(str(value)) for value in context.results.values())

    stamps = [TaskDefinition(f"stamp{n}", "clerk", "stamp", {"number": n}) for n in range(10)]
    total = TaskDefinition("total", "sum", dependencies={task.task_id for task in stamps})
    return CrashCase(WorkflowDefinition([*stamps, total]), [clerk], [add_up])


def time_limits_and_failures() -> CrashCase:
    """One task never ends in time and is tried twice, one fails for good; what hangs on neither is done."""

    @worker("sleep")
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)

    @worker("fail")
    async def fail() -> None:
        raise ValueError("never")

    again = RetryPolicy(max_attempts=2, initial_delay_seconds=0.5)
    tasks = [
        TaskDefinition("slow", "sleep", params={"seconds": 60}, timeout_seconds=2, retry_policy=again),
        TaskDefinition("fails", "fail", retry_policy=again),
        TaskDefinition("never", "sleep", params={"seconds": 0}, dependencies={"slow"}),
        TaskDefinition("done", "sleep", params={"seconds": 1}),
        TaskDefinition("after", "sleep", params={"seconds": 1}, dependencies={"done"}),
        TaskDefinition("whole", "sleep", params={"seconds": 60}, total_timeout_seconds=5),
    ]
    return CrashCase(WorkflowDefinition(tasks), workers=[sleep, fail])


def the_whole_run_has_a_limit() -> CrashCase:
    """It is cancelled when its time is over, with a handler at work, a retry to come and a signal that never came."""

    @worker("sleep")
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds)

    @worker("fail")
    async def fail() -> None:
        raise ConnectionError("nobody there")

    slowly = RetryPolicy(max_attempts=9, initial_delay_seconds=1, multiplier=1, jitter=False)
    builder = WorkflowBuilder("limited", timeout_seconds=4)
    builder.add_step("works", "sleep", params={"seconds": 60}, depends_on=())
    builder.add_step("tries", "fail", depends_on=(), retry_policy=slowly)
    builder.add_signal("waits", "never", depends_on=())
    return CrashCase(builder.build(), workers=[sleep, fail])


def payments_in_a_map() -> CrashCase:
    """Three payments at once; an operator looks up each that is unknown."""
    paid: list[str] = []

    @worker("pay")
    async def pay(context: TaskContext, to: str) -> str:
        await asyncio.sleep(0.01)
        paid.append(to)
        return to

    @worker("count")
    async def number_of(of: list[str]) -> int:
        return len(of)

    once = TaskDefinition(
        "pay", "pay", params={"to": "${item}"}, for_each=["a", "b", "c"], effect=EffectClass.AT_MOST_ONCE
    )
    last = TaskDefinition("number", "count", params={"of": "${pay}"}, dependencies={"pay"})

    def resolve(task_key: str) -> Resolution:
        index = int(task_key[4:-1])
        return Resolution("completed", "abc"[index]) if "abc"[index] in paid else Resolution("run_again")

    return CrashCase(
        WorkflowDefinition([once, last]),
        workers=[pay, number_of],
        resolve=resolve,
        check=lambda: [] if sorted(paid) == ["a", "b", "c"] else [f"paid {paid}"],
    )


async def reached(orchestrator: Orchestrator, workflow_id: str, key: str, status: TaskStatus) -> None:
    while (
        key not in (tasks := (await orchestrator.get_workflow_state(workflow_id, 1)).tasks)
        or tasks[key].status is not status
    ):
        await asyncio.sleep(0.01)


def paused_and_resumed() -> CrashCase:
    """Paused while a retry is on its way; resumed later, by somebody who does not know that there was a crash."""

    @worker("stubborn")
    async def stubborn(context: TaskContext) -> int:
        await asyncio.sleep(0.1)
        if context.attempt == 1:
            raise ConnectionError("nobody there")
        return context.attempt

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        if (await orchestrator.get_workflow_state(workflow_id)).status is WorkflowStatus.COMPLETED:
            return
        with suppress(CommandRefused):
            await orchestrator.pause(workflow_id)
            await asyncio.sleep(2)
            await orchestrator.resume(workflow_id)

    again = RetryPolicy(max_attempts=2, initial_delay_seconds=0.5)
    builder = WorkflowBuilder("paused").add_step("first", "stubborn", retry_policy=again).add_timer("wait", 1)
    return CrashCase(builder.add_step("last", "stubborn", retry_policy=again).build(), workers=[stubborn], steer=steer)


def aborted() -> CrashCase:
    """Aborted while one handler works and another task was never started."""

    @worker("sleep")
    async def sleep() -> None:
        await asyncio.sleep(3_600)

    @worker("quick")
    async def quick() -> int:
        return 1

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        await reached(orchestrator, workflow_id, "quick", TaskStatus.COMPLETED)
        with suppress(CommandRefused):
            await orchestrator.abort(workflow_id, "enough", grace_seconds=5)

    tasks = [
        TaskDefinition("quick", "quick"),
        TaskDefinition("works", "sleep", timeout_seconds=None),
        TaskDefinition("never", "quick", dependencies={"works"}),
    ]
    return CrashCase(WorkflowDefinition(tasks), workers=[sleep, quick], steer=steer)


def resumed_as_a_chain() -> CrashCase:
    """The first run fails; somebody mends the cause and resumes until it is done. What was done is not done again."""
    done: list[str] = []
    is_mended: list[bool] = []

    @worker("build")
    async def build(context: TaskContext) -> int:
        await asyncio.sleep(0.01)
        done.append(f"{context.task_key}/{context.run_no}")
        return 1

    @worker("launch")
    async def launch(context: TaskContext) -> str:
        if not is_mended:
            raise ValueError("the wind is too strong")
        return context.effect_key

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> object:
        while (state := await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            if state.status is WorkflowStatus.FAILED:
                is_mended.append(True)
                with suppress(CommandRefused):  # it was resumed, but nobody lived to hear it
                    await orchestrator.resume_workflow(workflow_id)
            await asyncio.sleep(0.05)
        return await orchestrator.wait(workflow_id)

    def check() -> list[str]:
        return [f"{key} was built again" for key in done if not key.endswith("/1")]

    builder = WorkflowBuilder("rocket").add_step("tank", "build").add_step("engine", "build")
    builder.add_step("launch", "launch", retry_policy=RetryPolicy(max_attempts=1)).add_step("report", "launch")
    return CrashCase(builder.build(), workers=[build, launch], steer=steer, check=check)


@pytest.mark.parametrize(
    "new_case",
    [
        threads_and_a_queue,
        time_limits_and_failures,
        the_whole_run_has_a_limit,
        payments_in_a_map,
        paused_and_resumed,
        aborted,
        resumed_as_a_chain,
    ],
    ids=lambda new_case: new_case.__name__,
)
def test_killed_at_every_point(
    new_case: Callable[[], CrashCase], record_property: Callable[[str, object], None]
) -> None:
    report = crash_search(new_case, double_kills=30, time_limit_seconds=600, seed=4)
    what = new_case.__name__.replace("_", " ")
    record_property("crash", f"{what}|{report.points}|{report.kills}|{report.calls}|{len(report.violations)}")
    assert not report.violations, report
    assert report.kills >= report.points
