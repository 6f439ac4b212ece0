"""One long history with every kind of fact in it, as commands. Run as a program it prints the bytes of its facts."""

from __future__ import annotations

from typing import Any

from agenticflow.core.decider import Fact
from agenticflow.core.interrupts import Ask
from agenticflow.orchestration import Approval, Escalation, WorkflowContext
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.chain import Carried, carry_over
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.facts import FACTS
from agenticflow.orchestration.replanning.terms import ReplanTerms
from agenticflow.resilience.limits import Limit
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.code_runs import CodeRun
from tests.scenarios.runs import Run, once, task

TASKS = (
    task("load", params={"tags": {"b", "a", "c"}, "who": "${user}"}),
    task("each", "load", for_each="${load.rows}", max_parallel=2, params={"x": "${item}"}),
    task("never", "load", when="${load.rows} == null"),
    task("below", "never"),
    task("flaky", "load", retry_policy=RetryPolicy(3, 4.0)),
    task("slow", "load", total_timeout_seconds=90, timeout_seconds=20),
    once("pay", "load"),
    once("refund", "load"),
    TaskDefinition.timer("nap", 15, {"load"}),
    TaskDefinition.wait_for("approval", "approved", {"load", "nap"}),
    TaskDefinition.wait_for("second", "approved", {"approval"}, total_timeout_seconds=30),
    task("first", "flaky", "nap", join="any"),
    task("broken", "each"),
    task("unreached", "broken"),
)


STEERED = (
    task("score", locks=["desk ${user}"], limits=[Limit("api", rate=5)]),
    TaskDefinition.choice("route", {"high": "${score} > 10", "low": None}, {"score"}),
    task("high", "route"),
    task("low", "route"),
    task("loop", "low", repeat_until="${loop} > 1", repeat_delay_seconds=5, params={"before": "${previous}"}),
    task("move", on_failure="reassign", reassign_to=["second"]),
    task("extra", fallback="instead"),
    task("instead"),
    TaskDefinition.ask("yes", "Go, ${user}?"),
    TaskDefinition.ask("no", "Stop?", on_failure="skip"),
    task("slow"),
    task("two", "yes", "extra", "slow", join=2, cancel_rest=True),
    task("ask", for_each=[1, 2, 3], enough=1, priority=3),
    TaskDefinition("child", workflow=WorkflowDefinition([task("inner")]), params={"x": 1}),
    task("end", "two", "loop", join="settled", ends_run=True),
)


def steered_run() -> Run:
    """Choices, loops, another agent, a fallback, questions, joins of some, enough of a map, and one task that ends all."""
    run = Run(*STEERED, input={"user": "ada"}, max_parallel=6)
    run.succeed("ask[1]", value="first")
    run.succeed("score", value=7)
    run.fail_for_good("move")
    run.fail_for_good("extra")
    run.approve("yes", {"approved": True}, comment="why not")
    run.reject("no", comment="not yet")
    for _ in range(30):
        for key in list(run.in_work):
            if key not in ("slow", "child", "end"):
                run.succeed(key, value=1 if key == "loop[0]" else 2)
        run.wait(6)
    run.succeed("end", value="over")
    run.wait(11)
    return run


def undone_run() -> Run:
    """Fails, and undoes what it did."""
    run = Run(task("a", compensation="undo"), task("b", "a", compensation="undo"), task("c", "b"))
    run.succeed("a", value=1)
    run.succeed("b", value=2)
    run.fail_for_good("c")
    run.fail_for_good("undo:b")
    run.resolve("undo:b", "completed")
    run.succeed("undo:a")
    return run


def continued_run() -> Run:
    """Ends with the beginning of the next."""
    run = Run(task("page"), TaskDefinition("again", continue_with={"cursor": "${page}"}, dependencies={"page"}))
    run.succeed("page", value=7)
    run.ask(c.NextRunStarted(now=run.now))
    return run


def stepped_run() -> Run:
    """Somebody steps in: a task skipped, some tried again, one given its result."""
    never = RetryPolicy(max_attempts=1)
    run = Run(
        task("a", retry_policy=RetryPolicy(3, 60.0)),
        task("each", for_each=[1, 2, 3], max_parallel=1, retry_policy=never),
        task("b", "a"),
        task("c", "b", "each", join="settled"),
        task("d", "c"),
    )
    run.fail("a")
    run.modify({"replace": task("d", "c", params={"x": "${c}"})}, {"add": task("e", "each", join="settled")})
    run.say({"hurry": True}, "a")
    run.retry("a", reason="now")
    for index in range(3):
        run.fail(f"each[{index}]")
    run.retry("each")
    run.succeed("each[0]", value=1)
    run.set_result("each[2]", 3, reason="by hand")
    run.skip("b")
    run.succeed("a", value=1)
    run.succeed("each[1]", "c", value=2)
    run.succeed("d", "e")
    return run


async def _planned(ctx: WorkflowContext, given: Any) -> object:
    first = await ctx.task("first", "work", {"tags": {"b", "a", "c"}}, compensation="undo")
    if ctx.patched("ask"):
        await ctx.approval("ask", "Go on?")
    winner = await ctx.first(ctx.signal("go"), ctx.sleep("late", 60), ctx.task("beside", "work"))
    return await ctx.task("last", "work", {"first": first, "winner": winner.result()})


def planned_run() -> Run:
    """A workflow as code."""
    run = CodeRun(_planned)
    run.succeed("first", value=1)
    run.approve("ask")
    run.signal("go", 5)
    run.cancelled("beside")
    run.succeed("last", value={"done": True})
    return run


