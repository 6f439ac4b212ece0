"""The schedule as a decider: what it does when a moment comes, what it does about those it missed, and how it is steered."""

from __future__ import annotations

import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.core.engine import ContinueExecution, RunChild, StopActivity, TimersDue
from agenticflow.core.results import OutcomeKind
from agenticflow.errors import CommandRefused, CorruptStore, InvalidInput, InvariantError
from agenticflow.orchestration.schedules import facts as f
from agenticflow.orchestration.schedules import guest
from agenticflow.orchestration.schedules.facts import CatchUp, Overlap
from agenticflow.orchestration.schedules.state import ScheduleState, ScheduleStatus, what_is_left
from agenticflow.resilience.gate import PermitReleased
from agenticflow.testing.scenarios import given
from tests.unit.orchestration.schedules.story import GUEST, SECOND, START, Story


def test_it_fires_when_its_moment_has_come_and_not_a_nanosecond_earlier() -> None:
    story = Story()
    assert story.next == 100
    assert story.ask(TimersDue(now=START + 100 * SECOND - 1)) == []
    assert story.at(100) == ["fired 100"]
    assert story.at(100) == story.at(199) == []
    assert story.end(1, 150) == ["run_ended"]
    assert story.at(200) == ["fired 200"]
    assert (story.state.number, story.state.fired, story.state.run_no) == (2, 2, 1)
    assert story.effects == [
        RunChild("s@2023-11-14T22:15:00Z", 1, 1, "s@2023-11-14T22:15:00Z", None, "w"),
        RunChild("s@2023-11-14T22:16:40Z", 2, 1, "s@2023-11-14T22:16:40Z", None, "w"),
    ]


def test_time_that_runs_backwards_fires_nothing_twice() -> None:
    story = Story(overlap=Overlap.ALLOW)
    assert story.at(100) == ["fired 100"]
    assert story.at(50) == story.at(100) == []
    assert story.next == 200


def test_what_waits_does_not_start_before_its_moment_when_the_clock_is_set_back() -> None:
    story = Story(overlap=Overlap.QUEUE_ONE)
    story.steer(f.TriggerSchedule, 0)
    assert story.at(100) == ["queued 100"]
    assert story.end(1, 99) == ["run_ended"]
    assert story.next == 100
    assert story.at(100) == ["fired 100"]


# --- overlap ------------------------------------------------------------------------------------------------------------


def test_skip_starts_nothing_while_something_runs() -> None:
    story = Story()
    story.at(100)
    assert story.at(200) == ["skipped 200"]
    assert story.end(1, 250) == ["run_ended"]
    assert story.at(300) == ["fired 300"]


def test_queue_one_keeps_the_first_that_had_to_wait() -> None:
    story = Story(overlap=Overlap.QUEUE_ONE)
    assert [story.at(100), story.at(200), story.at(300)] == [["fired 100"], ["queued 200"], ["skipped 300"]]
    assert story.end(1, 350) == ["run_ended", "fired 200"]
    assert story.end(2, 360) == ["run_ended"]


def test_queue_all_keeps_their_order_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_QUEUE", 2)
    story = Story(overlap=Overlap.QUEUE_ALL)
    assert [story.at(n * 100) for n in (1, 2, 3, 4)] == [["fired 100"], ["queued 200"], ["queued 300"], ["skipped 400"]]
    assert story.end(1, 410) == ["run_ended", "fired 200"]
    assert story.end(2, 420) == ["run_ended", "fired 300"]
    assert story.end(3, 430, OutcomeKind.FAILED) == ["run_ended"]
    assert [run.outcome for run in story.state.recent] == ["succeeded", "succeeded", "failed"]


def test_allow_starts_side_by_side_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_RUNNING", 2)
    story = Story(overlap=Overlap.ALLOW)
    assert [story.at(n * 100) for n in (1, 2, 3)] == [["fired 100"], ["fired 200"], ["skipped 300"]]
    assert list(story.state.running) == [1, 2]


def test_cancel_running_starts_the_newest_when_the_old_one_has_stopped() -> None:
    story = Story(overlap=Overlap.CANCEL_RUNNING)
    assert [story.at(100), story.at(200)] == [["fired 100"], ["queued 200"]]
    assert story.effects[1:] == [StopActivity(1, "its schedule starts it anew")]
    assert story.at(300) == ["skipped 200", "queued 300"]
    assert story.end(1, 310, OutcomeKind.CANCELLED) == ["run_ended", "fired 300"]
    assert story.end(1, 310, OutcomeKind.CANCELLED) == []


