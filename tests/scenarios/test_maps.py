"""Dynamic maps: one item of work per element of a list that is known only when the map starts."""

from __future__ import annotations

from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, once, task


def mapped(**options: object) -> list[TaskDefinition]:
    return [task("list"), task("each", "list", for_each="${list}", params={"x": "${item}", "n": "${index}"}, **options)]


def test_every_element_becomes_an_item_with_its_own_params() -> None:
    run = Run(*mapped())
    run.succeed("list", value=["a", {"b": 1}])
    assert run.in_work == ["each[0]", "each[1]"]
    assert run.params("each[0]") == {"x": "a", "n": 0}
    assert run.params("each[1]") == {"x": {"b": 1}, "n": 1}


def test_items_see_what_any_task_sees() -> None:
    run = Run(
        task("list"),
        task("each", "list", for_each="${list}", params={"x": "${item} of ${user}"}),
        input={"user": "ada"},
    )
    run.succeed("list", value=["car"])
    assert run.params("each[0]") == {"x": "car of ada"}


def test_the_result_of_a_map_is_the_list_of_its_items_results_in_order() -> None:
    run = Run(*mapped(), task("join", "each", params={"all": "${each}"}))
    run.succeed("list", value=[1, 2, 3])
    for index in (2, 0, 1):
        run.succeed(f"each[{index}]", value=index * 10)
    assert run.result("each") == [0, 10, 20]
    assert run.params("join") == {"all": [0, 10, 20]}


def test_a_map_over_an_empty_list_is_complete_at_once() -> None:
    run = Run(*mapped(), task("join", "each"))
    run.succeed("list", value=[])
    assert run.result("each") == []
    assert run.in_work == ["join"]


def test_a_map_over_a_literal_list_needs_nobody_before_it() -> None:
    run = Run(task("each", for_each=["a", "b"]))
    run.succeed("each[0]", "each[1]")
    assert run.status == "COMPLETED"


def test_at_most_max_parallel_items_are_in_work() -> None:
    run = Run(*mapped(max_parallel=2))
    run.succeed("list", value=list(range(5)))
    seen = []
    while run.in_work:
        seen.append(list(run.in_work))
        run.succeed(run.in_work[-1])
    assert [len(keys) for keys in seen] == [2, 2, 2, 2, 1]
    assert seen[1] == ["each[0]", "each[2]"]
    assert run.status == "COMPLETED"


def test_an_item_that_waits_for_its_retry_still_counts_as_in_work() -> None:
    run = Run(*mapped(max_parallel=1))
    run.succeed("list", value=[1, 2])
    run.fail("each[0]")
    assert run.in_work == []
    run.wait(60)
    assert run.in_work == ["each[0]"]


def test_the_other_items_go_on_when_one_fails_and_then_the_map_fails() -> None:
    run = Run(*mapped(max_parallel=1), task("join", "each"))
    run.succeed("list", value=[1, 2, 3])
    run.succeed("each[0]")
    run.fail_for_good("each[1]")
    assert run.in_work == ["each[2]"]
    run.succeed("each[2]")
    assert run.statuses["each"] == "FAILED"
    assert run.status == "FAILED"
    problem = run.facts(f.WorkflowFailed)[0]
    assert problem.failed == ["each", "each[1]"]
    assert problem.remaining == ["join"]


def test_a_map_over_something_that_is_no_list_fails_and_says_so() -> None:
    run = Run(*mapped())
    run.succeed("list", value={"rows": []})
    assert "gives a dict, not a list" in run.errors("each")[0].message


def test_a_map_over_a_path_that_leads_nowhere_fails() -> None:
    run = Run(task("list"), task("each", "list", for_each="${list.rows}"))
    run.succeed("list", value={})
    assert run.status == "FAILED"


def test_a_map_over_too_many_items_is_refused_before_it_starts() -> None:
    run = Run(*mapped())
    run.succeed("list", value=[0] * 33_334)
    assert "33,334 items, above the limit" in run.errors("each")[0].message


