"""What each open branch waits for, for each reason there is; and the rule that says when a run is stuck."""

from __future__ import annotations

import pytest

from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.liveness import LATE_SECONDS, Breach, Holding, breaches_of
from agenticflow.orchestration.waiting import (
    AwaitsAnswer,
    AwaitsSignal,
    BeingCancelled,
    DependenciesOpen,
    HandedOut,
    InQueue,
    InWork,
    Lost,
    NeedsPermit,
    NextRun,
    NoRoom,
    NotRegistered,
    OutcomeInQuestion,
    Paused,
    Ready,
    Reason,
    Retrying,
    SubWorkflow,
    TimerRuns,
    Wait,
    branch_waits,
    sentence,
    waits_of,
    words_of,
)
from agenticflow.resilience.retry import RetryPolicy
from tests.scenarios.runs import SECOND, START, Run, once, seconds, task

ONE_MINUTE = RetryPolicy(initial_delay_seconds=60, max_delay_seconds=60, jitter=False)


def reasons(run: Run) -> dict[str, Reason]:
    return {wait.task_key: wait.reason for wait in waits_of(run.state)}


def only(run: Run) -> Wait:
    [wait] = waits_of(run.state)
    return wait


def times(wait: Wait) -> tuple[float | None, float | None]:
    """Since when and until when, in seconds since the run began."""
    return seconds(wait.since), seconds(wait.until)


# --- each reason --------------------------------------------------------------------------------------------------------


def test_work_that_is_scheduled_waits_for_whoever_has_it() -> None:
    run = Run(task("a"))
    assert only(run) == Wait("a", HandedOut("agent", 1), START)
    assert sentence(only(run), "w") == (
        "task 'a' is scheduled for 'agent', attempt 1, since 2023-11-14 22:13:20Z; its handler has to end"
    )


def test_work_that_has_begun_waits_for_its_end_or_its_limit() -> None:
    run = Run(task("a", timeout_seconds=30))
    run.now += SECOND
    run.started("a", limit=30)
    assert only(run).reason == InWork("agent", 1)
    assert times(only(run)) == (0, 31)
    assert sentence(only(run), "w").endswith(
        "until 2023-11-14 22:13:51Z at the latest; its handler has to end, or its limit to pass"
    )


def test_the_total_limit_and_the_limit_of_the_run_are_limits_of_a_wait_too() -> None:
    run = Run(task("a", total_timeout_seconds=20), TaskDefinition.wait_for("s", "go"), timeout_seconds=50)
    assert [times(wait) for wait in waits_of(run.state)] == [(0, 20), (0, 50)]


def test_a_timer_waits_for_its_moment() -> None:
    run = Run(TaskDefinition.timer("nap", 60))
    assert only(run).reason == TimerRuns()
    assert times(only(run)) == (0, 60)
    assert sentence(only(run), "w") == (
        "task 'nap' waits until 2023-11-14 22:14:20+00:00, since 2023-11-14 22:13:20Z; it comes by itself"
    )


def test_a_retry_says_what_went_wrong() -> None:
    run = Run(task("a", retry_policy=ONE_MINUTE))
    run.now += 5 * SECOND
    run.fail("a", ValueError("no luck"))
    wait = only(run)
    assert isinstance(wait.reason, Retrying)
    assert (wait.reason.attempt, times(wait)[1]) == (2, 65)
    assert "after ValueError: no luck; it comes by itself" in sentence(wait, "w")


def test_a_signal_is_waited_for_since_what_came_before_it_ended() -> None:
    run = Run(task("a"), TaskDefinition.wait_for("s", "go", {"a"}))
    run.now += 7 * SECOND
    run.succeed("a")
    assert only(run).reason == AwaitsSignal("go")
    assert times(only(run)) == (7, None)
    assert sentence(only(run), "w").endswith("; `agenticflow runs signal w go` sends it")


def test_an_approval_has_its_question_and_its_deadline() -> None:
    run = Run(TaskDefinition.ask("pay", "pay 100?", total_timeout_seconds=3_600))
    assert only(run).reason == AwaitsAnswer("pay 100?", f"w/1/pay@{run.token('pay')}")
    assert times(only(run)) == (0, 3_600)
    assert sentence(only(run), "w").startswith("task 'pay' waits for somebody to answer: pay 100?, since")


def test_a_sub_workflow_is_named_and_says_itself_what_it_waits_for() -> None:
    run = Run(TaskDefinition("sub", workflow=WorkflowDefinition([task("inner")], name="child")))
    assert only(run).reason == SubWorkflow("w~sub")
    asked = Wait("sub", SubWorkflow("w~sub", (Wait("gate", AwaitsSignal("open")),)))
    assert words_of(asked) == (
        "task 'sub' waits for the end of workflow 'w~sub', where task 'gate' waits for the signal 'open'"
    )
    assert sentence(asked, "w").endswith("; `agenticflow debug why 'w~sub'` says what that one needs")


