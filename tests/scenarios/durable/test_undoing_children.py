"""Sagas of sub-workflows: what a completed child did is undone when its parent is, over the ends of processes – or somebody is asked."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow import (
    CommandRefused,
    Compensation,
    Orchestrator,
    RetryPolicy,
    TaskDefinition,
    TaskStatus,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowStatus,
    workflow,
)
from agenticflow.storage.retention import RetentionPolicy
from tests.scenarios.lives import ONCE, Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

SLOW = Compensation("work", params={"seconds": 10})
CHILD, PARENT = "w~book", "w"


def booking(undo: Compensation = SLOW) -> WorkflowDefinition:
    """Flight and hotel, each with what undoes it."""
    return WorkflowDefinition(
        [step("flight", compensation=undo), step("hotel", "flight", compensation=undo)], name="booking"
    )


def trip(*tasks: TaskDefinition, undo: Compensation = SLOW) -> WorkflowDefinition:
    """A deposit, the booking as a sub-workflow, insurance; then something that fails."""
    return WorkflowDefinition(
        [
            step("deposit", compensation=undo),
            *(tasks or (TaskDefinition("book", workflow=booking(undo), dependencies=["deposit"]),)),
            step("insure", "book", compensation=undo),
            step("pay", "insure", fails=9, retry_policy=ONCE),
        ],
        name="trip",
    )


async def undone(orchestrator: Orchestrator, workflow_id: str = PARENT) -> None:
    with pytest.raises(WorkflowExecutionError) as caught:
        await orchestrator.wait(workflow_id)
    assert caught.value.status == "COMPENSATED"


async def reason(place: Place) -> str:
    """Return why the parent needs a person."""
    events = [event async for event in place.store.read_stream("workflow-w/1")]
    return str([event.payload["reason"] for event in events if event.event_type == "task_outcome_unknown"][-1])


@in_virtual_time
async def test_what_a_completed_child_did_is_undone_in_its_turn() -> None:
    """Given a trip whose booking is a completed sub-workflow, when the trip fails and the process is killed after each compensation has
    begun, then all that was done is undone, the last first, the child's in the child's turn, and each once."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(trip(), workflow_id=PARENT)
        await passes(5)
    for _ in range(5):
        async with place.process():
            await passes(11)
    async with place.process() as last:
        await undone(last)
        child = await last.get_execution(CHILD)
        assert (child.status, child.run_no) == ("COMPENSATED", 2)
        assert "'w', which it is a part of, is undone" in str(child.error)
    in_order = ["undo:insure", f"{CHILD}:undo:hotel", f"{CHILD}:undo:flight", "undo:deposit"]
    assert [key for key in place.done if "undo:" in key] == in_order
    assert all(len(set(keys)) == 1 for keys in place.effect_keys.values())
    recorded = await place.recorded("workflow-w~book/2")
    assert recorded[:2] == ["workflow_started", "compensation_started"]
    assert (recorded.count("task_completed"), recorded[-1]) == (2, "workflow_compensated")


@in_virtual_time
async def test_a_child_that_cannot_undo_parks_its_parent_until_a_person_decides() -> None:
    """Given a completed child whose compensation fails at all its attempts, when its parent is undone, then both need attention and say who
    waits for whom, over a restart too; when a person decides in the child, then the rest of both is undone."""
    place = Place()
    place.failures[f"{CHILD}:undo:hotel"] = 9
    undo = Compensation("work", retry_policy=RetryPolicy(max_attempts=2, initial_delay_seconds=1, jitter=False))
    async with place.process() as first:
        await first.start_workflow(trip(undo=undo), workflow_id=PARENT)
        await passes(60)
    async with place.process() as second:
        await passes(60)
        for workflow_id, key in ((PARENT, "undo:book"), (CHILD, "undo:hotel")):
            state = await second.get_workflow_state(workflow_id)
            assert state.status is WorkflowStatus.NEEDS_ATTENTION
            assert statuses(state.tasks)[key] is TaskStatus.UNKNOWN
        assert "'w~book' waits for a person about 'undo:hotel'" in await reason(place)
        assert place.began.count(f"{CHILD}:undo:hotel") == 2
        await second.resolve(CHILD, "undo:hotel", "completed", reason="by telephone")
        await undone(second)
        assert (await second.get_execution(CHILD)).status == "COMPENSATED"
    assert place.done[-3:] == ["undo:insure", f"{CHILD}:undo:flight", "undo:deposit"]


