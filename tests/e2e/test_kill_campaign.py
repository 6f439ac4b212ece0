"""A process that runs workflows over one file is killed with SIGKILL, again and again: nothing is lost, nothing recorded is repeated."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agenticflow import open_store
from agenticflow.storage.store import Store
from agenticflow.testing.crashes import KillReport, kill_campaign, problems_of_run
from tests.contracts.house import ROOT, plain_environment

pytestmark = pytest.mark.proof

Record = Callable[[str, object], None]


def command(store: Path, ledger: Path, is_last: bool) -> Sequence[str | Path]:
    program: list[str | Path] = [sys.executable, "-m", "tests.e2e.killed_program", store, ledger]
    return [*program, "--last"] if is_last else program


def problems_of_the_ledger(ledger: Path) -> list[str]:
    """What was called although it was recorded before, and what was paid twice."""
    recorded: set[tuple[str, str]] = set()
    ended: set[str] = set()
    payments: Counter[str] = Counter()
    problems: list[str] = []
    for number, line in enumerate(ledger.read_text().splitlines(), start=1):
        kind, workflow_id, *what = line.split()
        match kind:
            case "recorded":
                recorded |= {(workflow_id, key) for key in what}
            case "ended":
                ended.add(workflow_id)
            case "paid":
                payments[workflow_id] += 1
            case "call" if (workflow_id, what[0]) in recorded or workflow_id in ended:
                problems.append(f"line {number}: {line}, although that was recorded before")
    problems += [f"{workflow_id} was paid {times} times" for workflow_id, times in payments.items() if times > 1]
    return problems


async def problems_of_the_store(store: Store) -> list[str]:
    problems: list[str] = await store.verify()  # type: ignore[attr-defined]  # only stores in files can be checked
    for row in await store.list_runs(limit=10_000):
        problems += await problems_of_run(store, row.execution_id, row.run_no)
    return problems


async def campaign(directory: Path, kills: int, seed: int) -> tuple[KillReport, list[Any], list[str]]:
    """Return what was done, the results of all workflows, and everything that is wrong."""
    file, ledger = directory / "state.db", directory / "ledger"
    report = kill_campaign(
        lambda is_last: command(file, ledger, is_last),
        kills=kills,
        seed=seed,
        cwd=ROOT,
        environment=plain_environment(),
    )
    store = await open_store(f"sqlite:///{file}")
    try:
        problems = await problems_of_the_store(store)
    finally:
        await store.close()
    return report, json.loads(report.answer), problems + problems_of_the_ledger(ledger)


async def run(directory: Path, record: Record, *, kills: int, seed: int) -> None:
    report, results, problems = await campaign(directory, kills, seed)
    record("crash", f"kill -9, one SQLite file, seed {seed}|{len(results)} runs|{report.kills}|-|{len(problems)}")
    assert not problems, problems[:10]
    assert report.kills == kills
    assert results
    assert all(result == results[0] for result in results)
    assert results[0]["paid"] == {"amount": 40, "to": "the supplier"}
    assert results[0]["said"] == [{"limit": 5}, 11]


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("print('hello')", "did not say that it is ready, but: hello"),
        (
            "print('ready', flush=True); print('lost'); raise SystemExit(3)",
            "ended by itself with status 3; it wrote: lost",
        ),
    ],
)
def test_a_program_that_does_not_do_its_part_is_shown(program: str, told: str) -> None:
    with pytest.raises(RuntimeError, match=told):
        kill_campaign(lambda is_last: [sys.executable, "-c", program], kills=1, seed=0, longest_seconds=5)


def test_the_last_life_is_left_alone_and_heard() -> None:
    report = kill_campaign(
        lambda is_last: [
            sys.executable,
            "-c",
            "print('ready', flush=True)" + ("; print(42)" if is_last else ";input()"),
        ],
        kills=0,
        seed=0,
    )
    assert (report.kills, report.lives, report.answer) == (0, 1, "42")


async def test_killed_20_times(tmp_path: Path, record_property: Record) -> None:
    await run(tmp_path, record_property, kills=20, seed=20)


@pytest.mark.crash
async def test_killed_200_times(tmp_path: Path, record_property: Record) -> None:
    await run(tmp_path, record_property, kills=200, seed=200)
