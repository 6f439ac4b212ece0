"""Killed at every point: schedules that queue, catch up, cancel, and go on in their next stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agenticflow import Orchestrator, TaskContext, TaskDefinition, WorkflowDefinition, worker
from agenticflow.agents import Worker
from agenticflow.orchestration.schedules import guest
from agenticflow.testing.crashes import CrashCase, crash_search
from agenticflow.testing.virtual_time import EPOCH_NS

FIRST = datetime.fromtimestamp(EPOCH_NS // 1_000_000_000, UTC) + timedelta(seconds=1)
MAIN = WorkflowDefinition([TaskDefinition("hello", "hello")])


class World:
    """What the workflows of a schedule did, and what must not have happened."""

    def __init__(self, seconds: float) -> None:
        self.problems: list[str] = []

        @worker("hello")
        async def hello() -> str:
            return "hello"

        @worker("note")
        async def note(due: datetime, number: int, context: TaskContext) -> str:
            now = asyncio.get_running_loop().clock.now_ns()  # type: ignore[attr-defined]  # the loop is virtual
            if now < int(due.timestamp() * 1_000) * 1_000_000:
                self.problems.append(f"{context.workflow_id} ran before {due}")
            if context.run_no != 1:
                self.problems.append(f"{context.workflow_id} was started again")
            await asyncio.sleep(seconds)
            return f"{number}"

        self.workers: list[Worker[..., Any]] = [hello, note]
        self.workflow = WorkflowDefinition(
            [TaskDefinition("note", "note", params={"due": "${due}", "number": "${number}"})], name="noted"
        )

    def case(self, **options: object) -> CrashCase:
        async def steer(orchestrator: Orchestrator, workflow_id: str) -> object:
            created = orchestrator.schedules.create
            view = await created(
                "s",
                self.workflow,
                input={"due": "${schedule.due}", "number": "${schedule.number}"},
                start_at=FIRST,
                **options,  # type: ignore[arg-type]  # each case its own
            )
            while view.status != "COMPLETED":
                await asyncio.sleep(0.05)
                view = await orchestrator.schedules.get("s")
            runs = [row for row in await orchestrator.list_workflows() if row.execution_id != workflow_id]
            return (view.runs, sorted((row.execution_id, row.run_no, row.status) for row in runs))

        return CrashCase(MAIN, workers=self.workers, steer=steer, check=lambda: self.problems)


def one_after_the_other() -> CrashCase:
    return World(0.15).case(every=0.1, max_runs=3, overlap="queue_all", catch_up="all")


def side_by_side() -> CrashCase:
    return World(0.3).case(every=0.1, max_runs=3, overlap="allow", catch_up="all", jitter=0.05)


def the_old_one_makes_room() -> CrashCase:
    return World(0.15).case(every=0.1, max_runs=3, overlap="cancel_running")


CASES = [one_after_the_other, side_by_side, the_old_one_makes_room]


@pytest.mark.parametrize("new_case", CASES, ids=lambda new_case: new_case.__name__)
@pytest.mark.parametrize("max_events", [10_000, 3], ids=["one stream", "many streams"])
def test_killed_at_every_point(
    new_case: Callable[[], CrashCase],
    max_events: int,
    record_property: Callable[[str, object], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", max_events)
    report = crash_search(new_case, double_kills=20, time_limit_seconds=600, seed=5)
    what = f"schedule: {new_case.__name__.replace('_', ' ')}"
    record_property("crash", f"{what}|{report.points}|{report.kills}|{report.calls}|{len(report.violations)}")
    assert not report.violations, report
    assert report.kills >= report.points


def test_what_the_search_looks_for_happens() -> None:
    report = crash_search(one_after_the_other, every=10_000)
    assert report.arrivals["children.before_launch"] == 3
    assert report.arrivals["timers.due"] >= 3


def test_a_start_that_is_forgotten_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest.ScheduleGuest, "_open_work", lambda self, state: [])
    report = crash_search(one_after_the_other, time_limit_seconds=60, max_violations=1)
    assert "stuck" in str(report)