def test_a_map_is_skipped_like_any_task() -> None:
    run = Run(task("list"), task("each", "list", for_each="${list}", when="${list}"), task("end", "each"))
    run.succeed("list", value=[])
    assert run.statuses == {"list": "COMPLETED", "each": "SKIPPED", "end": "SKIPPED"}


def test_each_item_has_its_own_jitter() -> None:
    run = Run(*mapped())
    run.succeed("list", value=[1, 2])
    run.fail("each[0]")
    run.fail("each[1]")
    first, second = run.facts(f.TaskRetryScheduled)
    assert first.retry_at != second.retry_at


def test_the_next_run_keeps_the_items_that_were_done() -> None:
    run = Run(*mapped(), task("join", "each"))
    run.succeed("list", value=[1, 2, 3])
    run.succeed("each[0]", value="zero")
    run.fail_for_good("each[1]")
    run.succeed("each[2]", value="two")
    again = Run(*mapped(), task("join", "each"), run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["each[1]"]
    again.succeed("each[1]", value="one")
    assert again.result("each") == ["zero", "one", "two"]
    assert again.in_work == ["join"]


def test_a_map_whose_items_are_all_kept_is_complete_at_once() -> None:
    tasks = [*mapped(), task("bad")]
    run = Run(*tasks)
    run.succeed("list", value=[1, 2])
    run.succeed("each[0]", "each[1]", value=5)
    run.fail_for_good("bad")
    again = Run(*tasks, run_no=2, carried=carry_over(run.state))
    assert again.in_work == ["bad"]
    assert again.result("each") == [5, 5]


def test_kept_items_that_a_bounded_map_has_not_come_to_are_kept_by_the_run_after_too() -> None:
    """Found while writing this: with ``max_parallel`` they were forgotten by the second resume, and ran again."""
    tasks = mapped(max_parallel=1)
    run = Run(*tasks)
    run.succeed("list", value=[1, 2, 3])
    run.fail_for_good("each[0]")
    run.succeed("each[1]", "each[2]", value="done")
    second = Run(*tasks, run_no=2, carried=carry_over(run.state))
    assert second.in_work == ["each[0]"]
    second.fail_for_good("each[0]")
    second_aborted = Run(*tasks, run_no=2, carried=carry_over(run.state))
    second_aborted.abort()
    second_aborted.cancelled("each[0]")
    for state in (second.state, second_aborted.state):
        assert set(carry_over(state).kept) == {"list", "each[1]", "each[2]"}
    third = Run(*tasks, run_no=3, carried=carry_over(second_aborted.state))
    third.succeed("each[0]")
    assert third.status == "COMPLETED"
    assert [fact.task_key for fact in third.facts(f.TaskScheduled)] == ["each[0]"]


def test_running_again_from_a_map_forgets_items_it_had_not_come_to() -> None:
    tasks = mapped(max_parallel=1)
    run = Run(*tasks)
    run.succeed("list", value=[1, 2])
    run.fail_for_good("each[0]")
    run.succeed("each[1]")
    second = Run(*tasks, run_no=2, carried=carry_over(run.state))
    second.abort()
    second.cancelled("each[0]")
    carried = carry_over(second.state, "each")
    assert set(carried.kept) == {"list"}
    assert carried.generations == {"each[1]": 1}


def test_items_that_must_not_run_twice_are_asked_about_one_by_one() -> None:
    run = Run(task("list"), once("each", "list", for_each="${list}", max_parallel=1))
    run.succeed("list", value=[1, 2])
    run.started("each[0]")
    run.time_out("each[0]")
    assert run.status == "NEEDS_ATTENTION"
    run.resolve("each[0]", "completed", value="it went through")
    assert run.in_work == ["each[1]"]
    run.started("each[1]")
    run.time_out("each[1]")
    run.resolve("each[1]", "failed")
    assert run.status == "FAILED"
