"""``orchestrator.schedules`` with the engine, in virtual time: what is started when, what survives, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agenticflow import (
    CommandRefused,
    InvalidInput,
    Orchestrator,
    RetryPolicy,
    TaskDefinition,
    WorkflowContext,
    WorkflowDefinition,
    WorkflowIdConflict,
    WorkflowNotFoundError,
    WorkflowStatus,
    worker,
    workflow,
)
from agenticflow.app.schedules import schedules
from agenticflow.core.clocks import Clock
from agenticflow.orchestration.schedules import guest
from agenticflow.orchestration.schedules.state import ScheduleStatus
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.virtual_time import EPOCH_NS
from tests.unit.runtime.engine import in_virtual_time, kinds, passes, running, virtual_clock

START = datetime.fromtimestamp(EPOCH_NS // 1_000_000_000, UTC)
SECOND = timedelta(seconds=1)


@worker("nap", concurrency=100)
async def nap(seconds: float = 0) -> float:
    await asyncio.sleep(seconds)
    return seconds


@worker("fail")
async def fail() -> None:
    raise ValueError("no")


NAP = WorkflowDefinition(
    [TaskDefinition("nap", "nap", params={"seconds": "${seconds}"})], name="nap", context={"seconds": 0}
)
FAIL = WorkflowDefinition([TaskDefinition("fail", "fail", retry_policy=RetryPolicy(max_attempts=1))], name="fail")


async def ids(orchestrator: Orchestrator) -> list[str]:
    rows = await orchestrator.list_workflows(limit=1_000)
    return sorted(row.execution_id.removeprefix("s@2023-11-") for row in rows)


@in_virtual_time
async def test_a_name_that_nobody_has_registered_is_told_until_somebody_has() -> None:
    async with running(nap) as orchestrator:
        view = await orchestrator.schedules.create("s", "nap", every=10, overlap="allow")
        assert view.waits_for == "a process that runs this store and has registered the workflow 'nap'"
        await passes(25)
        view = await orchestrator.schedules.get("s")
        assert len(view.running) == 2
        assert view.waits_for
        with pytest.raises(WorkflowNotFoundError, match=r"has not started: schedule 's' waits for .* 'nap'"):
            await orchestrator.why(view.running[0].workflow_id)
        [breach] = (await orchestrator.check_liveness()).breaches
        assert breach.words.startswith("schedule 's' is stuck: its workflow is not registered")
        assert breach.since == EPOCH_NS + 10 * 1_000_000_000
        orchestrator.register_workflow(NAP)
        await passes(1)
        view = await orchestrator.schedules.get("s")
        assert (len(view.last_runs), view.waits_for) == (2, "")
        assert (await orchestrator.schedules.create("kept", FAIL, every=10)).waits_for == ""
        assert (await orchestrator.check_liveness()).is_alive
        await orchestrator.schedules.create("gone", "nowhere", every=10)
        await orchestrator.schedules.create("later", "nowhere", every=10)
        await orchestrator.schedules.pause("later")
        assert [one.workflow_id for one in (await orchestrator.check_liveness()).breaches] == ["gone"]
        assert (await orchestrator.schedules.delete("gone")).waits_for == ""
        await passes(60)
        told = [event async for event in orchestrator._engine.store.read_stream("alarm-liveness")]  # type: ignore[union-attr]  # a look inside
        assert {event.payload["workflow_id"] for event in told} <= {"s", "gone"}


@in_virtual_time
async def test_it_starts_its_workflow_every_night_where_people_are() -> None:
    store = MemoryStore()
    async with running(nap, store=store) as orchestrator:
        view = await orchestrator.schedules.create("s", NAP, cron="0 3 * * *", timezone="Europe/Zurich")
        assert view.next_moments[:2] == [datetime(2023, 11, 15, 2, tzinfo=UTC), datetime(2023, 11, 16, 2, tzinfo=UTC)]
        assert (view.rule, view.timezone, view.overlap, view.catch_up) == (
            "cron 0 3 * * *",
            "Europe/Zurich",
            "skip",
            "last",
        )
        await passes(3 * 86_400)
        assert await ids(orchestrator) == ["15T02:00:00Z", "16T02:00:00Z", "17T02:00:00Z"]
        view = await orchestrator.schedules.get("s")
        assert [run.outcome for run in view.last_runs] == ["succeeded"] * 3
        assert view.last_runs[0].due == view.last_runs[0].started_at == datetime(2023, 11, 17, 2, tzinfo=UTC)
        assert (view.runs, view.status, view.running, view.waiting) == (3, ScheduleStatus.ACTIVE, [], [])
    assert (await kinds(store, "schedule-s/1"))[:3] == ["schedule_created", "schedule_fired", "schedule_run_ended"]


@in_virtual_time
async def test_after_a_downtime_it_catches_up_as_it_was_told() -> None:
    store = MemoryStore()
    async with running(nap, store=store) as orchestrator:
        for name, catch_up in (("none", "none"), ("last", "last"), ("all", "all")):
            await orchestrator.schedules.create(
                name, NAP, every=3_600, catch_up=catch_up, catch_up_window=3 * 3_600, overlap="queue_all"
            )
        await passes(3_600)
    await passes(10 * 3_600 + 120)
    async with running(nap, store=store) as orchestrator:
        await passes(1)
        runs = {name: (await orchestrator.schedules.get(name)).runs for name in ("none", "last", "all")}
        assert runs == {"none": 1, "last": 2, "all": 4}
        await passes(3_600)
        assert (await orchestrator.schedules.get("none")).runs == 2


@in_virtual_time
async def test_what_runs_at_a_restart_is_watched_and_not_started_again() -> None:
    store = MemoryStore()
    async with running(nap, store=store) as orchestrator:
        await orchestrator.schedules.create("s", NAP, every=10, input={"seconds": 25}, overlap="queue_one")
        await passes(12)
    async with running(nap, store=store) as orchestrator:
        await passes(1)
        [run] = (await orchestrator.schedules.get("s")).running
        assert (run.outcome, run.ended_at) == (None, None)
        await passes(10)
        view = await orchestrator.schedules.get("s")
        assert (view.runs, list(view.waiting)) == (1, [START + 20 * SECOND])
        await passes(20)
        assert (await orchestrator.schedules.get("s")).runs == 2
        assert [row.run_no for row in await orchestrator.list_workflows()] == [1, 1]


@in_virtual_time
async def test_cancel_running_makes_room_for_the_newest() -> None:
    async with running(nap) as orchestrator:
        await orchestrator.schedules.create(
            "s", NAP, every=10, input={"seconds": 15}, overlap="cancel_running", max_runs=2
        )
        await passes(40)
        view = await orchestrator.schedules.get("s")
        assert [run.outcome for run in view.last_runs] == ["succeeded", "cancelled"]
        assert (view.status, view.next_moments) == (ScheduleStatus.COMPLETED, [])


@in_virtual_time
async def test_a_run_that_fails_or_is_aborted_is_recorded_and_the_schedule_goes_on() -> None:
    async with running(nap, fail) as orchestrator:
        await orchestrator.schedules.create("f", FAIL, every=10, max_runs=1)
        await orchestrator.schedules.create("s", NAP, every=10, input={"seconds": 100}, max_runs=1)
        await passes(11)
        assert (await orchestrator.schedules.get("f")).last_runs[0].outcome == "failed"
        [run] = (await orchestrator.schedules.get("s")).running
        await orchestrator.abort(run.workflow_id, "no")
        await passes(1)
        assert (await orchestrator.schedules.get("s")).last_runs[0].outcome == "cancelled"


@in_virtual_time
async def test_a_workflow_given_by_its_name_is_looked_up_when_its_moment_comes() -> None:
    async with running(nap) as orchestrator:
        await orchestrator.schedules.create("s", "nap", every=10, max_runs=1)
        await passes(15)
        assert len((await orchestrator.schedules.get("s")).running) == 1
        assert await ids(orchestrator) == []
        orchestrator.register_workflow(NAP)
        await passes(1)
        assert (await orchestrator.schedules.get("s")).last_runs[0].outcome == "succeeded"


@in_virtual_time
async def test_an_id_that_somebody_else_uses_is_a_failed_run() -> None:
    async with running(nap) as orchestrator:
        taken = "s@2023-11-14T22:13:30Z"
        handle = await orchestrator.start_workflow(NAP, workflow_id=taken)
        await orchestrator.schedules.create("s", NAP, every=10)
        await passes(11)
        assert (await orchestrator.schedules.get("s")).last_runs[0].outcome == "failed"
        assert await handle.status() is WorkflowStatus.COMPLETED
        await passes(10)
        with pytest.raises(WorkflowIdConflict):
            await orchestrator.start_workflow(NAP, workflow_id="s@2023-11-14T22:13:40Z")


@in_virtual_time
async def test_delayed_start_is_a_schedule_of_one_moment() -> None:
    async with running(nap) as orchestrator:
        view = await orchestrator.schedules.create("later", NAP, at=START + timedelta(hours=5))
        assert (view.rule, list(view.next_moments)) == ("once at 2023-11-15T03:13:20Z", [START + timedelta(hours=5)])
        await passes(5 * 3_600 - 1)
        assert await ids(orchestrator) == []
        await passes(2)
        again = await orchestrator.schedules.create("later", NAP, at=START + timedelta(hours=5))
        assert (again.status, again.runs) == (ScheduleStatus.COMPLETED, 1)


@in_virtual_time
async def test_creating_again_changes_nothing_and_another_one_is_refused() -> None:
    async with running(nap) as orchestrator:
        create = orchestrator.schedules.create
        first = await create("s", NAP, every=10)
        assert await create("s", NAP, every=SECOND * 10) == first
        with pytest.raises(CommandRefused, match="there is another schedule 's'"):
            await create("s", NAP, every=20)
        assert (await create("s", NAP, every=20, replace=True)).rule == "every 20 s"
        await orchestrator.schedules.delete("s", reason="enough")
        with pytest.raises(CommandRefused, match="was deleted"):
            await orchestrator.schedules.pause("s")
        assert (await create("s", NAP, every=20)).rule == "every 20 s"
        with pytest.raises(InvalidInput, match="would never be due"):
            await create("gone", NAP, at=START - SECOND)


@in_virtual_time
async def test_what_is_completed_makes_room_for_another() -> None:
    store = MemoryStore()
    async with running(nap, store=store) as orchestrator:
        create = orchestrator.schedules.create
        await create("s", NAP, at=START + SECOND)
        await passes(2)
        await create("s", NAP, at=START + 5 * SECOND)
        await passes(10)
        assert await ids(orchestrator) == ["14T22:13:21Z", "14T22:13:25Z"]
        assert await kinds(store, "schedule-s/2") == await kinds(store, "schedule-s/1")


@in_virtual_time
async def test_two_who_create_in_the_same_moment_have_the_same() -> None:
    async with running(nap) as orchestrator:
        create = orchestrator.schedules.create
        one, other = await asyncio.gather(create("s", NAP, every=10), create("s", NAP, every=10))
        assert one == other


@in_virtual_time
async def test_pausing_changing_and_triggering() -> None:
    async with running(nap) as orchestrator:
        steer = orchestrator.schedules
        await steer.create("s", NAP, every=10)
        assert (await steer.pause("s", reason="lunch")).status is ScheduleStatus.PAUSED
        await passes(35)
        paused = await steer.get("s")
        assert (paused.runs, paused.next_moments[0]) == (0, START + 40 * SECOND)
        assert (await steer.resume("s")).next_moments[0] == START + 40 * SECOND
        await passes(6)
        assert (await steer.get("s")).runs == 1
        changed = await steer.change(
            "s", cron="0 4 * * *", timezone="Asia/Tokyo", workflow="nap", jitter=60, max_runs=None
        )
        assert (changed.rule, changed.timezone, changed.runs) == ("cron 0 4 * * *", "Asia/Tokyo", 1)
        assert (await steer.change("s", every=30)).rule == "every 30 s"
        orchestrator.register_workflow(NAP)
        triggered = await steer.trigger("s", trigger_id="t1")
        assert triggered.runs == 2
        assert triggered.running[0].is_manual
        assert (await steer.trigger("s", trigger_id="t1")).runs == 2
        await passes(1)
        assert await ids(orchestrator) == ["14T22:14:00Z", "14T22:14:01Z+2"]


@in_virtual_time
async def test_listing_shows_the_newest_first_and_each_once() -> None:
    async with running(nap) as orchestrator:
        steer = orchestrator.schedules
        for n in range(5):
            await steer.create(f"s{n}", NAP, every=10)
        await steer.delete("s3")

        async def listed(**options: Any) -> list[str]:
            return [view.schedule_id for view in await steer.list(**options)]

        assert await listed() == ["s4", "s3", "s2", "s1", "s0"]
        assert await listed(only_open=True) == ["s4", "s2", "s1", "s0"]
        assert await listed(limit=2) == ["s4", "s3"]
        assert await listed(limit=2, after="s3") == ["s2", "s1"]
        with pytest.raises(InvalidInput, match="limit=0"):
            await listed(limit=0)
        for call in (steer.get, steer.pause, steer.trigger):
            with pytest.raises(WorkflowNotFoundError, match="there is no schedule 'x'"):
                await call("x")


@in_virtual_time
async def test_a_long_life_goes_on_from_stream_to_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 6)
    store = MemoryStore()
    async with running(nap, store=store) as orchestrator:
        await orchestrator.schedules.create("s", NAP, every=10, input={"seconds": 12}, overlap="allow")
        await passes(125)
        view = await orchestrator.schedules.get("s")
        assert (view.runs, len(view.running)) == (12, 1)
        assert len(await orchestrator.list_workflows()) == 12
        assert [one.schedule_id for one in await orchestrator.schedules.list()] == ["s"]
        streams = [row.stream_id for row in await store.list_runs(kind="schedule")]
        assert streams[-1] == "schedule-s/1"
        assert len(streams) > 3
        first = await kinds(store, "schedule-s/1")
        assert first[-2:] == ["schedule_continuing", "schedule_continuing"]
        # what is asked in the moment of the change waits for it
        paused = await asyncio.gather(*(orchestrator.schedules.pause("s") for _ in range(3)))
        assert {one.status for one in paused} == {ScheduleStatus.PAUSED}


@in_virtual_time
async def test_a_command_waits_for_the_next_stream_of_a_schedule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 1)
    monkeypatch.setattr(schedules, "_MAX_TRIES", 3)
    store = MemoryStore()
    async with running(nap, store=store, performs=False) as orchestrator:
        # nobody performs, so the next stream is not opened before somebody runs the store
        await orchestrator.schedules.create("s", NAP, every=10)
        with pytest.raises(CommandRefused, match="does not come to its next stream"):
            await orchestrator.schedules.pause("s")
    monkeypatch.setattr(guest, "MAX_EVENTS", 10)
    async with running(nap, store=store) as orchestrator:
        assert (await orchestrator.schedules.pause("s")).status is ScheduleStatus.PAUSED


class SetClock:
    """A clock that somebody sets."""

    def __init__(self, inner: Clock) -> None:
        self._inner = inner
        self.ahead_seconds = 0

    def now_ns(self) -> int:
        return self._inner.now_ns() + self.ahead_seconds * 1_000_000_000


@in_virtual_time
async def test_a_clock_that_is_set_forward_is_noticed_and_one_set_back_fires_nothing_twice() -> None:
    clock = SetClock(virtual_clock())
    async with running(nap, clock=clock) as orchestrator:
        await orchestrator.schedules.create("s", NAP, every=3_600)
        clock.ahead_seconds = 3_600
        await passes(61)
        assert await ids(orchestrator) == ["14T23:13:20Z"]
        clock.ahead_seconds = 0
        await passes(3_600 + 60)
        assert await ids(orchestrator) == ["14T23:13:20Z"]
        await passes(3_600)
        assert await ids(orchestrator) == ["14T23:13:20Z", "15T00:13:20Z"]


# --- what is refused ------------------------------------------------------------------------------------------------------

LARGE = WorkflowDefinition([TaskDefinition("nap", "nap", params={"x": "x" * 140_000})], name="large")
WRONG: Sequence[tuple[dict[str, Any], str]] = [
    ({}, "when is the schedule 's' due"),
    ({"every": 10, "cron": "* * * * *"}, "when is the schedule"),
    ({"every": 0}, "every=0 makes no sense"),
    ({"every": True}, "every=True makes no sense"),
    ({"every": "10"}, "every='10' makes no sense"),
    ({"every": float("nan")}, "every=nan makes no sense"),
    ({"cron": "* * *"}, "has 3 fields"),
    ({"cron": 5}, "has 1 fields"),
    ({"cron": "0 3 * * *", "timezone": "Europe/Nowhere"}, "no time zone 'Europe/Nowhere'"),
    ({"cron": "0 3 * * *", "timezone": "../etc"}, "no time zone"),
    ({"cron": "0 3 * * *", "timezone": 5}, "timezone=5 is no text"),
    ({"every": 10, "overlap": "never"}, "overlap='never' is none"),
    ({"every": 10, "catch_up": "some"}, "catch_up='some' is none"),
    ({"every": 10, "catch_up_window": -1}, "catch_up_window=-1 makes no sense"),
    ({"every": 10, "jitter": 100_000}, "jitter=100000 makes no sense"),
    ({"every": 10, "max_runs": 0}, "max_runs=0 makes no sense"),
    ({"every": 10, "max_runs": True}, "max_runs=True makes no sense"),
    ({"every": 10, "start_at": "tomorrow"}, "start_at='tomorrow' is no moment"),
    ({"every": 10, "start_at": datetime(2024, 1, 1)}, "is no moment"),  # noqa: DTZ001 - on purpose
    ({"every": 10, "end_at": datetime(9000, 1, 1, tzinfo=UTC)}, "out of reach"),
    ({"every": 10, "end_at": START}, "would never be due"),
    ({"every": 10, "input": [1]}, "a dict, not a list"),
    ({"every": 10, "input": {"x": "x" * 40_000}}, "the limit is 32,768"),
    ({"every": 10, "input": {"x": "${"}}, "not closed"),
    ({"every": 10, "input": {"x": "${other}"}}, "leads nowhere"),
    ({"every": 10, "workflow": 5}, "not a int"),
    ({"every": 10, "workflow": LARGE}, "register it"),
    ({"every": 10, "schedule_id": "a/b"}, "no id of a schedule"),
    ({"every": 10, "schedule_id": "a" * 121}, "no id of a schedule"),
]


@pytest.mark.parametrize(("arguments", "what"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_makes_no_sense_is_told(arguments: dict[str, Any], what: str) -> None:
    @in_virtual_time
    async def check() -> None:
        given = {"schedule_id": "s", "workflow": NAP, **arguments}
        async with running() as orchestrator:
            with pytest.raises(InvalidInput, match=what):
                await orchestrator.schedules.create(given.pop("schedule_id"), given.pop("workflow"), **given)

    check()


@in_virtual_time
async def test_what_a_schedule_does_not_have_cannot_be_changed() -> None:
    async with running() as orchestrator:
        await orchestrator.schedules.create("s", NAP, every=10)
        with pytest.raises(InvalidInput, match="has no 'colour'"):
            await orchestrator.schedules.change("s", colour="red")


@in_virtual_time
async def test_who_creates_and_deletes_all_the_time_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_MAX_TRIES", 0)
    async with running() as orchestrator:
        with pytest.raises(CommandRefused, match="created and deleted all the time"):
            await orchestrator.schedules.create("s", NAP, every=10)


@in_virtual_time
async def test_a_function_is_scheduled_by_its_name_in_the_version_of_the_day() -> None:
    @workflow(name="nightly")
    async def first(ctx: WorkflowContext, given: object) -> object:
        return [1, await ctx.task("nap", "nap", {"seconds": 1})]

    @workflow(name="nightly", version="2")
    async def second(ctx: WorkflowContext, given: object) -> object:
        return 2

    async with running(nap) as orchestrator:
        await orchestrator.schedules.create("s", first, every=timedelta(hours=1))
        await passes(3_700)
        orchestrator.register_workflow(second)
        await passes(3_600)
        versions = [
            (await orchestrator.get_execution(workflow_id)).definition.version
            for workflow_id in sorted(row.execution_id for row in await orchestrator.list_workflows())
        ]
        assert versions == ["1", "2"]
