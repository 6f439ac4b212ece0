"""The fluent way to write a definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from agenticflow.errors import DefinitionError
from agenticflow.orchestration.builder import Steps, WorkflowBuilder
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.options import RepeatingOptions, WorkflowOptions


def after(definition: WorkflowDefinition) -> dict[str, tuple[str, ...]]:
    return {task.task_id: tuple(task.dependencies) for task in definition.tasks}


def one(definition: WorkflowDefinition, task_id: str) -> TaskDefinition:
    return next(task for task in definition.tasks if task.task_id == task_id)


def step(name: str, **options: Any) -> Steps:
    return Steps().add_step(name, "x", **options)


# --- one step after the other ---------------------------------------------------------------------------------------------


def test_steps_follow_each_other() -> None:
    built = (
        WorkflowBuilder("orders").add_step("reserve", "stock").add_step("ship", "courier", "deliver", {"x": 1}).build()
    )
    assert built == WorkflowDefinition(
        [TaskDefinition("reserve", "stock"), TaskDefinition("ship", "courier", "deliver", {"x": 1}, {"reserve"})],
        name="orders",
    )


def test_dependencies_may_be_named_by_one_text_by_many_or_be_none() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("a", "x")
        .add_step("b", "x", depends_on=())
        .add_step("c", "x", depends_on="a")
        .add_step("d", "x", depends_on={"b", "c"})
        .build()
    )
    assert after(built) == {"a": (), "b": (), "c": ("a",), "d": ("b", "c")}


def test_timers_signals_and_approvals_are_steps() -> None:
    built = (
        WorkflowBuilder("w", timeout_seconds=60)
        .add_signal("go", "started", total_timeout_seconds=5)
        .add_timer("nap", 5)
        .add_approval("sure", "Go on?")
        .add_step("end", "x", timeout_seconds=7)
        .build()
    )
    assert after(built) == {"go": (), "nap": ("go",), "sure": ("nap",), "end": ("sure",)}
    go, nap, sure, end = built.tasks
    assert (go.signal, nap.delay_seconds, sure.approval, end.timeout_seconds) == ("started", 5, "Go on?", 7)
    assert built.timeout_seconds == 60


def test_a_step_may_be_for_whoever_is_able_to() -> None:
    built = WorkflowBuilder("w").add_step("a", capabilities={"sums"}, task_type="add").build()
    assert built.tasks == (TaskDefinition("a", task_type="add", capabilities={"sums"}),)


def test_maps_and_loops_are_steps() -> None:
    inner = WorkflowBuilder("inner").add_step("only", "x").build()
    built = (
        WorkflowBuilder("w")
        .add_map("squares", "x", "square", {"n": "${item}"}, for_each=[1, 2], max_parallel=1)
        .add_loop("improve", "x", None, {"old": "${previous}"}, repeat_until="${improve} > 3", repeat_from=1)
        .add_map("each", inner, None, {"n": "${item}"}, for_each="${squares}")
        .add_loop("again", inner, repeat_until="${iteration} > 3", max_iterations=5)
        .build()
    )
    assert one(built, "squares") == TaskDefinition(
        "squares", "x", "square", {"n": "${item}"}, for_each=[1, 2], max_parallel=1
    )
    assert one(built, "improve").repeat_from == 1
    assert (one(built, "each").workflow, one(built, "again").workflow) == (inner, inner)
    assert after(built)["again"] == ("each",)


def test_a_workflow_is_a_step_as_a_definition_a_builder_or_a_name() -> None:
    inner = WorkflowBuilder("inner").add_step("only", "x")
    built = (
        WorkflowBuilder("w")
        .add_workflow("a", inner, {"k": 1})
        .add_workflow("b", inner.build(), on_cancel="detach")
        .add_workflow("c", "registered", for_each="${a}")
        .build()
    )
    assert [task.workflow for task in built.tasks] == [inner.build(), inner.build(), "registered"]
    assert one(built, "a").params == {"k": 1}


def test_a_step_may_be_undone_by_a_worker() -> None:
    built = WorkflowBuilder("orders").add_step("reserve", "reserve_stock", compensation="release_stock").build()
    assert built.tasks == (TaskDefinition("reserve", "reserve_stock", compensation="release_stock"),)


def test_a_run_may_end_in_the_next() -> None:
    built = WorkflowBuilder("w").add_step("a", "x").add_next_run("again", {"n": "${a}"}).build()
    assert one(built, "again") == TaskDefinition("again", dependencies=["a"], continue_with={"n": "${a}"})


def test_a_fallback_runs_instead_of_an_earlier_step_and_is_followed_by_nothing() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("charge", "bank")
        .add_fallback("charge", "invoice", "office", "write", {"kind": "paper"})
        .add_step("ship", "courier")
        .build()
    )
    assert one(built, "charge").fallback == "invoice"
    assert after(built) == {"charge": (), "invoice": (), "ship": ("charge",)}


# --- groups ---------------------------------------------------------------------------------------------------------------


def test_the_step_after_a_parallel_group_joins_the_ends_of_its_branches() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("load", "x")
        .add_parallel(step("a").add_step("a2", "x"), step("b"))
        .add_step("join", "x")
        .build()
    )
    assert after(built) == {"load": (), "a": ("load",), "a2": ("a",), "b": ("load",), "join": ("a2", "b")}


def test_a_group_may_come_first_inside_another_group_and_after_named_steps() -> None:
    built = (
        WorkflowBuilder("w")
        .add_parallel(Steps().add_parallel(step("a"), step("b")).add_step("c", "x"), step("d"))
        .add_parallel(step("e"), step("f"), depends_on="d")
        .build()
    )
    assert after(built) == {"a": (), "b": (), "c": ("a", "b"), "d": (), "e": ("d",), "f": ("d",)}


def test_a_branch_keeps_what_a_step_of_it_says_it_follows() -> None:
    built = WorkflowBuilder("w").add_step("a", "x").add_parallel(step("b").add_step("c", "x", depends_on=())).build()
    assert after(built) == {"a": (), "b": ("a",), "c": ()}


def test_a_choice_leads_into_branches_and_the_next_step_follows_whichever_was_taken() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("score", "x")
        .add_choice("route", {"${score} > 8": step("accept").add_step("greet", "x")}, otherwise=step("reject"))
        .add_step("end", "x")
        .build()
    )
    assert one(built, "route") == TaskDefinition.choice("route", {"accept": "${score} > 8", "reject": None}, {"score"})
    assert after(built)["accept"] == after(built)["reject"] == ("route",)
    assert after(built)["end"] == ("greet", "reject")


def test_a_choice_may_go_straight_on() -> None:
    built = (
        WorkflowBuilder("w")
        .add_choice("rich", {"${sum} > 8": step("tax")}, otherwise=Steps())
        .add_step("end", "x")
        .build()
    )
    assert one(built, "rich-none").delay_seconds == 0
    assert after(built)["end"] == ("tax", "rich-none")


def test_a_choice_of_many_that_may_choose_nothing_does_not_hold_up_what_follows() -> None:
    ways = {"${by_mail}": step("mail"), "${by_text}": step("text")}
    built = WorkflowBuilder("w").add_choice("tell", ways, choose_many=True).add_step("end", "x").build()
    assert after(built)["end"] == ("mail", "text", "tell")
    built = WorkflowBuilder("w").add_choice("tell", {"${by_mail}": step("mail")}).add_step("end", "x").build()
    assert after(built)["end"] == ("mail",)


def test_the_first_of_several_waits_cancels_the_others() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("bill", "x")
        .add_first_of(
            Steps().add_signal("paid", "paid").add_step("thank", "x"),
            Steps().add_timer("late", 60).add_step("remind", "x"),
            Steps().add_approval("waive", "Let it go?", cancels=["bill"]),
        )
        .add_step("end", "x")
        .build()
    )
    assert one(built, "paid").cancels == ("late", "waive")
    assert one(built, "waive").cancels == ("bill", "paid", "late")
    assert after(built)["late"] == ("bill",)
    assert after(built)["end"] == ("thank", "remind", "waive")


# --- mistakes -------------------------------------------------------------------------------------------------------------


def new() -> WorkflowBuilder:
    return WorkflowBuilder("w").add_step("a", "x")


UNTYPED: Any = WorkflowBuilder


def untyped() -> Any:
    return new()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: new().add_step("b", "x", depends_on="nowhere").build(), "depends on 'nowhere'"),
        (lambda: WorkflowBuilder("w").build(), "there are no tasks"),
        (lambda: new().add_step("a", "x"), "there is a step 'a' already"),
        (lambda: new().add_parallel(step("a")), "there is a step 'a' already"),
        (
            lambda: untyped().add_step("b", "x", timeout=3),
            r"step 'b' has no option timeout= .did you mean timeout_seconds=",
        ),
        (lambda: UNTYPED("w", zzz=1), r"workflow 'w' has no option zzz= .there are budget, context, "),
        (lambda: new().add_step("b", "x", enough=2), "enough of task 'b' needs for_each"),
        (lambda: new().add_fallback("aa", "b", "x"), r"step 'b' is the fallback of 'aa', which was not .*mean 'a'"),
        (lambda: new().add_fallback("zzz", "b", "x"), "add it before"),
        (lambda: new().add_parallel(), "add_parallel got no branches"),
        (lambda: new().add_parallel(step("b"), Steps()), "branch 2 of add_parallel has no steps"),
        (lambda: new().add_choice("c", {}), "choice 'c' has no ways"),
        (lambda: new().add_choice("c", {"1 > 2": Steps()}), "the way '1 > 2' of choice 'c' has no steps"),
        (
            lambda: new().add_choice("c", {"${z}": Steps().add_parallel(step("d"), step("e"))}),
            "the way '.{z}' of choice 'c' begins with 2 steps",
        ),
        (
            lambda: new().add_choice("c", {"${z}": step("d")}, otherwise=Steps().add_parallel(step("e"), step("f"))),
            "otherwise of 'c' begins with 2 steps",
        ),
        (lambda: new().add_choice("c", {"1 > 2": step("d")}, otherwise=Steps()).build(), "task 'd' can never run"),
        (lambda: new().add_first_of(Steps().add_signal("s", "s")), "add_first_of got 1 ways"),
        (
            lambda: new().add_first_of(
                Steps().add_timer("t", 1), Steps().add_parallel(Steps().add_timer("u", 1), Steps().add_timer("v", 1))
            ),
            "2 ways that begin with 3 steps",
        ),
        (
            lambda: new().add_first_of(Steps().add_timer("t", 1), step("b")),
            "way 2 of add_first_of begins with step 'b', which does not wait",
        ),
    ],
)
def test_mistakes_are_told_with_the_step(wrong: Callable[[], object], words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        wrong()


def test_a_branch_is_made_of_steps() -> None:
    wrong: Any = [TaskDefinition("b", "x")]
    with pytest.raises(DefinitionError, match=r"branch 1 of add_parallel is a list, not Steps"):
        new().add_parallel(wrong)
    with pytest.raises(DefinitionError, match=r"otherwise of 'c' is a list, not Steps"):
        new().add_choice("c", {"${z}": step("d")}, otherwise=wrong)


def test_the_name_comes_first() -> None:
    wrong: Any = [TaskDefinition("a", "x")]
    with pytest.raises(DefinitionError, match=r'write WorkflowBuilder\("orders"\)'):
        WorkflowBuilder(wrong)


def test_a_builder_shows_its_steps() -> None:
    assert repr(new().add_step("b", "x")) == "WorkflowBuilder(a, b)"
    assert repr(step("a")) == "Steps(a)"


def test_the_typed_options_are_those_of_the_definitions() -> None:
    fields = {field.name: field for field in msgspec.structs.fields(TaskDefinition)}
    kinds = {"workflow", "choices", "delay_seconds", "signal", "approval", "continue_with"}
    head = {"task_id", "agent_id", "task_type", "params", "dependencies"}
    assert set(RepeatingOptions.__annotations__) == set(fields) - head - kinds
    whole = {field.name for field in msgspec.structs.fields(WorkflowDefinition)}
    assert set(WorkflowOptions.__annotations__) == whole - {"name", "tasks", "code"}
