"""Maps that need only some of their items, and the order in which things start."""

from __future__ import annotations

import pytest

from agenticflow.core.results import OutcomeKind
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.resilience.limits import Limit
from tests.scenarios.runs import Run, task


def test_a_map_that_has_enough_is_completed_and_stops_the_rest() -> None:
    run = Run(task("ask", for_each=["a", "b", "c", "d"], enough=2), task("after", "ask"))
    rest = [run.token("ask[0]"), run.token("ask[2]")]
    run.succeed("ask[3]", value="d")
    run.succeed("ask[1]", value="b")
    assert run.stopped == rest
    assert run.result("ask") == ["b", "d"], "in the order of the items"
    run.succeed("after")
    for key in ("ask[0]", "ask[2]"):
        run.ended(key, OutcomeKind.CANCELLED)
    assert run.status == "COMPLETED"


def test_items_may_fail_while_enough_are_left() -> None:
    run = Run(task("ask", for_each=[1, 2, 3], enough=2))
    run.fail_for_good("ask[0]")
    run.succeed("ask[1]", "ask[2]")
    assert run.status == "COMPLETED"


def test_a_map_that_can_no_longer_have_enough_has_failed_at_once() -> None:
    run = Run(task("ask", for_each=[1, 2, 3], enough=2))
    run.fail_for_good("ask[0]")
    run.fail_for_good("ask[1]")
    assert run.statuses["ask"] == "FAILED"
    assert run.statuses["ask[2]"] == "CANCELLED"
    run.wait(11)
    assert run.status == "FAILED"


def test_items_that_had_not_begun_never_do() -> None:
    run = Run(task("ask", for_each=list(range(10)), enough=1, max_parallel=2))
    run.succeed("ask[0]")
    assert set(run.statuses) == {"ask", "ask[0]", "ask[1]"}
    run.ended("ask[1]", OutcomeKind.CANCELLED)
    assert run.status == "COMPLETED"


def test_the_last_that_is_needed_may_be_the_last_there_is() -> None:
    run = Run(task("ask", for_each=[1, 2], enough=2))
    run.succeed("ask[0]", "ask[1]")
    assert run.status == "COMPLETED"
    assert not run.facts(f.TasksCancelled)


def test_a_list_that_is_too_short_is_a_failure_in_words() -> None:
    run = Run(task("ask", for_each=[1], enough=2))
    assert run.status == "FAILED"
    assert "gives 1 items, and 2 have to be completed" in run.errors("ask")[0].message


def test_the_next_run_takes_a_map_that_had_enough_as_it_was() -> None:
    for limit in (1, 3):
        run = Run(task("ask", for_each=[1, 2, 3], enough=2, max_parallel=limit), task("after", "ask"))
        run.fail_for_good("ask[0]")
        run.succeed("ask[1]", value="b")
        run.succeed("ask[2]", value="c")
        run.fail_for_good("after")
        again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
        assert again.in_work == ["after"], "what failed then is not asked again"
        assert again.result("ask") == ["b", "c"]


def test_the_next_run_asks_on_when_a_map_had_not_enough() -> None:
    run = Run(task("ask", for_each=[1, 2, 3], enough=2, max_parallel=1))
    run.fail_for_good("ask[0]")
    run.succeed("ask[1]", value="b")
    run.fail_for_good("ask[2]")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["ask[0]"]
    again.succeed("ask[0]", value="a")
    assert (again.status, again.result("ask")) == ("COMPLETED", ["a", "b"])


def test_a_map_ends_with_the_items_it_was_given_when_they_come_last() -> None:
    run = Run(task("ask", for_each=[1, 2, 3], max_parallel=1), task("after", "ask"))
    run.fail_for_good("ask[0]")
    run.succeed("ask[1]", value="b")
    run.succeed("ask[2]", value="c")
    again = Run(*run.definition.tasks, run_no=2, carried=carry_over(run.state))
    again.succeed("ask[0]", value="a")
    assert again.in_work == ["after"]
    assert again.result("ask") == ["a", "b", "c"]


def test_ready_tasks_start_by_priority_and_else_in_order() -> None:
    run = Run(task("low"), task("high", priority=5), task("middle", priority=1), task("also_low"), max_parallel=1)
    order = []
    while run.in_work:
        order += run.in_work
        run.succeed(run.in_work[0])
    assert order == ["high", "middle", "low", "also_low"]


def test_what_a_decision_makes_ready_may_go_before_the_rest_of_it() -> None:
    run = Run(
        task("map", for_each=[1, 2], priority=5),
        task("loop", repeat_until="${iteration} == 1", priority=3),
        task("plain"),
        max_parallel=2,
    )
    assert set(run.in_work) == {"map[0]", "map[1]"} or "plain" in run.in_work
    while run.in_work:
        run.succeed(run.in_work[0])
    assert run.status == "COMPLETED"


def test_one_run_has_so_many_in_work() -> None:
    run = Run(*(task(f"t{i}") for i in range(5)), max_parallel=2)
    assert run.in_work == ["t0", "t1"]
    run.succeed("t1")
    assert run.in_work == ["t0", "t2"]


def test_keys_of_locks_and_limits_are_resolved_once_each_and_kept_over_retries() -> None:
    run = Run(
        task("a", locks=["b ${who}", "a"], limits=[Limit("api", rate=3), Limit("a", max_concurrent=9)]),
        input={"who": "x"},
    )
    keys = [permit.key for permit in run.dispatched["a"].permits]
    assert keys == ["a", "api", "b x"]
    assert run.dispatched["a"].permits[0].max_concurrent == 1, "a lock stays one, whatever limit has its key"
    run.fail("a")
    run.wait(60)
    assert [permit.key for permit in run.record("a").permits] == keys


def test_two_limits_of_a_task_with_one_key_are_kept_both() -> None:
    limits = [Limit("api", max_concurrent=5), Limit("api", rate=3, per_seconds=2)]
    run = Run(task("a", limits=limits), task("b", limits=reversed(limits), locks=["api"]))
    for key, count in (("a", 5), ("b", 1)):
        [permit] = run.dispatched[key].permits
        assert (permit.max_concurrent, permit.rate, permit.per_seconds) == (count, 3, 2)


@pytest.mark.parametrize("who", ["x" * 201, ""])
def test_a_key_nobody_can_use_is_a_failure_in_words(who: str) -> None:
    run = Run(task("a", locks=["${who}"]), input={"who": who})
    assert run.status == "FAILED"
    assert "keys have 1 to 200 characters" in run.errors("a")[0].message


def test_an_abort_leaves_a_map_completed_that_has_enough_in_the_end() -> None:
    run = Run(task("ask", for_each=[1, 2, 3], enough=2))
    run.abort()
    run.succeed("ask[0]", "ask[1]")
    run.fail_for_good("ask[2]")
    assert run.status == "CANCELLED"
    assert run.statuses["ask"] == "COMPLETED"
