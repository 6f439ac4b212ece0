"""Killed at every point where a process can die, the workflow comes to the same end, and nothing recorded is done again."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agenticflow import EffectClass, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.agents import NOT_HAPPENED, Happened
from agenticflow.core.results import NotHappened
from agenticflow.runtime.failpoints import POINTS
from agenticflow.testing.crashes import CrashCase, CrashReport, Resolution, crash_search
from tests.simulation.remembered_world import fifty_tasks

pytestmark = pytest.mark.proof
Record = Callable[[str, object], None]
STORE_POINTS = {point for point in POINTS if point.startswith("store.")}


def show(record: Record, what: str, report: CrashReport) -> None:
    record("crash", f"{what}|{report.points}|{report.kills}|{report.calls}|{len(report.violations)}")
    assert not report.violations, report


def test_the_workflow_is_the_one_that_was_promised() -> None:
    """50 tasks in 8 branches, a map, a retry, a timer, a signal, a condition and an at-most-once task."""
    tasks = {task.task_id: task for task in fifty_tasks().tasks}
    assert len(tasks) == 50
    assert sum("plan" in task.dependencies for task in tasks.values()) == 8
    assert any(task.for_each is not None for task in tasks.values())
    assert any(task.retry_policy is not None for task in tasks.values())
    assert any(task.delay_seconds is not None for task in tasks.values())
    assert any(task.signal is not None for task in tasks.values())
    assert any(task.when is not None for task in tasks.values())
    assert [task.task_id for task in tasks.values() if task.effect == "at_most_once"] == ["b5_2"]


def test_killed_at_every_point_in_memory(record_property: Record) -> None:
    report = crash_search(fifty_tasks, double_kills=40, seed=1)
    show(record_property, "every point, memory store", report)
    assert report.points > 300
    assert report.kills > report.points


def test_every_point_that_has_a_name_is_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fail-point nobody comes to would be a kill nobody tried."""
    monkeypatch.setattr("agenticflow.runtime.actors.SNAPSHOT_EVERY", 25)
    report = crash_search(fifty_tasks, directory=tmp_path, every=40)
    assert not report.violations, report
    theirs = {point for point in POINTS if point.startswith(("children.", "gates."))}  # see test_crash_patterns.py
    assert set(POINTS) - theirs <= set(report.arrivals) | set(report.recovery_arrivals)


def test_killed_with_snapshots_taken_all_the_time(monkeypatch: pytest.MonkeyPatch, record_property: Record) -> None:
    """What a recovery folds from a snapshot is what it would fold from the beginning."""
    monkeypatch.setattr("agenticflow.runtime.actors.SNAPSHOT_EVERY", 5)
    report = crash_search(fifty_tasks, every=2, double_kills=20, seed=2)
    show(record_property, "every second point, snapshots every 5 events", report)
    assert report.arrivals["host.snapshot"] > 10


def test_killed_at_some_points_over_one_file(tmp_path: Path, record_property: Record) -> None:
    """Another share of the points with every day of the year would do, too; this one is always the same."""
    report = crash_search(fifty_tasks, directory=tmp_path, every=16, start=3, double_kills=4, seed=3)
    show(record_property, "every 16th point, SQLite", report)
    assert set(report.arrivals) >= STORE_POINTS


@worker("grow")
async def grow(text: str = "") -> str:
    return f"{text}{len(text)} " + "x" * 70_000


@worker("weigh")
async def weigh(texts: list[str]) -> int:
    return sum(map(len, texts))


def large_values() -> CrashCase:
    """Large input, results that grow from task to task, and a small end."""
    first = [TaskDefinition(f"grow{n}", "grow", params={"text": "${input.text}"}) for n in range(2)]
    following = TaskDefinition("more", "grow", params={"text": "${grow0}"}, dependencies=("grow0",))
    end = TaskDefinition("end", "weigh", params={"texts": ["${more}", "${grow1}"]}, dependencies=("more", "grow1"))
    definition = WorkflowDefinition([*first, following, end], name="large")
    return CrashCase(definition, workers=(grow, weigh), input={"text": "i" * 70_000})


def test_killed_at_every_point_with_large_values_in_files(tmp_path: Path, record_property: Record) -> None:
    report = crash_search(large_values, directory=tmp_path, large_in_files=True, double_kills=4, seed=4)
    show(record_property, "every point, SQLite with large values in files", report)
    assert set(report.arrivals) >= {"blob.written", "blob.named", "blob.synced"}
    assert report.arrivals["blob.written"] == 3, "two tasks have the same result: it is kept once"
    assert list(tmp_path.iterdir()) == []


ASKED: list[str] = []
"""The keys that the check function below was asked about, over all lives."""


def looked_up() -> CrashCase:
    """A payment with a check function; a person who is asked at the same moment says the same."""
    paid: dict[str, int] = {}

    async def find(context: TaskContext) -> Happened | NotHappened:
        ASKED.append(context.effect_key)
        return Happened(paid[context.effect_key]) if context.effect_key in paid else NOT_HAPPENED

    @worker("pay", check=find)
    async def pay(cents: int, context: TaskContext) -> int:
        paid[context.effect_key] = cents
        return cents

    def resolve(task_key: str) -> Resolution:
        return Resolution("completed", 5) if paid else Resolution("run_again")

    def wrong() -> list[str]:
        return [] if len(paid) == 1 else [f"paid {len(paid)} times"]

    task = TaskDefinition("pay", "pay", params={"cents": 5}, effect=EffectClass.AT_MOST_ONCE)
    return CrashCase(WorkflowDefinition([task], name="looked up"), workers=(pay,), resolve=resolve, check=wrong)


def test_killed_at_every_point_with_a_check_that_says_what_happened(record_property: Record) -> None:
    ASKED.clear()
    report = crash_search(looked_up, double_kills=40, seed=6)
    show(record_property, "every point, a check function", report)
    assert report.kills > report.points > 10
    assert ASKED


@pytest.mark.crash
@pytest.mark.parametrize("share", range(4))
def test_killed_at_every_point_over_one_file(share: int, tmp_path: Path, record_property: Record) -> None:
    report = crash_search(fifty_tasks, directory=tmp_path, every=4, start=share + 1, double_kills=100, seed=share)
    show(record_property, f"every point, SQLite, share {share + 1} of 4", report)


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(8))
def test_killed_at_every_point_with_slow_commits(seed: int, record_property: Record) -> None:
    """Each seed is another order of events."""
    report = crash_search(fifty_tasks, latency_seed=seed, double_kills=200, seed=seed)
    show(record_property, f"every point, memory store, slow commits, seed {seed}", report)


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(2))
def test_killed_twice_in_memory(seed: int, record_property: Record) -> None:
    """The second death comes in the recovery from the first, or later."""
    report = crash_search(fifty_tasks, every=sys.maxsize, double_kills=2_000, seed=seed)
    show(record_property, f"two deaths, memory store, seed {seed}", report)
