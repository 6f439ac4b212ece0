"""What was recorded by this release and every one before means today what it meant then (G10)."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from agenticflow import __version__
from agenticflow.core import codec
from agenticflow.core.engine import ActivityFinished, ActivityStarted, TimersDue
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import CommandRefused
from agenticflow.orchestration import commands as c
from agenticflow.orchestration.facts import FACTS
from agenticflow.orchestration.guest import WorkflowGuest
from agenticflow.orchestration.state import RunState
from agenticflow.storage.event_store import decode_event
from agenticflow.testing.virtual_time import run_virtual
from tests.golden.histories import ROOT, History, describe, histories, initial, load, plain, store_of
from tests.golden.record import new_orchestrator

pytestmark = pytest.mark.proof

GUEST = WorkflowGuest()
ALL = histories()
RUNS = [history for history in ALL if history.final is not None]
CLOSED = [history for history in RUNS if history.final is not None and not history.final["summary"]["is_open"]]
FAR_AWAY = 2**62


def fold(history: History, upto: int | None = None) -> RunState:
    state = initial(history)
    for event in history.events[:upto]:
        fact = FACTS.decode(event.event_type, event.data, event.schema_version)
        GUEST.evolve(state, fact, event.version, event.timestamp)
    return state


def readable(value: object) -> object:
    return json.loads(json.dumps(value))


def test_this_release_has_its_histories() -> None:
    """Before a release goes out: ``python -m tests.golden.record``."""
    assert __version__ in {history.release for history in ALL}


def test_every_kind_of_fact_is_in_at_least_one_history() -> None:
    recorded = {event.event_type for history in RUNS for event in history.events}
    assert recorded == set(FACTS.types)


@pytest.mark.parametrize("history", ALL, ids=str)
def test_the_file_reads_as_the_bytes_say(history: History) -> None:
    assert [event.version for event in history.events] == list(range(1, len(history.events) + 1))
    assert [readable(plain(event.data)) for event in history.events] == list(history.payloads)
    for event in history.events:
        assert decode_event(event, SchemaRegistry()).version == event.version


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_facts_are_written_as_they_were(history: History) -> None:
    for event in history.events:
        fact = FACTS.decode(event.event_type, event.data, event.schema_version)
        again = FACTS.encode(fact)
        if event.schema_version == type(fact).schema_version:
            assert again == event.data
        else:
            assert FACTS.decode(event.event_type, again, type(fact).schema_version) == fact


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_it_folds_to_the_recorded_state(history: History) -> None:
    assert readable(describe(fold(history))) == history.final


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_it_folds_to_the_recorded_state_from_any_snapshot(history: History) -> None:
    for upto in range(1, len(history.events)):
        state = GUEST.initial(history.stream_id, GUEST.snapshot(fold(history, upto)))
        for name, data in history.blobs.items():
            state.values.put(name, data)
        for event in history.events[upto:]:
            GUEST.evolve(state, FACTS.decode(event.event_type, event.data), event.version, event.timestamp)
        assert readable(describe(state)) == history.final


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_nothing_more_follows_from_where_it_ended(history: History) -> None:
    assert not GUEST.advance(fold(history), history.events[-1].timestamp)


@pytest.mark.parametrize("history", CLOSED, ids=str)
def test_a_closed_run_has_nothing_more_to_say(history: History) -> None:
    state = fold(history)
    before = GUEST.snapshot(state)
    assert not GUEST.advance(state, FAR_AWAY)
    assert not GUEST.decide(state, TimersDue(now=FAR_AWAY))
    recovery = GUEST.recover(state, FAR_AWAY)
    assert not recovery.effects
    assert not recovery.commands
    assert state.next_due is None
    for key, record in state.tasks.items():
        for kind in OutcomeKind:
            outcome = Outcome(kind, value=codec.NULL)
            assert not GUEST.decide(
                state, ActivityFinished(now=FAR_AWAY, task_key=key, token=record.token, outcome=outcome)
            )
        assert not GUEST.decide(state, ActivityStarted(now=FAR_AWAY, task_key=key, token=record.token))
    for command in (
        c.Signal(now=FAR_AWAY, signal="first", value=codec.NULL, requested_by="test"),
        c.Abort(now=FAR_AWAY, requested_by="test"),
        c.Pause(now=FAR_AWAY, requested_by="test"),
    ):
        with pytest.raises(CommandRefused):
            GUEST.decide(state, command)
    assert GUEST.snapshot(state) == before


@pytest.mark.parametrize("file", sorted(ROOT.glob("v*/*.json")), ids=lambda file: f"{file.parent.name} {file.stem}")
def test_an_orchestrator_of_today_hands_back_what_was_recorded(file: Path) -> None:
    async def ask() -> None:
        found = load(file)
        orchestrator = new_orchestrator(await store_of(found))
        async with orchestrator:
            for history in found:
                if history.final is not None and "output" in history.final:
                    summary = history.final["summary"]
                    result = await orchestrator.wait(summary["execution_id"], summary["run_no"])
                    assert readable(plain(codec.encode(result))) == history.final["output"]

    run_virtual(ask())


@pytest.mark.parametrize("file", sorted(ROOT.glob("v*/left_open_later.json")), ids=lambda file: file.parent.name)
def test_an_orchestrator_of_today_ends_what_was_left_open_with_children_and_locks(file: Path) -> None:
    async def go_on() -> None:
        orchestrator = new_orchestrator(await store_of(load(file)))
        async with orchestrator:
            await orchestrator.approve("later", "may")
            assert await asyncio.wait_for(orchestrator.wait("later"), 5_000) == {"end": 2}
            assert (await orchestrator.get_execution("later~child")).completed_at is not None

    run_virtual(go_on())


@pytest.mark.parametrize("file", sorted(ROOT.glob("v*/left_open_asking.json")), ids=lambda file: file.parent.name)
def test_people_answer_today_what_they_were_asked_then(file: Path) -> None:
    async def go_on() -> None:
        history = load(file)
        orchestrator = new_orchestrator(await store_of(history))
        async with orchestrator:
            token = next(e.version for run in history for e in run.events if e.event_type == "approval_required")
            await orchestrator.approvals.approve(f"asking/1/pay@{token}", by="bob")
            result = await asyncio.wait_for(orchestrator.wait("asking"), 5_000)
            assert isinstance(result, dict)
            assert [one["by"] for one in result["pay"]["answers"]] == ["ada", "bob"]
            assert result["draft"] == ["yes", 7]

    run_virtual(go_on())


@pytest.mark.parametrize("file", sorted(ROOT.glob("v*/left_open.json")), ids=lambda file: file.parent.name)
def test_an_orchestrator_of_today_ends_what_was_left_open(file: Path) -> None:
    async def go_on() -> None:
        orchestrator = new_orchestrator(await store_of(load(file)))
        async with orchestrator:
            await orchestrator.signal("open", "approve", 21)
            assert await asyncio.wait_for(orchestrator.wait("open"), 5_000) == {"end": 42}

    run_virtual(go_on())
