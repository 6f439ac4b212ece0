"""The control-flow patterns that take more than one run, or one holder of a key: with the engine, in virtual time.

The others are in ``tests/scenarios/test_patterns.py``; ``docs/reference/patterns.md`` has all 43.
"""

from __future__ import annotations

import asyncio
from typing import Any

from agenticflow.agents.workers import Worker, worker
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.state import TaskStatus
from tests.unit.runtime.engine import in_virtual_time, running


class Diary:
    """When what began and ended, in seconds."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.times: dict[str, tuple[float, float]] = {}

    def worker(self) -> Worker[..., Any]:
        @worker("work")
        async def work(name: str, seconds: float = 1, gives: object = None) -> object:
            began = asyncio.get_running_loop().time()
            self.lines.append(("begins", name))
            await asyncio.sleep(seconds)
            self.lines.append(("ends", name))
            self.times[name] = (began, asyncio.get_running_loop().time())
            return gives

        return work

    def overlap(self, first: str, second: str) -> bool:
        (a, b), (c, d) = self.times[first], self.times[second]
        return a < d and c < b


def work(
    task_id: str, *after: str, name: str = "", seconds: float = 1, gives: object = None, **o: Any
) -> TaskDefinition:
    params = {"name": name or task_id, "seconds": seconds, "gives": gives}
    return TaskDefinition(task_id, "work", params=params, dependencies=after, **o)


@in_virtual_time
async def test_wcp_15_multiple_instances_without_a_number_known_before() -> None:
    """Each round works through what the round before has found, until nothing is found any more."""
    diary = Diary()

    @worker("look")
    async def look(page: int) -> list[int]:
        return [page * 2, page * 2 + 1] if page < 4 else []

    @worker("gather")
    async def gather(found: list[list[int]]) -> list[int]:
        return [page for pages in found for page in pages]

    one_round = WorkflowDefinition(
        [
            TaskDefinition("each", "look", params={"page": "${item}"}, for_each="${pages}"),
            TaskDefinition("all", "gather", params={"found": "${each}"}, dependencies={"each"}),
        ],
        output="${all}",
    )
    crawl = TaskDefinition(
        "crawl",
        workflow=one_round,
        params={"pages": "${previous}"},
        repeat_from=[1],
        repeat_until="len(${crawl}) == 0",
    )
    async with running(look, gather, diary.worker()) as orchestrator:
        handle = await orchestrator.start_workflow(WorkflowDefinition([crawl]), workflow_id="w")
        await handle.result()
        rounds = [await orchestrator.get_execution(f"w~crawl[{number}]") for number in range(3)]
    seen = [sum(key.startswith("each[") for key in one.tasks) for one in rounds]
    assert seen == [1, 2, 4], "how many there are was known only while they ran"


@in_virtual_time
async def test_wcp_17_interleaved_parallel_routing() -> None:
    """Two sequences; no two tasks of them at once, in any order that keeps both sequences."""
    diary = Diary()
    tasks = [
        work("a1", locks={"desk"}),
        work("a2", "a1", locks={"desk"}),
        work("b1", locks={"desk"}),
        work("b2", "b1", locks={"desk"}),
        work("beside"),
    ]
    async with running(diary.worker()) as orchestrator:
        await orchestrator.execute_workflow(WorkflowDefinition(tasks))
    inside = ["a1", "a2", "b1", "b2"]
    assert not any(diary.overlap(one, other) for one in inside for other in inside if one < other)
    ended = [name for what, name in diary.lines if what == "ends"]
    assert ended.index("a1") < ended.index("a2")
    assert ended.index("b1") < ended.index("b2")
    assert diary.overlap("beside", inside[0]) or diary.overlap("beside", "b1"), "what does not ask for the desk goes on"


@in_virtual_time
async def test_wcp_22_recursion() -> None:
    """A workflow that has a run of itself as a task, until the condition on its input does not hold."""

    @worker("less")
    async def less(number: int) -> int:
        return number - 1

    countdown = WorkflowDefinition(
        [
            TaskDefinition("next", "less", params={"number": "${number}"}),
            TaskDefinition(
                "again", workflow="countdown", params={"number": "${next}"}, dependencies={"next"}, when="${next} > 0"
            ),
        ],
        name="countdown",
        output={"number": "${number}", "inner": "${again}"},
    )
    async with running(less) as orchestrator:
        orchestrator.register_workflow(countdown)
        await orchestrator.execute_workflow(countdown, {"number": 3}, workflow_id="w")
        inner: Any = await orchestrator.wait("w")
        deepest = await orchestrator.get_execution("w~again~again")
        assert deepest.tasks["again"].status is TaskStatus.SKIPPED
    assert [inner["number"], inner["inner"]["number"], inner["inner"]["inner"]["number"]] == [3, 2, 1]


def round_after_round(join: str | int) -> WorkflowDefinition:
    """Three branches and a join of some, and all of it three times."""
    inner = WorkflowDefinition(
        [
            work("a", name="a${round}"),
            work("b", name="b${round}", seconds=2),
            work("slow", name="slow${round}", seconds=60),
            work("join", "a", "b", "slow", name="join${round}", join=join),
        ]
    )
    again = TaskDefinition("again", workflow=inner, params={"round": "${iteration}"}, repeat_until="${iteration} == 3")
    return WorkflowDefinition([again])


def check_blocking(diary: Diary, joined_after: str) -> None:
    begins = [name for what, name in diary.lines if what == "begins"]
    assert [name for name in begins if name.startswith("join")] == ["join0", "join1", "join2"], "once in each round"
    for number in range(3):
        assert diary.times[f"join{number}"][0] == diary.times[f"{joined_after}{number}"][1]
        assert diary.times[f"join{number}"][1] < diary.times[f"slow{number}"][1], "it has not waited for the slow one"
    for number in range(2):
        last = diary.times[f"slow{number}"][1]
        assert all(diary.times[f"{name}{number + 1}"][0] >= last for name in "ab"), "blocked until all have come in"


@in_virtual_time
async def test_wcp_28_blocking_discriminator() -> None:
    diary = Diary()
    async with running(diary.worker()) as orchestrator:
        await orchestrator.execute_workflow(round_after_round("any"))
    check_blocking(diary, "a")


@in_virtual_time
async def test_wcp_31_blocking_partial_join() -> None:
    diary = Diary()
    async with running(diary.worker()) as orchestrator:
        await orchestrator.execute_workflow(round_after_round(2))
    check_blocking(diary, "b")


@in_virtual_time
async def test_wcp_39_critical_section() -> None:
    """Several tasks long, and over all runs of the store."""
    diary = Diary()
    section = WorkflowDefinition([work("first", name="first of ${who}"), work("then", "first", name="then of ${who}")])
    one = WorkflowDefinition(
        [
            work("before", name="before of ${who}"),
            TaskDefinition(
                "section", workflow=section, params={"who": "${who}"}, dependencies={"before"}, locks={"till"}
            ),
        ]
    )
    async with running(diary.worker()) as orchestrator:
        handles = [await orchestrator.start_workflow(one, {"who": who}) for who in ("ada", "bob")]
        for handle in handles:
            await handle.result()
    assert diary.overlap("before of ada", "before of bob")
    order = [name for what, name in diary.lines if what == "begins" and not name.startswith("before")]
    first, second = order[0].removeprefix("first of "), order[2].removeprefix("first of ")
    assert order == [f"first of {first}", f"then of {first}", f"first of {second}", f"then of {second}"]
    assert diary.times[f"first of {second}"][0] >= diary.times[f"then of {first}"][1]


def threads() -> WorkflowDefinition:
    part = WorkflowDefinition([work("one", name="one ${who}"), work("two", "one", name="two ${who}")])
    return WorkflowDefinition(
        [
            work("split"),
            TaskDefinition(
                "threads", workflow=part, params={"who": "${item}"}, for_each=["x", "y", "z"], dependencies={"split"}
            ),
            work("merged", "threads"),
        ]
    )


@in_virtual_time
async def test_wcp_41_thread_merge() -> None:
    diary = Diary()
    async with running(diary.worker()) as orchestrator:
        await orchestrator.execute_workflow(threads())
    assert [line for line in diary.lines if line[1] == "merged"] == [("begins", "merged"), ("ends", "merged")]
    assert diary.times["merged"][0] == max(diary.times[f"two {who}"][1] for who in "xyz"), (
        "one goes on where three came in"
    )


@in_virtual_time
async def test_wcp_42_thread_split() -> None:
    diary = Diary()
    async with running(diary.worker()) as orchestrator:
        await orchestrator.execute_workflow(threads())
    assert diary.overlap("one x", "one y")
    assert diary.overlap("one y", "one z")
    assert all(diary.times[f"one {who}"][1] <= diary.times[f"two {who}"][0] for who in "xyz"), (
        "each has its own sequence"
    )
