"""Workflows as code after a crash: the function does again what it did, or the run stands still and says where they differ."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.engine import ActivityFinished
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.core.values import BlobMissing, store_form
from agenticflow.errors import DefinitionError, InvariantError, StepFailed
from agenticflow.orchestration import WorkflowContext, workflow
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.liveness import Holding, breaches_of
from agenticflow.orchestration.planning.planner import Planners
from agenticflow.orchestration.waiting import NeedsCode, Wait, sentence
from tests.scenarios.code_runs import CodeRun
from tests.scenarios.runs import Run, task

Ctx = WorkflowContext


async def everything(ctx: Ctx, given: Any) -> object:
    """Asks for whatever a function can ask for, and remembers what it saw."""
    seen: list[object] = [ctx.now().timestamp(), ctx.random(), ctx.new_id(), ctx.workflow_id, ctx.run_no]
    a = await ctx.task("a", "work", {"set": {"x", "y", "z"}, "seen": seen[1]})

    async def branch(name: str) -> object:
        await ctx.sleep(f"nap-{name}", 5)
        return await ctx.task(f"after-{name}", "work", {"id": ctx.new_id()})

    seen.append(await ctx.gather(branch("b"), branch("c"), ctx.task("d", "work")))
    try:
        await ctx.task("bad", "work")
    except StepFailed as failed:
        seen.append(failed.kind)
    winner = await ctx.first(ctx.signal("go"), ctx.sleep("late", 60))
    if ctx.patched("more"):
        seen.append(await ctx.task("more", "work"))
    seen.append(ctx.now().timestamp())
    return [a, winner.result(), *seen, ctx.random()]


def play(run: CodeRun, *, restarts_before: int | None = None) -> None:
    """Let everything happen; before step number ``restarts_before`` of the story the process dies."""
    story: list[Any] = [
        lambda: run.succeed("a", value={"n": 1}),
        lambda: run.wait(5),
        lambda: run.succeed("after-c", value="c"),
        lambda: run.succeed("d", value="d"),
        lambda: run.succeed("after-b", value="b"),
        lambda: run.fail_for_good("bad"),
        lambda: run.signal("go", "went"),
        lambda: run.wait(3),
        lambda: run.succeed("more", value="m"),
    ]
    for number, happen in enumerate(story):
        if number == restarts_before:
            run.restart()
            assert run.stands_still is None
        happen()


def test_wherever_it_dies_the_same_facts_come_about() -> None:
    whole = CodeRun(everything)
    play(whole)
    assert whole.status == "COMPLETED"
    expected = [whole.guest.codec.encode(fact) for fact in whole.scenario.history]
    for place in range(9):
        run = CodeRun(everything)
        play(run, restarts_before=place)
        assert [run.guest.codec.encode(fact) for fact in run.scenario.history] == expected
        assert run.output == whole.output


def test_another_run_draws_other_numbers() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return [ctx.random(), ctx.random(), ctx.new_id()]

    first, second = CodeRun(code, seed="a"), CodeRun(code, seed="b")
    assert first.output != second.output
    assert CodeRun(code, seed="a").output == first.output
    drawn = first.output
    assert isinstance(drawn, list)
    assert drawn[0] != drawn[1]
    assert 0 <= drawn[0] < 1
    assert len(drawn[2]) == 32


def test_it_knows_whether_it_repeats() -> None:
    said: list[bool] = []

    async def code(ctx: Ctx, given: Any) -> object:
        said.append(ctx.is_replaying)
        await ctx.task("a", "work")
        said.append(ctx.is_replaying)
        await ctx.task("b", "work")
        said.append(ctx.is_replaying)
        return None

    run = CodeRun(code)
    run.succeed("a")
    assert said == [False, False]
    run.restart()
    run.succeed("b")
    assert said == [False, False, True, True, False]


def test_ends_that_were_recorded_while_its_function_was_not_known_are_told_when_it_is() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(ctx.task("a", "work"), ctx.task("b", "work"))

    run = CodeRun(code)
    other = workflow(name="other")(code)
    run.restart(other)
    run.succeed("a", value=1)
    run.succeed("b", value=2)
    assert run.status == "RUNNING"
    assert run.stands_still is not None
    assert (
        "its function, version '1' of the workflow 'code', is not registered: no version of it is known here"
        in run.stands_still
    )
    run.restart()
    assert run.output == [1, 2]


def test_a_run_that_starts_where_nobody_knows_its_function_waits_for_it() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return await ctx.task("a", "work")

    run = CodeRun(code, is_known=False)
    assert run.planned == []
    assert run.said == [f"run 1 of workflow 'w' stands still: {run.stands_still}"]
    run.restart(workflow(name="code", version="2")(code))
    assert run.stands_still is not None
    assert "here are '2'" in run.stands_still
    run.restart()
    assert run.in_work == ["a"]
    assert run.stands_still is None


# --- code that does something else --------------------------------------------------------------------------------------


async def original(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "work", {"x": 1})
    return [a, await ctx.task("b", "work")]


async def with_other_params(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "work", {"x": 2})
    return [a, await ctx.task("b", "work")]


async def with_other_worker(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "other", {"x": 1})
    return [a, await ctx.task("b", "work")]


async def with_one_more(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "work", {"x": 1})
    await ctx.task("between", "work")
    return [a, await ctx.task("b", "work")]


async def with_one_less(ctx: Ctx, given: Any) -> object:
    return [await ctx.task("a", "work", {"x": 1})]


async def that_raises(ctx: Ctx, given: Any) -> object:
    await ctx.task("a", "work", {"x": 1})
    raise ValueError


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            with_other_params,
            "step 'a' was recorded with the params {'x': 1}, and is asked for with {'x': 2}, at test_code_again.py:",
        ),
        (with_other_worker, "recorded as {'agent_id': 'work'}, and is asked for as {'agent_id': 'other'}, at test_"),
        (with_one_more, "step 'between' is asked for, and was not when this happened first, at test_code_again.py:"),
        (with_one_less, "step 'b' was recorded, and is not asked for any more"),
        (that_raises, "step 'b' was recorded, and is not asked for any more"),
    ],
)
def test_a_function_that_does_something_else_stops_the_run_and_the_right_one_lets_it_go_on(
    changed: Any, words: str
) -> None:
    run = CodeRun(original)
    run.succeed("a", value=5)
    before = run.scenario.version
    run.restart(changed)
    stands_still = run.stands_still
    assert stands_still is not None
    assert words in stands_still
    assert "version '1' does not repeat run 1 of 'w'" in stands_still
    assert "its source has changed since" in stands_still
    assert run.scenario.version == before
    run.succeed("b", value=6)
    assert run.status == "RUNNING"
    run.restart()
    assert (run.stands_still, run.output) == (None, [5, 6])


async def that_ends_early(ctx: Ctx, given: Any) -> object:
    return "early"


async def that_raises_at_once(ctx: Ctx, given: Any) -> object:
    return given["no such key"]


async def without_the_first(ctx: Ctx, given: Any) -> object:
    return await ctx.task("b", "work")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (that_ends_early, "step 'a' was recorded, and is not asked for any more"),
        (that_raises_at_once, "raises KeyError: 'no such key', at test_code_again.py:"),
        (without_the_first, "step 'a' was recorded, and is not asked for any more"),
    ],
)
def test_a_slip_in_a_deployment_does_not_end_the_run(changed: Any, words: str) -> None:
    run = CodeRun(original)
    run.succeed("a", value=5)
    run.restart(changed)
    assert run.status == "RUNNING"
    assert run.stands_still is not None
    assert words in run.stands_still or "where it went on when this happened first" in run.stands_still
    run.restart()
    run.succeed("b", value=6)
    assert run.output == [5, 6]


def test_a_function_that_ends_where_it_waited_is_another() -> None:
    async def waiting(ctx: Ctx, given: Any) -> object:
        return await ctx.task("a", "work")

    async def ending(ctx: Ctx, given: Any) -> object:
        _ = ctx.task("a", "work")
        return 1

    run = CodeRun(waiting)
    run.restart(ending)
    assert run.stands_still is not None
    assert "it returns, where it went on when this happened first" in run.stands_still


def test_a_function_that_becomes_known_and_does_not_fit_is_asked_once() -> None:
    asked: list[int] = []
    run = CodeRun(original)
    run.restart(workflow(name="other")(original))
    planner = run.state.planner
    assert isinstance(planner, Planners)
    planner.on_wanted = lambda: asked.append(1)
    planner.add(workflow(name="code")(with_other_params))
    run.ask(c.Plan(now=run.now))
    assert asked == []
    assert run.stands_still is not None
    assert "is asked for with" in run.stands_still


def test_a_child_that_waited_for_its_function_is_asked_when_its_parent_names_it() -> None:
    async def inner(ctx: Ctx, given: Any) -> object:
        return await ctx.task("in", "work")

    known_by_parent = workflow(name="inner")(inner)

    async def outer(ctx: Ctx, given: Any) -> object:
        return await ctx.child("child", known_by_parent)

    child = CodeRun(known_by_parent, is_known=False)
    planner = child.state.planner
    assert isinstance(planner, Planners)
    asked: list[int] = []
    planner.on_wanted = lambda: asked.append(1)
    parent = CodeRun(outer, is_known=False, run_no=2)
    planner.add(parent.function)
    parent.state.planner = planner
    parent.ask(c.Plan(now=parent.now))
    assert asked != []
    child.ask(c.Plan(now=child.now))
    assert child.in_work == ["in"]


def test_nothing_follows_of_a_run_that_is_asked_when_it_has_ended() -> None:
    run = CodeRun(everything)
    play(run)
    before = len(run.scenario.history)
    run.ask(c.Plan(now=run.now))
    planner = run.state.planner
    assert isinstance(planner, Planners)
    assert planner.plan(run.state) == ()
    assert (run.status, len(run.scenario.history)) == ("COMPLETED", before)


def test_a_run_that_stands_still_can_be_ended() -> None:
    run = CodeRun(original)
    run.succeed("a", value=5)
    run.restart(with_one_less)
    run.abort()
    run.cancelled("b")
    assert run.status == "CANCELLED"
    assert run.stands_still is None


def test_a_function_that_catches_everything_does_not_hide_that_it_went_astray() -> None:
    async def greedy(ctx: Ctx, given: Any) -> object:
        try:
            await ctx.task("a", "work", {"x": 2})
        except Exception:  # noqa: BLE001 - that is the point
            return "hidden"
        return None

    run = CodeRun(original)
    run.succeed("a")
    run.restart(greedy)
    assert run.stands_still is not None
    assert "is asked for with {'x': 2}" in run.stands_still


def test_steps_that_are_asked_for_in_another_order_are_the_same_steps() -> None:
    async def one(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(ctx.task("a", "work"), ctx.task("b", "work"))

    async def other(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(ctx.task("b", "work"), ctx.task("a", "work"))

    run = CodeRun(one)
    run.succeed("a", value="a")
    run.restart(other)
    assert run.stands_still is None
    run.succeed("b", value="b")
    assert run.output == ["b", "a"]


# --- changes of the code ------------------------------------------------------------------------------------------------


async def mended(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "work", {"x": 1})
    if ctx.patched("check"):
        await ctx.task("check", "work")
    assert ctx.patched("check") is ctx.patched("check")
    return [a, await ctx.task("b", "work")]


def test_a_run_that_has_passed_a_change_stays_on_the_old_way() -> None:
    run = CodeRun(original)
    run.succeed("a", value=1)
    run.restart(mended)
    assert run.stands_still is None
    run.succeed("b", value=2)
    assert run.output == [1, 2]
    assert run.facts(f.PatchMarked) == []


def test_a_run_that_has_not_come_to_it_goes_the_new_way_and_stays_there() -> None:
    run = CodeRun(original)
    run.restart(mended)
    run.succeed("a", value=1)
    assert run.in_work == ["check"]
    assert [fact.patch for fact in run.facts(f.PatchMarked)] == ["check"]
    run.restart(mended)
    run.succeed("check")
    run.succeed("b", value=2)
    assert run.output == [1, 2]
    assert run.facts(f.PatchMarked) == [f.PatchMarked(1, "check")]


def test_two_versions_are_two_functions_and_each_run_has_its_own() -> None:
    async def second(ctx: Ctx, given: Any) -> object:
        return await ctx.task("new", "work")

    planners = Planners()
    planners.add(workflow(name="code")(original))
    planners.add(workflow(name="code", version="2")(second))
    run = CodeRun(original)
    run.state.planner = planners
    run.succeed("a", value=1)
    assert run.in_work == ["b"]
    with pytest.raises(DefinitionError, match="there is another version '1' of workflow 'code' already"):
        planners.add(workflow(name="code")(second))
    planners.add(workflow(name="code")(original))  # the same one, imported again


# --- large values -------------------------------------------------------------------------------------------------------


def test_large_params_and_results_are_stored_apart() -> None:
    text = "y" * 100_000

    async def code(ctx: Ctx, given: Any) -> object:
        found = await ctx.task("a", "work", {"text": text})
        return {"text": text, "found": found}

    run = CodeRun(code)
    assert [name for name, _ in run.state.made] == [codec.content_hash(codec.encode({"text": text}))]
    assert run.params("a") == {"text": text}
    run.state.made.clear()
    run.succeed("a", value=1)
    assert [name for name, _ in run.state.made] == [codec.content_hash(codec.encode({"text": text, "found": 1}))]
    assert run.output == {"text": text, "found": 1}


def test_a_large_result_that_is_not_at_hand_is_asked_for_and_told_once() -> None:
    told: list[object] = []

    async def code(ctx: Ctx, given: Any) -> object:
        told.append(await ctx.task("a", "work"))
        return len(told)

    run = CodeRun(code)
    data = codec.encode("z" * 100_000)
    stored, blob = _stored(data)
    finished = ActivityFinished(
        now=run.now, task_key="a", token=run.token("a"), outcome=Outcome(OutcomeKind.SUCCEEDED, stored)
    )
    (completed,) = run.guest.decide(run.state, finished)
    run.scenario._record(completed, run.now)
    with pytest.raises(BlobMissing):
        run.guest.advance(run.state, run.now)
    assert told == []
    run.state.values.put(*blob)
    facts = run.guest.advance(run.state, run.now)
    assert [type(fact) for fact in facts] == [f.PlanClosed]
    assert told == ["z" * 100_000]


def _stored(data: bytes) -> tuple[bytes, tuple[str, bytes]]:
    stored, (blob,) = store_form(data)
    return stored, blob


def test_a_wide_fan_is_told_in_several_events() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return len(await ctx.gather(*(ctx.task(f"t-{n}", "work", {"x": "y" * 1_000}) for n in range(400))))

    run = CodeRun(code)
    planned = run.facts(f.StepsPlanned)
    assert len(planned) > 2
    assert sum(len(fact.steps) for fact in planned) == 400
    run.succeed(*(f"t-{n}" for n in range(400)))
    assert run.output == 400


def test_a_workflow_as_data_is_not_planned() -> None:
    run = Run(task("a"))
    assert run.state.planning is None


# --- what cannot be -----------------------------------------------------------------------------------------------------


def test_of_two_timers_that_ring_together_the_first_wins_and_the_other_has_rung() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        winner = await ctx.first(ctx.sleep("one", 5), ctx.sleep("two", 5))
        return [repr(winner), await ctx.task("after", "work")]

    run = CodeRun(code)
    run.wait(5)
    run.succeed("after", value=1)
    assert run.statuses["two"] == "COMPLETED"
    assert run.output == ["step 'one'", 1]


def test_facts_of_planning_have_no_place_in_a_workflow_as_data() -> None:
    run = Run(task("a"))
    for fact in (f.StepsPlanned(0), f.PatchMarked(0, "x"), f.PlanClosed(after=0, how="returned")):
        with pytest.raises(InvariantError, match="is not planned by a function"):
            run.guest.evolve(run.state, fact, 9, run.now)


def test_a_run_that_ends_because_its_function_raised_has_what_it_raised() -> None:
    run = CodeRun(original)
    run.guest.evolve(run.state, f.WorkflowCancelRequested("raised", "engine", "", run.now), 9, run.now)
    run.guest.evolve(run.state, f.TaskCancelled("a", run.token("a")), 10, run.now)
    with pytest.raises(InvariantError, match="has raised nothing"):
        run.guest.advance(run.state, run.now)


def test_a_function_is_driven_by_its_planner_only() -> None:
    class Other:
        turns = 0

        def recorded(self, *, steps: int = 0, cancels: int = 0, patches: int = 0) -> list[tuple[str, bytes]]:
            return []

        def close(self) -> None:
            return None

    run = CodeRun(original)
    assert run.state.planning is not None
    run.state.planning.drive = Other()
    with pytest.raises(InvariantError, match="is driven by somebody else"):
        run.guest.advance(run.state, run.now)


def test_a_function_that_has_ended_without_the_run_is_a_decision_that_is_missing() -> None:
    run = CodeRun(original)
    closed = f.PlanClosed(after=0, how="returned")
    run.guest.evolve(run.state, closed, 9, run.now)
    (breach,) = breaches_of(run.state, Holding([run.token("a")]), run.now)
    assert breach.missing == "decision"


def test_a_run_that_waits_for_code_says_what_would_help() -> None:
    run = CodeRun(original, is_known=False)
    wait = Wait("", NeedsCode(run.stands_still or ""))
    assert sentence(wait, "w").endswith(
        "; a program with the function it began with, or with the change marked by ctx.patched, lets it go on"
    )
    assert breaches_of(run.state, Holding([], needs_code=True), run.now) == []


def test_things_that_are_waited_for_have_names() -> None:
    seen: list[str] = []

    async def branch(ctx: Ctx) -> None:
        await ctx.task("b", "work")

    async def code(ctx: Ctx, given: Any) -> object:
        step = ctx.task("a", "work", MappingProxyType({"x": 1}))
        together, first = ctx.gather(step, branch(ctx)), ctx.first(step)
        seen.extend([repr(step), repr(together), repr(together.parts[1]), repr(first)])
        return await together

    run = CodeRun(code)
    assert run.params("a") == {"x": 1}
    assert seen[0] == "step 'a'"
    assert seen[1] == "all of 2"
    assert seen[2].endswith(".branch'")
    assert seen[3] == "the first of 1"


def test_a_function_without_a_source_has_a_hash_too() -> None:
    names: dict[str, Any] = {}
    exec("async def code(ctx, given):\n    return 1", names)
    other: dict[str, Any] = {}
    exec("async def code(ctx, given):\n    return given", other)
    first, second = workflow(names["code"]), workflow(other["code"])
    third: dict[str, Any] = {}
    exec("async def code(ctx, given):\n    return 2", third)
    assert len({first.definition.code, second.definition.code, workflow(third["code"]).definition.code}) == 3
    with pytest.raises(DefinitionError, match="'' is no version of a workflow"):
        workflow(version="")(names["code"])
    assert CodeRun(workflow(name="code")(names["code"])).output == 1
