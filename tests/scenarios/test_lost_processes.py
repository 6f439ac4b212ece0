"""Tasks that kill their process: who is suspected, who is put aside after how many deaths, and what a person may decide then."""

from __future__ import annotations

from agenticflow.errors import CommandRefused
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.chain import carry_over
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.quarantine.listing import LETTERS, entries_of, letter_of, with_params
from agenticflow.orchestration.suspicion.commands import DiscardLetter, RetryLetter
from agenticflow.orchestration.suspicion.facts import AttemptsInterrupted, ProcessLost, TaskQuarantined
from agenticflow.orchestration.waiting import sentence, waits_of
from tests.scenarios.runs import GUEST, SECOND, START, Run, once, task


def put_aside(*tasks: TaskDefinition, **options: object) -> Run:
    """A run whose task ``bad`` has lost three processes."""
    run = Run(*(tasks or (task("bad", **options), task("after", "bad"))))
    for life in ("first", "second", "third"):
        run.started("bad")
        run.die(life)
    return run


# --- who is suspected ---------------------------------------------------------------------------------------------------


def test_after_the_first_death_everything_in_work_is_suspected_and_runs_again_as_the_same_attempt() -> None:
    run = Run(task("a"), task("b"), task("later", "a"))
    tokens = {key: run.token(key) for key in ("a", "b")}
    again = run.die()
    assert run.facts(ProcessLost) == [ProcessLost(("a", "b"), "first", START, 4711, 3)]
    assert {key: (effect.token, effect.attempt, effect.caution) for key, effect in again.items()} == {
        key: (token, 1, 1) for key, token in tokens.items()
    }


def test_what_was_not_in_work_is_not_suspected() -> None:
    run = Run(task("done"), task("bad"), TaskDefinition.timer("nap", 60), task("later", "done", "bad"))
    run.succeed("done")
    assert set(run.die()) == {"bad"}
    assert set(run.state.suspects) == {"bad"}


def test_a_suspect_that_had_not_started_again_has_not_killed_the_next_process() -> None:
    run = Run(task("a"), task("b"))
    run.die("first")
    run.started("a")
    assert {key: effect.caution for key, effect in run.die("second").items()} == {"a": 2, "b": 1}
    assert [len(run.state.suspects[key].losses) for key in ("a", "b")] == [2, 1]


def test_a_death_is_counted_once_for_an_attempt() -> None:
    """Recovery may die itself, and is done again."""
    run = Run(task("a"))
    run.started("a")
    run.die("first")
    run.started("a")
    assert run.die("first").keys() == {"a"}
    assert len(run.state.suspects["a"].losses) == 1


def test_a_stop_is_no_death() -> None:
    run = Run(task("a"))
    run.started("a")
    assert {key: effect.caution for key, effect in run.stop().items()} == {"a": 0}
    assert run.state.suspects == {}
    run.die("first")
    run.started("a")
    assert {key: effect.caution for key, effect in run.stop().items()} == {"a": 1}
    assert run.facts(AttemptsInterrupted) == [AttemptsInterrupted(("a",))]
    # It has to record its start again, and is not counted before it has.
    run.die("second")
    assert len(run.state.suspects["a"].losses) == 1
    assert len(run.started("a")) == 1
    run.die("third")
    assert len(run.state.suspects["a"].losses) == 2


def test_at_most_once_work_keeps_its_own_rule() -> None:
    run = Run(once("pay"), once("waits"))
    run.started("pay")
    assert run.die().keys() == {"waits"}
    assert run.statuses == {"pay": "UNKNOWN", "waits": "SCHEDULED"}
    assert run.state.suspects == {}


def test_a_sub_workflow_is_no_suspect() -> None:
    run = Run(TaskDefinition("child", workflow=WorkflowDefinition([task("inner")])))
    assert run.die() == {}
    assert run.facts(ProcessLost) == []


def test_a_run_that_is_being_cancelled_counts_nothing() -> None:
    run = Run(task("a"))
    run.abort()
    assert run.die() == {}
    assert run.facts(ProcessLost) == []
    assert run.status == "CANCELLED"


def test_an_attempt_that_passed_its_limit_meanwhile_is_counted_and_tried_again() -> None:
    run = Run(task("a", timeout_seconds=20))
    run.started("a", limit=20)
    run.now += 60 * SECOND
    assert run.die() == {}
    assert run.statuses == {"a": "RETRYING"}
    assert len(run.state.suspects["a"].losses) == 1
    run.wait(60)
    assert run.dispatched["a"].caution == 1


def test_the_count_goes_over_the_attempts_of_a_task() -> None:
    run = Run(task("bad"))
    run.die("first")
    run.started("bad")
    run.fail("bad")
    run.wait(60)
    run.started("bad")
    assert run.die("second")["bad"].caution == 2
    run.started("bad")
    run.die("third")
    assert run.statuses == {"bad": "QUARANTINED"}


# --- quarantine ---------------------------------------------------------------------------------------------------------


