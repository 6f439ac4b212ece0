"""What lasting costs: pauses, timers that wait, histories that are folded again, and how fast schedules of faults are simulated.

Part of ``ours.py``, and run by it. Each figure has a floor of its own in ``cases.py``; nothing here is compared with anybody.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import subprocess
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path

import msgspec

from agenticflow import (
    Agent,
    Orchestrator,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowStatus,
    open_store,
    worker,
)
from agenticflow.testing import CrashCase, simulate
from benchmarks.protocol import Figures, database, expect

__all__ = ["CASES_LASTING"]

ROOT = Path(__file__).resolve().parents[1]
FRESH_LOOKS = 5
PAUSED_ONE_BY_ONE = 200
PER_RUN = 1_000
"""Timers of one run."""
WINDOW_SECONDS = 10.0
"""Over which the timers of the second half of the case come due."""
NANOSECONDS = 1_000_000_000
QUIET_SECONDS = 0.5
"""How long it is listened for handlers that begin although everything is paused."""
START_SECONDS = 1.0
"""Least time for starting what is to come due."""
TASKS = 20
"""Of the workflow that is simulated."""


@asynccontextmanager
async def over_a_store(durable: bool, *agents: Agent) -> AsyncIterator[Orchestrator]:
    """An orchestrator over a new store; at the end nothing is waited for."""
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        orchestrator = Orchestrator(store=f"sqlite:///{path}" if durable else "memory:")
        for agent in agents:
            orchestrator.register_agent(agent)
        await orchestrator.start()
        try:
            yield orchestrator
        finally:
            await orchestrator.stop(drain_seconds=0)


def percentile(values: list[float], part: float) -> float:
    """Return the value that ``part`` of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


# --- pausing ------------------------------------------------------------------------------------------------------------


class Restless:
    """One agent whose steps follow each other for ever, and when the last one of each run began."""

    def __init__(self) -> None:
        self.last: dict[str, float] = {}
        self.agent = Agent("bench", {"work"}, role="benchmark", concurrency=64)

        @self.agent.task("tick")
        async def tick(context: TaskContext) -> int:
            self.last[context.workflow_id] = time.perf_counter()
            await asyncio.sleep(0.001)
            return 1


def pause(size: int) -> Figures:
    """Return how long it takes until a pause holds, with ``size`` runs that all want to go on: until it is answered, and the last
    handler of that run has begun. One after the other, and all at once."""
    figures: Figures = {"seconds": 0.0}
    for where, durable in (("memory", False), ("durable", True)):
        each, together, began_after = asyncio.run(paused(size, durable))
        figures[f"{where}_p99_ms"] = percentile(each, 0.99) * 1_000
        figures[f"{where}_all_p99_ms"] = percentile(together, 0.99) * 1_000
        figures["seconds"] += sum(each) + max(together)
        expect(began_after, 0)
    figures["per_second"] = 2 * size / figures["seconds"]
    return figures


