"""What outlives more than a crash: new code, changed definitions, runs without end, schedules over nights when nobody was there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from agenticflow import (
    CommandRefused,
    TaskContext,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
    worker,
)
from tests.scenarios.lives import ONCE, Place, passes, step
from tests.unit.runtime.engine import in_virtual_time

HOUR = timedelta(hours=1)
VERSIONS: list[str] = []


@worker("judge")
async def broken_judge(context: TaskContext) -> str:
    VERSIONS.append("old")
    raise KeyError("price")


@worker("judge")
async def mended_judge(context: TaskContext) -> str:
    VERSIONS.append("new")
    return "fine"


@pytest.fixture(autouse=True)
def _no_versions() -> None:
    VERSIONS.clear()


def version(number: str, *steps: TaskDefinition) -> WorkflowDefinition:
    return WorkflowDefinition(steps, name="order", version=number, output="${last}")


@in_virtual_time
async def test_an_open_run_keeps_the_definition_it_began_with() -> None:
    """Given an open run of version 1, when the next process registers version 2 of the workflow under the same name, then the run ends as
    version 1 has it, and a new run follows version 2."""
    place = Place()
    old = version("1", step("check", seconds=60), step("last", "check", gives="as before"))
    new = version("2", step("last", gives="as it is now"))
    async with place.process(workflows=[old]) as first:
        await first.start_workflow("order", workflow_id="w")
        await passes(30)
    async with place.process(workflows=[new]) as second:
        assert await second.wait("w") == "as before"
        await second.execute_workflow("order", workflow_id="v")
        assert await second.wait("v") == "as it is now"


@in_virtual_time
async def test_a_failed_run_goes_on_with_mended_code() -> None:
    """Given a run that failed because of a mistake in a handler, when the mended handler is deployed and the run is resumed, then what was
    done before the mistake is kept, and the run comes to its end."""
    place = Place()
    definition = version("1", step("load"), TaskDefinition("judge", "judge", dependencies={"load"}, retry_policy=ONCE),
                         step("last", "judge", gives="${judge}"))  # fmt: skip
    async with place.process(broken_judge) as first:
        run = await first.start_workflow(definition, workflow_id="w")
        with pytest.raises(WorkflowExecutionError, match="price"):
            await run.result()
    async with place.process(mended_judge) as second:
        again = await second.resume_workflow("w")
        assert (again.run_no, await again.result()) == (2, "fine")
    assert place.done == ["load", "last"]
    assert VERSIONS == ["old", "new"]


@in_virtual_time
async def test_a_failed_run_goes_on_as_a_fork_with_a_changed_definition() -> None:
    """Given a run that failed because its definition was wrong, when it is forked with a changed one by a later process, then what both
    have in common is kept, the fork ends well, and the old run stays as it was."""
    place = Place()
    wrong = version("1", step("load", gives=7), step("last", "load", fails=9, retry_policy=ONCE))
    right = version("2", step("load", gives=7), step("check", "load"), step("last", "check", gives="${load}"))
    async with place.process() as first:
        run = await first.start_workflow(wrong, workflow_id="w")
        with pytest.raises(WorkflowExecutionError):
            await run.result()
    place.failures.clear()
    async with place.process() as second:
        fork = await second.fork_workflow("w", definition=right, new_workflow_id="f")
        assert await fork.result() == 7
        assert (await second.get_workflow_state("w")).status is WorkflowStatus.FAILED
    assert place.began == ["load", "last", "check", "last"]


@in_virtual_time
async def test_a_running_workflow_is_changed_and_the_change_survives() -> None:
    """Given a run in work, when a person adds a step behind what works and the process is killed at once, then the next process runs the
    run as it was changed, and what had begun is not touched."""
    place = Place()
    definition = version("1", step("check", seconds=60), step("last", "check", gives="shipped"))
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(30)
        more = step("last", "insure", gives="shipped and insured")
        await first.modify_workflow("w", [{"add": step("insure", "check")}, {"replace": more}], modified_by="ada")
    async with place.process() as second:
        assert await second.wait("w") == "shipped and insured"
    assert place.done == ["check", "insure", "last"]


@in_virtual_time
async def test_work_is_done_again_from_a_task_on_as_other_work() -> None:
    """Given a completed run, when a later process resumes it from a task in its middle and is killed meanwhile, then that task is kept,
    what follows is done again under other effect keys, and nothing else is."""
    place = Place()
    definition = version("1", step("load"), step("compute", "load", seconds=10), step("last", "compute", gives="sum"))
    async with place.process() as first:
        await first.execute_workflow(definition, workflow_id="w")
    async with place.process() as second:
        await second.resume_workflow("w", from_task="load")
        await passes(5)
    async with place.process() as third:
        assert await third.wait("w") == "sum"
    assert place.done == ["load", "compute", "last", "compute", "last"]
    assert place.effect_keys["compute"][0] not in place.effect_keys["compute"][1:]
    assert len(set(place.effect_keys["compute"][1:])) == 1


@in_virtual_time
async def test_a_run_without_end_keeps_its_history_short() -> None:
    """Given a workflow that goes on as a new run after each round, when twenty rounds pass over five processes, then each round was done
    once, and no run has more events than the first and what the death of a process adds."""
    place = Place()
    ever = WorkflowDefinition(
        [step("round", seconds=10), TaskDefinition("again", dependencies={"round"}, continue_with={"more": True})],
        context={"more": False},
    )
    async with place.process() as first:
        await first.start_workflow(ever, workflow_id="w")
        await passes(45)
    for _ in range(4):
        async with place.process() as other:
            await passes(45)
            assert (await other.get_execution("w")).run_no == len(place.done) + 1
    assert len(place.done) == 20
    lengths = {len(await place.recorded(f"workflow-w/{number}")) for number in range(1, 21)}
    assert lengths == {8, 10}, "that a process was lost, and the start of what it had in work"


@in_virtual_time
async def test_a_night_of_missed_moments_gives_one_start() -> None:
    """Given a schedule of every hour, when nobody lives for ten hours, then the next process starts its workflow once, for the newest
    moment that passed, and goes on with the hours to come."""
    place = Place()
    hourly = WorkflowDefinition([step("report")], name="hourly")
    async with place.process() as first:
        await first.schedules.create("s", hourly, every=HOUR)
        await passes(2.5 * 3_600)
        assert len(place.done) == 2
    await passes(10 * 3_600)
    async with place.process() as second:
        await passes(60)
        assert len(place.done) == 3
        await passes(3_600)
        assert len(place.done) == 4
        assert (await second.schedules.get("s")).runs == 4


@in_virtual_time
async def test_what_a_schedule_started_is_known_after_a_crash() -> None:
    """Given a schedule that never has two runs at once, when its process is killed while a run that takes longer than the period works,
    then the next process finishes that run, and starts the next only after it."""
    place = Place()
    slow = WorkflowDefinition([step("report", seconds=5_400)], name="slow")
    async with place.process() as first:
        await first.schedules.create("s", slow, every=HOUR, overlap="skip")
        await passes(4_000)
        assert len(place.began) == 1
    async with place.process() as second:
        await passes(4_000)
        assert len(place.began) == 2, "the same run, taken up; its moment that came meanwhile is skipped"
        runs = await second.list_workflows(limit=100)
        assert len(runs) == 1
        await passes(5_000)
        assert len(await second.list_workflows(limit=100)) == 2


@in_virtual_time
async def test_a_trigger_that_was_not_acknowledged_starts_once() -> None:
    """Given a schedule that is triggered by hand under an id, when the process is killed and the caller triggers it again under that id,
    then its workflow was started once."""
    place = Place()
    nightly = WorkflowDefinition([step("report", seconds=60)], name="nightly")
    async with place.process() as first:
        await first.schedules.create("s", nightly, cron="0 3 * * *")
        await first.schedules.trigger("s", trigger_id="by-ada")
    async with place.process() as second:
        await second.schedules.trigger("s", trigger_id="by-ada")
        await passes(120)
        assert len(await second.list_workflows(limit=100)) == 1
    assert place.done == ["report"]


@in_virtual_time
async def test_a_deleted_schedule_leaves_what_it_started() -> None:
    """Given a schedule whose run works, when the schedule is deleted and the process is killed, then the run comes to its end in the next
    process, no other is started, and the schedule takes no trigger."""
    place = Place()
    slow = WorkflowDefinition([step("report", seconds=600)], name="slow")
    async with place.process() as first:
        await first.schedules.create("s", slow, every=HOUR)
        await passes(3_660)
        await first.schedules.delete("s")
    async with place.process() as second:
        await passes(10 * 3_600)
        assert [row.status for row in await second.list_workflows(limit=100)] == ["COMPLETED"]
        with pytest.raises(CommandRefused):
            await second.schedules.trigger("s")
