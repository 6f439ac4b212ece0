"""Killed at every point: choices, loops, regions, fallbacks, sub-workflows, locks, approvals."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from agenticflow import (
    CommandRefused,
    Orchestrator,
    RetryPolicy,
    TaskContext,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    WorkflowStatus,
    worker,
)
from agenticflow.orchestration import Approval, Escalation
from agenticflow.resilience.limits import Limit
from agenticflow.runtime.failpoints import POINTS
from agenticflow.testing import FaultKind, simulate
from agenticflow.testing.crashes import CrashCase, CrashSignal, crash_search

pytestmark = pytest.mark.proof

ONCE = RetryPolicy(max_attempts=1)
QUICKLY = RetryPolicy(max_attempts=2, initial_delay_seconds=0.01, jitter=False)


@worker("count")
async def count(value: int | None = None) -> int:
    await asyncio.sleep(0.001)
    return (value or 0) + 1


@worker("fail")
async def fail() -> None:
    await asyncio.sleep(0.001)
    raise ValueError("never")


@worker("sleep")
async def sleep(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "awake"


WORKERS = (count, fail, sleep)


def C(task_id: str, *after: str, value: object = None, **options: Any) -> TaskDefinition:  # noqa: N802
    return TaskDefinition(task_id, "count", params={"value": value}, dependencies=after, **options)


def case(*tasks: TaskDefinition, **options: Any) -> CrashCase:
    return CrashCase(WorkflowDefinition(list(tasks), **options), workers=WORKERS)


def choices() -> CrashCase:
    """One of three ways, then every way that holds."""
    return case(
        C("score", value=6),
        TaskDefinition.choice("route", {"high": "${score} > 10", "middle": "${score} > 5", "low": None}, {"score"}),
        C("high", "route"),
        C("middle", "route"),
        C("low", "route"),
        TaskDefinition.choice(
            "all", {"a": "${score} > 1", "b": "${score} > 2", "c": "${score} > 99"}, {"score"}, choose_many=True
        ),
        C("a", "all"),
        C("b", "all"),
        C("c", "all"),
        C("end", "high", "middle", "low", "a", "b", "c", value="${middle}"),
    )


def loops() -> CrashCase:
    """Until it is good, with pauses; and one that takes what it has at its limit."""
    return case(
        C("refine", value="${previous}", repeat_until="${refine} >= 4", repeat_delay_seconds=0.01),
        C("short", value="${previous}", repeat_from=10, repeat_until="false", max_iterations=3, on_limit="complete"),
        C("end", "refine", "short", value="${short}"),
    )


def joins_of_some() -> CrashCase:
    """The first two of three are enough, what else led there is cancelled; a map that needs three of five."""
    return case(
        C("a"),
        C("b"),
        TaskDefinition("slow", "sleep", params={"seconds": 5}),
        C("two", "a", "b", "slow", join=2, cancel_rest=True, value=1),
        TaskDefinition("ask", "sleep", params={"seconds": "${item}"}, for_each=[0.01, 5, 0.02, 5, 0.03], enough=3),
        C("end", "two", "ask", join="settled"),
        output="${end}",
    )


def fallbacks() -> CrashCase:
    """What fails for good is stood in for, skipped, or given to another."""
    return case(
        TaskDefinition("fast", "fail", retry_policy=QUICKLY, fallback="safe"),
        C("safe", value=41),
        TaskDefinition("extra", "fail", retry_policy=ONCE, on_failure="skip"),
        TaskDefinition("moved", "fail", retry_policy=ONCE, on_failure="reassign", reassign_to=["count"]),
        C("end", "fast", "extra", "moved", value="${fast}"),
    )


def fallbacks_that_repeat() -> CrashCase:
    """A map and a loop stand in."""
    return case(
        TaskDefinition("fast", "fail", retry_policy=ONCE, fallback="each"),
        C("each", value="${item}", for_each=[1, 2]),
        TaskDefinition("once", "fail", retry_policy=ONCE, fallback="again"),
        C("again", value="${previous}", repeat_from=10, repeat_until="${iteration} == 2"),
        C("end", "fast", "once", value="${once}"),
        output=["${fast}", "${end}"],
    )


def the_end_of_one_ends_all() -> CrashCase:
    """A race between a signal and a timer, and a task whose end is that of the run."""
    tasks = (
        TaskDefinition.wait_for("paid", "payment", cancels={"expired"}),
        TaskDefinition.timer("expired", 3_600, cancels={"paid"}),
        C("ship", "paid", ends_run=True, value="${paid}"),
        TaskDefinition("search", "sleep", params={"seconds": 3_600}, timeout_seconds=None),
    )
    return CrashCase(
        WorkflowDefinition(list(tasks), output="${ship}"),
        workers=WORKERS,
        signals=[CrashSignal("payment", 7, after_seconds=0.02)],
    )


def sub_workflows() -> CrashCase:
    """One for each item of a map, one in a loop, one that fails and is gone on with by another attempt, one inside another."""
    inner = WorkflowDefinition(
        [C("one", value="${value}"), C("two", "one", value="${one}")], name="inner", output="${two}"
    )
    is_mended: list[bool] = []

    @worker("mend")
    async def mend(context: TaskContext) -> str:
        await asyncio.sleep(0.001)
        if context.run_no == 1:
            raise ValueError("in the first run")
        is_mended.append(True)
        return "mended"

    broken = WorkflowDefinition([C("first"), TaskDefinition("mend", "mend", dependencies={"first"}, retry_policy=ONCE)])
    nested = WorkflowDefinition([TaskDefinition("deep", workflow=inner, params={"value": 5})], output="${deep}")
    tasks = [
        TaskDefinition("each", workflow=inner, params={"value": "${item}"}, for_each=[1, 2, 3], max_parallel=2),
        TaskDefinition(
            "loop", workflow=inner, params={"value": "${previous}"}, repeat_from=0, repeat_until="${loop} > 3"
        ),
        TaskDefinition("again", workflow=broken, retry_policy=QUICKLY),
        TaskDefinition("nested", workflow=nested),
        C("end", "each", "loop", "again", "nested", value="${nested}"),
    ]
    return CrashCase(WorkflowDefinition(tasks, output=["${each}", "${loop}", "${end}"]), workers=[*WORKERS, mend])


def a_sub_workflow_that_is_not_wanted() -> CrashCase:
    """It is cancelled with its task, and so is what it had in work."""
    inner = WorkflowDefinition([TaskDefinition("nap", "sleep", params={"seconds": 3_600}, timeout_seconds=None)])

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> object:
        while (await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            await asyncio.sleep(0.05)
        return (await orchestrator.get_execution(f"{workflow_id}~child")).status.value

    tasks = [
        TaskDefinition("child", workflow=inner),
        C("quick", cancels={"child"}),
    ]
    tasks[1] = TaskDefinition("quick", "sleep", params={"seconds": 0.05}, cancels={"child"})
    return CrashCase(WorkflowDefinition(tasks), workers=WORKERS, steer=steer)


def locks_and_limits() -> CrashCase:
    """Six tasks through one door, four through another two at a time, and a sub-workflow that holds a lock."""
    inside: dict[str, int] = {}
    most: dict[str, int] = {}

    @worker("enter")
    async def enter(context: TaskContext, door: str) -> str:
        inside[door] = inside.get(door, 0) + 1
        most[door] = max(most.get(door, 0), inside[door])
        try:
            await asyncio.sleep(0.005)
        finally:
            inside[door] -= 1
        return context.task_key

    inner = WorkflowDefinition([TaskDefinition("in", "enter", params={"door": "one"})])
    tasks = [
        TaskDefinition(f"one{n}", "enter", params={"door": "one"}, locks={"one"}, priority=n % 2) for n in range(3)
    ]
    tasks += [
        TaskDefinition(f"two{n}", "enter", params={"door": "two"}, limits=[Limit("two", max_concurrent=2)])
        for n in range(4)
    ]
    tasks.append(TaskDefinition("child", workflow=inner, locks={"one"}))

    def check() -> list[str]:
        return [f"{door}: {number} at once" for door, number in most.items() if number > {"one": 1, "two": 2}[door]]

    return CrashCase(WorkflowDefinition(tasks), workers=[enter], check=check)


def chains_of_locks() -> CrashCase:
    """A chain with a lock of its own, two that want the same one, one that changes between two and fails once, and a sub-workflow: what can
    be is committed along with ends and beginnings of attempts. Who dies inside is inside until it has run again."""
    inside: dict[str, set[str]] = {}
    wrong: list[str] = []

    @worker("enter")
    async def enter(context: TaskContext, door: str) -> str:
        behind = inside.setdefault(door, set())
        if others := behind - {context.task_key}:
            wrong.append(f"{context.task_key} finds {others} behind {door}")
        behind.add(context.task_key)
        await asyncio.sleep(0.003)
        behind.discard(context.task_key)
        if context.task_key == "change1" and context.attempt == 1:
            raise ValueError("once")
        return context.task_key

    def through(name: str, *doors: str) -> list[TaskDefinition]:
        return [
            TaskDefinition(
                f"{name}{number}",
                "enter",
                params={"door": door},
                dependencies=[f"{name}{number - 1}"] if number else [],
                locks={door},
                retry_policy=QUICKLY,
            )
            for number, door in enumerate(doors)
        ]

    inner = WorkflowDefinition(through("in", "other", "other"))
    tasks = [
        *through("own", "own", "own", "own"),
        *through("one", "shared", "shared"),
        *through("two", "shared", "shared"),
        *through("change", "other", "mine", "other"),
        TaskDefinition("child", workflow=inner, dependencies={"one0"}),
    ]
    return CrashCase(WorkflowDefinition(tasks), workers=[enter], check=lambda: wrong)


def approvals() -> CrashCase:
    """One is approved, one rejected with a fallback, in every life again."""

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        while (state := await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            for key, answer in (("yes", orchestrator.approve), ("no", orchestrator.reject)):
                if (task := state.tasks.get(key)) is not None and task.status is TaskStatus.WAITING:
                    with suppress(CommandRefused):
                        await answer(workflow_id, key, comment="so it is")
            await asyncio.sleep(0.01)

    tasks = (
        TaskDefinition.ask("yes", "May I?"),
        TaskDefinition.ask("no", "And this?", fallback="other"),
        C("other"),
        C("end", "yes", "no", value="${no}"),
    )
    return CrashCase(WorkflowDefinition(list(tasks)), workers=WORKERS, steer=steer)


def three_requests_at_once() -> CrashCase:
    """Three people are asked at once and answer in another order, each again in every life; what each gates runs by its answer alone."""
    paid: dict[str, set[str]] = {}

    @worker("pay")
    async def pay(context: TaskContext, amount: int) -> int:
        await asyncio.sleep(0.001)
        paid.setdefault(context.task_key, set()).add(f"{context.effect_key}:{amount}")
        return amount

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> list[int]:
        said: list[tuple[str, str, int]] = [("c", "eve", 3), ("a", "ada", 1), ("a", "bob", 1), ("b", "bob", 2)]
        while (state := await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            for view in await orchestrator.approvals.list(workflow_id=workflow_id):
                # One answer at each look: what is answered in part is what the crashes have to find.
                left = [one for one in said if one[0] == view.task_key and one[1] not in {a.by for a in view.answers}]
                for _, by, amount in left[:1]:
                    with suppress(CommandRefused):
                        await orchestrator.approvals.answer(view.approval_id, amount, by=by)
            await asyncio.sleep(0.005)
        assert state.tasks["a"].status is TaskStatus.COMPLETED
        return [len(await orchestrator.approvals.list())]

    form = {"type": "integer", "maximum": 9}
    asks = {
        "a": Approval("a?", assignees=["ada", "bob"], quorum=2, response_schema=form),
        "b": Approval("b?", assignees=["ada"], escalation=[Escalation(0.02, ["bob"])], response_schema=form),
        "c": Approval("c?", response_schema=form),
    }
    tasks = [TaskDefinition.ask(name, terms) for name, terms in asks.items()]
    tasks += [
        TaskDefinition(f"pay_{name}", "pay", params={"amount": f"${{{name}.value}}"}, dependencies={name})
        for name in asks
    ]

    def check() -> list[str]:
        wanted = {"pay_a": 1, "pay_b": 2, "pay_c": 3}
        wrong = [
            key for key, seen in paid.items() if len(seen) != 1 or not next(iter(seen)).endswith(f":{wanted[key]}")
        ]
        return [f"{key} was paid as {paid[key]}" for key in wrong] or ([] if len(paid) == 3 else [f"paid: {paid}"])

    return CrashCase(WorkflowDefinition(tasks), workers=[pay], steer=steer, check=check)


def a_handler_that_asks() -> CrashCase:
    """Twice in its middle; the effect stands behind the last question and has the same key in every life."""
    done: set[tuple[str, str]] = set()

    @worker("draft")
    async def draft(context: TaskContext) -> str:
        title = context.interrupt("Spring", key="title")
        price = context.interrupt(key="price", deadline_seconds=0.03, on_deadline="approve", default=7)
        await asyncio.sleep(0.001)
        done.add((context.effect_key, f"{title} {price} {context.attempt}"))
        return f"{title} {price}"

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        while (await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            for view in await orchestrator.approvals.list(workflow_id=workflow_id):
                if view.interrupt_key == "title":
                    with suppress(CommandRefused):
                        await orchestrator.approvals.answer(view.approval_id, "Summer", by="ada")
            await asyncio.sleep(0.005)

    def check() -> list[str]:
        return [] if [words for _, words in done] == ["Summer 7 1"] else [f"done: {done}"]

    tasks = [TaskDefinition("draft", "draft"), C("end", "draft", value=1)]
    return CrashCase(WorkflowDefinition(tasks), workers=[*WORKERS, draft], steer=steer, check=check)


def a_handler_that_asks_several_things() -> CrashCase:
    """Three tools at once, of which each needs a yes: answered one by one, one with a no, while the handler runs and while it waits."""
    called: dict[str, set[str]] = {}

    async def tool(context: TaskContext, name: str) -> str:
        reply = context.interrupt(name, key=name, on_rejection="return")
        if not reply.is_approved:
            return "denied"
        called.setdefault(name, set()).add(f"{context.effect_key} {reply.value}")
        await asyncio.sleep(0.001)
        return str(reply.value)

    @worker("think")
    async def think(context: TaskContext) -> list[str]:
        await asyncio.sleep(0.001)
        async with asyncio.TaskGroup() as group:
            tools = [group.create_task(tool(context, name)) for name in ("a", "b", "c")]
        return [one.result() for one in tools]

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> None:
        approvals = orchestrator.approvals
        while (await orchestrator.get_workflow_state(workflow_id)).status is not WorkflowStatus.COMPLETED:
            for view in reversed(await approvals.list(workflow_id=workflow_id)):
                with suppress(CommandRefused):
                    if view.interrupt_key == "b":
                        await approvals.reject(view.approval_id, by="ada")
                    else:
                        await approvals.answer(view.approval_id, f"{view.interrupt_key}!", by="ada")
                    break
            await asyncio.sleep(0.002)

    def check() -> list[str]:
        wrong = [f"{name} was called as {seen}" for name, seen in called.items() if len(seen) != 1]
        return wrong or ([] if sorted(called) == ["a", "c"] else [f"called: {called}"])

    definition = WorkflowDefinition([TaskDefinition("think", "think")], output="${think}")
    return CrashCase(definition, workers=[think], steer=steer, check=check)


def continued_as_new() -> CrashCase:
    """Four runs, each with the input that the one before left for it."""
    tasks = (
        C("page", value="${cursor}"),
        TaskDefinition("again", continue_with={"cursor": "${page}"}, dependencies={"page"}, when="${page} < 4"),
        TaskDefinition("slow", "sleep", params={"seconds": 0.05}),
    )
    return CrashCase(WorkflowDefinition(list(tasks), context={"cursor": 0}, output="${page}"), workers=WORKERS)


def sagas() -> CrashCase:
    """An order that fails at shipping: the charge and the reservation are undone, each once, the last first."""
    done: list[str] = []

    @worker("do")
    async def do(context: TaskContext) -> str:
        await asyncio.sleep(0.001)
        done.append(context.task_key)
        return context.effect_key

    tasks = [
        TaskDefinition("reserve", "do", compensation="do"),
        TaskDefinition("charge", "do", dependencies={"reserve"}, compensation="do"),
        TaskDefinition("each", "do", for_each=[1, 2], dependencies={"charge"}, compensation="do"),
        TaskDefinition("ship", "fail", dependencies={"each"}, retry_policy=ONCE),
    ]

    def check() -> list[str]:
        undone = list(dict.fromkeys(key for key in done if key.startswith("undo:")))
        last_first = undone[-2:] == ["undo:charge", "undo:reserve"] and len(undone) == 4
        return [] if last_first else [f"undone: {undone}"]

    return CrashCase(WorkflowDefinition(tasks), workers=[*WORKERS, do], check=check)


def sagas_of_sub_workflows() -> CrashCase:
    """Two flights as sub-workflows, each with a seat as its own, that are completed when the trip fails: all is undone, the last first."""
    done: list[str] = []

    @worker("do")
    async def do(context: TaskContext) -> str:
        await asyncio.sleep(0.001)
        done.append(f"{context.workflow_id}:{context.task_key}".partition("~")[2] or context.task_key)
        return context.effect_key

    seat = WorkflowDefinition([TaskDefinition("seat", "do", compensation="do")])
    flight = WorkflowDefinition(
        [
            TaskDefinition("book", "do", compensation="do"),
            TaskDefinition("sit", workflow=seat, dependencies={"book"}),
        ]
    )
    tasks = [
        TaskDefinition("deposit", "do", compensation="do"),
        TaskDefinition("fly", workflow=flight, for_each=[1, 2], max_parallel=1, dependencies={"deposit"}),
        TaskDefinition("pay", "fail", dependencies={"fly"}, retry_policy=ONCE),
    ]
    last_first = [
        *("fly[1]~sit:undo:seat", "fly[1]:undo:book", "fly[0]~sit:undo:seat", "fly[0]:undo:book"),
        "undo:deposit",
    ]

    def check() -> list[str]:
        undone = list(dict.fromkeys(key for key in done if "undo:" in key))
        return [] if undone == last_first else [f"undone: {undone}"]

    return CrashCase(WorkflowDefinition(tasks), workers=[*WORKERS, do], check=check)


CASES = [
    sagas,
    sagas_of_sub_workflows,
    continued_as_new,
    choices,
    loops,
    joins_of_some,
    fallbacks,
    fallbacks_that_repeat,
    the_end_of_one_ends_all,
    sub_workflows,
    a_sub_workflow_that_is_not_wanted,
    locks_and_limits,
    chains_of_locks,
    approvals,
    three_requests_at_once,
    a_handler_that_asks,
    a_handler_that_asks_several_things,
]


@pytest.mark.parametrize("new_case", CASES, ids=lambda new_case: new_case.__name__)
def test_killed_at_every_point(
    new_case: Callable[[], CrashCase], record_property: Callable[[str, object], None]
) -> None:
    report = crash_search(new_case, double_kills=20, time_limit_seconds=600, seed=4)
    what = new_case.__name__.replace("_", " ")
    record_property("crash", f"{what}|{report.points}|{report.kills}|{report.calls}|{len(report.violations)}")
    assert not report.violations, report
    assert report.kills >= report.points


def test_chains_of_locks_are_killed_at_every_point_over_one_file(tmp_path: Path) -> None:
    report = crash_search(chains_of_locks, directory=tmp_path, every=7, double_kills=4, seed=5)
    assert not report.violations, report
    assert report.kills > 30


@pytest.mark.parametrize("seed", range(3))
def test_chains_of_locks_are_killed_with_slow_commits(seed: int) -> None:
    report = crash_search(chains_of_locks, every=3, double_kills=20, latency_seed=seed, seed=seed)
    assert not report.violations, report


def test_chains_of_locks_are_sound_whatever_the_disk_does() -> None:
    report = simulate(chains_of_locks, schedules=150, may_abort=True)
    assert report.is_sound, str(report)
    assert set(report.faults) > {FaultKind.KILL.value, FaultKind.LOST.value, FaultKind.UNANSWERED.value}


def test_children_and_gates_are_killed_at_their_own_points() -> None:
    own = {point for point in POINTS if point.startswith(("children.", "gates."))}
    assert own
    assert own <= set(crash_search(locks_and_limits, every=10_000).arrivals)
