"""A thousand tasks that depend on each other as the modules of this Python do: close to the lower bound, in order, within every limit.

On virtual time, so that how long a task takes is known to the nanosecond and the engine's own work takes nothing: what is
measured is whether it ever lets a seat stand empty. The lower bound is that of any scheduler: the longest chain, or all work shared
out evenly. Where both are about as long, the order in which waiting tasks get a seat decides as well, and only priorities can say it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from graphlib import TopologicalSorter
from itertools import pairwise

import msgspec
import pytest

from agenticflow import Agent, Orchestrator, TaskDefinition, TaskGraph, WorkflowDefinition
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from benchmarks.import_graph import ImportGraph, critical_path, import_graph, lower_bound

SIZE = 1_000
ABOVE_THE_BOUND = 1.1
HAS_PRIORITIES = "priority" in TaskDefinition.__struct_fields__


def graph() -> ImportGraph:
    """Reading the modules takes two seconds, once."""
    return import_graph(SIZE)


class Watched:
    """Performs the tasks, and remembers when each began and ended and how many were in work at once."""

    def __init__(self, seats: Mapping[str, int]) -> None:
        self.began: dict[str, float] = {}
        self.ended: dict[str, float] = {}
        self.in_work: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.agents = [Agent(agent_id, {"imports"}, concurrency=count) for agent_id, count in seats.items()]
        for agent in self.agents:
            agent.task("module")(self.perform)

    async def perform(self, name: str, milliseconds: int, agent_id: str) -> int:
        loop = asyncio.get_running_loop()
        assert name not in self.began, "a task runs once"
        self.began[name] = loop.time()
        for place in (agent_id, "everywhere"):
            self.in_work[place] += 1
            self.most[place] = max(self.most[place], self.in_work[place])
        await asyncio.sleep(milliseconds / 1_000)
        self.in_work.subtract([agent_id, "everywhere"])
        self.ended[name] = loop.time()
        return milliseconds


def definition(agents: list[str], priorities: Mapping[str, int] | None = None) -> WorkflowDefinition:
    """Return the graph as a workflow; who performs a module depends on the letters of its name alone."""
    tasks: list[TaskDefinition] = []
    for name, needs in graph().dependencies.items():
        agent_id = agents[sum(map(ord, name)) % len(agents)]
        params = {"name": name, "milliseconds": graph().durations_ms[name], "agent_id": agent_id}
        task = TaskDefinition(name, agent_id, "module", params, needs)
        if priorities is not None:
            task = msgspec.structs.replace(task, priority=priorities[name])
        tasks.append(task)
    return WorkflowDefinition(tasks, name="imports", output={"modules": len(tasks)})


def performed(
    seats: Mapping[str, int], *, max_concurrency: int = 1_000, priorities: Mapping[str, int] | None = None
) -> tuple[Watched, float]:
    """Run the whole graph; return what was seen, and the milliseconds it took."""
    watched = Watched(seats)

    async def main() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with Orchestrator(store="memory:", clock=loop.clock, max_concurrency=max_concurrency) as orchestrator:
            for agent in watched.agents:
                orchestrator.register_agent(agent)
            started = loop.time()
            run = await orchestrator.start_workflow(definition(list(seats), priorities))
            assert await run.result() == {"modules": SIZE}
            return (loop.time() - started) * 1_000

    taken = run_virtual(main())
    assert watched.began.keys() == watched.ended.keys() == graph().dependencies.keys()
    for name, needs in graph().dependencies.items():
        assert all(watched.ended[need] <= watched.began[name] for need in needs), f"{name} began before what it needs"
    for agent_id, count in seats.items():
        assert watched.most[agent_id] <= count
    assert watched.most["everywhere"] <= max_concurrency
    return watched, taken


@pytest.mark.parametrize("seats", [1, 2, 16, 32, 64, SIZE])
def test_a_thousand_tasks_take_at_most_a_tenth_more_than_anybody_could(seats: int) -> None:
    watched, taken = performed({"importer": seats})
    bound = lower_bound(graph(), seats)
    assert bound <= round(taken, 3) <= ABOVE_THE_BOUND * bound
    assert watched.most["importer"] == min(seats, watched.most["everywhere"])
    if seats == SIZE:
        assert taken == pytest.approx(critical_path(graph())[1]), (
            "nobody waits for a seat: the longest chain and nothing else"
        )


@pytest.mark.parametrize("seats", range(3, 16))
def test_without_priorities_it_is_still_never_idle_without_need(seats: int) -> None:
    """Graham's bound, which every schedule keeps that leaves no seat empty while a task is ready: work / seats, and the chain beside it."""
    _, taken = performed({"importer": seats})
    chain = critical_path(graph())[1]
    assert taken <= (sum(graph().durations_ms.values()) - chain) / seats + chain + 0.001


@pytest.mark.skipif(not HAS_PRIORITIES, reason="tasks have no priority yet")
@pytest.mark.parametrize("seats", range(3, 16))
def test_with_the_longest_chain_first_it_is_close_to_the_bound_everywhere(seats: int) -> None:
    _, taken = performed({"importer": seats}, priorities=chains_behind())
    assert taken <= ABOVE_THE_BOUND * lower_bound(graph(), seats)


def chains_behind() -> dict[str, int]:
    """Return how many milliseconds the longest chain takes that begins with each task."""
    behind: dict[str, int] = dict.fromkeys(graph().dependencies, 0)
    for name in reversed(graph().dependencies):
        behind[name] += graph().durations_ms[name]
        for need in graph().dependencies[name]:
            behind[need] = max(behind[need], behind[name])
    return behind


@pytest.mark.parametrize("max_concurrency", [5, 9, 1_000])
def test_several_agents_keep_their_limits_and_that_of_all(max_concurrency: int) -> None:
    """Each agent is full at some moment where the limit of all lets it be; ``performed`` checks that none is ever more than full."""
    seats = {"reader": 6, "compiler": 3, "linker": 1}
    watched, taken = performed(seats, max_concurrency=max_concurrency)
    assert watched.most["everywhere"] == min(max_concurrency, sum(seats.values()))
    if max_concurrency > sum(seats.values()):
        assert {agent_id: watched.most[agent_id] for agent_id in seats} == seats
    work: Counter[str] = Counter()
    for task in definition(list(seats)).tasks:
        work[task.agent_id] += graph().durations_ms[task.task_id]
    chain = critical_path(graph())[1]
    assert taken >= max(chain, *(work[agent_id] / count for agent_id, count in seats.items())) - 0.001
    assert taken <= chain + sum(work[agent_id] / count for agent_id, count in seats.items()) + sum(work.values()) / min(
        max_concurrency, sum(seats.values())
    )


def test_the_graph_is_what_it_is_said_to_be() -> None:
    """A thousand nodes without a cycle; and three ways to the length of its longest chain."""
    assert len(graph().dependencies) == SIZE
    assert sum(map(len, graph().dependencies.values())) > 3 * SIZE
    chain, length = critical_path(graph())
    assert all(need in graph().dependencies[name] for need, name in pairwise(chain))
    assert sum(graph().durations_ms[name] for name in chain) == length
    ends: dict[str, int] = {}
    for name in TopologicalSorter(graph().dependencies).static_order():
        ends[name] = graph().durations_ms[name] + max((ends[need] for need in graph().dependencies[name]), default=0)
    assert max(ends.values()) == max(chains_behind().values()) == length
    tasks = TaskGraph()
    for name, needs in graph().dependencies.items():
        tasks.add_task(name, needs)
    assert tasks.critical_path(graph().durations_ms)[1] == length
