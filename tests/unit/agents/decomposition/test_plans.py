"""A decomposition as a workflow: who does what, who waits for whom, what each is given, and what must not run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from agenticflow import Agent, TaskContext
from agenticflow.agents import Candidate, CapabilityRegistry
from agenticflow.agents.decomposition import Bounds, Decomposition, Doer, Plan, PlannedTask, Strategy, lay_out
from agenticflow.agents.decomposition.plans.ordering import cycle_problems, levels_of, waits_for
from agenticflow.core.engine import EffectClass
from agenticflow.resilience import RetryPolicy


def doer(agent: Agent, **about: Any) -> Doer:
    handlers = {name: handler for name in agent.task_types if (handler := agent.handler_for(name)) is not None}
    return Doer(Candidate(agent_id=agent.agent_id, capabilities=agent.capabilities, **about), handlers, agent.role)


def team() -> list[Doer]:
    analyst, second = Agent("analyst", {"sql", "statistics"}), Agent("second", {"sql"})
    writer, reader = Agent("writer", {"writing"}), Agent("reader", {"reading", "checks"})

    for agent in (analyst, second):

        @agent.task("load")
        async def load(table: str) -> list[int]:
            return [len(table)]

    @analyst.task("statistics")
    async def statistics(rows: list[int], weight: float = 1.0) -> float:
        return sum(rows) * weight

    @writer.task("run")
    async def run(query: str, tone: str = "plain") -> str:
        return query

    @reader.task("check")
    async def check(context: TaskContext) -> bool:
        return bool(context)

    @reader.task("compare")
    async def compare(load: list[int], rows: list[int]) -> bool:
        return load == rows

    return [doer(agent) for agent in (analyst, second, writer, reader)]


def load(task_id: str = "load", *after: str, **fields: Any) -> PlannedTask:
    return PlannedTask("load", ("sql",), {"table": "sales"}, after, id=task_id, **fields)


def text(task_id: str, *after: str, **parameters: object) -> PlannedTask:
    return PlannedTask("report", ("writing",), parameters, after, id=task_id)


def planned(
    *tasks: PlannedTask, strategy: Strategy = Strategy.PARALLEL, doers: list[Doer] | None = None, **more: Any
) -> Plan:
    found = lay_out(Decomposition(strategy, tasks), team() if doers is None else doers, **more)
    assert found.plan is not None, found.problems
    return found.plan


def told(
    *tasks: PlannedTask, strategy: Strategy = Strategy.PARALLEL, doers: list[Doer] | None = None, **more: Any
) -> str:
    found = lay_out(Decomposition(strategy, tasks), team() if doers is None else doers, **more)
    assert found.plan is None
    return "; ".join(found.problems)


def mended(*tasks: PlannedTask, **more: Any) -> str:
    found = lay_out(Decomposition(Strategy.PARALLEL, tasks), team(), **more)
    assert found.plan is not None, found.problems
    return "; ".join(found.repairs)


def waits(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    return {task.task_id: tuple(task.dependencies) for task in plan.definition.tasks}


# --- the strategy orders what does not say ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        (Strategy.SEQUENTIAL, {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}),
        (Strategy.PIPELINE, {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}),
        (Strategy.PARALLEL, {"a": (), "b": (), "c": (), "d": ()}),
        (Strategy.HIERARCHICAL, {"a": (), "b": ("a",), "c": ("a",), "d": ("b", "c")}),
    ],
)
def test_each_strategy(strategy: Strategy, expected: dict[str, tuple[str, ...]]) -> None:
    plan = planned(*(load(name) for name in "abcd"), strategy=strategy)
    assert waits(plan) == expected
    assert plan.definition.strategy == strategy.value


def test_a_hierarchy_of_two_is_one_after_the_other() -> None:
    assert waits(planned(load("a"), load("b"), strategy=Strategy.HIERARCHICAL)) == {"a": (), "b": ("a",)}


def test_what_tasks_say_counts_whatever_the_strategy() -> None:
    plan = planned(load("a"), load("b"), load("c", "a"), strategy=Strategy.SEQUENTIAL)
    assert waits(plan) == {"a": (), "b": (), "c": ("a",)}
    assert (plan.depth, plan.width) == (2, 2)


def test_cycles_are_told_with_their_way_and_with_what_hangs_on_them() -> None:
    words = told(load("a", "c"), load("b", "a"), load("c", "b"), load("d", "c"), load("e", "d"), load("f"))
    assert "tasks wait for each other: " in words
    assert "task 'd' can never start" in words
    assert "task 'e' can never start" in words
    assert "'f'" not in words
    assert cycle_problems({"a": [], "b": ["a"]}) == []


def test_levels_and_ways() -> None:
    graph = {"a": [], "b": ["a"], "c": ["a", "b"], "d": []}
    assert levels_of(graph) == [["a", "d"], ["b"], ["c"]]
    assert waits_for(graph, "c", "a")
    assert not waits_for(graph, "a", "c")
    assert not waits_for({"a": ["b"], "b": ["a", "c"], "c": []}, "a", "d")


# --- as wide as it may be -----------------------------------------------------------------------------------------------


def test_what_follows_anyway_is_left_out() -> None:
    plan = planned(load("a"), text("b", "a"), text("c", "b", "a"))
    assert waits(plan)["c"] == ("b",)
    assert plan.left_out == ("a -> c",)


def test_a_dependency_whose_result_a_handler_reads_stays() -> None:
    check = PlannedTask("check", ("checks",), {}, ("a", "b"), id="c")
    assert waits(planned(load("a"), text("b", "a"), check))["c"] == ("a", "b")
    compare = PlannedTask("compare", ("reading",), {"rows": "${load}"}, ("load", "b"), id="c")
    assert waits(planned(load(), text("b", "load"), compare))["c"] == ("load", "b")
    given = PlannedTask("compare", ("reading",), {"rows": "${load}", "load": [1]}, ("load", "b"), id="c")
    assert waits(planned(load(), text("b", "load"), given))["c"] == ("b",)


def test_a_crowd_is_bounded_and_what_much_hangs_on_goes_first() -> None:
    tasks = [load("a"), text("b", "a"), text("c", "b"), *(load(f"x{n}") for n in range(3))]
    plan = planned(*tasks, bounds=Bounds(max_parallel=2))
    assert plan.definition.max_parallel == 2
    assert {task.task_id: task.priority for task in plan.definition.tasks} == {
        "a": 2,
        "b": 1,
        "c": 0,
        "x0": 0,
        "x1": 0,
        "x2": 0,
    }
    assert planned(*tasks).definition.max_parallel is None


# --- who does what ------------------------------------------------------------------------------------------------------


def test_work_is_shared_out() -> None:
    plan = planned(*(load(f"l{n}") for n in range(4)))
    assert sorted(task.agent_id for task in plan.definition.tasks) == ["analyst", "analyst", "second", "second"]
    assert all(task.on_failure == "reassign" and task.capabilities == ("sql",) for task in plan.definition.tasks)


def test_a_capability_spelt_otherwise_and_twice() -> None:
    task = PlannedTask("load", ("SQL", "sql"), {"table": "t"}, id="a")
    assert planned(task).definition.tasks[0].capabilities == ("sql",)
    assert "needs 'SQL': 'sql' was taken" in mended(task)


def test_nobody_has_it() -> None:
    assert "did you mean 'writing'?" in told(PlannedTask("a", ("writin",), id="a"))
    assert "there are 'checks', 'reading', 'sql', 'statistics', 'writing'" in told(PlannedTask("a", ("zzz",), id="a"))
    assert "there are none" in told(PlannedTask("a", ("zzz",), id="a"), doers=[])


def test_nobody_has_all_of_it() -> None:
    words = told(PlannedTask("load", ("sql", "writing"), id="a"))
    assert "no agent has 'sql', 'writing'" in words
    assert "comes closest and lacks 'writing'" in words


def test_whoever_has_it_has_no_handler_for_it() -> None:
    words = told(PlannedTask("delete", ("reading",), id="a"))
    assert words == "task 'a': 'reader' could do it, and has no handler for 'delete'; it has 'check', 'compare'"


def test_an_only_handler_does_whatever_its_agent_can() -> None:
    plan = planned(PlannedTask("fetch all rows", ("sql",), {"table": "t"}, id="a"))
    assert (plan.definition.tasks[0].agent_id, plan.definition.tasks[0].task_type) == ("second", "load")
    assert "of type 'fetch all rows' is done by second.load" in mended(
        PlannedTask("fetch all rows", ("sql",), {"table": "t"}, id="a")
    )


def test_a_handler_called_like_a_capability() -> None:
    task = PlannedTask("add up", ("statistics",), {"rows": [1]}, id="a")
    assert planned(task).definition.tasks[0].task_type == "statistics"


def test_without_capabilities_the_type_says_who() -> None:
    assert planned(PlannedTask("statistics", (), {"rows": [1]}, id="a")).definition.tasks[0].on_failure == "fail"
    words = told(PlannedTask("conjure", (), id="a", agent="wizard"))
    assert "nobody in service does 'conjure'; there is no agent 'wizard'; there are 'check'" in words
    assert "there is no agent" not in told(
        PlannedTask("conjure", (), id="a", agent="second"), doers=team()[2:3]
    ).replace("there is no agent 'second'", "")


def test_an_agent_that_is_named() -> None:
    assert planned(load("a", agent="second"), load("b", agent="second")).definition.tasks[1].agent_id == "second"
    assert "agent 'writer' cannot do it, and another was looked for" in mended(load(agent="writer"))
    assert "there is no agent 'x', and another" in mended(load(agent="x"))
    away = [*team()[:1], doer(Agent("second", {"sql"}), is_available=False)]
    found = lay_out(Decomposition(Strategy.PARALLEL, (load(agent="second"),)), away)
    assert "agent 'second' is not in service" in "; ".join(found.repairs)
    assert found.plan is not None
    typed = PlannedTask("load", (), {"table": "t"}, id="a", agent="nobody")
    assert mended(typed) == "task 'a': there is no agent 'nobody', and another was looked for"


def test_more_general_capabilities() -> None:
    vocabulary = CapabilityRegistry()
    vocabulary.define("databases")
    vocabulary.define("sql", parent="databases")
    task = PlannedTask("load", ("databases",), {"table": "t"}, id="a")
    assert planned(task, vocabulary=vocabulary).definition.tasks[0].agent_id in ("analyst", "second")


def test_many_names_are_not_all_told() -> None:
    many = [doer(Agent(f"a{n}", {f"can_{n:02}"})) for n in range(25)]
    assert "and 5 more" in told(PlannedTask("x", ("zzz",), id="a"), doers=many)


def test_without_knowing_who_there_is() -> None:
    found = lay_out(Decomposition(Strategy.PARALLEL, (load(),)), None)
    assert found.plan is not None
    (task,) = found.plan.definition.tasks
    assert (task.agent_id, task.task_type, task.capabilities) == ("", "load", ("sql",))
    bare = lay_out(Decomposition(Strategy.PARALLEL, (PlannedTask("x", id="x"),)), None)
    assert bare.problems == ("task 'x' says no capabilities, and nothing is known of who there is",)


# --- what it is given ---------------------------------------------------------------------------------------------------


def params(plan: Plan, number: int = 0) -> Mapping[str, object]:
    return plan.definition.tasks[number].params or {}


def test_an_agent_for_any_task_is_given_words() -> None:
    plan = planned(load("a"), text("b", "a", length="short", tone="merry", of={"rows": "${a}"}))
    assert params(plan, 1) == {
        "tone": "merry",
        "query": "report\nlength: short\nof: {rows: ${a}}\nthis is part of the request: ${query}",
    }
    assert params(planned(load("a"), text("b", "a", query="Sum up")), 1) == {"query": "Sum up\na: ${a}"}
    assert "query: [1]" in str(params(planned(load("a"), text("b", "a", query=[1])), 1)["query"])
    assert params(planned(text("b"))) == {}
    assert params(planned(PlannedTask("run", ("writing",), {"query": "Hello"}, id="b"))) == {"query": "Hello"}


def test_words_go_where_a_handler_takes_them() -> None:
    def only(function: Any) -> list[Doer]:
        agent = Agent("any", {"writing"})
        agent.task("run")(function)
        return [doer(agent)]

    async def prompted(prompt: str) -> str:
        return prompt

    async def anything(params: dict[str, Any]) -> object:
        return params

    async def nothing() -> None:
        return None

    for function in (prompted, anything):
        assert params(planned(text("b"), doers=only(function))) == {"prompt": "${query}"}
        asked = planned(text("b", prompt="Sum up", n=1), doers=only(function))
        assert params(asked) == {"prompt": "Sum up\nn: 1"}
    assert params(planned(text("b"), doers=only(nothing))) == {}
    assert "takes no 'n'" in told(text("b", n=1), doers=only(nothing))
    run = PlannedTask("run", ("writing",), {}, ("a",), id="b")
    assert params(planned(load("a"), run), 1) == {"query": "a: ${a}\nthis is part of the request: ${query}"}


def test_words_of_a_model_are_never_references() -> None:
    task = PlannedTask("show ${load}", ("writing",), {"${x}": 1}, id="b")
    assert str(params(planned(load(), task), 1)["query"]).startswith("show $${load}\n$${x}: 1")


def test_what_a_handler_does_not_take_and_what_it_lacks() -> None:
    words = told(PlannedTask("load", ("sql",), {"tabel": "t"}, id="a"))
    assert "needs the parameter 'table'" in words
    assert "takes no 'tabel'" in words
    assert "does not take 7" in told(PlannedTask("load", ("sql",), {"table": 7}, id="a"))
    assert told(PlannedTask("statistics", ("statistics",), {"rows": "${a}", "n": "${a}"}, ("a",), id="b"), load("a"))


def test_a_pipeline_gives_a_stage_what_the_one_before_has_made() -> None:
    add = PlannedTask("statistics", ("statistics",), {}, id="b")
    plan = planned(load("a"), add, strategy=Strategy.PIPELINE)
    assert params(plan, 1) == {"rows": "${a}"}
    assert "needs the parameter 'rows'" in told(load("a"), add, strategy=Strategy.SEQUENTIAL)


def test_what_came_with_the_request_fills_what_is_missing() -> None:
    assert params(planned(PlannedTask("load", ("sql",), {}, id="a"), context_keys=["table"])) == {}
    words = told(PlannedTask("load", ("sql",), {"table": "${context.name}"}, id="a"), context_keys=["table"])
    assert words == "task 'a' uses ${context.name}; what came with the request is 'query', 'table'"
    planned(PlannedTask("load", ("sql",), {"table": "${context.name}"}, id="a"))
    planned(PlannedTask("load", ("sql",), {"table": "${context.name} ${input.query}"}, id="a"), context_keys=["name"])
    planned(PlannedTask("load", ("sql",), {"table": "${name}"}, id="a"), context_keys=["name"])
    planned(text("a", of="${context}"), context_keys=[])
    assert told(load("a"), context_keys=["a"]) == "task 'a' is called like what came with the request"


@pytest.mark.parametrize("written", ["${secrets}", "${a", "${ b c }", "${a}", "$${x}", "${}"])
def test_what_is_no_reference_here_stays_words(written: str) -> None:
    task = PlannedTask("statistics", ("statistics",), {"rows": [{"deep": written}]}, id="a")
    found = lay_out(Decomposition(Strategy.PARALLEL, (task,)), [doer_of_anything()])
    assert found.plan is not None, found.problems
    rows = params(found.plan)["rows"]
    assert isinstance(rows, list)
    (value,) = rows
    if written == "$${x}":
        assert value == {"deep": written}
    else:
        assert value == {"deep": written.replace("${", "$${")}
        assert "stays words" in found.repairs[0]


def doer_of_anything() -> Doer:
    agent = Agent("any", {"statistics"})

    @agent.task("statistics")
    async def statistics(rows: Any) -> Any:
        return rows

    return doer(agent)


def test_a_result_that_is_used_is_waited_for_once() -> None:
    tasks = [load("a"), text("b", "a"), text("c", "b", of="${a}", and_of="${a.rows}")]
    assert mended(*tasks) == ""
    assert "waits for it now" in mended(load("a"), text("b", of="${a}"))
    assert waits(planned(load("a"), text("b", of="${a}"), strategy=Strategy.PARALLEL))["b"] == ("a",)


def test_what_is_done_is_in_the_input() -> None:
    plan = planned(load("a", "rows"), text("b", "rows", "a", of="${rows}"), done=["rows"])
    assert waits(plan) == {"a": (), "b": ("a",)}
    compare = PlannedTask("compare", ("reading",), {"rows": "${load}"}, ("load",), id="c")
    assert planned(compare, done=["load"]).definition.tasks[0].dependencies == ()


def test_what_the_definition_refuses_is_a_problem() -> None:
    assert "'input' cannot be a task id" in told(load("input"))


def test_references_inside_of_words() -> None:
    plan = planned(load(), text("b", of={"a": ['${load["x"]}', 1, None]}, n="$"))
    assert 'of: {a: [${load["x"]}, 1, null]}\nn: $' in str(params(plan, 1)["query"])


# --- what must not happen twice -----------------------------------------------------------------------------------------


def test_at_most_once() -> None:
    task = load("a", retry_policy=RetryPolicy(max_attempts=4))
    (made,) = planned(task, at_most_once=["load"]).definition.tasks
    assert (made.effect, made.policy.max_attempts, made.on_failure) == (EffectClass.AT_MOST_ONCE, 1, "fail")
    assert planned(task).definition.tasks[0].policy.max_attempts == 4
    words = told(load("again"), at_most_once=["load"], happened=[made])
    assert words == "task 'again' would do again what 'a' has done, and that must not happen twice"
    planned(load("again"), happened=[made])
    other = PlannedTask("load", ("sql",), {"table": "other"}, id="b")
    planned(other, at_most_once=["load"], happened=[made])