@in_virtual_time
async def test_what_a_child_could_not_undo_is_decided_in_its_parent() -> None:
    """Given a child whose compensation fails for good, when a person asks the parent to run it again, then it is asked for again and the
    parent still waits; when the person says in the parent that it was undone by hand, then the parent goes on."""
    place = Place()
    place.failures[f"{CHILD}:undo:hotel"] = 9
    undo = Compensation("work", retry_policy=ONCE)
    async with place.process() as first:
        await first.start_workflow(trip(undo=undo), workflow_id=PARENT)
        await passes(5)
        await first.resolve(PARENT, "undo:book", "run_again")
        await passes(5)
        assert (await first.get_workflow_state(PARENT)).status is WorkflowStatus.NEEDS_ATTENTION
        await first.resolve(PARENT, "undo:book", "completed")
        await undone(first)
        assert (await first.get_execution(CHILD)).status == "NEEDS_ATTENTION"
    assert place.done[-2:] == ["undo:insure", "undo:deposit"]


@in_virtual_time
async def test_children_of_children_and_of_maps_are_undone_too() -> None:
    """Given a map of sub-workflows that each have a sub-workflow, when their parent fails and processes are killed meanwhile, then every
    one of them is undone once, items and what is in them the last completed first."""
    place = Place()
    inner = WorkflowDefinition([step("seat", compensation=SLOW)], name="inner")
    outer = WorkflowDefinition(
        [
            TaskDefinition("seats", workflow=inner),
            step("meal", "seats", compensation=Compensation("work", params={"seconds": "${days}"})),
        ],
        name="outer",
        context={"days": 3},
    )
    each = TaskDefinition(
        "book", workflow=outer, dependencies=["deposit"], for_each=[1, 2], max_parallel=1, params={"days": "${item}"}
    )
    async with place.process() as first:
        await first.start_workflow(trip(each), workflow_id=PARENT)
        await passes(11.5)
    for _ in range(4):
        async with place.process():
            await passes(11.5)
    async with place.process() as last:
        await undone(last)
    names = [key for key in place.done if "undo:" in key]
    assert names == [
        "undo:insure",
        *("w~book[1]:undo:meal", "w~book[1]~seats:undo:seat"),
        *("w~book[0]:undo:meal", "w~book[0]~seats:undo:seat"),
        "undo:deposit",
    ]


@in_virtual_time
async def test_a_compensation_of_the_task_stands_for_the_whole_child() -> None:
    """Given a sub-workflow whose task has a compensation of its own, and one that is detached, when their parent fails, then that
    compensation runs, and nothing in the children is undone."""
    place = Place()
    free = TaskDefinition("free", workflow=booking(), dependencies=["deposit"], on_cancel="detach")
    whole = TaskDefinition("book", workflow=booking(), dependencies=["free"], compensation=SLOW)
    async with place.process() as only:
        await only.start_workflow(trip(free, whole), workflow_id=PARENT)
        await undone(only)
        for child in ("w~free", "w~book"):
            assert (await only.get_execution(child)).status == "COMPLETED"
    assert [key for key in place.done if "undo:" in key] == ["undo:insure", "undo:book", "undo:deposit"]


@in_virtual_time
async def test_a_parent_of_children_with_nothing_to_undo_just_fails() -> None:
    """Given a sub-workflow that says of nothing how it is undone, when its parent fails, then that has failed and is not being undone."""
    place = Place()
    plain = WorkflowDefinition([step("look")], name="plain")
    tasks = [TaskDefinition("book", workflow=plain), step("pay", "book", fails=9, retry_policy=ONCE)]
    async with place.process() as only:
        await only.start_workflow(WorkflowDefinition(tasks), workflow_id=PARENT)
        with pytest.raises(WorkflowExecutionError) as caught:
            await only.wait(PARENT)
    assert caught.value.status == "FAILED"


@in_virtual_time
async def test_a_child_that_somebody_ran_again_is_left_to_a_person() -> None:
    """Given a completed child that a person resumed from its middle by themselves, when its parent is undone, then nothing of it is undone
    by guess: the parent needs attention, and goes on when the person says so."""
    place = Place()
    wait = TaskDefinition.wait_for("insured", "insured", ["book"])
    pay = step("pay", "insured", fails=9, retry_policy=ONCE)
    tasks = [TaskDefinition("book", workflow=booking()), wait, pay]
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition(tasks), workflow_id=PARENT)
        await passes(1)
        again = await first.resume_workflow(CHILD, from_task="flight")
        await again.result()
        await first.signal(PARENT, "insured")
        await passes(5)
        assert (await first.get_workflow_state(PARENT)).status is WorkflowStatus.NEEDS_ATTENTION
    async with place.process() as second:
        await passes(5)
        assert (await second.get_workflow_state(PARENT)).status is WorkflowStatus.NEEDS_ATTENTION
        assert "was run again by somebody else, its run 2 is COMPLETED" in await reason(place)
        await second.resolve(PARENT, "undo:book", "completed")
        await undone(second)
    assert [key for key in place.began if "undo:" in key] == []


