"""The workflow control-flow patterns (WCP-1 … WCP-43) that a definition can express: each shows what makes the pattern that pattern.

``docs/reference/patterns.md`` says how each is written; ``tests/docs/test_patterns_page.py`` compares. Patterns that take more than one
run at once are in ``tests/unit/app/test_patterns_with_engine.py``.
"""

from __future__ import annotations

import pytest

from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from tests.scenarios.runs import Run, task

ALL_WAYS = {"left": "${score} > 1", "right": "${score} > 5"}


def test_wcp_01_sequence() -> None:
    run = Run(task("a"), task("b", "a"))
    assert run.in_work == ["a"], "the second does not start before the first has ended"
    run.succeed("a")
    assert run.in_work == ["b"]


def test_wcp_02_parallel_split() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "a"))
    run.succeed("a")
    assert run.in_work == ["b", "c"]


def test_wcp_03_synchronization() -> None:
    run = Run(task("b"), task("c"), task("d", "b", "c"))
    run.succeed("c")
    assert run.in_work == ["b"]
    run.succeed("b")
    assert run.in_work == ["d"]


def exclusive(score: int) -> Run:
    run = Run(
        task("score"),
        TaskDefinition.choice("route", {"left": "${score} > 5", "right": "${score} > 1", "other": None}, {"score"}),
        *(task(name, "route") for name in ("left", "right", "other")),
        task("merge", "left", "right", "other"),
    )
    run.succeed("score", value=score)
    return run


@pytest.mark.parametrize(("score", "chosen"), [(9, "left"), (3, "right"), (0, "other")])
def test_wcp_04_exclusive_choice(score: int, chosen: str) -> None:
    run = exclusive(score)
    assert run.in_work == [chosen], "exactly one way is taken, also when more than one condition holds"
    assert [run.statuses[name] for name in ("left", "right", "other")].count("SKIPPED") == 2


@pytest.mark.parametrize("score", [9, 3, 0])
def test_wcp_05_simple_merge(score: int) -> None:
    run = exclusive(score)
    run.succeed(*run.in_work)
    assert run.in_work == ["merge"], "it follows whichever way was taken, without waiting for the others"
    run.succeed("merge")
    assert (run.status, run.record("merge").attempt) == ("COMPLETED", 1)


def many(score: int) -> Run:
    run = Run(
        task("score"),
        TaskDefinition.choice("route", ALL_WAYS, {"score"}, choose_many=True),
        task("left", "route"),
        task("right", "route"),
        task("merge", "left", "right"),
    )
    run.succeed("score", value=score)
    return run


@pytest.mark.parametrize(("score", "chosen"), [(9, ["left", "right"]), (3, ["left"]), (0, [])])
def test_wcp_06_multi_choice(score: int, chosen: list[str]) -> None:
    assert many(score).in_work == chosen


def test_wcp_07_structured_synchronizing_merge() -> None:
    run = many(9)
    run.succeed("left")
    assert run.in_work == ["right"], "it waits for every way that was taken"
    run.succeed("right")
    assert run.in_work == ["merge"]
    run = many(3)
    run.succeed("left")
    assert run.in_work == ["merge"], "and not for one that was not"


def test_wcp_09_structured_discriminator() -> None:
    run = Run(task("a"), task("b"), task("c"), task("first", "a", "b", "c", join="any"))
    run.succeed("b")
    assert run.in_work == ["a", "c", "first"], "it starts with the first, the others go on"
    run.succeed("first")
    run.succeed("a")
    run.succeed("c")
    assert (run.status, run.record("first").attempt) == ("COMPLETED", 1), "later ones are ignored and start nothing"


def test_wcp_11_implicit_termination() -> None:
    run = Run(task("a"), task("b"), task("c", "b"))
    run.succeed("a", "b")
    assert run.status == "RUNNING"
    run.succeed("c")
    assert run.status == "COMPLETED", "when nothing is left to do, without a task that says so"


def test_wcp_12_multiple_instances_without_synchronization() -> None:
    run = Run(task("start"), task("each", "start", for_each=[1, 2, 3]), task("next", "start"), task("end", "next"))
    run.succeed("start")
    run.succeed("next")
    run.succeed("end")
    assert run.in_work == ["each[0]", "each[1]", "each[2]"], "the other branch has not waited for any of them"


def test_wcp_13_multiple_instances_with_a_number_known_at_design_time() -> None:
    run = Run(task("each", for_each=["x", "y", "z"]), task("end", "each"))
    assert run.in_work == ["each[0]", "each[1]", "each[2]"]
    run.succeed("each[2]", "each[0]")
    assert "end" not in run.statuses, "they are synchronised"
    run.succeed("each[1]")
    assert run.in_work == ["end"]


