"""How long a restart takes: one process opens many executions over one file and is killed, the next takes them all up and ends them.

    python -m benchmarks.restart                 # 1,000 open executions, prints the figures
    python -m benchmarks.restart --runs 200 --json

A third of the executions has a handler at work when the process dies, a third waits for a signal, a third waits for one after a history
of twenty tasks. Taken up means: folded from the file, open work dispatched again, timers set. Promised: 1,000 within 2 s (G7).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from agenticflow import Orchestrator, TaskDefinition, WorkflowDefinition, open_store, worker

ROOT = Path(__file__).parents[1]
LONG = 20
EXPECTED = {"flight": 2, "signal": 3, "long": LONG + 2}
in_flight: set[str] = set()
all_in_flight = asyncio.Event()
is_second_life = asyncio.Event()


@worker("add")
async def add(value: int) -> int:
    return value + 1


@worker("hold")
async def hold(value: int, run: str, wanted: int) -> int:
    """In the first life it never ends."""
    in_flight.add(run)
    if len(in_flight) >= wanted:
        all_in_flight.set()
    await is_second_life.wait()
    return value + 1


def definition(kind: str) -> WorkflowDefinition:
    steps = LONG if kind == "long" else 1
    tasks = [TaskDefinition("s0", "add", params={"value": 0})]
    for number in range(1, steps):
        before = f"s{number - 1}"
        tasks.append(TaskDefinition(f"s{number}", "add", params={"value": f"${{{before}}}"}, dependencies={before}))
    last = f"s{steps - 1}"
    if kind == "flight":
        params: dict[str, object] = {"value": f"${{{last}}}", "run": "${run}", "wanted": "${wanted}"}
        tasks.append(TaskDefinition("end", "hold", params=params, dependencies={last}, timeout_seconds=None))
    else:
        tasks.append(TaskDefinition.wait_for("go", "go", {last}))
        value = "${go}" if kind == "signal" else f"${{{last}}}"
        tasks.append(TaskDefinition("more", "add", params={"value": value}, dependencies={"go"}))
        tasks.append(TaskDefinition("end", "add", params={"value": "${more}"}, dependencies={"more"}))
    return WorkflowDefinition(tasks, name=kind, output="${end}")


DEFINITIONS = {kind: definition(kind) for kind in EXPECTED}


def kinds(runs: int) -> dict[str, str]:
    """Return the kind of each run by its id."""
    order = list(EXPECTED)
    return {f"run-{number}": order[number % len(order)] for number in range(runs)}


async def open_many(file: Path, runs: int) -> None:
    """The first life: leave ``runs`` executions open, say so, and wait to be killed."""
    by_id = kinds(runs)
    wanted = list(by_id.values()).count("flight")
    orchestrator = Orchestrator(store=await open_store(f"sqlite:///{file}"))
    orchestrator.register_worker(add)
    orchestrator.register_worker(hold)
    handles = await asyncio.gather(
        *(
            orchestrator.start_workflow(DEFINITIONS[kind], {"run": run, "wanted": wanted}, workflow_id=run)
            for run, kind in by_id.items()
        )
    )
    await all_in_flight.wait()
    for handle in handles:
        state = await handle.execution()
        while by_id[handle.workflow_id] != "flight" and not any(task.key == "go" for task in state.tasks.values()):
            await asyncio.sleep(0.01)
            state = await handle.execution()
    print("open", flush=True)
    await asyncio.get_running_loop().create_future()


async def take_up(file: Path, runs: int) -> dict[str, object]:
    """The second life: take everything up and end it."""
    is_second_life.set()
    by_id = kinds(runs)
    started = time.perf_counter()
    store = await open_store(f"sqlite:///{file}")
    resumed = len(await store.list_runs(is_open=True, limit=10 * runs))
    orchestrator = Orchestrator(store=store)
    orchestrator.register_worker(add)
    orchestrator.register_worker(hold)
    await orchestrator.start()
    taken_up = time.perf_counter() - started
    await all_in_flight.wait()
    dispatched = time.perf_counter() - started
    await asyncio.gather(*(orchestrator.signal(run, "go", 1) for run, kind in by_id.items() if kind != "flight"))
    results = await asyncio.gather(*(orchestrator.wait(run) for run in by_id))
    finished = time.perf_counter() - started
    await orchestrator.stop()
    await store.close()
    right = sum(result == EXPECTED[kind] for result, kind in zip(results, by_id.values(), strict=True))
    return {
        "runs": runs,
        "resumed": resumed,
        "finished_right": right,
        "taken_up_seconds": round(taken_up, 3),
        "dispatched_seconds": round(dispatched, 3),
        "finished_seconds": round(finished, 3),
    }


def measure(directory: Path, runs: int) -> dict[str, object]:
    """Play both lives, each in a process of its own, and return the figures of the second."""
    file = directory / "restart.db"
    program = [sys.executable, "-m", "benchmarks.restart", "--runs", str(runs), "--file", str(file)]
    with subprocess.Popen([*program, "--life", "1"], cwd=ROOT, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        said = first.stdout.readline()
        first.kill()
    if said.strip() != "open":
        raise RuntimeError(f"the first life did not open its executions; it said {said!r}")
    second = subprocess.run(
        [*program, "--life", "2"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True, timeout=300
    )
    figures: dict[str, object] = json.loads(second.stdout)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--json", action="store_true", help="figures only")
    parser.add_argument("--life", type=int, choices=(0, 1, 2), default=0, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.life == 1:
        asyncio.run(open_many(options.file, options.runs))
        return
    if options.life == 2:
        print(json.dumps(asyncio.run(take_up(options.file, options.runs))))
        return
    with tempfile.TemporaryDirectory(dir=ROOT, prefix=".restart-") as directory:
        figures = measure(Path(directory), options.runs)
    if options.json:
        print(json.dumps(figures))
        return
    print(f"{figures['resumed']} open executions of a killed process, one SQLite file, full durability")
    print(f"  taken up      {figures['taken_up_seconds']} s  (promised: 1,000 within 2 s)")
    print(f"  dispatched    {figures['dispatched_seconds']} s  (every interrupted handler runs again)")
    print(f"  all finished  {figures['finished_seconds']} s  ({figures['finished_right']} with the right result)")


if __name__ == "__main__":
    main()