@in_virtual_time
async def test_a_child_that_is_archived_is_undone() -> None:
    """Given a completed child whose run was archived while its parent waits, when the parent fails, then the child is undone like any
    other, and the next process finds all of it done."""
    place = Place()
    wait = TaskDefinition.wait_for("insured", "insured", ["book"])
    pay = step("pay", "insured", fails=9, retry_policy=ONCE)
    tasks = [TaskDefinition("book", workflow=booking()), wait, pay]
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition(tasks), workflow_id=PARENT)
        await passes(100)
        archived = await first.compact(RetentionPolicy(archive_after_days=0.0001))
        assert archived.archived_runs == 1
    async with place.process() as second:
        await second.signal(PARENT, "insured")
        await undone(second)
    assert place.done[-2:] == [f"{CHILD}:undo:hotel", f"{CHILD}:undo:flight"]


@in_virtual_time
async def test_a_child_of_which_nothing_is_known_is_left_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a completed child whose history somebody has deleted, when its parent is undone, then the parent needs attention and says so,
    also after a restart, and goes on when a person says what became of it."""
    place = Place()
    get_run = place.store.get_run

    async def gone(execution_id: str, *given: Any, **options: Any) -> Any:
        return None if execution_id == CHILD else await get_run(execution_id, *given, **options)

    monkeypatch.setattr(place.store, "get_run", gone)
    async with place.process() as first:
        await first.start_workflow(trip(), workflow_id=PARENT)
        await passes(20)
    async with place.process() as second:
        await passes(5)
        assert (await second.get_workflow_state(PARENT)).status is WorkflowStatus.NEEDS_ATTENTION
        assert f"nothing is known of the sub-workflow '{CHILD}' any more" in await reason(place)
        await second.resolve(PARENT, "undo:book", "failed", reason="it is written off")
        await undone(second)
    assert [key for key in place.done if "undo:" in key] == ["undo:insure", "undo:deposit"]


@in_virtual_time
async def test_a_child_that_ends_after_its_parent_was_aborted_is_undone() -> None:
    """Given a child that completes while its parent is aborted, when the process is killed, then what it did is undone."""
    place = Place()
    child = WorkflowDefinition([step("flight", seconds=5, cleans_up=2, compensation=SLOW)], name="stubborn")
    async with place.process() as first:
        run = await first.start_workflow(
            WorkflowDefinition([TaskDefinition("book", workflow=child)]), workflow_id=PARENT
        )
        await passes(2)
        await run.abort("never mind")
    async with place.process() as second:
        await passes(60)
        assert (await second.get_workflow_state(PARENT)).status in (
            WorkflowStatus.CANCELLED,
            WorkflowStatus.COMPENSATED,
        )
    done = [key for key in place.done if key.startswith(CHILD)]
    assert done in ([], [f"{CHILD}:flight", f"{CHILD}:undo:flight"])


@in_virtual_time
async def test_a_child_that_is_code_is_undone() -> None:
    """Given a child that is a workflow as code, when its parent fails and the process is killed while it is undone, then its steps are
    undone, with the params they had."""
    place = Place()

    @workflow(name="booking")
    async def code(ctx: Any, given: object) -> str:
        await ctx.task("flight", "work", {"gives": 1}, compensation=SLOW)
        await ctx.task("look", "work")
        await ctx.task("hotel", "work", {"gives": "h"}, compensation="work")
        return "booked"

    async def process() -> None:
        async with place.process() as one:
            one.register_workflow(code)
            if not place.began:
                await one.start_workflow(
                    trip(TaskDefinition("book", workflow="booking", dependencies=["deposit"])), workflow_id=PARENT
                )
            await passes(12)

    for _ in range(5):
        await process()
    async with place.process() as last:
        await undone(last)
        again = await last.get_execution(CHILD)
        assert set(again.tasks) >= {"flight", "hotel"}
    names = [key for key in place.done if "undo:" in key]
    assert names == ["undo:insure", f"{CHILD}:undo:hotel", f"{CHILD}:undo:flight", "undo:deposit"]


@in_virtual_time
async def test_an_undone_parent_is_resumed_with_a_new_child() -> None:
    """Given a trip that was undone with its booking, when it is resumed by a later process, then the booking is made anew under an id of
    its own, and is undone again when the trip fails again."""
    place = Place()
    async with place.process() as first:
        await first.start_workflow(trip(), workflow_id=PARENT)
        await undone(first)
        with pytest.raises(CommandRefused):
            await first.abort(CHILD)
    async with place.process() as second:
        await second.resume_workflow(PARENT)
        await undone(second)
        assert (await second.get_execution("w~book~1")).status == "COMPENSATED"
    assert place.done.count("w~book~1:undo:flight") == place.done.count(f"{CHILD}:undo:flight") == 1