async def paused(size: int, durable: bool) -> tuple[list[float], list[float], int]:
    """Return the seconds until each pause held, of some one after the other and of the rest at once, and how many handlers began after
    the answer."""
    bench = Restless()
    forever = TaskDefinition("again", "bench", "tick", repeat_until="${again} == 0", max_iterations=10_000)
    definition = WorkflowDefinition([forever], name="restless")
    ids = [f"w{number}" for number in range(size)]
    asked: dict[str, float] = {}
    answered: dict[str, float] = {}

    async with over_a_store(durable, bench.agent) as orchestrator:

        async def hold(workflow_id: str) -> None:
            asked[workflow_id] = time.perf_counter()
            await orchestrator.pause(workflow_id)
            answered[workflow_id] = time.perf_counter()

        for first in range(0, size, 500):
            await asyncio.gather(
                *(orchestrator.start_workflow(definition, workflow_id=each) for each in ids[first : first + 500])
            )
        while len(bench.last) < size:  # noqa: ASYNC110 - an event would have to be set by the handlers that are measured
            await asyncio.sleep(0.01)
        singles = ids[: min(PAUSED_ONE_BY_ONE, size // 2)]
        for each in singles:
            await hold(each)
        await asyncio.gather(*(hold(each) for each in ids[len(singles) :]))
        await asyncio.sleep(QUIET_SECONDS)
        statuses = [(await orchestrator.get_workflow_state(each)).status for each in ids[:: max(1, size // 10)]]
        expect(set(statuses), {WorkflowStatus.PAUSED})
    took = {each: max(answered[each], bench.last[each]) - asked[each] for each in ids}
    began_after = sum(bench.last[each] > answered[each] for each in ids)
    return [took[each] for each in singles], [took[each] for each in ids[len(singles) :]], began_after


# --- timers -------------------------------------------------------------------------------------------------------------


def timers(size: int) -> Figures:
    """Return what each of ``size`` pending timers costs in memory, a thousand in a run, and how late they ring when they come due evenly
    over ten seconds while the rest is pending."""
    per_run = min(PER_RUN, max(1, size // 2))
    figures: Figures = {"seconds": 0.0, "bytes_each": asyncio.run(bytes_of_timers(size, per_run))}
    for where, durable in (("memory", False), ("durable", True)):
        late = asyncio.run(lateness(size, per_run, durable))
        expect(len(late), size)
        figures[f"{where}_late_ms"] = max(late) * 1_000
        figures[f"{where}_late_p50_ms"] = statistics.median(late) * 1_000
        figures["seconds"] += WINDOW_SECONDS
    figures["per_second"] = 2 * size / figures["seconds"]
    return figures


def sleepers(per_run: int, first: float, step: float) -> WorkflowDefinition:
    """Return a workflow of timers, the first after ``first`` seconds, each ``step`` later than the one before."""
    return WorkflowDefinition(
        [TaskDefinition.timer(f"t{n}", first + n * step) for n in range(per_run)], name="sleepers"
    )


async def bytes_of_timers(size: int, per_run: int) -> float:
    """Return the bytes of Python's allocator that each pending timer holds, the events of the memory store not counted."""
    definition = sleepers(per_run, 3_600, 1)
    with database("agenticflow.db") as path:
        orchestrator = Orchestrator(store=f"sqlite:///{path}")
        await orchestrator.start_workflow(definition)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(size // per_run):
            await orchestrator.start_workflow(definition)
        gc.collect()
        grown = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
        await orchestrator.stop(drain_seconds=0)
    return grown / (size // per_run * per_run)


async def lateness(size: int, per_run: int, durable: bool) -> list[float]:
    """Return by how many seconds each timer rang after its moment, as the events have it."""
    runs = size // per_run
    window = WINDOW_SECONDS * min(1.0, size / 10_000)
    # Starting takes a while, and nothing is to come due meanwhile.
    wait = START_SECONDS + size / 10_000
    definition = sleepers(per_run, wait, window / per_run)
    ids = [f"w{number}" for number in range(runs)]
    late: list[float] = []
    due: dict[object, int] = {}
    with database("agenticflow.db") if durable else nullcontext(Path()) as path:
        store = await open_store(f"sqlite:///{path}" if durable else "memory:")
        orchestrator = Orchestrator(store=store)
        began = time.perf_counter()
        for each in ids:
            await orchestrator.start_workflow(definition, workflow_id=each)
        expect(time.perf_counter() - began < wait, True)
        for each in ids:
            await orchestrator.wait(each)
        for each in ids:
            async for event in store.read_stream(f"workflow-{each}/1"):
                if event.event_type == "timer_set":
                    due[event.payload["task_key"]] = msgspec.convert(event.payload["due"], int)
                elif event.event_type == "timer_fired":
                    late.append((event.timestamp - due[event.payload["task_key"]]) / NANOSECONDS)
        await orchestrator.stop()
        await store.close()
    expect(min(late) >= 0, True)
    return late


# --- replay -------------------------------------------------------------------------------------------------------------


def replay(size: int) -> Figures:
    """Return what folding a run of ``size`` events takes in a fresh process: from its beginning, from a snapshot after its last event, and
    from one with as many events after it as there can be. Medians; the file is in the system's cache."""
    taken: dict[str, list[float]] = {"cold_ms": [], "snapshot_ms": [], "tail_ms": []}
    with database("whole.db") as whole, database("tail.db") as tail:
        events = asyncio.run(recorded(whole, size))
        asyncio.run(recorded(tail, size - 6))
        for _ in range(FRESH_LOOKS):
            for key, path, at_version in (
                ("cold_ms", whole, events),
                ("snapshot_ms", whole, None),
                ("tail_ms", tail, None),
            ):
                program = f"from benchmarks.ours_lasting import look; look({str(path)!r}, {at_version})"
                command = [sys.executable, "-c", program]
                answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
                found = json.loads(answer.stdout)
                expect(found["tasks"], found["version"] // 2)
                taken[key].append(found["seconds"] * 1_000)
    figures: Figures = {key: statistics.median(values) for key, values in taken.items()}
    seconds = sum(figures.values()) / 1_000
    return {"seconds": seconds, "per_second": events / figures["cold_ms"] * 1_000, "events": events, **figures}


async def recorded(path: Path, size: int) -> int:
    """Record an open run of ``size`` events; return how many there are."""

    @worker("step")
    async def step() -> int:
        return 1

    steps = size // 2 - 1
    tasks = [TaskDefinition("s0", "step")]
    tasks += [TaskDefinition(f"s{n}", "step", dependencies={f"s{n - 1}"}) for n in range(1, steps)]
    tasks.append(TaskDefinition.wait_for("end", "end", {f"s{steps - 1}"}))
    async with Orchestrator(store=f"sqlite:///{path}") as orchestrator:
        orchestrator.register_worker(step)
        await orchestrator.start_workflow(WorkflowDefinition(tasks, name="long"), workflow_id="w")
        while (row := (await orchestrator.list_workflows(limit=1))[0]).status != WorkflowStatus.WAITING:  # noqa: ASYNC110 - looking at the row costs the run nothing
            await asyncio.sleep(0.05)
        return row.version


def look(path: str, at_version: int | None) -> None:
    """Print as JSON what it takes to look at the run, and what it looks like. Asked for a version it folds from the beginning."""
    print(json.dumps(asyncio.run(_look(path, at_version))))


async def _look(path: str, at_version: int | None) -> Figures:
    store = await open_store(f"sqlite:///{path}", read_only=True)
    reader = Orchestrator(store=store, performs=False)
    await reader.start()
    started = time.perf_counter()
    state = await reader.get_workflow_state("w", at_version=at_version)
    seconds = time.perf_counter() - started
    await reader.stop()
    await store.close()
    return {"seconds": seconds, "version": state.version, "tasks": len(state.tasks)}


# --- simulation ---------------------------------------------------------------------------------------------------------


def simulation(size: int) -> Figures:
    """Return how many schedules of faults of a workflow of twenty tasks are played and checked in a second, by one core."""
    started, worked = time.perf_counter(), time.process_time()
    report = simulate(twenty_tasks, schedules=size)
    seconds, processor = time.perf_counter() - started, time.process_time() - worked
    expect((report.schedules, report.violations), (size, []))
    return {
        "seconds": seconds,
        "per_second": size / processor,
        "wall_per_second": size / seconds,
        "calls": report.calls,
    }


def twenty_tasks() -> CrashCase:
    """Return a workflow of twenty tasks: four branches of four steps, then a timer and a map, and what joins them."""

    @worker("step", concurrency=8)
    async def step(context: TaskContext, value: int = 1) -> int:
        await asyncio.sleep(0.001)
        return value + 1

    tasks = [TaskDefinition("plan", "step")]
    for branch in range(4):
        before = "plan"
        for number in range(4):
            key = f"b{branch}_{number}"
            tasks.append(TaskDefinition(key, "step", params={"value": f"${{{before}}}"}, dependencies={before}))
            before = key
    tasks.append(TaskDefinition.timer("nap", 0.01, {"b0_3", "b1_3"}))
    tasks.append(
        TaskDefinition("each", "step", params={"value": "${item}"}, for_each=[1, 2, 3], dependencies={"b2_3", "b3_3"})
    )
    tasks.append(TaskDefinition("join", "step", params={"value": "${b0_3}"}, dependencies={"nap", "each"}))
    expect(len(tasks), TASKS)
    return CrashCase(WorkflowDefinition(tasks, name="twenty"), workers=[step])


CASES_LASTING: Mapping[str, Callable[[int], Figures]] = {
    "pause": pause,
    "timers": timers,
    "replay": replay,
    "simulation": simulation,
}