def test_wcp_14_multiple_instances_with_a_number_known_at_run_time() -> None:
    for rows in ([1, 2], [1, 2, 3, 4], []):
        run = Run(task("load"), task("each", "load", for_each="${load}"), task("end", "each"))
        run.succeed("load", value=rows)
        assert sum(key.startswith("each[") for key in run.in_work) == len(rows)
        run.succeed(*(key for key in run.in_work if key.startswith("each[")))
        assert run.in_work == ["end"]


def race() -> Run:
    return Run(
        TaskDefinition.wait_for("paid", "payment", cancels={"expired"}),
        TaskDefinition.timer("expired", 60, cancels={"paid"}),
        task("ship", "paid"),
        task("release", "expired"),
    )


def test_wcp_16_deferred_choice() -> None:
    run = race()
    assert {run.statuses["paid"], run.statuses["expired"]} == {"WAITING"}, "both are on offer, nobody has chosen"
    run.signal("payment")
    assert (run.in_work, run.statuses["expired"]) == (["ship"], "CANCELLED"), "what happens first is the choice"
    run.wait(100)
    assert run.statuses["release"] == "SKIPPED"
    run = race()
    run.wait(60)
    run.signal("payment")
    assert (run.in_work, run.statuses["paid"]) == (["release"], "CANCELLED")


def test_wcp_18_milestone() -> None:
    def order() -> Run:
        return Run(
            task("reserve"),
            TaskDefinition.wait_for("door", "change", {"reserve"}),
            task("change", "door"),
            task("pack", "reserve"),
            task("send", "pack", cancels={"door"}),
        )

    run = order()
    run.succeed("reserve")
    run.signal("change")
    assert "change" in run.in_work, "after the milestone was reached, and before it has passed"
    run = order()
    run.signal("change")
    assert "change" not in run.statuses, "not before"
    run = order()
    run.succeed("reserve", "pack")
    run.succeed("send")
    assert run.statuses["change"] == "SKIPPED", "not after"
    assert run.status == "COMPLETED"


def test_wcp_19_cancel_task() -> None:
    run = Run(TaskDefinition.wait_for("stop", "stop", cancels={"work"}), task("work"), task("other"))
    token = run.token("work")
    run.signal("stop")
    assert run.stopped == [token], "what is in work is told to stop"
    assert (run.statuses["work"], run.statuses["other"]) == ("CANCELLED", "SCHEDULED")


def test_wcp_20_cancel_case() -> None:
    run = Run(task("a"), task("b"), TaskDefinition.timer("nap", 60), task("c", "a"))
    run.abort()
    assert len(run.stopped) == 2
    run.cancelled("a")
    run.cancelled("b")
    assert (run.status, run.state.next_due) == ("CANCELLED", None)
    assert "c" not in run.statuses


def test_wcp_21_structured_loop() -> None:
    run = Run(task("try", repeat_until="${try} > 2", when="${go}"), task("after", "try"), input={"go": True})
    for value in (1, 2, 3):
        assert run.in_work == [f"try[{value - 1}]"], "the condition is looked at after each iteration"
        run.succeed(f"try[{value - 1}]", value=value)
    assert run.in_work == ["after"]
    run = Run(task("try", repeat_until="${try} > 2", when="${go}"), input={"go": False})
    assert run.statuses == {"try": "SKIPPED"}, "and `when` before the first"


def test_wcp_24_persistent_trigger() -> None:
    run = Run(task("a"), TaskDefinition.wait_for("told", "news", {"a"}), task("b", "told"))
    run.signal("news", "early")
    run.succeed("a")
    assert run.result("told") == "early", "kept until somebody takes it"
    assert run.in_work == ["b"]


def test_wcp_25_cancel_region() -> None:
    run = Run(
        task("a"),
        task("in_work"),
        TaskDefinition.timer("waiting", 60),
        task("later", "in_work"),
        task("outside"),
        task("stop", "a", cancels={"in_work", "waiting", "later"}),
    )
    run.succeed("a")
    run.succeed("stop")
    assert {run.statuses[key] for key in ("in_work", "waiting", "later")} == {"CANCELLED"}
    assert run.statuses["outside"] == "SCHEDULED"
    assert len(run.facts(f.TasksCancelled)) == 1, "all at once"


def test_wcp_26_cancel_multiple_instance_task() -> None:
    run = Run(TaskDefinition.wait_for("stop", "stop", cancels={"each"}), task("each", for_each=[1, 2, 3]), task("x"))
    run.succeed("each[0]")
    run.signal("stop")
    assert [run.statuses[f"each[{i}]"] for i in range(3)] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert run.statuses["each"] == "CANCELLED"
    assert run.statuses["x"] == "SCHEDULED"


