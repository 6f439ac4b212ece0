"""Where a step spends its time: a chain of steps with a stopwatch around each stage, in memory and durable.

``python benchmarks/where_time_goes.py [--size 1000] [--turns 5]`` prints one table for docs/explanation/where-a-step-spends-its-time.md.
The stopwatches are put around the engine's own functions, which stay as they are; they cost up to half a step in memory, so the
rate without them is printed beside the shares. Medians of the turns.
"""

from __future__ import annotations

import argparse
import asyncio
import inspect
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.core.binding import Handler
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite.writer import Writer
from agenticflow.orchestration.facts import FACTS
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.runtime import failpoints
from agenticflow.runtime.activities.dispatcher import Dispatcher
from agenticflow.runtime.activities.worker import LocalWorker
from agenticflow.runtime.host import Host
from agenticflow.runtime.logbook import Logbook
from agenticflow.storage.memory import MemoryStore
from benchmarks.protocol import database

STAGES: Final = ("decide", "encode", "commit", "dispatch", "inputs", "worker", "host", "agent", "rest")
WORDS: Final = {
    "decide": "`decide`, `advance`, `evolve`: what follows from the outcome",
    "encode": "facts to bytes",
    "commit": "from handing the commit to the store to its answer",
    "dispatch": "committed facts to effects, the seat and the queue of the performer",
    "inputs": "references resolved, parameters filled and checked",
    "agent": "the agent's state machine and its logbook",
    "worker": "the attempt: its context, its time limit, its outcome to bytes; the handler, which adds one",
    "host": "the turn of the run: batching, index row, answers",
    "rest": "event loop, queues, and whatever lies in between",
}


@contextmanager
def replaced(owner: object, name: str, function: Callable[..., Any]) -> Iterator[None]:
    """Have ``owner.name``, of a class or of one object, be ``function`` for the length of the block."""
    own = not isinstance(owner, type) or name in vars(owner)
    before = inspect.getattr_static(owner, name) if isinstance(owner, type) else getattr(owner, name)
    setattr(owner, name, staticmethod(function) if isinstance(before, staticmethod) else function)
    try:
        yield
    finally:
        if own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)


