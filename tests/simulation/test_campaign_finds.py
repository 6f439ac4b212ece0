"""The campaign finds bugs: each test plants one into the engine, for its own length, and expects to be told within so many seeds.

A campaign that stays silent over a broken engine would prove nothing about a whole one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import ActivityFinished, Effect, PauseActivities, Recovery, RunActivity, TimersDue
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import AgenticFlowError, ConcurrencyConflict
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.plan import Node
from agenticflow.orchestration.state import RunState, TaskRecord
from agenticflow.orchestration.undoing import folding
from agenticflow.runtime.activities.attempts import Attempt
from agenticflow.runtime.activities.worker import LocalWorker
from agenticflow.runtime.actors import Actor, Request
from agenticflow.runtime.coordination.gates import Gatekeeper
from agenticflow.runtime.host import Host
from agenticflow.runtime.timers import Timers
from agenticflow.runtime.turns.sequels import Sequels
from agenticflow.runtime.turns.turn import Turn
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.simulation import run_campaign
from agenticflow.testing.simulation.disk import ProcessStore
from tests.simulation.campaign.stories import is_in_a_row
from tests.simulation.campaign.trials import plan_of, trial_of

pytestmark = pytest.mark.proof

Patch = pytest.MonkeyPatch
MOST = 2_500
"""Schedules within which each bug is found; most of them within the first hundred."""


def an_outcome_of_a_superseded_attempt_counts(patch: Patch) -> None:
    whole = WorkflowGuest.decide

    def decide(self: WorkflowGuest, state: RunState, command: Command) -> Sequence[Fact]:
        if isinstance(command, ActivityFinished) and (record := state.tasks.get(command.task_key)) is not None:
            command = msgspec.structs.replace(command, token=record.token)
        return whole(self, state, command)

    patch.setattr(WorkflowGuest, "decide", decide)


def a_timer_is_lost(patch: Patch) -> None:
    """After it has rung, the next is not waited for."""
    whole = Timers._ring

    def ring(self: Timers) -> None:
        whole(self)
        if self._handle is not None:
            self._handle.cancel()

    patch.setattr(Timers, "_ring", ring)


def a_timer_is_early(patch: Patch) -> None:
    whole = WorkflowGuest.decide

    def decide(self: WorkflowGuest, state: RunState, command: Command) -> Sequence[Fact]:
        is_due = isinstance(command, TimersDue)
        return whole(self, state, TimersDue(now=command.now + 2_000_000_000) if is_due else command)

    ring = Timers.set

    def early(self: Timers, stream_id: str, moment: int | None) -> None:
        ring(self, stream_id, None if moment is None else moment - 1_000_000_000)

    patch.setattr(WorkflowGuest, "decide", decide)
    patch.setattr(Timers, "set", early)


def an_acknowledgement_comes_before_the_commit(patch: Patch) -> None:
    """Reports are answered at once and become true with the next commit of the run; a start forgets what is left."""
    whole = MemoryStore.commit

    async def commit(self: MemoryStore, commit: Commit) -> Committed:
        kept: list[Commit] = self.__dict__.setdefault("kept", [])
        for waiting in [one for one in kept if one.stream_id == commit.stream_id]:
            kept.remove(waiting)
            await whole(self, waiting)
        if not commit.stream_id.startswith("workflow-") or commit.expected < 1 or commit.command_id is not None:
            return await whole(self, commit)
        if any(event.event_type.startswith("workflow_") for event in commit.events):
            return await whole(self, commit)
        kept.append(commit)
        return Committed(commit.expected + len(commit.events), 1)

    start = MemoryStore.get_snapshot

    async def get_snapshot(self: MemoryStore, stream_id: str) -> Any:
        kept: list[Commit] = self.__dict__.setdefault("kept", [])
        self.__dict__["kept"] = [one for one in kept if one.stream_id != stream_id]
        return await start(self, stream_id)

    patch.setattr(MemoryStore, "commit", commit)
    patch.setattr(MemoryStore, "get_snapshot", get_snapshot)


def a_command_id_is_missing(patch: Patch) -> None:
    whole = Host.submit

    async def submit(self: Host, stream_id: str, command: Command, command_id: str | None = None) -> Any:
        return await whole(self, stream_id, command, None)

    patch.setattr(Host, "submit", submit)


def an_intent_is_not_recorded(patch: Patch) -> None:
    async def record_intent(self: LocalWorker, attempt: Attempt) -> bool:
        return True

    patch.setattr(LocalWorker, "record_intent", record_intent)


def open_work_is_forgotten(patch: Patch) -> None:
    patch.setattr(WorkflowGuest, "recover", lambda self, state, now, died=None: Recovery([], []))


def an_unknown_outcome_is_tried_again(patch: Patch) -> None:
    async def record_intent(self: LocalWorker, attempt: Attempt) -> bool:
        await whole(self, attempt)
        return True

    def recover(self: WorkflowGuest, state: RunState, record: TaskRecord, now: int) -> Outcome | Sequence[Effect]:
        found = one_by_one(self, state, record, now)
        is_unknown = isinstance(found, Outcome) and found.kind is OutcomeKind.UNKNOWN
        return (self._run(state, record),) if is_unknown else found

    whole, one_by_one = LocalWorker.record_intent, WorkflowGuest._recover
    patch.setattr(LocalWorker, "record_intent", record_intent)
    patch.setattr(WorkflowGuest, "_recover", recover)


def work_begins_before_it_is_committed(patch: Patch) -> None:
    """The effects of a decision are performed while its commit is on its way."""
    whole, ending = Host._turn, Turn.close
    hosts: dict[str, Host] = {}

    async def turn(self: Host, actor: Actor, batch: list[Request]) -> None:
        hosts[actor.stream_id] = self
        await whole(self, actor, batch)

    def close(self: Turn, command_id: str | None, now: int) -> None:
        ending(self, command_id, now)
        stream_id = self.actor.stream_id
        for effect in self.effects:
            if isinstance(effect, RunActivity):
                hosts[stream_id]._perform(stream_id, effect)

    patch.setattr(Host, "_turn", turn)
    patch.setattr(Turn, "close", close)


def a_pause_is_not_kept(patch: Patch) -> None:
    whole = WorkflowGuest.evolve

    def evolve(state: RunState, fact: Fact, version: int, at: int) -> None:
        whole(state, fact, version, at)
        if isinstance(fact, f.WorkflowPaused):
            state.is_paused = False

    orders = WorkflowGuest.effects

    def effects(self: WorkflowGuest, state: RunState, fact: Fact, version: int) -> Sequence[Effect]:
        return [one for one in orders(self, state, fact, version) if not isinstance(one, PauseActivities)]

    patch.setattr(WorkflowGuest, "evolve", staticmethod(evolve))
    patch.setattr(WorkflowGuest, "effects", effects)


def what_was_done_first_is_undone_first(patch: Patch) -> None:
    def next_to_undo(self: RunState) -> str | None:
        return next((key for key in self.undoable if f"undo:{key}" not in self.tasks), None)

    patch.setattr(RunState, "next_to_undo", next_to_undo)


def what_a_completed_child_did_is_not_undone(patch: Patch) -> None:
    def can_be_undone(self: Node, is_undoable: bool) -> bool:
        return self.undo is not None and self.undo.task.workflow is None

    patch.setattr(Node, "can_be_undone", can_be_undone)


def what_a_child_did_first_is_undone_first(patch: Patch) -> None:
    def lay_out(state: RunState, course: f.Course, at: int) -> None:
        whole(state, msgspec.structs.replace(course, order=course.order[::-1]), at)

    whole = folding.lay_out
    patch.setattr("agenticflow.orchestration.evolve.lay_out", lay_out)


def nobody_is_fenced(patch: Patch) -> None:
    whole = MemoryStore.commit

    async def commit(self: MemoryStore, commit: Commit) -> Committed:
        return await whole(self, msgspec.structs.replace(commit, expected=ANY_VERSION) if commit.events else commit)

    patch.setattr(MemoryStore, "commit", commit)


def a_permit_is_not_given_back(patch: Patch) -> None:
    patch.setattr(Gatekeeper, "release", lambda self, stream_id, token: None)


def what_was_written_without_an_answer_is_not_acted_on(patch: Patch) -> None:
    def catch_up(self: Host, actor: Actor, facts: list[Fact]) -> None:
        """Nothing."""

    patch.setattr(Host, "_catch_up", catch_up)


def undoing_waits_for_the_end_of_a_pause(patch: Patch) -> None:
    whole = WorkflowGuest.effects

    def effects(self: WorkflowGuest, state: RunState, fact: Fact, version: int) -> Sequence[Effect]:
        found = whole(self, state, fact, version)
        is_undoing = isinstance(fact, f.CompensationStarted)
        return [one for one in found if not (is_undoing and isinstance(one, PauseActivities))]

    patch.setattr(WorkflowGuest, "effects", effects)


def a_failed_commit_is_not_tried_again(patch: Patch) -> None:
    whole = Host._survive

    async def survive(self: Host, actor: Actor, batch: list[Any], error: Exception) -> bool:
        reports = [request for request in batch if request.answer is None]
        if reports:
            return True  # as if they had been recorded
        return await whole(self, actor, batch, error)

    patch.setattr(Host, "_survive", survive)


def a_state_goes_on_after_a_conflict(patch: Patch) -> None:
    """What was folded before somebody else's commit is not thrown away."""
    whole = Actor.forget

    def forget(self: Actor) -> None:
        if self.conflicts:
            whole(self)

    patch.setattr(Actor, "forget", forget)