def test_a_paused_run_says_so_first_and_what_is_ready_waits() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    run.succeed("a")
    assert waits_of(run.state) == [Wait("", Paused()), Wait("b", Ready(), START)]
    assert [wait.is_for_others for wait in waits_of(run.state)] == [True, False]
    assert [sentence(wait, "w") for wait in waits_of(run.state)] == [
        "the run is paused; `agenticflow runs unpause w` lets it go on",
        "task 'b' is ready, since 2023-11-14 22:13:20Z; the process that runs the store does it",
    ]


def test_an_unknown_outcome_waits_for_a_person() -> None:
    run = Run(once("a"))
    run.started("a")
    run.crash()
    assert only(run) == Wait("a", OutcomeInQuestion(), START)
    assert sentence(only(run), "w").endswith(
        "; `agenticflow runs resolve w a completed` (or failed, or run-again) says it"
    )


def test_a_run_that_is_being_cancelled_waits_for_its_handlers_until_their_grace_is_over() -> None:
    run = Run(task("a"))
    run.abort(grace=5)
    assert [(wait.task_key, wait.reason, seconds(wait.until)) for wait in waits_of(run.state)] == [
        ("", BeingCancelled(), 5),
        ("a", BeingCancelled(), 5),
    ]
    assert words_of(waits_of(run.state)[0]) == "the run was told to stop"
    assert sentence(waits_of(run.state)[1], "w").endswith("; it ends with its handlers, or with its grace")


def test_an_attempt_that_was_given_up_is_waited_for_until_its_grace_is_over() -> None:
    run = Run(task("a", retry_policy=RetryPolicy(max_attempts=1)))
    run.time_out("a", is_abandoned=True)
    assert only(run).reason == BeingCancelled()
    assert times(only(run)) == (0, 10)


def test_an_abandoned_attempt_of_a_task_that_is_tried_again_is_not_told_twice() -> None:
    run = Run(task("a", retry_policy=RetryPolicy(initial_delay_seconds=1, jitter=False)))
    run.time_out("a", is_abandoned=True)
    run.wait(1)
    assert [type(wait.reason) for wait in waits_of(run.state)] == [HandedOut]


def test_a_run_that_may_have_no_more_in_work_says_how_much_that_is() -> None:
    run = Run(task("a"), task("b"), max_parallel=1)
    assert reasons(run)["b"] == NoRoom(1)
    assert sentence(waits_of(run.state)[1], "w").endswith(
        "task 'b' waits until less than 1 are in work, since 2023-11-14 22:13:20Z; something in work has to end"
    )


def test_a_map_with_more_items_than_may_be_in_work_says_so() -> None:
    run = Run(task("m", for_each=[1, 2, 3], max_parallel=2))
    assert reasons(run) == {"m": NoRoom(2), "m[0]": HandedOut("agent", 1), "m[1]": HandedOut("agent", 1)}
    run.succeed("m[0]")
    assert reasons(run) == {"m[1]": HandedOut("agent", 1), "m[2]": HandedOut("agent", 1)}


def test_a_loop_waits_since_its_last_iteration_ended() -> None:
    run = Run(task("l", repeat_until="${l} == 3", repeat_delay_seconds=60, max_iterations=5))
    run.now += 9 * SECOND
    run.succeed("l[0]", value=1)
    assert only(run).reason == TimerRuns()
    assert times(only(run)) == (9, 69)


def test_a_run_that_goes_on_as_another_waits_for_that_one_to_be_started() -> None:
    run = Run(TaskDefinition("again", continue_with={"n": 1}))
    assert only(run) == Wait("", NextRun(2))
    assert sentence(only(run), "w") == (
        "the run waits for run 2, which goes on in its place, to be started; the process that runs the store does it"
    )


def undoing() -> Run:
    """A run that failed and undoes what it did, the last first."""
    done = [task("a", compensation="undo"), task("b", "a", compensation="undo")]
    run = Run(*done, task("c", "b", retry_policy=RetryPolicy(max_attempts=1)), timeout_seconds=60, max_parallel=1)
    run.succeed("a", "b")
    run.fail("c")
    return run


def test_a_run_that_is_being_undone_waits_for_what_undoes_and_for_no_limit_of_its_own() -> None:
    run = undoing()
    assert waits_of(run.state) == [Wait("undo:b", HandedOut("undo", 1), START)]
    assert branch_waits(run.state, "undo:b") == waits_of(run.state)
    assert stuck(run) == []
    assert stuck(run, Holding((), run.state.next_due)) == [("attempt", "undo:b")]
    run.fail_for_good("undo:b")
    assert only(run).reason == OutcomeInQuestion()
    assert stuck(run) == []


