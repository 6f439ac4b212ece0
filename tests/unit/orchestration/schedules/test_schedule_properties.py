"""Whatever happens to a schedule, in whatever order: never early, never twice, in order, and nothing of a moment is forgotten."""

from __future__ import annotations

from datetime import UTC

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.core.decider import Fact
from agenticflow.core.results import OutcomeKind
from agenticflow.orchestration.schedules import facts as f
from agenticflow.orchestration.schedules.facts import CatchUp, Overlap
from agenticflow.orchestration.schedules.moments import Moments
from tests.unit.orchestration.schedules.story import SECOND, START, Story, after

PERIOD = 100

ACTIONS = st.one_of(
    st.tuples(st.just("time"), st.integers(-150, 700)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("trigger"), st.just(0)),
    st.tuples(st.just("pause"), st.just(0)),
    st.tuples(st.just("resume"), st.just(0)),
)


@settings(max_examples=300, deadline=None)
@given(
    overlap=st.sampled_from(Overlap),
    catch_up=st.sampled_from(CatchUp),
    jitter=st.sampled_from([0, 30, 500]),
    max_runs=st.sampled_from([None, 1, 3]),
    actions=st.lists(ACTIONS, max_size=40),
)
def test_never_early_never_twice_and_in_order(
    overlap: Overlap, catch_up: CatchUp, jitter: int, max_runs: int | None, actions: list[tuple[str, int]]
) -> None:
    story = Story(
        overlap=overlap, catch_up=catch_up, jitter_ns=jitter * SECOND, window_ns=250 * SECOND, max_runs=max_runs
    )
    moments = Moments(story.spec, START, "seed", UTC)
    now, fired, settled = 0, [], set()
    for action, amount in actions:
        if not story.state.is_open:
            break
        known = len(story.scenario.history)
        match action:
            case "time":
                now = max(0, now + amount)
                story.at(now)
            case "end" if story.state.running:
                running = list(story.state.running)
                story.end(running[amount % len(running)], now, list(OutcomeKind)[amount % 4])
            case "trigger" if overlap is not Overlap.SKIP or not story.state.running:
                if overlap in (Overlap.ALLOW, Overlap.CANCEL_RUNNING) or not story.state.queue:
                    story.steer(f.TriggerSchedule, now)
            case "pause":
                story.steer(f.PauseSchedule, now)
            case "resume":
                story.steer(f.ResumeSchedule, now)
            case _:
                pass
        for fact in story.scenario.history[known:]:
            if isinstance(fact, f.ScheduleFired):
                if not fact.is_manual:
                    # never early, whatever waited and whatever the jitter
                    assert moments.moment(fact.due).at <= START + now * SECOND
                    assert after(fact.due) % PERIOD == 0
                    fired.append(fact.due)
                if overlap is not Overlap.ALLOW:
                    assert len(story.state.running) <= 1
            settled |= _settled(fact)
    assert fired == sorted(set(fired))
    names = [fact.workflow_id for fact in story.scenario.history if isinstance(fact, f.ScheduleFired)]
    assert len(names) == len(set(names))
    assert max_runs is None or len(fired) <= max_runs
    # every moment before the next one is accounted for: it was acted on, waits, or was skipped
    if story.state.next is not None:
        waiting = {queued.due for queued in story.state.queue}
        for due in range(PERIOD, int(after(story.state.next.due)), PERIOD):
            assert START + due * SECOND in settled | waiting


def _settled(fact: Fact) -> set[int]:
    match fact:
        case f.ScheduleFired(due=due, is_manual=False):
            return {due}
        case f.ScheduleSkipped(due=due, until=until):
            return {due} if until is None else set(range(due, until, PERIOD * SECOND))
        case _:
            return set()