def what_follows_is_written_whatever_befalls_the_first(patch: Patch) -> None:
    whole = ProcessStore._commit_together

    async def commit(self: ProcessStore, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        try:
            answers = await whole(self, commits)
        except AgenticFlowError as error:
            answers = [error]
        if isinstance(answers[0], AgenticFlowError):
            for following in commits[1:]:
                with suppress(ConcurrencyConflict):
                    await self._disk.commit(following)
        return answers

    patch.setattr(ProcessStore, "_commit_together", commit)


def a_state_decided_along_is_kept_when_its_commit_fails(patch: Patch) -> None:
    patch.setattr(Sequels, "throw_away", lambda self, turns, error: None)


def what_was_written_along_without_an_answer_is_not_looked_for(patch: Patch) -> None:
    whole = Sequels.throw_away
    patch.setattr(Sequels, "throw_away", lambda self, turns, error: whole(self, turns, None))


def what_was_decided_along_begins_before_it_is_committed(patch: Patch) -> None:
    whole = Host._commit_in_order

    async def commit(self: Host, turns: list[Turn]) -> None:
        for turn in turns:
            for effect in turn.effects:
                if isinstance(effect, RunActivity):
                    self._perform(turn.actor.stream_id, effect)
        await whole(self, turns)

    patch.setattr(Host, "_commit_in_order", commit)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (an_outcome_of_a_superseded_attempt_counts, "the result is"),
        (a_timer_is_lost, "is stuck"),
        (a_timer_is_early, "G9"),
        (an_acknowledgement_comes_before_the_commit, "G1"),
        (a_command_id_is_missing, "G2"),
        (an_intent_is_not_recorded, "before its intent was recorded"),
        (open_work_is_forgotten, "stuck"),
        (an_unknown_outcome_is_tried_again, "at-most-once and ran twice"),
        (work_begins_before_it_is_committed, "before its scheduling was recorded"),
        (a_pause_is_not_kept, "G8"),
        (what_was_done_first_is_undone_first, "G8"),
        (what_a_completed_child_did_is_not_undone, "and not ('COMPENSATED'"),
        (what_a_child_did_first_is_undone_first, "G8"),
        (nobody_is_fenced, "completed 2 times"),
        (a_permit_is_not_given_back, "permit of"),
        (what_was_written_without_an_answer_is_not_acted_on, "stuck"),
        (undoing_waits_for_the_end_of_a_pause, "stuck"),
        (a_failed_commit_is_not_tried_again, "stuck"),
        (a_state_goes_on_after_a_conflict, "stuck"),
        (what_was_decided_along_begins_before_it_is_committed, "before its scheduling was recorded"),
    ],
)
def test_a_planted_bug_is_found(plant: Callable[[Patch], None], told: str, monkeypatch: Patch) -> None:
    plant(monkeypatch)
    report = run_campaign(trial_of, range(MOST), plan_of, makes_short=False)
    problems = [problem for violation in report.violations for problem in violation.problems]
    assert any(told in problem for problem in problems), f"{report.schedules} schedules say only {problems}"


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (what_follows_is_written_whatever_befalls_the_first, "stuck"),
        (a_state_decided_along_is_kept_when_its_commit_fails, "stuck"),
        (what_was_written_along_without_an_answer_is_not_looked_for, "stuck"),
    ],
)
def test_a_planted_bug_in_what_is_decided_along_is_found(
    plant: Callable[[Patch], None], told: str, monkeypatch: Patch
) -> None:
    """Where nearly every step is a sub-workflow: elsewhere a fault seldom strikes one."""
    plant(monkeypatch)
    rows = [seed for seed in range(10 * MOST) if is_in_a_row(seed)]
    report = run_campaign(trial_of, rows[:MOST], plan_of, makes_short=False)
    problems = [problem for violation in report.violations for problem in violation.problems]
    assert any(told in problem for problem in problems), f"{report.schedules} schedules say only {problems}"


def test_what_is_told_is_short(monkeypatch: Patch) -> None:
    """A workflow of a few tasks and a fault or two are left of it, and it says how to play it again."""
    what_was_written_without_an_answer_is_not_acted_on(monkeypatch)
    report = run_campaign(trial_of, range(473, MOST), plan_of)  # others are short from the start, or stay long
    (violation,) = report.violations
    found_with = plan_of(violation.seed, trial_of(violation.seed))
    assert violation.plan.count(" at ") <= 2 < len(found_with.faults)
    assert violation.trial.count("\n") <= 3 < trial_of(violation.seed).tasks
    assert f"seed {violation.seed}:" in str(report)
    assert "commit written, outcome unknown" in str(report)