def test_an_aborted_run_that_is_being_undone_is_not_being_cancelled_any_more() -> None:
    run = Run(task("a", compensation="undo"), task("b", "a"))
    run.succeed("a")
    run.abort(grace=5)
    run.cancelled("b")
    assert only(run) == Wait("undo:a", HandedOut("undo", 1), START)
    run.state.ready.append(run.state.tasks["undo:a"])
    assert stuck(run) == [("decision", "")], "broken by hand: nobody starts it"


def test_what_needs_no_place_does_not_wait_for_one() -> None:
    run = Run(task("a"), task("b"), TaskDefinition.timer("nap", 5), max_parallel=1)
    assert {key: type(reason) for key, reason in reasons(run).items()} == {
        "a": HandedOut,
        "b": NoRoom,
        "nap": TimerRuns,
    }
    assert stuck(run) == []


def test_a_task_between_two_attempts_keeps_its_place() -> None:
    run = Run(task("a", retry_policy=ONE_MINUTE), task("b"), max_parallel=1)
    run.fail("a")
    assert {key: type(reason) for key, reason in reasons(run).items()} == {"a": Retrying, "b": NoRoom}
    assert stuck(run) == []


def test_a_run_that_has_ended_waits_for_nothing() -> None:
    run = Run(task("a"))
    run.succeed("a")
    assert waits_of(run.state) == []
    assert branch_waits(run.state, "a") == []


