"""What people say to a run: who hears it, how much of it there may be, and that it outlives crashes and runs."""

from __future__ import annotations

from agenticflow.core import codec
from agenticflow.core.context import Feedback
from agenticflow.core.engine import InformActivity
from agenticflow.errors import CommandRefused, InvalidInput
from agenticflow.orchestration import commands as c
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over, fork_of
from agenticflow.orchestration.snapshots import restore, take
from tests.scenarios.runs import START, Run, task


def test_what_runs_and_what_follows_hears_what_is_said_to_all() -> None:
    run = Run(task("a"), task("b", "a"))
    facts = run.say({"tone": "polite"}, by="ada")
    assert [fact.event_type for fact in facts] == ["feedback_given"]
    heard = Feedback({"tone": "polite"}, "ada", START, "", 1)
    assert run.effects == [InformActivity(run.token("a"), (heard,))]
    run.say("and short")
    assert [effect.feedback[-1].value for effect in run.effects if isinstance(effect, InformActivity)] == ["and short"]
    run.succeed("a")
    assert run.heard("b") == [{"tone": "polite"}, "and short"]


def test_only_whom_it_is_for_hears_it() -> None:
    run = Run(task("a"), task("each", for_each=[1, 2]), task("later", "a"))
    run.say("to a", "a")
    run.say("to all items", "each")
    run.say("to the second", "each[1]")
    run.say("to later", "later")
    assert run.effects == []
    assert run.heard("a") == ["to a"]
    assert run.heard("each[0]") == ["to all items"]
    assert run.heard("each[1]") == ["to all items", "to the second"]
    run.succeed("a")
    assert run.heard("later") == ["to later"]


def test_it_is_heard_again_after_a_crash_by_the_next_attempt_the_next_run_and_a_fork() -> None:
    run = Run(task("a"), task("b", "a"))
    run.say("once")
    run.crash()
    assert run.heard("a") == ["once"]
    assert restore("workflow-w/1", take(run.state)).feedback == run.state.feedback
    run.fail("a")
    run.wait(1_000)
    assert run.heard("a") == ["once"]
    run.fail_for_good("a")
    carried = carry_over(run.state)
    assert carried.feedback == fork_of(run.state).feedback == run.state.feedback
    again = Run(task("a"), run_no=2, carried=carried, now=run.now)
    assert again.state.feedback == run.state.feedback
    assert [fact.said_at for fact in again.facts(f.FeedbackGiven)] == [START]
    assert again.heard("a") == ["once"]


def test_too_much_of_it_is_refused() -> None:
    run = Run(task("a"))
    run.scenario.when(c.GiveFeedback(now=START, feedback=codec.encode("x" * 16_384), requested_by="ada")).then_refused(
        InvalidInput, "16,387 bytes, above the limit of 16,384"
    )
    for number in range(100):
        run.say(number)
    run.refused(c.GiveFeedback(now=START, feedback=b"\xc0", requested_by="ada"), "100 times, which is the limit")


def test_nobody_to_hear_it_is_said() -> None:
    run = Run(task("a"), task("b"))
    run.succeed("a")
    ask = c.GiveFeedback(now=START, feedback=b"\xc0", requested_by="ada", task_key="a")
    run.scenario.when(ask).then_refused(CommandRefused, "task 'a' .* is COMPLETED: nobody would hear it")
    ask = c.GiveFeedback(now=START, feedback=b"\xc0", requested_by="ada", task_key="c")
    run.scenario.when(ask).then_refused(InvalidInput, "has no task 'c' .*it has a, b")
    run.abort()
    run.refused(c.GiveFeedback(now=START, feedback=b"\xc0", requested_by="ada"), "takes no feedback")
    assert run.facts(f.FeedbackGiven) == []
