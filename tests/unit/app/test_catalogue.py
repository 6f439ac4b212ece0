"""The catalogue is complete: whatever a room can record is in it, and whatever is recorded in a run is a fact of it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import agenticflow
from agenticflow import EventBus, Orchestrator
from agenticflow.agents.agent import AgentStateChanged
from agenticflow.app.catalogue import catalogue_as_json, catalogue_as_text, event_catalogue
from agenticflow.communication.facts import BUS_FACTS
from agenticflow.core.catalogue import NEXT_RELEASE, RELEASES, EventKind
from agenticflow.orchestration.facts import FACTS
from agenticflow.storage.memory import MemoryStore
from tests.unit.app.test_event_bus import worker_agent
from tests.unit.runtime.engine import in_virtual_time, passes, virtual_clock
from tests.unit.runtime.tasks import chain


def by_type() -> dict[str, EventKind]:
    return {kind.event_type: kind for kind in event_catalogue()}


def test_every_fact_of_every_room_is_in_it() -> None:
    known = by_type()
    assert set(FACTS.types) | set(BUS_FACTS.types) | {AgentStateChanged.event_type} <= set(known)
    silent = [name for name, kind in known.items() if not (kind.summary and kind.stream)]
    assert silent == [], "a fact says in its docstring what has happened, and in `stream` where it is recorded"
    assert all(known[name].stream == "workflow-<workflow id>/<run no>" for name in FACTS.types)


@pytest.mark.parametrize(
    "name", ["task_completed", "task_failed", "approval_required", "approval_granted", "event_dead_lettered"]
)
def test_what_programs_subscribe_to_by_name_is_in_it(name: str) -> None:
    assert name in by_type()


def test_what_a_release_recorded_is_still_known() -> None:
    known = set(by_type())
    for release, types in RELEASES.items():
        assert types <= known, release


def test_what_is_new_is_of_a_release_that_is_not_out() -> None:
    releases = [tuple(map(int, release.split("."))) for release in (*RELEASES, NEXT_RELEASE)]
    assert releases == sorted(set(releases)), "a release adds what it was the first to record to RELEASES"
    assert tuple(map(int, re.findall(r"\d+", agenticflow.__version__)[:3])) <= releases[-1]


@in_virtual_time
async def test_nothing_is_recorded_that_is_not_in_it() -> None:
    store, known = MemoryStore(), by_type()
    bus = EventBus(store=store)
    await bus.subscribe("task_completed", lambda event: None, name="billing")
    orchestrator = Orchestrator(bus, store=store, clock=virtual_clock())
    orchestrator.register_agent(worker_agent())
    async with orchestrator:
        await orchestrator.execute_workflow(chain(3))
        await passes(5)
    recorded = [event async for event in store.read_all()]
    assert {event.event_type for event in recorded} <= set(known)
    for event in recorded:
        kind = known[event.event_type]
        fields = {field.name for field in kind.fields}
        assert {field.name for field in kind.fields if field.is_required} <= set(event.payload) <= fields, (
            event.event_type
        )
        assert event.stream_id.startswith(kind.stream.partition("<")[0])


def test_it_is_written_as_text_and_as_json() -> None:
    kinds = event_catalogue()
    text = catalogue_as_text()
    assert text.count("\n\n") == len(kinds) - 1
    assert "task_retry_scheduled  (since 0.1.0, version 1, stream workflow-<workflow id>/<run no>)" in text
    assert "    grace_until?: int" in text
    rows: list[dict[str, Any]] = json.loads(catalogue_as_json())
    assert [row["event_type"] for row in rows] == [kind.event_type for kind in kinds]
    assert set(rows[0]) == {"event_type", "summary", "stream", "since", "schema_version", "fields"}
    assert rows[1]["fields"][0] == {"name": "task_key", "type": "str", "is_required": True}
    assert catalogue_as_text(kinds[:1]) == text.partition("\n\n")[0]
    assert len(json.loads(catalogue_as_json(kinds[:2]))) == 2
