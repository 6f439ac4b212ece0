"""Every run that was ever recorded, exported as a cassette and decided anew, goes the way it went."""

from __future__ import annotations

import pytest

from agenticflow.app.cassettes import parse_cassette, record_cassette
from agenticflow.core import codec
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.plan import decode_plan
from agenticflow.testing.cassettes import replay_cassette
from agenticflow.testing.virtual_time import run_virtual
from tests.golden.histories import History, describe, histories, store_of
from tests.golden.record import as_code
from tests.golden.test_replay import fold

pytestmark = pytest.mark.proof

RUNS = [history for history in histories() if history.final is not None]


def cassette_of(history: History) -> bytes:
    state = fold(history)

    async def export() -> bytes:
        store = await store_of([history])
        return (await record_cassette(store, state.workflow_id, state.run_no, release="test")).to_json().encode()

    return run_virtual(export())


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_it_is_decided_as_it_was(history: History) -> None:
    report = replay_cassette(cassette_of(history), as_code if history.scenario == "code" else None)
    assert report.is_same, report
    assert report.events == report.recorded_events == len(history.events)
    assert report.redacted == 0


@pytest.mark.parametrize("history", [history for history in RUNS if history.scenario != "code"], ids=str)
def test_it_is_decided_so_by_its_own_definition_given_anew(history: History) -> None:
    definition = decode_plan(fold(history).laid_out.encoded).definition
    first = f.FACTS.decode("workflow_started", history.events[0].data)
    assert isinstance(first, f.WorkflowStarted)
    given = decode_plan(fold(history, 1).values.resolve(bytes(first.definition))).definition
    report = replay_cassette(cassette_of(history), given)
    report.assert_no_drift()
    assert report.definition == []
    assert definition.name == given.name


@pytest.mark.parametrize("history", RUNS, ids=str)
def test_the_file_says_what_the_store_has(history: History) -> None:
    cassette = parse_cassette(cassette_of(history))
    for event, stored in zip(cassette.events, history.events, strict=True):
        assert (event.version, event.event_type, event.at) == (stored.version, stored.event_type, stored.timestamp)
        assert codec.decode(event.data) == codec.decode(stored.data)
    for name, data in cassette.blobs.items():
        assert codec.decode(data) == codec.decode(history.blobs[name])
    assert cassette.status == describe(fold(history))["summary"]["status"]  # type: ignore[index]  # a summary is a dict
