"""Two source trees side by side: what a warm step costs in each, in processor time, in turns of a few milliseconds.

After ``git worktree add --detach ../before COMMIT``, ``python benchmarks/warm.py ../before .`` prints a table for docs and pull
requests; ``--cases chain_memory,fanout_memory`` and ``--turns 200`` say how much. Each tree runs in a process of its own that is warm and
waits for its turn; in a turn each does the same work once, and who is first alternates, so that whatever else the machine does meets
both. Compared are the best turns and the medians of the ratios within a turn; where the two say different things, the machine was too
busy to tell. ``--once`` runs one tree by itself, for tools that count instructions: the difference between two numbers of turns is what
they cost.

Durability class: ``sqlite:`` in its default mode, on the project's disk; the time is the processor's, so waiting for the disk is not in it.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

CASES: Final = ("chain_memory", "fanout_memory", "chain_sqlite", "fanout_sqlite")
STEPS: Final = 500
"""Of the workflow that is run in each turn."""
PLACE: Final = Path(__file__).parent / "results"
"""Of databases: on the project's disk, and ignored by git."""
WARM_TURNS: Final = 5
ANSWER_SECONDS: Final = 120


async def perform(case: str, turns: int | None) -> None:
    """Run the workflow once for each line that comes in, or ``turns`` times; print the microseconds of processor time a step took."""
    from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition

    shape, where = case.split("_")
    agent = Agent("bench", {"work"}, role="benchmark", concurrency=STEPS)

    @agent.task("step")
    async def step(x: int) -> int:
        return x + 1

    tasks = [TaskDefinition("s0", "bench", "step", {"x": 0})]
    for number in range(1, STEPS):
        before = f"s{number - 1}" if shape == "chain" else "s0"
        tasks.append(TaskDefinition(f"s{number}", "bench", "step", {"x": f"${{{before}}}"}, dependencies={before}))
    definition = WorkflowDefinition(tasks, name=case)
    PLACE.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=PLACE) as place:
        orchestrator = Orchestrator(store="memory:" if where == "memory" else f"sqlite:///{place}/warm.db")
        orchestrator.register_agent(agent)
        async with orchestrator:
            for _ in range(WARM_TURNS):
                await orchestrator.execute_workflow(definition, {})
            gc.collect()
            gc.freeze()
            for _ in sys.stdin if turns is None else range(turns):
                began = time.process_time()
                await orchestrator.execute_workflow(definition, {})
                print(json.dumps((time.process_time() - began) / STEPS * 1e6), flush=True)


class Tree:
    """A source tree, warm and waiting in a process of its own."""

    def __init__(self, root: Path, case: str) -> None:
        if not (root / "src" / "agenticflow" / "__init__.py").is_file():
            raise SystemExit(f"{root} is no source tree of agenticflow")
        self.taken: list[float] = []
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--once", case],
            env={**os.environ, "PYTHONPATH": str(root.resolve() / "src")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def turn(self) -> float:
        """Have it run the workflow once; return the microseconds of a step."""
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the process of a tree has no pipes")
        print(file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of a tree ended with {self._process.wait(ANSWER_SECONDS)}")
        self.taken.append(json.loads(line))
        return self.taken[-1]

    def end(self) -> None:
        """Let the process end."""
        self._process.communicate(timeout=ANSWER_SECONDS)


def compare(roots: Sequence[Path], case: str, turns: int) -> str:
    """Return the table's row of one case."""
    first, second = trees = [Tree(root, case) for root in roots]
    ratios: list[float] = []
    for number in range(turns):
        for tree in trees if number % 2 else reversed(trees):
            tree.turn()
        ratios.append(second.taken[-1] / first.taken[-1])
    for tree in trees:
        tree.end()
    best = [min(tree.taken) for tree in trees]
    return f"| {case} | {best[0]:.1f} | {best[1]:.1f} | {best[1] / best[0]:.3f} | {statistics.median(ratios):.3f} |"


def main() -> None:
    """Read the command line, and compare or perform."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("trees", nargs="*", type=Path, help="two source trees: before, and now")
    parser.add_argument("--cases", default=",".join(CASES), help="of them some, with commas between")
    parser.add_argument("--turns", type=int, help="of each case; 200")
    parser.add_argument("--once", choices=CASES, metavar="CASE", help="run it with whatever agenticflow is imported")
    given = parser.parse_args()
    if given.once is not None:
        asyncio.run(perform(given.once, given.turns))
        return
    cases = given.cases.split(",")
    if len(given.trees) != 2 or not set(cases) <= set(CASES):
        parser.error(f"give two source trees, and cases of {', '.join(CASES)}")
    print("| case | before, µs a step | now | best to best | median of ratios |\n|---|---|---|---|---|")
    for case in cases:
        print(compare(given.trees, case, given.turns or 200), flush=True)


if __name__ == "__main__":
    main()
