"""A workflow as code with everything in it, and the outside world that survives the crashes of its process."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from agenticflow import RetryPolicy, StepFailed, TaskContext, WorkflowContext, worker, workflow
from agenticflow.testing.crashes import CrashCase, CrashSignal, Resolution

NEVER = RetryPolicy(max_attempts=1)


@workflow(name="crash-code-inner")
async def inner(ctx: WorkflowContext, given: Any) -> object:
    """Two steps, one after the other."""
    first = await ctx.task("in-1", "add", {"value": given["value"]})
    return await ctx.task("in-2", "add", {"value": first})


@workflow(name="crash-code")
async def everything(ctx: WorkflowContext, given: Any) -> object:
    """Steps in branches, a retry, a failure that is caught, a sleep, a signal against a timer, a child, at-most-once work."""

    async def branch(number: int) -> int:
        found = await ctx.task(f"b-{number}", "add", {"value": number})
        await ctx.sleep(f"nap-{number}", 0.002 * number)
        last: int = await ctx.task(f"b-{number}-last", "flaky" if number == 2 else "add", {"value": found})
        return last

    parts = await ctx.gather(*(branch(number) for number in range(1, 5)), ctx.child("child", inner, {"value": 10}))
    paid = await ctx.task("pay", "pay", {"amount": sum(parts)}, effect="at_most_once", compensation="refund")
    try:
        await ctx.task("bad", "fail", retry_policy=NEVER)
    except StepFailed as failed:
        parts.append(failed.kind)
    winner = await ctx.first(ctx.signal("go"), ctx.sleep("late", 60))
    if ctx.patched("thanks"):
        await ctx.task("thanks", "add", {"value": 1})
    if given.get("breaks"):
        raise ValueError("it breaks at the end")
    return {"parts": parts, "paid": paid, "went": winner.result(), "number": ctx.random() >= 0}


def case(**given: Any) -> CrashCase:
    """A fresh world; with ``breaks=True`` the run fails at its end and what was paid is given back."""
    paid: list[str] = []
    refunded: list[str] = []
    tries: Counter[str] = Counter()

    @worker("add")
    async def add(value: int) -> int:
        await asyncio.sleep(0.001)
        return value + 1

    @worker("flaky")
    async def flaky(value: int, context: TaskContext) -> int:
        tries[context.task_key] += 1
        if tries[context.task_key] == 1:
            raise TimeoutError("once")
        return value + 1

    @worker("fail")
    async def fail() -> None:
        raise LookupError("never there")

    @worker("pay")
    async def pay(amount: int, context: TaskContext) -> int:
        paid.append(context.effect_key)
        return amount

    @worker("refund")
    async def refund(amount: int, context: TaskContext) -> None:
        refunded.append(context.effect_key)

    def look(task_key: str) -> Resolution:
        return Resolution("completed", 30) if paid else Resolution("run_again")

    def check() -> list[str]:
        wrong = [f"paid {len(paid)} times"] if len(paid) != 1 else []
        if given and not refunded:
            wrong.append("what was paid was not given back")
        return wrong

    return CrashCase(
        everything,
        workers=[add, flaky, fail, pay, refund],
        input=given,
        signals=[CrashSignal("go", "went", after_seconds=0.03)],
        resolve=look,
        check=check,
        at_most_once=["pay"],
    )
