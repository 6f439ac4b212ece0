"""What goes wrong: how often it is tried, what a failure leaves standing, and what a crash may not make of it."""

from __future__ import annotations

import pytest

from agenticflow import RetryPolicy, WorkflowDefinition, WorkflowExecutionError, WorkflowStatus
from tests.scenarios.lives import ONCE, Place, passes, statuses, step
from tests.unit.runtime.engine import in_virtual_time

SOON = RetryPolicy(max_attempts=2, initial_delay_seconds=1, jitter=False)


@in_virtual_time
async def test_retries_exhausted_by_one_item_of_a_map_leave_the_others_done() -> None:
    """Given a map over three items, when one of them fails at all its attempts and the next run is opened by another process, then the
    other items were done once, and the next run does only the one that failed."""
    place = Place()
    place.failures["each[1]"] = 2
    each = step("each", gives="${item}", for_each=["x", "y", "z"], retry_policy=SOON)
    async with place.process() as first:
        run = await first.start_workflow(WorkflowDefinition([each], output="${each}"), workflow_id="w")
        with pytest.raises(WorkflowExecutionError) as caught:
            await run.result()
        assert set(caught.value.failed) == {"each", "each[1]"}
    assert sorted(place.began) == ["each[0]", "each[1]", "each[1]", "each[2]"]
    async with place.process() as second:
        next_run = await second.resume_workflow("w")
        assert await next_run.result() == ["x", "y", "z"]
    assert place.began[4:] == ["each[1]"]


@in_virtual_time
async def test_a_crash_is_no_failed_attempt() -> None:
    """Given a task with two attempts, when its process is killed in the middle of the first one, twice, then it still has both, and
    the one after a real failure succeeds."""
    place = Place()
    definition = WorkflowDefinition([step("a", seconds=10, fails=1, gives="done", retry_policy=SOON)], output="${a}")
    for _ in range(2):
        async with place.process() as doomed:
            await doomed.start_workflow(definition, workflow_id="w")
            await passes(5)
    async with place.process() as last:
        assert await last.wait("w") == "done"
        [error] = (await last.get_workflow_state("w")).tasks["a"].errors
        assert "not there yet" in error.message
    assert len(place.began) == 4
    assert len(set(place.effect_keys["a"])) == 1


@in_virtual_time
async def test_work_in_flight_is_taken_up_and_what_was_recorded_is_not_repeated() -> None:
    """Given ten branches of which five have ended, when the process is killed, then the five are not called again, the other five are, and
    what joins them has all ten results."""
    place = Place()
    branches = [step(f"t{number}", gives=number, seconds=1 if number < 5 else 60) for number in range(10)]
    joined = step("join", *(task.task_id for task in branches), gives=[f"${{t{number}}}" for number in range(10)])
    async with place.process() as first:
        await first.start_workflow(WorkflowDefinition([*branches, joined], output="${join}"), workflow_id="w")
        await passes(30)
    async with place.process() as second:
        assert await second.wait("w") == list(range(10))
    assert all(place.began.count(f"t{number}") == (1 if number < 5 else 2) for number in range(10))


@in_virtual_time
async def test_work_that_must_not_happen_twice_is_asked_about_after_a_crash() -> None:
    """Given a payment that may be made once, when the process is killed while it is made, then it is not made again by itself: the run
    asks, also after another restart, and goes on with what a person says."""
    place = Place()
    definition = WorkflowDefinition([step("pay", seconds=60, effect="at_most_once"), step("ship", "pay", gives="${pay}")],
                                    output="${ship}")  # fmt: skip
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(30)
    for _ in range(2):
        async with place.process() as other:
            await passes(100)
            assert (await other.get_workflow_state("w")).status is WorkflowStatus.NEEDS_ATTENTION
    async with place.process() as last:
        await last.resolve("w", "pay", "completed", value="receipt 7")
        assert await last.wait("w") == "receipt 7"
    assert place.began == ["pay", "ship"]


@in_virtual_time
async def test_work_a_person_lets_run_again_is_new_work_for_the_outside() -> None:
    """Given a payment whose outcome nobody knows after a crash, when a person says that it did not happen and lets it run again, then it is
    called with another effect key, once."""
    place = Place()
    definition = WorkflowDefinition([step("pay", seconds=60, gives="paid", effect="at_most_once")], output="${pay}")
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(30)
    async with place.process() as second:
        await second.resolve("w", "pay", "run_again")
        assert await second.wait("w") == "paid"
    assert place.began == ["pay", "pay"]
    assert len(set(place.effect_keys["pay"])) == 2


@in_virtual_time
async def test_independent_branches_come_to_their_end_before_a_run_fails() -> None:
    """Given two branches, when one fails for good and the process is killed while the other works, then the other is finished by the next
    process, and only then has the run failed, naming what failed and what never ran."""
    place = Place()
    definition = WorkflowDefinition(
        [
            step("breaks", fails=9, retry_policy=ONCE),
            step("behind", "breaks"),
            step("slow", seconds=60),
            step("after", "slow"),
        ]
    )
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(30)
        assert (await first.get_workflow_state("w")).status is WorkflowStatus.RUNNING
    async with place.process() as second:
        with pytest.raises(WorkflowExecutionError) as caught:
            await second.wait("w")
        assert list(caught.value.failed) == ["breaks"]
        assert list(caught.value.remaining) == ["behind"]
    assert place.done == ["slow", "after"]


@in_virtual_time
async def test_a_handler_that_hangs_meets_its_limit_and_is_tried_again_elsewhere() -> None:
    """Given a task with a limit of a minute whose handler hangs, when the process is killed before the limit passes, then the limit is not
    counted twice over: the attempt the next process makes fails a minute after the first began, and is tried again."""
    place = Place()
    definition = WorkflowDefinition([step("hangs", seconds=9_999, timeout_seconds=60, retry_policy=SOON)])
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(45)
    async with place.process() as second:
        await passes(20)
        assert len(place.began) == 3
        assert place.times["hangs"] == pytest.approx(61, abs=1)
        with pytest.raises(WorkflowExecutionError, match="60 s"):
            await second.wait("w")


@in_virtual_time
async def test_a_failure_that_is_skipped_does_not_fail_the_run() -> None:
    """Given a nice-to-have with two attempts that may be skipped, when a restart comes between them and the second fails too, then what
    joins it goes on without it."""
    place = Place()
    slow = RetryPolicy(max_attempts=2, initial_delay_seconds=60, jitter=False)
    definition = WorkflowDefinition(
        [
            step("nice", fails=9, retry_policy=slow, on_failure="skip"),
            step("needed", gives="there"),
            step("both", "nice", "needed", gives="${needed}"),
        ],
        output="${both}",
    )
    async with place.process() as first:
        await first.start_workflow(definition, workflow_id="w")
        await passes(30)
    async with place.process() as second:
        assert await second.wait("w") == "there"
        assert statuses((await second.get_workflow_state("w")).tasks)["nice"] in ("FAILED", "SKIPPED")
    assert place.began.count("nice") == 2
