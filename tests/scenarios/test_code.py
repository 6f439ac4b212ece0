"""Workflows as code: a function asks for steps, is told their ends, and says how the run ends."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from typing import Any

import pytest

from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError, InvalidInput, StepFailed
from agenticflow.orchestration import Approval, Compensation, Escalation, WorkflowContext, workflow
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over, fork_of
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.code_runs import CodeRun, ask_twice
from tests.scenarios.runs import START

Ctx = WorkflowContext


# --- steps --------------------------------------------------------------------------------------------------------------


def test_a_step_begins_when_it_is_asked_for_and_its_result_comes_back() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        price = await ctx.task("price", "find_price", {"item": given["item"]})
        return await ctx.task("pay", "charge", {"amount": price * 2})

    run = CodeRun(code, input={"item": "tea"})
    assert run.in_work == ["price"]
    assert run.dispatched["price"].performer_id == "find_price"
    assert run.params("price") == {"item": "tea"}
    run.succeed("price", value=4)
    assert run.in_work == ["pay"]
    assert run.params("pay") == {"amount": 8}
    run.succeed("pay", value="paid")
    assert (run.status, run.output) == ("COMPLETED", "paid")


def test_a_function_that_asks_for_nothing_ends_with_what_it_returns() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return {"said": given}

    run = CodeRun(code, input=[1, 2])
    assert (run.status, run.output) == ("COMPLETED", {"said": [1, 2]})


def test_an_agent_is_asked_by_type_of_task() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return await ctx.agent("stock", "warehouse", "reserve", {"item": "tea"}, effect="at_most_once")

    run = CodeRun(code)
    found = run.dispatched["stock"]
    assert (found.performer_id, found.task_type, found.effect) == ("warehouse", "reserve", EffectClass.AT_MOST_ONCE)


def test_steps_that_are_asked_for_together_run_side_by_side() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        first, second = ctx.task("first", "work"), ctx.task("second", "work")
        return [await second, await first]

    run = CodeRun(code)
    assert run.in_work == ["first", "second"]
    run.succeed("first", value=1)
    run.succeed("second", value=2)
    assert run.output == [2, 1]


def test_gather_gives_results_in_its_own_order_and_runs_coroutines_side_by_side() -> None:
    async def branch(ctx: Ctx, name: str) -> object:
        before = await ctx.task(f"{name}-1", "work")
        return await ctx.task(f"{name}-2", "work", {"before": before})

    async def code(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(branch(ctx, "a"), ctx.task("b", "work"), branch(ctx, "c"))

    run = CodeRun(code)
    assert run.in_work == ["b", "a-1", "c-1"]
    run.succeed("c-1", value=30)
    assert run.params("c-2") == {"before": 30}
    run.succeed("c-2", "b", value=3)
    run.succeed("a-1", "a-2", value=1)
    assert run.output == [1, 3, 3]


def test_gather_of_nothing_and_of_the_same_step_twice() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        step = ctx.task("once", "work")
        return [await ctx.gather(), await ctx.gather(step, step), await ctx.gather(step)]

    run = CodeRun(code)
    run.succeed("once", value=7)
    assert run.output == [[], [7, 7], [7]]


def test_gather_waits_for_all_and_raises_the_first_error_in_its_order() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        try:
            await ctx.gather(ctx.task("a", "work"), ctx.task("b", "work"), ctx.task("c", "work"))
        except StepFailed as failed:
            return failed.key
        return None

    run = CodeRun(code)
    run.fail_for_good("c")
    assert run.status == "RUNNING"
    run.fail_for_good("b")
    run.succeed("a")
    assert (run.status, run.output) == ("COMPLETED", "b")


def test_gather_may_give_errors_in_the_list() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        found = await ctx.gather(ctx.task("a", "work"), ctx.task("b", "work"), return_exceptions=True)
        return [one.kind if isinstance(one, StepFailed) else one for one in found]

    run = CodeRun(code)
    run.fail_for_good("a")
    run.succeed("b", value=2)
    assert run.output == ["Broken", 2]


def test_the_first_of_several_wins_and_the_other_steps_are_cancelled() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        winner = await ctx.first(ctx.signal("paid"), ctx.sleep("late", 60), ctx.task("poll", "work"))
        assert await ctx.first(winner) is winner
        return [repr(winner), winner.result(), await ctx.task("after", "work")]

    run = CodeRun(code)
    run.signal("paid", "by card")
    assert run.statuses == {"paid": "COMPLETED", "late": "CANCELLED", "poll": "CANCELLED", "after": "SCHEDULED"}
    assert run.stopped == [run.token("poll")]
    run.cancelled("poll")
    run.succeed("after", value=True)
    assert run.output == ["step 'paid'", "by card", True]


def test_the_others_may_go_on_and_a_coroutine_may_be_among_them() -> None:
    async def slow(ctx: Ctx) -> object:
        await ctx.task("slow-1", "work")
        return await ctx.task("slow-2", "work")

    async def code(ctx: Ctx, given: Any) -> object:
        quick = ctx.task("quick", "work")
        _ = await ctx.first(slow(ctx), quick, cancel_rest=False)
        return await ctx.task("after", "work")

    run = CodeRun(code)
    run.succeed("quick")
    assert run.in_work == ["slow-1", "after"]
    run.succeed("slow-1")
    assert run.in_work == ["after", "slow-2"]
    run.succeed("after", value=1)
    run.succeed("slow-2")
    assert run.output == 1


def test_a_step_can_be_cancelled_and_awaiting_it_says_so() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        step = ctx.task("long", "work")
        await ctx.task("short", "work")
        step.cancel()
        try:
            await step
        except StepFailed as failed:
            step.cancel()  # it has ended: nothing happens
            return [failed.reason, failed.kinds]
        return None

    run = CodeRun(code)
    run.succeed("short")
    run.cancelled("long")
    assert run.output == ["cancelled", ["TaskCancelled"]]


# --- waits --------------------------------------------------------------------------------------------------------------


def test_it_sleeps_for_as_long_as_it_says_also_over_a_restart() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        await ctx.sleep("nap", 60)
        return ctx.now().timestamp()

    run = CodeRun(code)
    run.sleep(45)
    run.restart()
    assert (run.status, run.due) == ("WAITING", 60)
    run.wait(15)
    assert run.output == START / 1e9 + 60


def test_a_signal_that_came_before_counts_and_one_that_does_not_come_is_an_error() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        await ctx.task("work", "work")
        first = await ctx.signal("one", "paid")
        try:
            await ctx.signal("two", "paid", timeout_seconds=30)
        except StepFailed as failed:
            return [first, failed.reason, failed.kind]
        return None

    run = CodeRun(code)
    run.signal("paid", 5)
    run.succeed("work")
    run.wait(30)
    assert run.output == [5, "timeout", "TaskTimeout"]


def test_people_are_asked_and_their_no_is_an_error() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        yes = await ctx.approval("publish", "Publish ${this}?")
        try:
            await ctx.approval(
                "pay",
                Approval(
                    "Pay ${it}?", arguments={"to": "${x}"}, assignees=["ada"], escalation=[Escalation(5, ["bob"])]
                ),
            )
        except StepFailed as failed:
            return [yes["value"], failed.reason]
        return None

    run = CodeRun(code)
    assert run.request("publish").question == "Publish ${this}?"
    run.answer("publish", "now")
    assert run.request("pay").terms.arguments == {"to": "${x}"}
    run.reject("pay", by="ada")
    assert run.output == ["now", "rejected"]


def test_a_child_is_another_workflow_and_its_result_comes_back() -> None:
    @workflow(name="inner", version="3")
    async def inner(ctx: Ctx, given: Any) -> object:
        return given

    async def code(ctx: Ctx, given: Any) -> object:
        named = ctx.child("named", "billing", {"x": 1})
        as_data = ctx.child("data", WorkflowDefinition([TaskDefinition("t", "work")]), on_cancel="detach")
        as_code = ctx.child("code", inner, {"y": 2})
        return await ctx.gather(named, as_data, as_code)

    run = CodeRun(code)
    assert (run.children["named"].name, run.children["named"].definition) == ("billing", None)
    assert run.params("named") == {"x": 1}
    assert run.children["data"].is_detached
    assert run.children["code"].definition is not None
    run.succeed("named", "data", "code", value=9)
    run.restart()
    assert run.output == [9, 9, 9]


# --- errors -------------------------------------------------------------------------------------------------------------


def test_a_failed_step_may_be_caught_and_the_run_completes() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        try:
            await ctx.task("card", "charge", retry_policy=RetryPolicy(max_attempts=1))
        except StepFailed as failed:
            return [await ctx.task("invoice", "send_invoice"), failed.key, failed.kind, "LookupError" in failed.kinds]
        return None

    run = CodeRun(code)
    run.fail("card", KeyError("no card"))
    run.succeed("invoice", value="sent")
    assert (run.status, run.output) == ("COMPLETED", ["sent", "card", "KeyError", True])


def test_a_failed_step_that_is_not_caught_fails_the_run() -> None:
    async def code(ctx: Ctx, given: Any) -> None:
        await ctx.gather(ctx.task("bad", "work"), ctx.task("good", "work"))

    run = CodeRun(code)
    run.fail_for_good("bad")
    run.succeed("good")
    (failed,) = run.facts(f.WorkflowFailed)
    assert failed.failed == ["bad"]
    assert failed.error.message == "step 'bad' failed: Broken: for good"
    assert failed.error.type == "StepFailed"


def test_an_exception_of_its_own_fails_the_run_with_the_line() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        await ctx.task("a", "work")
        return given["no such key"]

    run = CodeRun(code)
    run.succeed("a")
    (failed,) = run.facts(f.WorkflowFailed)
    assert failed.error.type == "KeyError"
    assert "test_code.py:" in failed.error.message
    assert "in code" in failed.error.message


def test_what_was_done_is_undone_when_it_raises() -> None:
    async def code(ctx: Ctx, given: Any) -> None:
        await ctx.task("reserve", "reserve_stock", {"item": "tea"}, compensation="release_stock")
        undo = Compensation("refund", params={"charge": "${charge.id}"})
        await ctx.task("charge", "charge_card", compensation=undo)
        await ctx.task("ship", "courier")

    run = CodeRun(code)
    run.succeed("reserve")
    run.succeed("charge", value={"id": "c-1"})
    run.fail_for_good("ship")
    assert run.status == "COMPENSATING"
    assert run.params("undo:charge") == {"charge": "c-1"}
    run.succeed("undo:charge")
    assert run.dispatched["undo:reserve"].performer_id == "release_stock"
    assert run.params("undo:reserve") == {"item": "tea"}
    run.succeed("undo:reserve")
    assert run.status == "COMPENSATED"


def test_what_is_open_when_it_raises_is_cancelled_first() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        _ = ctx.task("beside", "work")
        await ctx.task("bad", "work", compensation="undo")
        raise ValueError("no more")

    run = CodeRun(code)
    run.succeed("bad")
    assert run.stopped == [run.token("beside")]
    run.cancelled("beside")
    assert run.status == "COMPENSATING"
    run.succeed("undo:bad")
    assert run.facts(f.CompensationStarted)[0].error.type == "ValueError"
    assert run.status == "COMPENSATED"


def test_what_is_open_when_it_returns_is_cancelled_and_what_was_asked_for_last_does_not_begin() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        _ = ctx.task("beside", "work")
        await ctx.task("enough", "work")
        _ = ctx.task("too-late", "work")
        return "done"

    run = CodeRun(code)
    run.succeed("enough")
    run.cancelled("beside")
    assert (run.status, run.output) == ("COMPLETED", "done")
    assert run.statuses == {"beside": "CANCELLED", "enough": "COMPLETED"}


def test_what_it_does_on_its_way_out_asks_for_nothing_any_more() -> None:
    left: list[str] = []

    async def branch(ctx: Ctx, name: str) -> None:
        try:
            await ctx.task(name, "work")
        finally:
            left.append(name)
            await ctx.task(f"{name}-clean", "work")

    async def code(ctx: Ctx, given: Any) -> object:
        _ = await ctx.first(branch(ctx, "slow"), ctx.task("quick", "work"), cancel_rest=False)
        return "done"

    run = CodeRun(code)
    run.succeed("quick")
    run.cancelled("slow")
    assert (run.status, run.output, left) == ("COMPLETED", "done", ["slow"])
    assert run.planned == ["quick", "slow"]


def test_an_error_that_a_branch_raises_reaches_whoever_gathers_it() -> None:
    async def broken(ctx: Ctx) -> None:
        await ctx.task("a", "work")
        raise LookupError("there is none")

    async def code(ctx: Ctx, given: Any) -> object:
        try:
            await ctx.gather(broken(ctx), ctx.task("b", "work"))
        except LookupError as error:
            return str(error)
        return None

    run = CodeRun(code)
    run.succeed("a", "b")
    assert run.output == "there is none"


# --- wrong use ----------------------------------------------------------------------------------------------------------


def failure_of(function: Any) -> str:
    run = CodeRun(function)
    (failed,) = run.facts(f.WorkflowFailed)
    return failed.error.message


def test_a_key_that_is_used_twice_is_told_with_the_line() -> None:
    async def code(ctx: Ctx, given: Any) -> None:
        for _ in range(2):
            _ = ctx.task("again", "work")

    message = failure_of(code)
    assert "step 'again' was asked for twice, again at test_code.py:" in message
    assert 'f"again-{number}"' in message


def test_awaiting_something_else_is_told_with_the_line() -> None:
    async def code(ctx: Ctx, given: Any) -> None:
        await asyncio.sleep(0)

    message = failure_of(code)
    assert "workflow 'code' awaits what is not recorded, at tasks.py:" in message
    assert "belongs into a step" in message


def test_an_event_loop_is_out_of_reach() -> None:
    async def code(ctx: Ctx, given: Any) -> None:
        await asyncio.sleep(1)

    message = failure_of(code)
    assert "no running event loop, at test_code.py:" in message
    assert "ctx.sleep()" in message


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (lambda ctx: ctx.task("a", "work", [1]), "params of step 'a' are a list, not a dict"),
        (lambda ctx: ctx.task("1 a", "work"), "'1 a' is no task id"),
        (lambda ctx: ctx.task("a", ""), "task 'a' has no agent"),
        (lambda ctx: ctx.task("a", "work", effect="twice"), "effect='twice' of task 'a' is unknown"),
        (lambda ctx: ctx.task("a", "work", no_such=1), "no_such"),
        (lambda ctx: ctx.task("a", "work", {"x": object()}), "has no form on the wire"),
        (lambda ctx: ctx.sleep("a", -1), "delay_seconds of task 'a' is -1"),
        (lambda ctx: ctx.first(), "nothing to wait for"),
        (lambda ctx: ctx.gather(3), "cannot wait for a int"),
        (lambda ctx: ctx.task("a", "work").result(), "step 'a' has not ended yet"),
        (lambda ctx: ctx.patched(""), "no name of a change"),
        (lambda ctx: ctx.continue_as_new("x" * 70_000), "above the limit of 65,536"),
    ],
)
def test_wrong_use_fails_the_run_with_a_sentence(ask: Any, words: str) -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        ask(ctx)
        return await ctx.task("never", "work")

    assert words in failure_of(code)


def test_a_result_that_has_no_form_on_the_wire_fails_the_run() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return object()

    assert "has no form on the wire" in failure_of(code)


def test_its_context_is_of_no_use_outside() -> None:
    kept: list[Ctx] = []

    async def code(ctx: Ctx, given: Any) -> object:
        kept.append(ctx)
        return await ctx.task("a", "work")

    CodeRun(code)
    (ctx,) = kept
    for use in (partial(ctx.task, "b", "work"), ctx.now, partial(ctx.patched, "x"), ctx.random):
        with pytest.raises(DefinitionError, match="outside of its function"):
            use()


def test_too_much_at_once_is_refused_before_it_breaks_a_commit() -> None:
    async def many(ctx: Ctx, given: Any) -> None:
        for number in range(5_001):
            _ = ctx.task(f"t-{number}", "work")

    async def large(ctx: Ctx, given: Any) -> None:
        for number in range(40):
            _ = ctx.task(f"t-{number}", "work", {"x": "y" * 60_000})

    assert "asks for 5,001 steps" in failure_of(many)
    assert "bytes of params at once" in failure_of(large)


def test_what_is_no_such_function_is_refused_where_it_is_decorated() -> None:
    def plain(ctx: Ctx, given: Any) -> object:
        return None

    async def lonely(ctx: Ctx) -> object:
        return None

    with pytest.raises(DefinitionError, match="workflow 'plain' is no async function"):
        workflow(plain)  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(DefinitionError, match="workflow 'lonely' takes ctx"):
        workflow(lonely)  # type: ignore[arg-type]  # wrong on purpose


def test_it_is_not_called_directly() -> None:
    @workflow
    async def code(ctx: Ctx, given: Any) -> object:
        return None

    with pytest.raises(DefinitionError, match="workflow 'code' was called like a function"):
        code(1, 2)
    assert repr(code) == "<workflow 'code' version '1'>"


# --- steering -----------------------------------------------------------------------------------------------------------


async def two_steps(ctx: Ctx, given: Any) -> object:
    try:
        first = await ctx.task("first", "work")
    except StepFailed as failed:
        first = failed.reason or failed.kind
    return [first, await ctx.task("second", "work")]


def test_while_it_is_paused_nothing_begins() -> None:
    run = CodeRun(two_steps)
    run.pause()
    run.succeed("first", value=1)
    assert (run.status, run.planned, run.in_work) == ("PAUSED", ["first", "second"], [])
    run.resume()
    assert run.in_work == ["second"]


def test_after_an_abort_nothing_is_asked_any_more() -> None:
    run = CodeRun(two_steps)
    run.abort()
    run.succeed("first", value=1)
    assert (run.status, run.planned) == ("CANCELLED", ["first"])


def test_a_step_that_is_skipped_gives_nothing_and_one_that_is_given_a_result_that() -> None:
    run = CodeRun(two_steps)
    run.pause()
    run.fail("first")
    run.skip("first")
    run.set_result("second", 5)
    run.resume()
    assert run.output == [None, 5]


def test_a_cancelled_task_is_an_error_to_its_function() -> None:
    run = CodeRun(two_steps)
    run.cancel_task("first")
    run.cancelled("first")
    run.succeed("second", value=2)
    assert run.output == ["cancelled", 2]


def test_a_step_whose_failure_was_told_cannot_have_another_end_in_this_run() -> None:
    run = CodeRun(two_steps)
    run.fail_for_good("first")
    for command in (
        c.RetryTask(now=run.now, task_key="first", requested_by="ada"),
        c.SkipTask(now=run.now, task_key="first", requested_by="ada"),
        c.SetResult(now=run.now, task_key="first", value=b"\xc0", requested_by="ada"),
    ):
        run.refused(command, "has failed, and the function of its workflow was told")


def test_its_tasks_cannot_be_modified() -> None:
    run = CodeRun(two_steps)
    run.scenario.when(run.modification({"remove": "first"})).then_refused(
        DefinitionError, "its function plans its tasks: change that, with ctx.patched or as a new version"
    )


def test_priorities_and_places_hold_for_steps_too() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(
            ctx.task("low", "work"), ctx.task("high", "work", priority=5), ctx.sleep("nap", 5), ctx.task("last", "work")
        )

    run = CodeRun(workflow(name="code", max_parallel=1, priority=1)(code))
    assert run.in_work == ["high"]
    assert run.statuses["nap"] == "WAITING"
    run.succeed("high")
    assert run.in_work == ["low"]
    assert run.dispatched["low"].priority == 1


def test_its_time_limit_ends_it() -> None:
    run = CodeRun(workflow(name="code", timeout_seconds=30)(two_steps))
    run.wait(30)
    run.cancelled("first")
    assert (run.status, run.planned) == ("FAILED", ["first"])


# --- the next run -------------------------------------------------------------------------------------------------------


async def three_steps(ctx: Ctx, given: Any) -> object:
    a = await ctx.task("a", "work")
    b = await ctx.task("b", "work", {"a": a})
    return [a, b, await ctx.task("c", "work", {"b": b})]


def test_the_next_run_asks_again_and_does_not_do_again() -> None:
    run = CodeRun(three_steps)
    run.succeed("a", value=1)
    run.succeed("b", value=2)
    run.fail_for_good("c")
    assert run.status == "FAILED"
    following = CodeRun(three_steps, run_no=2, carried=carry_over(run.state))
    assert following.in_work == ["c"]
    following.succeed("c", value=3)
    assert following.output == [1, 2, 3]


def test_from_a_step_on_everything_that_was_asked_for_later_runs_again() -> None:
    run = CodeRun(three_steps)
    run.succeed("a", value=1)
    run.succeed("b", value=2)
    run.succeed("c", value=3)
    after_a = carry_over(run.state, "a")
    assert set(after_a.kept) == {"a"}
    assert after_a.generations == {"b": 1, "c": 1}
    following = CodeRun(three_steps, run_no=2, carried=after_a)
    assert following.in_work == ["b"]
    assert following.dispatched["b"].generation == 1
    with pytest.raises(InvalidInput, match="has no task 'nowhere'"):
        carry_over(run.state, "nowhere")


def test_a_fork_keeps_what_was_done_and_another_input_is_heard() -> None:
    run = CodeRun(three_steps)
    run.succeed("a", value=1)
    forked = CodeRun(three_steps, carried=fork_of(run.state), input={"another": True})
    assert forked.in_work == ["b"]


def test_it_continues_as_new_with_another_input() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        _ = ctx.task("beside", "work")
        page = await ctx.task("page", "work")
        assert not ctx.should_continue
        assert ctx.steps_ended == 1
        ctx.continue_as_new({"cursor": page})

    run = CodeRun(code)
    run.succeed("page", value=7)
    run.cancelled("beside")
    (continuing,) = run.facts(f.WorkflowContinuing)
    assert bytes(continuing.input) == b"\x81\xa6cursor\x07"
    run.ask(c.NextRunStarted(now=run.now))
    assert run.status == "CONTINUED"


def test_continuing_is_not_an_error_that_it_could_catch() -> None:
    async def code(ctx: Ctx, given: Any) -> object:
        try:
            ctx.continue_as_new(1)
        except Exception:  # noqa: BLE001 - that is the point
            return "caught"
        return None

    assert CodeRun(code).facts(f.WorkflowContinuing) != []


def test_a_branch_may_continue_the_whole() -> None:
    async def branch(ctx: Ctx) -> None:
        await ctx.task("page", "work")
        ctx.continue_as_new(None)

    async def code(ctx: Ctx, given: Any) -> None:
        await ctx.gather(branch(ctx), ctx.task("other", "work"))

    run = CodeRun(code)
    run.succeed("page")
    run.cancelled("other")
    assert run.facts(f.WorkflowContinuing) != []


def test_a_mistake_is_told_with_the_line_of_the_function_or_of_the_branch_that_asks() -> None:
    async def awaiting(ctx: Ctx, given: Any) -> object:
        return await ask_twice(ctx)

    async def branching(ctx: Ctx, given: Any) -> object:
        return await ctx.gather(ask_twice(ctx))

    for code, place in ((awaiting, r"test_code\.py:\d+ in awaiting"), (branching, r"code_runs\.py:\d+ in ask_twice")):
        problem = CodeRun(code).state.problem
        assert problem is not None
        assert re.search(f"asked for twice, again at {place}", problem.error.message)
