"""Killed at every point: what the fifty tasks do not have. Handlers in threads, a queue, time limits, failures, payments in a map."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from agenticflow import (
    Agent,
    EffectClass,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowBuilder,
    WorkflowDefinition,
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


@pytest.mark.parametrize(
    "new_case",
    [threads_and_a_queue, time_limits_and_failures, the_whole_run_has_a_limit, payments_in_a_map],
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
