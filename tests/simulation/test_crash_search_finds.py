"""The search finds bugs: each test plants one into the engine, for its own length, and expects to be told.

A search that stays silent over a broken engine would prove nothing about a whole one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import Effect, ProcessDeath, Recovery
from agenticflow.orchestration.facts import FACTS
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.state import RunState
from agenticflow.runtime.activities.attempts import Attempt
from agenticflow.runtime.activities.worker import LocalWorker
from agenticflow.runtime.host import Host
from agenticflow.storage.commits import Commit, Committed
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.crashes import CrashCase, CrashReport, crash_search
from tests.simulation.remembered_world import fifty_tasks

pytestmark = pytest.mark.proof

Perform = Callable[[str, Effect], None]


def search() -> CrashReport:
    return crash_search(fifty_tasks, every=3, max_violations=5, time_limit_seconds=20)


def told(report: CrashReport) -> str:
    return "\n".join(violation.what for violation in report.violations)


def test_intent_that_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def prepare(self: LocalWorker, attempt: Attempt) -> bool:
        return True

    monkeypatch.setattr(LocalWorker, "record_intent", prepare)
    assert "ran before its intent was recorded" in told(search())


def test_unknown_outcome_that_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """At-most-once work that was running when the process died is simply dispatched again."""

    def recover(self: WorkflowGuest, state: RunState, now: int, died: ProcessDeath | None = None) -> Recovery:
        in_work = [record for record in state.tasks.values() if record.status in ("SCHEDULED", "RUNNING")]
        return Recovery([], [self._run(state, record) for record in in_work])

    async def prepare(self: LocalWorker, attempt: Attempt) -> bool:
        await whole(self, attempt)
        return True

    whole = LocalWorker.record_intent
    monkeypatch.setattr(LocalWorker, "record_intent", prepare)
    monkeypatch.setattr(WorkflowGuest, "recover", recover)
    report = crash_search(fifty_tasks, max_violations=60)
    assert "is at-most-once and ran twice" in told(report)
    assert "2 payments were made" in told(report)


def test_dispatch_before_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Effects are performed while their facts are still on the way to the store."""
    whole_commit, whole_effects = MemoryStore.commit, WorkflowGuest.effects
    whole_evolve, whole_perform_with = WorkflowGuest.evolve, Host.perform_with
    states: dict[str, RunState] = {}
    performers: list[Perform] = []

    def evolve(state: RunState, fact: Fact, version: int, at: int) -> None:
        states[state.stream_id] = state
        whole_evolve(state, fact, version, at)

    def perform_with(self: Host, perform: Perform, foresee: object = None) -> None:
        performers[:] = [perform]
        whole_perform_with(self, perform)

    async def commit(self: MemoryStore, commit: Commit) -> Committed:
        if commit.stream_id.startswith("workflow-"):
            for version, event in enumerate(commit.events, start=commit.expected + 1):
                fact = FACTS.decode(event.event_type, event.data)
                for effect in whole_effects(WorkflowGuest(), states[commit.stream_id], fact, version):
                    performers[0](commit.stream_id, effect)
            await asyncio.sleep(0.01)
        return await whole_commit(self, commit)

    monkeypatch.setattr(WorkflowGuest, "evolve", staticmethod(evolve))
    monkeypatch.setattr(Host, "perform_with", perform_with)
    monkeypatch.setattr(MemoryStore, "commit", commit)
    monkeypatch.setattr(WorkflowGuest, "effects", lambda self, state, fact, version: ())
    assert "ran before its scheduling was recorded" in told(search())


def test_acknowledgement_before_the_commit_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every commit is answered at once and becomes true with the next one: a crash loses the last."""
    whole = MemoryStore.commit

    async def commit(self: MemoryStore, commit: Commit) -> Committed:
        kept: list[Commit] = self.__dict__.setdefault("kept", [])
        behind = [waiting for waiting in kept if waiting.stream_id == commit.stream_id]
        for waiting in behind:
            kept.remove(waiting)
            await whole(self, waiting)
        if not commit.stream_id.startswith("workflow-") or commit.expected < 1 or commit.command_id is not None:
            return await whole(self, commit)
        if any(event.event_type == "workflow_completed" for event in commit.events):
            return await whole(self, commit)
        kept.append(commit)
        return Committed(commit.expected + len(commit.events), 1)

    class Forgetful(MemoryStore):
        """Loses what it kept when somebody looks at its runs, as a restart does."""

        async def list_runs(self, **options: Any) -> Any:
            self.__dict__["kept"] = []
            return await super().list_runs(**options)

    monkeypatch.setattr(MemoryStore, "commit", commit)
    monkeypatch.setattr("agenticflow.testing.crashes.lives.MemoryStore", Forgetful)
    assert "ran again after its completion was recorded" in told(crash_search(fifty_tasks, max_violations=5))


def test_open_work_that_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    def recover(self: WorkflowGuest, state: RunState, now: int, died: ProcessDeath | None = None) -> Recovery:
        return Recovery([], [])

    monkeypatch.setattr(WorkflowGuest, "recover", recover)
    assert "the run was stuck" in told(search())


def test_signals_that_are_not_told_apart_by_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each life's copy of a signal counts as another, and the second wait for it takes the copy."""
    submit = Host.submit

    async def without_id(self: Host, stream_id: str, command: Command, command_id: str | None = None) -> Any:
        return await submit(self, stream_id, command, None)

    monkeypatch.setattr(Host, "submit", without_id)
    assert "the result is" in told(search())


def test_a_case_that_cannot_answer_its_operator() -> None:
    """The outcome of the payment is unknown, and nobody says what became of it."""
    report = crash_search(lambda: replace(fifty_tasks(), resolve=CrashCase.resolve), max_violations=5)
    assert "the case says nothing about it" in told(report)
    assert "killed at commit.true#" in str(report)
