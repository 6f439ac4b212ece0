"""What is sent to a run: kept until it is taken, taken once, in order – whoever lives when it comes."""

from __future__ import annotations

from agenticflow import TaskDefinition, WorkflowDefinition, WorkflowStatus
from tests.scenarios.lives import Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

wait_for, timer = TaskDefinition.wait_for, TaskDefinition.timer


@in_virtual_time
async def test_a_signal_comes_before_anybody_waits_for_it() -> None:
    """Given a run that will wait for a payment later, when the payment comes first and the process is killed, then the next process has it,
    and the wait is over as soon as it begins."""
    place = Place()
    order = WorkflowDefinition([step("pack", seconds=10), wait_for("paid", "payment", {"pack"})], output="${paid}")
    async with place.process() as first:
        run = await first.start_workflow(order, workflow_id="w")
        await run.signal("payment", {"euros": 12})
    async with place.process() as second:
        assert await second.wait("w") == {"euros": 12}


@in_virtual_time
async def test_a_signal_that_was_not_acknowledged_is_sent_again() -> None:
    """Given a signal whose sender had no answer because the process died, when it is sent again under its id, then it is taken once, and
    the second wait for it goes on waiting."""
    place = Place()
    counts = WorkflowDefinition([wait_for("one", "coin"), wait_for("two", "coin", {"one"})])
    async with place.process() as first:
        run = await first.start_workflow(counts, workflow_id="w")
        await run.signal("coin", 1, signal_id="coin-1")
    async with place.process() as second:
        await second.signal("w", "coin", 1, signal_id="coin-1")
        await passes(10)
        tasks = (await second.get_workflow_state("w")).tasks
        assert statuses(tasks) == {"one": "COMPLETED", "two": "WAITING"}
        await second.signal("w", "coin", 2, signal_id="coin-2")
        assert await second.wait("w") == {"two": 2}


@in_virtual_time
async def test_signals_are_taken_in_the_order_they_came_over_a_restart() -> None:
    """Given three signals of one name, two before a crash and one after it, when three waits follow each other, then they take them in the
    order they came, none twice."""
    place = Place()
    inbox = WorkflowDefinition(
        [wait_for("a", "item"), wait_for("b", "item", {"a"}), wait_for("c", "item", {"b"})],
        output=["${a}", "${b}", "${c}"],
    )
    async with place.process() as first:
        run = await first.start_workflow(inbox, workflow_id="w")
        await run.signal("item", "first")
        await run.signal("item", "second")
    async with place.process() as second:
        await second.signal("w", "item", "third")
        assert await second.wait("w") == ["first", "second", "third"]


@in_virtual_time
async def test_a_signal_recorded_in_time_beats_a_timer_that_passed_while_nobody_lived() -> None:
    """Given a race between a signal and a timer, when the signal is recorded in time by a process that performs nothing, and the timer's
    moment passes before anybody lives, then at the next start the signal has won."""
    place = Place()
    race = WorkflowDefinition(
        [
            wait_for("paid", "payment", cancels={"expired"}),
            timer("expired", 60, cancels={"paid"}),
            step("ship", "paid"),
            step("release", "expired"),
        ]
    )
    async with place.process() as first:
        await first.start_workflow(race, workflow_id="w")
    async with place.process(performs=False) as recorder:
        await recorder.signal("w", "payment")
    await passes(3_600)
    async with place.process() as second:
        await second.wait("w")
    assert place.done == ["ship"]


@in_virtual_time
async def test_a_signal_nobody_took_goes_over_into_the_next_run() -> None:
    """Given a run that goes on for ever, one run after the other, when two signals come during one run that takes one, then the next run
    takes the other, also when the process is killed between them."""
    place = Place()
    ever = WorkflowDefinition(
        [
            wait_for("got", "item"),
            step("book", "got", gives="${got}", seconds=5),
            TaskDefinition("again", dependencies={"book"}, continue_with={"seen": "${got}"}, when="${got} != 'last'"),
        ],
        context={"seen": None},
        output=["${seen}", "${got}"],
    )
    async with place.process() as first:
        run = await first.start_workflow(ever, workflow_id="w")
        await run.signal("item", "first")
        await run.signal("item", "last")
        await passes(2)
    async with place.process() as second:
        assert await second.wait("w") == ["first", "last"]
        assert (await second.get_execution("w")).run_no == 2


@in_virtual_time
async def test_a_paused_run_keeps_what_it_is_sent() -> None:
    """Given a paused run, when a signal comes and the process is killed, then the run is still paused, and goes on with the signal when
    somebody resumes it."""
    place = Place()
    order = WorkflowDefinition([wait_for("paid", "payment"), step("ship", "paid", gives="${paid}")], output="${ship}")
    async with place.process() as first:
        run = await first.start_workflow(order, workflow_id="w")
        await run.pause(reason="stocktaking")
        await run.signal("payment", 12)
    async with place.process() as second:
        await passes(3_600)
        assert (await second.get_workflow_state("w")).status is WorkflowStatus.PAUSED
        assert place.began == []
        await second.resume("w")
        assert await second.wait("w") == 12