# --- with what the process that runs it knows ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        (
            InQueue("agent", 3, 2),
            (
                "task 'a' waits for one of the 2 places at 'agent', 3 go first, since 2023-11-14 22:13:20Z; "
                "'agent' has to end something, or needs a higher concurrency"
            ),
        ),
        (
            NeedsPermit("press", ("workflow-v/1",), 0),
            (
                "task 'a' waits for 'press', which is held by 'workflow-v/1', 0 go first, since 2023-11-14 22:13:20Z; "
                "whoever holds it has to end"
            ),
        ),
        (
            NeedsPermit("mails", (), 2),
            (
                "task 'a' waits for 'mails', which is held by nobody at the moment, 2 go first, since 2023-11-14 22:13:20Z; "
                "whoever holds it has to end"
            ),
        ),
        (
            NotRegistered("task 'a' waits for an agent 'x', which is not registered here"),
            (
                "task 'a' waits for an agent 'x', which is not registered here, since 2023-11-14 22:13:20Z; "
                "registering it, or its recovery, starts the task"
            ),
        ),
        (
            Lost(),
            (
                "task 'a' is in work by the history, and nobody here knows of it, since 2023-11-14 22:13:20Z; "
                "the engine hands it out again by itself, or a restart of its process does"
            ),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_the_process_does_with_an_attempt_is_said_more_closely(reason: Reason, words: str) -> None:
    run = Run(task("a"))
    [wait] = waits_of(run.state, {} if reason == Lost() else {run.token("a"): reason})
    assert wait.reason == reason
    assert sentence(wait, "w") == words


# --- one task -----------------------------------------------------------------------------------------------------------


def test_a_task_that_was_not_reached_waits_for_what_it_depends_on_and_that_for_what_can_be_done() -> None:
    run = Run(task("a"), TaskDefinition.wait_for("s", "go"), task("b", "a", "s"), task("c", "b"), task("d"))
    run.succeed("a")
    assert [(wait.task_key, wait.reason) for wait in branch_waits(run.state, "c")] == [
        ("c", DependenciesOpen(("b",))),
        ("b", DependenciesOpen(("s",))),
        ("s", AwaitsSignal("go")),
    ]
    assert sentence(branch_waits(run.state, "b")[0], "w") == "task 'b' waits for 's'; they have to end"
    assert branch_waits(run.state, "a") == [], "it has ended"


def test_a_task_of_a_diamond_is_followed_once() -> None:
    run = Run(task("a"), task("b", "a"), task("c", "a"), task("d", "b", "c"))
    assert [wait.task_key for wait in branch_waits(run.state, "d")] == ["d", "b", "c", "a"]


def test_an_item_of_a_map_is_asked_for_alone_and_the_map_with_its_items() -> None:
    run = Run(task("m", for_each=[1, 2]), task("after", "m"))
    assert [wait.task_key for wait in branch_waits(run.state, "m")] == ["m[0]", "m[1]"]
    assert [wait.task_key for wait in branch_waits(run.state, "m[1]")] == ["m[1]"]
    assert [wait.task_key for wait in branch_waits(run.state, "after")] == ["after", "m[0]", "m[1]"]


def test_a_pause_is_told_with_every_task() -> None:
    run = Run(task("a"), task("b", "a"))
    run.pause()
    assert next(wait.reason for wait in branch_waits(run.state, "b")) == Paused()


def test_a_task_that_is_not_there_is_refused_with_those_that_are() -> None:
    run = Run(task("a"), task("b"))
    with pytest.raises(InvalidInput, match=r"workflow 'w' has no task 'x' \(there are a, b\)"):
        branch_waits(run.state, "x")


# --- the rule -----------------------------------------------------------------------------------------------------------


def stuck(run: Run, holding: Holding | None = None) -> list[tuple[str, str]]:
    """What is missing, with its task, when the engine holds ``holding``: left out, all that a healthy one does."""
    if holding is None:
        holding = Holding({run.token(key) for key in run.in_work}, run.state.next_due, is_continuing=True)
    return [(breach.missing, breach.task_key) for breach in breaches_of(run.state, holding, run.now)]


def test_a_run_that_somebody_is_about_is_alive() -> None:
    assert stuck(Run(task("a"), TaskDefinition.timer("nap", 5))) == []


def test_an_attempt_that_nobody_has_is_a_breach_since_it_was_scheduled() -> None:
    run = Run(task("a"), task("b"))
    run.now += 30 * SECOND
    [breach] = breaches_of(run.state, Holding({run.token("b")}), run.now)
    assert breach == Breach("w", 1, "attempt", START, "a", run.token("a"))
    assert breach.words == (
        "task 'a' of run 1 of workflow 'w' is stuck: it is in work by the history, and nobody here performs it"
    )
    assert breach.key == ("w", 1, "attempt", "a", run.token("a"))


def test_what_is_being_decided_is_no_breach() -> None:
    assert stuck(Run(task("a")), Holding((), is_busy=True)) == []


def test_a_pause_does_not_hide_an_attempt_that_is_lost() -> None:
    run = Run(task("a"))
    run.pause()
    assert stuck(run, Holding(())) == [("attempt", "a")]


def test_a_timer_that_is_not_set_or_set_too_late_is_a_breach() -> None:
    run = Run(TaskDefinition.timer("nap", 60))
    due = run.state.next_due
    assert due is not None
    assert stuck(run, Holding((), due)) == []
    assert stuck(run, Holding((), due - 1)) == [], "asked too early is asked again"
    assert stuck(run, Holding(())) == [("timer", "")]
    assert stuck(run, Holding((), due + 1)) == [("timer", "")]


def test_a_timer_that_does_not_ring_is_a_breach_after_a_while() -> None:
    run = Run(TaskDefinition.timer("nap", 60))
    run.sleep(60 + LATE_SECONDS)
    assert stuck(run) == []
    run.sleep(1)
    assert stuck(run) == [("timer", "")]


def test_a_run_that_is_being_cancelled_lives_by_its_grace() -> None:
    run = Run(task("a"))
    run.abort(grace=5)
    assert stuck(run, Holding((), run.state.next_due)) == []
    assert stuck(run, Holding(())) == [("timer", "")]


def test_a_next_run_that_nobody_starts_is_a_breach() -> None:
    run = Run(TaskDefinition("again", continue_with={"n": 1}))
    assert stuck(run) == []
    [breach] = breaches_of(run.state, Holding(()), run.now)
    assert breach.words == "run 1 of workflow 'w' is stuck: nobody starts the run that goes on in its place"


@pytest.mark.parametrize("what", ["signal", "answer", "person", "pause", "room", "end"])
def test_what_waits_for_somebody_or_has_ended_is_alive_without_the_engine(what: str) -> None:
    run = {
        "signal": lambda: Run(TaskDefinition.wait_for("s", "go")),
        "answer": lambda: Run(TaskDefinition.ask("q", "go on?")),
        "person": lambda: Run(once("a")),
        "pause": lambda: Run(task("a"), task("b", "a")),
        "room": lambda: Run(task("a"), task("b"), max_parallel=1),
        "end": lambda: Run(task("a")),
    }[what]()
    if what == "person":
        run.started("a")
        run.crash()
    elif what == "pause":
        run.pause()
        run.succeed("a")
    elif what == "end":
        run.succeed("a")
    assert stuck(run) == []


@pytest.mark.parametrize("broken", ["ready", "empty", "final", "undecided", "retry", "cancelled"])
def test_a_state_in_which_something_follows_and_was_not_decided_is_a_breach(broken: str) -> None:
    """No decision leaves such a state behind: it is broken here by hand."""
    run = Run(task("a", retry_policy=ONE_MINUTE), TaskDefinition.wait_for("s", "go"))
    state = run.state
    if broken == "ready":
        state.ready.append(state.tasks["a"])
    elif broken == "empty":
        state.active = state.in_flight = 0
    elif broken == "final":
        state.final = "a"
    elif broken == "undecided":
        state.undecided["a"] = None
    elif broken == "retry":
        run.fail("a")
        state.timers.clear()
    else:
        run.abort()
        state.in_flight = 0
    assert ("decision", "") in stuck(run)