def test_what_waits_starts_when_another_policy_lets_it() -> None:
    story = Story(overlap=Overlap.QUEUE_ONE)
    story.at(100)
    story.at(200)
    changed = f.ScheduleSpec(workflow="w", every_ns=100 * SECOND, overlap=Overlap.ALLOW)
    assert story.steer(f.ChangeSchedule, 210, spec=changed) == ["changed", "fired 200"]


# --- catching up --------------------------------------------------------------------------------------------------------


def test_last_acts_on_the_newest_of_all_that_were_missed() -> None:
    story = Story()
    assert story.at(1_050) == ["skipped 100-1000", "fired 1000"]
    assert story.next == 1_100


def test_none_acts_only_on_a_moment_that_has_just_passed() -> None:
    assert Story(catch_up=CatchUp.NONE).at(1_060) == ["skipped 100-1000", "fired 1000"]
    story = Story(catch_up=CatchUp.NONE)
    assert story.at(1_061) == ["skipped 100-1100"]
    assert story.next == 1_100


def test_all_acts_on_each_within_the_window() -> None:
    story = Story(catch_up=CatchUp.ALL, window_ns=250 * SECOND, overlap=Overlap.QUEUE_ALL)
    assert story.at(1_010) == ["skipped 100-800", "fired 800", "queued 900", "queued 1000"]
    story = Story(catch_up=CatchUp.ALL, window_ns=250 * SECOND)
    assert story.at(210) == ["fired 100", "skipped 200"]


def test_all_acts_on_at_most_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_CATCH_UP", 2)
    story = Story(catch_up=CatchUp.ALL, window_ns=10_000 * SECOND, overlap=Overlap.ALLOW)
    assert story.at(1_010) == ["skipped 100-900", "fired 900", "fired 1000"]


def test_nothing_is_wanted_of_a_last_moment_that_was_missed() -> None:
    story = Story(catch_up=CatchUp.NONE, at=START + 100 * SECOND)
    assert story.at(500) == ["skipped 100", "completed"]


def test_a_moment_that_other_rules_do_not_know_counts_all_the_same() -> None:
    first = f.Moment(START + 50 * SECOND, START + 50 * SECOND)
    spec = f.ScheduleSpec(workflow="w", at=START + 90 * SECOND)
    scenario = given(GUEST, f.ScheduleCreated(spec, "", first), stream_id="schedule-s/1", at=START)
    scenario.when(TimersDue(now=START + 60 * SECOND))
    following = f.Moment(START + 90 * SECOND, START + 90 * SECOND)
    scenario.then(f.ScheduleFired(first.due, 1, "s@2023-11-14T22:14:10Z", following=(following,)))


def test_jitter_makes_it_later_and_never_earlier() -> None:
    story = Story(jitter_ns=50 * SECOND)
    due = story.next
    assert due is not None
    assert 100 < due < 150
    assert story.at(due - 0.001) == []
    assert story.at(due) == ["fired 100"]
    assert story.next is not None
    # what has not reached its jitter yet is not among the missed
    other = Story(jitter_ns=50 * SECOND)
    assert other.at(500) == ["skipped 100-400", "fired 400"]


# --- the end ------------------------------------------------------------------------------------------------------------


def test_once_is_completed_when_what_it_started_has_ended() -> None:
    story = Story(at=START + 5 * SECOND)
    assert story.at(5) == ["fired 5"]
    assert (story.next, story.state.status, story.state.is_open) == (None, ScheduleStatus.ACTIVE, True)
    assert story.end(1, 9) == ["run_ended", "completed"]
    assert (story.state.status, story.state.is_open) == ("COMPLETED", False)
    assert story.at(10) == story.end(1, 11) == []
    with pytest.raises(CommandRefused, match="'s' is completed"):
        GUEST.decide(story.state, f.PauseSchedule(now=START))


def test_so_many_runs_and_no_more() -> None:
    story = Story(max_runs=2, overlap=Overlap.QUEUE_ALL)
    assert [story.at(100), story.at(200), story.at(300)] == [["fired 100"], ["queued 200"], []]
    assert story.end(1, 350) == ["run_ended", "fired 200"]
    assert story.end(2, 360) == ["run_ended", "completed"]


def test_catching_up_stops_at_the_last_run() -> None:
    story = Story(max_runs=2, overlap=Overlap.ALLOW, catch_up=CatchUp.ALL, window_ns=1_000 * SECOND)
    assert story.at(450) == ["fired 100", "fired 200"]
    assert story.next is None


def test_a_schedule_that_would_never_be_due_is_refused() -> None:
    with pytest.raises(AssertionError, match="would never be due"):
        Story(end_at=START + SECOND).at(1)