class Stopwatch:
    """Nanoseconds by stage. A stage inside another is taken off the outer one; stages never overlap in a chain."""

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()
        self.inner = [0]

    def around(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        inner, spent, clock = self.inner, self.spent, time.perf_counter_ns

        def timed(*args: Any, **kwargs: Any) -> Any:
            inner.append(0)
            began = clock()
            try:
                return function(*args, **kwargs)
            finally:
                taken = clock() - began
                spent[name] += taken - inner.pop()
                inner[-1] += taken

        return timed

    def around_async(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Time a coroutine function while it holds the loop, not while it waits."""

        async def timed(*args: Any, **kwargs: Any) -> Any:
            return await _Steps(self, name, function(*args, **kwargs))

        return timed

    def around_commit(self, commit: Callable[..., Any]) -> Callable[..., Any]:
        """Time a run's commits by the wall, less what agents' logbooks do meanwhile; their own commits count as theirs."""

        async def timed(store: Any, given: Any) -> Any:
            if not given.stream_id.startswith("workflow-"):
                return await commit(store, given)
            began, beside = time.perf_counter_ns(), self.spent["agent"]
            try:
                # What of it holds the loop is taken off the host's turn, and is within the time by the wall already.
                return await _Steps(self, "counted twice", commit(store, given))
            finally:
                self.spent["commit"] += time.perf_counter_ns() - began - (self.spent["agent"] - beside)

        return timed

    @contextmanager
    def on_the_writers_thread(self) -> Iterator[None]:
        """Time the transaction as a whole, and COMMIT alone, which is where the disk is waited for."""
        began = [0]

        def watch(point: str) -> None:
            if point == "store.before_commit":
                began[0] = time.perf_counter_ns()
            elif point == "store.after_commit":
                self.spent["COMMIT"] += time.perf_counter_ns() - began[0]
                self.spent["COMMITs"] += 1

        write = Writer._write

        def timed(writer: Writer, waiting: Any) -> Any:
            started = time.perf_counter_ns()
            try:
                return write(writer, waiting)
            finally:
                self.spent["transaction"] += time.perf_counter_ns() - started

        failpoints.watch(watch)
        try:
            with replaced(Writer, "_write", timed):
                yield
        finally:
            failpoints.watch(None)


class _Steps:
    """A coroutine whose every step is timed."""

    def __init__(self, watch: Stopwatch, name: str, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._watch = watch
        self._name = name
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        inner, spent, clock = self._watch.inner, self._watch.spent, time.perf_counter_ns
        step: Callable[[Any], Any] = self._coroutine.send
        given: Any = None
        while True:
            inner.append(0)
            began = clock()
            try:
                waits_for = step(given)
            except StopIteration as end:
                return end.value
            finally:
                taken = clock() - began
                spent[self._name] += taken - inner.pop()
                inner[-1] += taken
            try:
                step, given = self._coroutine.send, (yield waits_for)
            except BaseException as error:  # noqa: BLE001 - it belongs to the coroutine inside
                step, given = self._coroutine.throw, error


@contextmanager
def watched(watch: Stopwatch) -> Iterator[None]:
    """Put the stopwatch around every stage."""
    places: list[tuple[object, str, str]] = [
        (WorkflowGuest, "decide", "decide"),
        (WorkflowGuest, "advance", "decide"),
        (WorkflowGuest, "evolve", "decide"),
        (FACTS, "encode", "encode"),
        (WorkflowGuest, "effects", "dispatch"),
        (Dispatcher, "perform", "dispatch"),
        (WorkflowGuest, "inputs", "inputs"),
        (Handler, "arguments", "inputs"),
        (Agent, "work_began", "agent"),
        (Agent, "work_ended", "agent"),
        (Logbook, "record", "agent"),
    ]
    with ExitStack() as stack:
        for owner, name, stage in places:
            stack.enter_context(replaced(owner, name, watch.around(stage, getattr(owner, name))))
        steps: list[tuple[type, str, str]] = [
            (Host, "_turn", "host"),
            (LocalWorker, "run", "worker"),
            (Logbook, "_write", "agent"),
        ]
        for owner, name, stage in steps:
            stack.enter_context(replaced(owner, name, watch.around_async(stage, getattr(owner, name))))
        for store in (MemoryStore, SQLiteStore):
            stack.enter_context(replaced(store, "commit", watch.around_commit(store.commit)))
        stack.enter_context(watch.on_the_writers_thread())
        yield


def chain(size: int) -> WorkflowDefinition:
    """Return ``size`` tasks, each taking the result of the one before."""
    tasks = [TaskDefinition("s0", "bench", "step", {"x": 0})]
    for number in range(1, size):
        before = f"s{number - 1}"
        tasks.append(TaskDefinition(f"s{number}", "bench", "step", {"x": f"${{{before}}}"}, {before}))
    return WorkflowDefinition(tasks, name=f"chain-{size}", output=f"${{s{size - 1}}}")


async def run(size: int, address: str, watch: Stopwatch | None) -> float:
    """Run the chain; return its seconds."""
    agent = Agent("bench", {"work"})

    @agent.task("step")
    async def step(x: int) -> int:
        return x + 1

    async with Orchestrator(store=address) as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.execute_workflow(chain(5))
        if watch is not None:
            watch.spent.clear()
        definition = chain(size)
        began = time.perf_counter()
        handle = await orchestrator.start_workflow(definition)
        result = await handle.result()
        seconds = time.perf_counter() - began
    if result != size:
        raise SystemExit(f"the chain counted to {result}, not to {size}")
    return seconds


async def side_by_side(count: int, size: int, address: str) -> float:
    """Run ``count`` chains at once; return steps a second."""
    agent = Agent("bench", {"work"}, concurrency=count)

    @agent.task("step")
    async def step(x: int) -> int:
        return x + 1

    async with Orchestrator(store=address) as orchestrator:
        orchestrator.register_agent(agent)
        await orchestrator.execute_workflow(chain(5))
        definition = chain(size)
        began = time.perf_counter()
        await asyncio.gather(*(orchestrator.execute_workflow(definition) for _ in range(count)))
        return count * size / (time.perf_counter() - began)


def measure(size: int, turns: int, address: Callable[[Path], str]) -> dict[str, float]:
    """Return microseconds a step by stage, ``step`` with stopwatches, and ``plain`` without."""
    samples: list[dict[str, float]] = []
    for turn in range(turns):
        with database(f"plain-{turn}.db") as path:
            plain = asyncio.run(run(size, address(path), None))
        watch = Stopwatch()
        with database(f"watched-{turn}.db") as path, watched(watch):
            seconds = asyncio.run(run(size, address(path), watch))
        taken = {name: nanoseconds / 1e3 / size for name, nanoseconds in watch.spent.items()}
        taken["COMMITs"] = watch.spent["COMMITs"]
        taken |= {"step": seconds * 1e6 / size, "plain": plain * 1e6 / size}
        taken["rest"] = taken["step"] - sum(taken.get(stage, 0.0) for stage in STAGES[:-1])
        samples.append(taken)
    names = {name for sample in samples for name in sample}
    return {name: statistics.median(sample.get(name, 0.0) for sample in samples) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description="Show where a step of a chain spends its time.")
    parser.add_argument("--size", type=int, default=1_000, help="steps of the chain")
    parser.add_argument("--turns", type=int, default=5, help="how often each is run; medians are shown")
    arguments = parser.parse_args()
    kinds: dict[str, Callable[[Path], str]] = {
        "in memory": lambda path: "memory:",
        "durable": lambda path: f"sqlite:///{path}",
        "durability=normal": lambda path: f"sqlite:///{path}?durability=normal",
    }
    measured = {kind: measure(arguments.size, arguments.turns, address) for kind, address in kinds.items()}
    print(f"| stage | {' | '.join(kinds)} |\n|---|{'---:|' * len(kinds)}")
    for stage in STAGES:
        shares = (100 * figures.get(stage, 0.0) / figures["step"] for figures in measured.values())
        print(f"| {WORDS[stage]} | {' | '.join(f'{share:.0f} %' for share in shares)} |")
    print()
    for kind, figures in measured.items():
        print(
            f"{kind}: {figures['plain']:.1f} µs a step ({1e6 / figures['plain']:,.0f} a second), "
            f"{figures['step']:.1f} µs with stopwatches"
        )
        if "transaction" in figures:
            print(
                f"  of the commit's {figures['commit']:.0f} µs: {figures['transaction']:.0f} in the transaction, of these "
                f"{figures['COMMIT']:.0f} in COMMIT; the rest is the way to the writer's thread and back"
            )
    rates: list[float] = []
    for count in (1, 100):
        with database(f"beside-{count}.db") as path:
            rates.append(asyncio.run(side_by_side(count, 50, f"sqlite:///{path}")))
    print(
        f"100 chains side by side, durable: {rates[1] / rates[0]:.1f} times the steps a second of one ({rates[1]:,.0f})"
    )


if __name__ == "__main__":
    main()