def test_the_third_death_puts_it_aside_and_the_others_go_on() -> None:
    run = Run(task("bad"), task("after", "bad"), task("good"), task("next", "good"))
    run.die("first")
    run.started("bad")
    run.succeed("good")
    run.die("second")
    run.started("bad")
    # ``next`` was in work for the first time: it may have been that one.
    assert {key: effect.caution for key, effect in run.die("third").items()} == {"next": 1}
    assert run.facts(TaskQuarantined) == [TaskQuarantined("bad", run.token("bad"), 3)]
    assert run.statuses == {"bad": "QUARANTINED", "good": "COMPLETED", "next": "SCHEDULED"}
    assert run.status == "RUNNING"
    run.succeed("next")
    assert run.status == "NEEDS_ATTENTION"
    assert run.wait(1_000_000) == []


def test_the_limit_is_the_one_of_the_process_that_counts() -> None:
    run = Run(task("bad"))
    run.started("bad")
    assert run.die("first", limit=2)["bad"].caution == 2
    run.started("bad")
    run.die("second", limit=2)
    assert run.statuses == {"bad": "QUARANTINED"}
    assert run.facts(TaskQuarantined)[0].losses == 2


def test_an_outcome_that_comes_late_changes_nothing() -> None:
    run = put_aside()
    assert run.succeed("bad") == []


def test_why_says_so_in_a_sentence_with_what_to_do() -> None:
    run = put_aside()
    (wait,) = waits_of(run.state)
    token = run.state.suspects["bad"].token
    assert wait.is_for_others
    assert sentence(wait, "w") == (
        f"task 'bad' is in quarantine, because its process died 3 times while it ran, since 2023-11-14 22:13:20Z; "
        f"`agenticflow dead-letters retry w/1/bad@{token}` runs it again, "
        f"`agenticflow dead-letters discard w/1/bad@{token}` has it failed"
    )


def test_the_letter_says_what_a_person_needs_and_hides_secrets() -> None:
    run = Run(task("bad", params={"size": 3, "password": "hunter2"}))
    run.fail("bad", ValueError("password=hunter2 is wrong"))
    run.wait(60)
    run.say("be careful", "bad")
    for life in ("first", "second", "third"):
        run.started("bad")
        run.die(life)
    letter = with_params(letter_of(run.state, run.state.suspects["bad"]), GUEST.inputs(run.state, "bad").params)
    assert letter.params == {"size": 3, "password": "[hidden]"}
    assert (letter.task_key, letter.performer_id, letter.task_type, letter.attempt) == ("bad", "agent", "work", 2)
    assert [(loss.pid, loss.attempt) for loss in letter.losses] == [(4711, 2)] * 3
    assert letter.feedback == ("be careful",)
    assert letter.last_error == "ValueError: password=[hidden] is wrong"
    assert f"dead-letters retry {letter.letter_id}`" in letter.what_to_do
    assert put_aside().state.suspects["bad"].since == START
    assert letter_of(put_aside().state, put_aside().state.suspects["bad"]).last_error == ""


def test_a_letter_is_listed_while_it_is_open() -> None:
    run = put_aside()
    (entry,) = entries_of(run.state)
    assert (entry.namespace, entry.value is not None) == (LETTERS, True)
    run.state.unlisted.clear()
    run.retry_letter("bad")
    (closed,) = entries_of(run.state)
    assert (closed.key, closed.value) == (entry.key, None)


# --- what a person decides ----------------------------------------------------------------------------------------------


def test_retry_runs_it_again_beside_no_other_suspect_with_the_count_begun_anew() -> None:
    run = put_aside()
    generation = GUEST._run(run.state, run.state.tasks["bad"]).generation
    facts = run.retry_letter("bad", by="ada", reason="more memory")
    assert facts == [f.TaskRetryRequested("bad", "ada", "more memory"), f.TaskScheduled("bad", 2)]
    again = run.dispatched["bad"]
    assert (again.caution, again.generation) == (2, generation)
    assert run.state.suspects["bad"].losses == []
    for life in ("fourth", "fifth"):
        run.started("bad")
        assert run.die(life)["bad"].caution == 2
    run.started("bad")
    run.die("sixth")
    assert run.statuses["bad"] == "QUARANTINED"


def test_retry_gives_it_all_its_attempts_and_its_total_limit_again() -> None:
    run = put_aside(total_timeout_seconds=100)
    run.wait(1_000)
    run.retry_letter("bad")
    for _ in range(2):
        run.fail("bad")
        assert run.statuses["bad"] == "RETRYING"
        run.retry("bad")
    run.fail("bad")
    assert run.statuses["bad"] == "FAILED"


def test_a_retry_waits_for_the_end_of_a_pause() -> None:
    run = put_aside()
    run.pause()
    run.retry_letter("bad")
    assert run.statuses["bad"] == "READY"
    run.resume()
    assert run.statuses["bad"] == "SCHEDULED"