def test_a_schedule_is_created_once() -> None:
    story = Story()
    with pytest.raises(CommandRefused, match="exists already"):
        GUEST.decide(story.state, f.CreateSchedule(now=START, spec=story.spec, seed=""))
    with pytest.raises(CommandRefused, match="was never created"):
        GUEST.decide(ScheduleState("schedule-s/1"), f.PauseSchedule(now=START))
    assert GUEST.advance(ScheduleState("schedule-s/1"), START) == ()
    with pytest.raises(InvariantError, match="never created"):
        GUEST.summary(ScheduleState("schedule-s/1"))


# --- steering -----------------------------------------------------------------------------------------------------------


def test_a_paused_schedule_starts_nothing_and_goes_on_with_what_is_to_come() -> None:
    story = Story(overlap=Overlap.QUEUE_ONE)
    story.at(100)
    story.at(200)
    assert story.steer(f.PauseSchedule, 210, reason="lunch") == ["paused"]
    assert (story.state.status, story.next) == ("PAUSED", None)
    assert story.steer(f.PauseSchedule, 220) == story.at(500) == []
    assert story.end(1, 510) == ["run_ended"]
    assert story.steer(f.ResumeSchedule, 520) == ["skipped 300-600", "resumed", "fired 200"]
    assert story.next == 600
    assert story.steer(f.ResumeSchedule, 530) == []


def test_a_short_pause_skips_nothing() -> None:
    story = Story()
    story.steer(f.PauseSchedule, 10)
    assert story.steer(f.ResumeSchedule, 20) == ["resumed"]
    assert story.at(100) == ["fired 100"]


def test_a_single_moment_that_passed_in_a_pause_is_gone() -> None:
    story = Story(at=START + 100 * SECOND)
    story.steer(f.PauseSchedule, 10)
    assert story.steer(f.ResumeSchedule, 200) == ["skipped 100", "resumed", "completed"]


def test_a_changed_schedule_counts_anew() -> None:
    story = Story()
    assert story.steer(f.ChangeSchedule, 20, spec=story.spec) == []
    other = f.ScheduleSpec(workflow="w", every_ns=30 * SECOND)
    assert story.steer(f.ChangeSchedule, 20, spec=other, requested_by="me") == ["changed"]
    assert story.at(50) == ["fired 50"]
    done = f.ScheduleSpec(workflow="w", every_ns=30 * SECOND, max_runs=1)
    assert story.steer(f.ChangeSchedule, 60, spec=done) == ["changed"]
    assert story.end(1, 70) == ["run_ended", "completed"]


def test_no_change_brings_back_a_moment_that_has_come_whatever_the_clock_says() -> None:
    story = Story()
    story.at(100)
    other = f.ScheduleSpec(workflow="w", every_ns=50 * SECOND, start_at=START)
    assert story.steer(f.ChangeSchedule, 20, spec=other) == ["changed"]
    assert story.next == 150


def test_a_deleted_schedule_lets_go_of_what_it_started() -> None:
    story = Story()
    story.at(100)
    assert story.steer(f.DeleteSchedule, 110, reason="enough") == ["deleted"]
    assert story.end(1, 120) == story.at(200) == []
    assert (story.state.status, story.next) == ("DELETED", None)
    with pytest.raises(CommandRefused, match="was deleted"):
        GUEST.decide(story.state, f.TriggerSchedule(now=START))


def test_a_trigger_starts_it_now_and_leaves_the_moments_alone() -> None:
    story = Story(max_runs=5)
    assert story.steer(f.TriggerSchedule, 40) == ["fired 40"]
    assert (story.next, story.state.fired, story.state.number) == (100, 0, 1)
    assert story.state.running[1].workflow_id == "s@2023-11-14T22:14:00Z+1"
    with pytest.raises(CommandRefused, match="starts nothing now: what was started before runs"):
        GUEST.decide(story.state, f.TriggerSchedule(now=START + 41 * SECOND))


def test_a_trigger_waits_where_moments_wait() -> None:
    story = Story(overlap=Overlap.QUEUE_ONE)
    story.steer(f.TriggerSchedule, 40)
    assert story.steer(f.TriggerSchedule, 40) == ["queued 40"]
    assert story.end(1, 50) == ["run_ended", "fired 40"]
    assert story.state.fired == 0


# --- what the engine asks -----------------------------------------------------------------------------------------------


