"""The workflow that the crash proofs kill: 50 tasks in 8 branches, with a map, a retry, a timer, signals, conditions, a join of any,
a value too large to be stored inline, and a payment that must not happen twice. Its result is the same however often it was interrupted.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from agenticflow import (
    Agent,
    EffectClass,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    worker,
)
from agenticflow.agents import Worker

BRANCHES = 8
STEPS = 5
ITEMS = [3, 1, 4, 1, 5, 9]
LARGE = 70_000
QUICKLY = RetryPolicy(max_attempts=3, initial_delay_seconds=0.01, jitter=False)


class World(Protocol):
    """What is outside the process: it remembers what was really done."""

    async def work(self, context: TaskContext, seconds: float) -> None:
        """Something is done for a while."""

    def pay(self, key: str) -> None:
        """Money leaves the account; there is no way to ask for it twice."""

    def has_paid(self, key: str) -> bool:
        """Whether it has."""


def definition() -> WorkflowDefinition:
    """Return the workflow."""
    tasks = [TaskDefinition("plan", "planner", "plan", {"items": ITEMS})]
    for branch in range(BRANCHES):
        before = "plan"
        for step in range(STEPS):
            task = _special(branch, step, before) or _step(branch, step, before)
            tasks.append(task)
            before = task.task_id
    ends = {f"b{branch}_{STEPS - 1}" for branch in range(BRANCHES)}
    tasks.append(TaskDefinition("join", "planner", "join", dependencies=ends))
    before = "join"
    for number in range(8):
        tasks.append(TaskDefinition(f"audit{number}", "add", params={"value": f"${{{before}}}"}, dependencies={before}))
        before = f"audit{number}"
    return WorkflowDefinition(
        tasks, name="fifty", output={"total": f"${{{before}}}", "paid": "${b5_2}", "said": ["${b2_2}", "${b2_4}"]}
    )


def _step(branch: int, step: int, before: str) -> TaskDefinition:
    value = "${plan.start}" if before == "plan" else f"${{{before}}}"
    return TaskDefinition(f"b{branch}_{step}", "add", params={"value": value}, dependencies={before})


def _special(branch: int, step: int, before: str) -> TaskDefinition | None:
    here, needs = f"b{branch}_{step}", {before}
    match branch, step:
        case 0, 2:
            return TaskDefinition(
                here, "stubborn", params={"value": f"${{{before}}}"}, dependencies=needs, retry_policy=QUICKLY
            )
        case 1, 2:
            return TaskDefinition.timer(here, 0.03, needs)
        case 1, 3:
            return TaskDefinition(here, "add", params={"value": "${b1_1}"}, dependencies=needs)
        case 2, 0:
            return TaskDefinition.wait_for(here, "go", needs)
        case 2, 2:
            return TaskDefinition.wait_for(here, "approve", needs)
        case 2, 1:
            return TaskDefinition(here, "add", params={"value": "${b2_0}"}, dependencies=needs)
        case 2, 3:
            return TaskDefinition(here, "add", params={"value": "${b2_2.limit}"}, dependencies=needs)
        case 2, 4:
            return TaskDefinition.wait_for(here, "approve", needs)
        case 3, 2:
            return TaskDefinition(
                here, "add", params={"value": "${b3_1}"}, dependencies={"b3_1"}, when="${plan.score} > 5"
            )
        case 3, 3:
            return TaskDefinition(
                here, "add", params={"value": "${b3_1}"}, dependencies={"b3_1"}, when="${plan.score} <= 5"
            )
        case 3, 4:
            return TaskDefinition(here, "add", params={"value": "${b3_2}"}, dependencies={"b3_2", "b3_3"})
        case 4, 2:
            return TaskDefinition(
                here, "add", params={"value": "${item}"}, dependencies=needs, for_each="${plan.items}", max_parallel=3
            )
        case 4, 3:
            return TaskDefinition(here, "sum", params={"values": "${b4_2}"}, dependencies=needs)
        case 5, 2:
            return TaskDefinition(
                here, "payer", "pay", {"amount": 40}, dependencies=needs, effect=EffectClass.AT_MOST_ONCE
            )
        case 5, 3:
            return TaskDefinition(here, "add", params={"value": "${b5_2.amount}"}, dependencies=needs)
        case 6, 2:
            return TaskDefinition(here, "write_much", dependencies=needs)
        case 6, 3:
            return TaskDefinition(here, "weigh", params={"text": "${b6_2}"}, dependencies=needs)
        case 7, 2:
            return TaskDefinition(here, "add", params={"value": "${b7_0}"}, dependencies={"b7_0"})
        case 7, 3:
            return TaskDefinition(here, "add", params={"value": 7}, dependencies={"b7_1", "b7_2"}, join="any")
        case _:
            return None


def performers(world: World) -> tuple[list[Agent], list[Worker[..., Any]]]:
    """Return who performs the tasks, working on ``world``."""
    planner, payer = Agent("planner", {"planning"}, concurrency=2), Agent("payer", {"payment"})

    @planner.task("plan")
    async def plan(items: list[int], context: TaskContext) -> dict[str, object]:
        await world.work(context, 0.001)
        return {"items": items, "score": 7, "start": 1}

    @planner.task("join")
    async def join(context: TaskContext) -> int:
        await world.work(context, 0.001)
        return sum(value for value in context.results.values() if isinstance(value, int))

    @payer.task("pay")
    async def pay(amount: int, context: TaskContext) -> dict[str, object]:
        await world.work(context, 0.002)
        world.pay(context.workflow_id)
        await asyncio.sleep(0.002)
        return receipt(amount)

    @worker("add")
    async def add(value: int, context: TaskContext) -> int:
        await world.work(context, 0.001 * (1 + len(context.task_key) % 3))
        return value + 1

    @worker("sum")
    async def total(values: list[int], context: TaskContext) -> int:
        await world.work(context, 0.001)
        return sum(values)

    @worker("stubborn")
    async def stubborn(value: int, context: TaskContext) -> int:
        await world.work(context, 0.001)
        if context.attempt == 1:
            raise ConnectionError("nobody is at home on the first try")
        return value + 1

    @worker("write_much")
    async def write_much(context: TaskContext) -> str:
        await world.work(context, 0.001)
        return "x" * LARGE

    @worker("weigh")
    async def weigh(text: str, context: TaskContext) -> int:
        await world.work(context, 0.001)
        return len(text)

    return [planner, payer], [add, total, stubborn, write_much, weigh]


def receipt(amount: int = 40) -> dict[str, object]:
    """Return what the payment answers, and what an operator says when asked about one that was made."""
    return {"amount": amount, "to": "the supplier"}