def test_runs_retry_does_the_same() -> None:
    run = put_aside()
    run.retry("bad")
    assert run.dispatched["bad"].caution == 2


def test_discard_has_it_failed_for_good() -> None:
    run = put_aside()
    run.discard_letter("bad", by="ada", reason="broken file")
    (failed,) = run.facts(f.TaskFailed)
    assert failed.decided_by == "ada"
    assert failed.error.message == "task 'bad' lost its process 3 times, and ada has given it up: broken file"
    assert (failed.error.type, failed.error.is_permanent) == ("ProcessLost", True)
    assert run.status == "FAILED"


def test_after_a_discard_the_fallback_stands_in() -> None:
    run = put_aside(task("bad", fallback="other"), task("other"), task("after", "bad"))
    run.discard_letter("bad")
    assert run.in_work == ["other"]
    run.succeed("other", "after")
    assert run.status == "COMPLETED"


def test_after_a_discard_the_run_goes_on_where_failures_are_skipped() -> None:
    run = put_aside(task("bad", on_failure="skip"), task("after", "bad", join="settled"))
    run.discard_letter("bad")
    run.succeed("after")
    assert run.status == "COMPLETED"


def test_after_a_discard_what_was_done_is_undone() -> None:
    run = Run(task("good", compensation="undo"), task("bad", "good"))
    run.succeed("good")
    for life in ("first", "second", "third"):
        run.started("bad")
        run.die(life)
    run.discard_letter("bad")
    assert run.in_work == ["undo:good"]


def test_what_undoes_may_be_poison_too() -> None:
    run = Run(task("good", compensation="undo"), task("other", "good"))
    run.succeed("good")
    run.fail_for_good("other")
    for life in ("first", "second", "third"):
        run.started("undo:good")
        run.die(life)
    assert run.status == "NEEDS_ATTENTION"
    run.retry_letter("undo:good")
    assert run.in_work == ["undo:good"]
    for life in ("fourth", "fifth", "sixth"):
        run.started("undo:good")
        run.die(life)
    run.discard_letter("undo:good", reason="by hand")
    assert run.facts(f.TaskOutcomeUnknown)[-1].reason.startswith("it could not be undone: task 'undo:good' lost its")
    run.resolve("undo:good", "run_again")
    assert run.dispatched["undo:good"].caution == 0
    run.succeed("undo:good")
    assert run.status == "COMPENSATED"


def test_a_person_may_also_skip_it_or_give_its_result() -> None:
    run = put_aside()
    run.skip("bad")
    assert run.status == "COMPLETED"
    run = put_aside()
    run.set_result("bad", 7)
    assert run.in_work == ["after"]
    assert [entry.value for entry in entries_of(run.state)] == [None]


def test_a_letter_that_is_closed_or_never_was_takes_no_decision() -> None:
    run = put_aside()
    token = run.state.suspects["bad"].token
    run.retry_letter("bad")
    run.refused(run.letter(RetryLetter, "bad", token=token), "is not open: the task is SCHEDULED now")
    run.refused(run.letter(DiscardLetter, "after", token=1), "there is no such task")
    run.succeed("bad", "after")
    run.refused(run.letter(DiscardLetter, "bad", token=token), "is COMPLETED and takes no discarding of a dead letter")


def test_the_end_of_the_run_closes_its_letters() -> None:
    run = put_aside()
    run.state.unlisted.clear()
    run.abort()
    assert run.statuses["bad"] == "CANCELLED"
    assert [entry.value for entry in entries_of(run.state)] == [None]
    assert run.status == "CANCELLED"
    assert carry_over(run.state).kept == {}


def test_a_branch_that_is_not_wanted_any_more_takes_its_letter_with_it() -> None:
    run = Run(task("bad"), task("good"), task("end", "bad", "good", join="any", cancel_rest=True))
    for life in ("first", "second", "third"):
        run.started("bad")
        run.die(life)
    run.succeed("good", "end")
    assert run.statuses["bad"] == "CANCELLED"
    assert run.status == "COMPLETED"


def test_an_item_of_a_map_is_put_aside_alone() -> None:
    run = Run(task("each", for_each=[1, 2], max_parallel=2), task("end", "each"))
    for life in ("first", "second", "third"):
        run.started("each[0]")
        run.die(life)
    run.succeed("each[1]")
    assert run.status == "NEEDS_ATTENTION"
    run.retry_letter("each[0]")
    run.succeed("each[0]", "end")
    assert run.status == "COMPLETED"


def test_a_decision_names_the_time_in_quarantine_that_it_means() -> None:
    run = put_aside()
    run.scenario.when(run.letter(RetryLetter, "bad", token=99)).then_refused(CommandRefused, "letter 99")
    assert run.statuses["bad"] == "QUARANTINED"


def test_many_are_counted_in_facts_of_bounded_size() -> None:
    run = Run(task("each", for_each=list(range(1_100))))
    run.die()
    assert [len(fact.task_keys) for fact in run.facts(ProcessLost)] == [500, 500, 100]