def test_after_a_crash_everything_open_is_asked_for_again() -> None:
    story = Story(overlap=Overlap.CANCEL_RUNNING)
    story.at(100)
    story.at(200)
    child, stop = GUEST.recover(story.state, START).effects
    assert isinstance(child, RunChild)
    assert (child.token, stop) == (1, StopActivity(1, "its schedule starts it anew"))
    assert (GUEST.is_in_work(story.state, 1), GUEST.is_in_work(story.state, 2)) == (True, False)
    plain = Story()
    plain.at(100)
    assert [type(effect) for effect in GUEST.recover(plain.state, START).effects] == [RunChild]
    # a fact whose run has ended meanwhile asks for nothing
    assert GUEST.effects(story.state, f.ScheduleFired(0, 9, "x"), 9) == ()


def test_the_input_is_filled_in_for_each_start() -> None:
    given_input = codec.encode({"day": "${schedule.due}", "text": "run ${schedule.number} of ${schedule.id}", "n": 1})
    story = Story(input=given_input)
    story.at(100)
    key = story.state.running[1].workflow_id
    found = GUEST.inputs(story.state, key)
    assert found.params == {"day": "2023-11-14T22:15:00Z", "text": "run 1 of s", "n": 1}
    with pytest.raises(InvariantError, match="has not started 'x'"):
        GUEST.inputs(story.state, "x")
    with pytest.raises(InvalidInput, match="leads nowhere"):
        guest.fill_in(codec.encode({"a": "${other}"}), "s", 1, 0)
    plain = Story()
    plain.at(100)
    assert GUEST.inputs(plain.state, key).params == {}


def test_how_it_is_listed() -> None:
    story = Story()
    entry = GUEST.summary(story.state)
    assert (entry.execution_id, entry.run_no, entry.name, entry.status) == ("s", 1, "w", "ACTIVE")
    assert (entry.is_open, entry.next_due, entry.started_at) == (True, START + 100 * SECOND, START)
    assert guest.stream_of_schedule("s", 1) == story.state.stream_id
    assert (GUEST.kind, GUEST.codec.types["schedule_fired"]) == ("schedule", f.ScheduleFired)


def test_what_it_does_not_know_is_a_bug_and_what_cannot_be_read_is_corrupt() -> None:
    story = Story()
    with pytest.raises(InvariantError, match="the command Command"):
        GUEST.decide(story.state, Command(now=0))
    with pytest.raises(InvariantError, match="the fact PermitReleased"):
        GUEST.evolve(story.state, PermitReleased("x"), 2, 0)
    with pytest.raises(CorruptStore, match="cannot be read"):
        GUEST.initial("schedule-s/1", b"\xc1")
    saved = codec.decode(GUEST.snapshot(story.state))
    assert isinstance(saved, dict)
    with pytest.raises(CorruptStore, match="has form 99"):
        GUEST.initial("schedule-s/1", codec.encode({**saved, "form": 99}))


# --- long lives ---------------------------------------------------------------------------------------------------------


def test_a_long_stream_goes_on_in_the_next_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest, "MAX_EVENTS", 5)
    story = Story(overlap=Overlap.CANCEL_RUNNING)
    story.at(100)
    story.steer(f.PauseSchedule, 110)
    story.steer(f.ResumeSchedule, 120)
    assert story.at(200) == ["queued 200", "continuing"]
    asked = ContinueExecution("s", 1, codec.NULL)
    assert story.effects[-1] == asked
    assert (story.state.status, story.next, story.state.is_open) == ("CONTINUING", None, True)
    assert list(GUEST.recover(story.state, START).effects) == [asked]
    assert story.at(300) == story.end(1, 300) == []
    with pytest.raises(CommandRefused, match="ask again"):
        GUEST.decide(story.state, f.PauseSchedule(now=START))
    left = what_is_left(story.state)
    assert story.steer(f.NextScheduleOpened, 300) == ["continuing"]
    assert (story.state.status, story.state.is_open) == ("CONTINUED", False)
    assert story.steer(f.NextScheduleOpened, 300) == []

    following = given(GUEST, stream_id="schedule-s/2").when(f.ContinueSchedule(now=START + 201 * SECOND, left=left))
    following.then(left)
    state = following.state
    assert (state.run_no, state.number, list(state.running), [one.due for one in state.queue]) == (
        2,
        1,
        [1],
        [START + 200 * SECOND],
    )
    child, stop = GUEST.effects(state, left, 1)
    assert isinstance(child, RunChild)
    assert isinstance(stop, StopActivity)
    assert state.next_due == START + 300 * SECOND
    with pytest.raises(CommandRefused, match="exists already"):
        GUEST.decide(state, f.ContinueSchedule(now=START, left=left))