def asking_run() -> Run:
    """Several people, steps of an escalation, requests handed on, a deadline, and handlers that ask in their middle."""
    terms = Approval(
        "Pay ${user}?",
        assignees=["ada", "bob"],
        quorum=2,
        escalation=[Escalation(60, ["eve"])],
        deadline_seconds=600,
        on_deadline="approve",
        response_schema={"type": "object"},
        arguments={"amount": 5, "who": "${user}"},
    )
    run = Run(
        TaskDefinition.ask("pay", terms),
        TaskDefinition.ask("late", Approval("Late?", deadline_seconds=90, on_deadline="approve", default=[1])),
        task("draft"),
        once("send", "pay"),
        input={"user": "ada"},
    )
    run.interrupt("draft", {"title": "Spring"}, key="title", question="Which title?", assignees=("ada",))
    run.answer("draft", "Summer", comment="warmer")
    run.interrupt("draft", key="price", response_schema={"type": "integer"}, deadline_seconds=60)
    run.delegate("pay", "carl")
    run.answer("pay", by="carl")
    run.wait(59)
    run.answer("draft", 7, by="bob")
    run.succeed("draft", value="done")
    run.wait(2)
    run.answer("pay", {"amount": 4}, by="eve")
    run.started("send")
    run.interrupt("send")
    run.wait(30)
    run.reject("send", by="bob")
    return run


def several_run() -> Run:
    """Handlers that ask several things at once, answered in part, before and while they run."""
    run = Run(task("a"), task("b", fallback="c"), task("c"))
    asks = (Ask("x"), Ask("y", deadline_seconds=500, on_rejection="return"), Ask("z"))
    for key in "ab":
        run.interrupt_all(key, *asks)
        run.answer(key, 1, token=run.request(key, "x").token)
    run.interrupt_all("a", asks[1])
    run.reject("a", by="bob")
    run.succeed("a")
    run.reject("b", by="eve", token=run.request("b", "z").token)
    run.interrupt_all("b", *asks[1:])
    run.succeed("c")
    return run


def first_run() -> Run:
    """From the start to its failure, with pauses, retries, late outcomes and questions on the way."""
    run = Run(*TASKS, input={"user": "ada"}, timeout_seconds=10_000)
    run.signal("approved", {"by": "early"})
    run.succeed("load", value={"rows": [3, 1, 2]})
    run.fail("flaky", ConnectionError("refused"))
    run.succeed("each[1]", value="one")
    run.pause()
    run.wait(16)
    run.succeed("each[0]", value="zero")
    run.resume()
    run.wait(0)
    run.started("slow", limit=20)
    old = run.token("slow")
    run.time_out("slow", is_abandoned=True)
    run.started("pay")
    run.time_out("pay", is_abandoned=True)
    run.started("refund")
    run.crash()
    run.succeed("slow", token=old)
    run.resolve("refund", "run_again")
    run.succeed("pay", value="receipt")
    run.wait(40)
    run.fail("flaky", ConnectionError("refused again"))
    run.wait(10)
    run.started("refund")
    run.succeed("refund")
    for key in list(run.in_work):
        run.succeed(key, value={"done": key})
    run.fail_for_good("broken")
    return run


def second_run(first: Run) -> Run:
    """Goes on where the first failed, and is aborted."""
    carried: Carried = carry_over(first.state, "nap")
    run = Run(*TASKS, input={"user": "ada"}, run_no=2, carried=carried, timeout_seconds=10_000)
    run.abort("enough", grace=5)
    for key in list(run.in_work)[:-1]:
        run.cancelled(key)
    run.wait(20)
    return run


def asking_again_run() -> Run:
    """Goes on with what people have answered in the run before."""
    run = Run(task("draft"))
    run.interrupt("draft", key="title")
    run.answer("draft", "Summer")
    run.fail_for_good("draft")
    again = Run(task("draft"), run_no=2, carried=carry_over(run.state))
    again.interrupt("draft", key="price")
    again.answer("draft", 7)
    again.succeed("draft")
    return again


def suspected_run() -> Run:
    """Loses processes until a task of it is put aside, and goes on when somebody has decided."""
    run = Run(task("bad"), task("good"), task("worse"), task("end", "bad", "good"))
    run.die("first")
    run.started("bad")
    run.stop()
    for life in ("second", "third"):
        run.started("bad")
        run.started("worse")
        run.die(life)
    run.succeed("good")
    run.retry_letter("bad", reason="mended")
    run.discard_letter("worse")
    run.succeed("bad")
    run.succeed("end")
    return run


def replanned_run() -> Run:
    """Would fail, goes on by another plan, and fails when the next one is not good."""
    run = Run(task("bad"), task("after", "bad"), replan=ReplanTerms(3, 60.0))
    run.fail_for_good("bad")
    run.propose({"replace": task("bad")}, reason="once more")
    run.fail_for_good("bad")
    run.propose({"remove": "bad"}, number=2)
    return run


def whole() -> list[Run]:
    first = first_run()
    others = (
        steered_run,
        continued_run,
        undone_run,
        stepped_run,
        asking_run,
        asking_again_run,
        several_run,
        suspected_run,
        replanned_run,
        planned_run,
    )
    return [first, second_run(first), *(other() for other in others)]


def encoded(facts: list[Fact]) -> bytes:
    return b"".join(fact.event_type.encode() + b"\0" + FACTS.encode(fact) for fact in facts)


if __name__ == "__main__":
    for written in whole():
        print(encoded(written.scenario.history).hex())