def test_wcp_27_complete_multiple_instance_task() -> None:
    run = Run(
        TaskDefinition.wait_for("stop", "stop", cancels={"each"}),
        task("each", for_each=[1, 2, 3]),
        task("after", "stop", "each", params={"got": "${each}"}),
    )
    run.succeed("each[0]", value="a")
    run.signal("stop")
    assert {run.statuses["each[1]"], run.statuses["each[2]"]} == {"CANCELLED"}
    assert run.in_work == ["after"], "what follows goes on at once"
    assert run.params("after") == {"got": None}, "but without the results there were: only partly"


def test_wcp_29_cancelling_discriminator() -> None:
    run = Run(task("a"), task("b"), task("c"), task("first", "a", "b", "c", join="any", cancel_rest=True))
    rest = [run.token("a"), run.token("c")]
    run.succeed("b")
    assert run.in_work == ["first"]
    assert run.stopped == rest


def test_wcp_30_structured_partial_join() -> None:
    run = Run(task("a"), task("b"), task("c"), task("two", "a", "b", "c", join=2))
    run.succeed("c")
    assert "two" not in run.statuses
    run.succeed("a")
    assert run.in_work == ["b", "two"]
    run.succeed("two")
    run.succeed("b")
    assert (run.status, run.record("two").attempt) == ("COMPLETED", 1)


def test_wcp_32_cancelling_partial_join() -> None:
    run = Run(task("a"), task("b"), task("c"), task("two", "a", "b", "c", join=2, cancel_rest=True))
    run.succeed("a")
    assert run.in_work == ["b", "c"]
    run.succeed("b")
    assert run.in_work == ["two"]
    assert run.statuses["c"] == "CANCELLED"


def test_wcp_34_static_partial_join_for_multiple_instances() -> None:
    run = Run(*(task(f"ask{i}") for i in range(5)), task("go", *(f"ask{i}" for i in range(5)), join=3))
    run.succeed("ask4", "ask0", "ask2")
    assert run.in_work == ["ask1", "ask3", "go"], "the others go on and change nothing"


def test_wcp_35_cancelling_partial_join_for_multiple_instances() -> None:
    run = Run(task("ask", for_each=[0, 1, 2, 3, 4], enough=3), task("go", "ask", params={"got": "${ask}"}))
    for index in (4, 0, 2):
        run.succeed(f"ask[{index}]", value=index)
    assert run.in_work == ["go"]
    assert {run.statuses["ask[1]"], run.statuses["ask[3]"]} == {"CANCELLED"}
    assert run.params("go") == {"got": [0, 2, 4]}


def test_wcp_37_local_synchronizing_merge() -> None:
    def run_with(score: int) -> Run:
        run = Run(
            task("score"),
            task("left", "score", when="${score} > 1"),
            task("right", "score", when="${score} > 5"),
            task("further", "right"),
            task("merge", "left", "further"),
        )
        run.succeed("score", value=score)
        return run

    run = run_with(3)
    assert run.statuses["further"] == "SKIPPED", "what lies behind a way that was not taken says so itself"
    run.succeed("left")
    assert run.in_work == ["merge"]
    run = run_with(9)
    run.succeed("left", "right")
    assert run.in_work == ["further"]
    run.succeed("further")
    assert run.in_work == ["merge"]


def test_wcp_38_general_synchronizing_merge() -> None:
    run = Run(
        task("a", when="1 == 2"),
        task("loop", repeat_until="${iteration} == 2"),
        task("b", "loop"),
        TaskDefinition.wait_for("call", "ring"),
        TaskDefinition.timer("late", 60, cancels={"call"}),
        task("merge", "a", "b", "call"),
    )
    run.succeed("loop[0]")
    run.succeed("loop[1]")
    run.succeed("b")
    assert run.in_work == [], "the call may still come"
    run.wait(60)
    assert run.in_work == ["merge"], "now it cannot: there is nothing left to wait for"


def test_wcp_40_interleaved_routing() -> None:
    run = Run(task("a"), task("b"), task("c"), max_parallel=1)
    order: list[str] = []
    while run.in_work:
        assert len(run.in_work) == 1
        order += run.in_work
        run.succeed(*run.in_work)
    assert sorted(order) == ["a", "b", "c"]


def test_wcp_43_explicit_termination() -> None:
    run = Run(task("found", ends_run=True), task("search"), task("later", "search"), TaskDefinition.timer("nap", 60))
    run.succeed("found")
    assert len(run.stopped) == 1
    run.cancelled("search")
    assert (run.status, run.state.next_due) == ("COMPLETED", None)
    assert "later" not in run.statuses
