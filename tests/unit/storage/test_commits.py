"""What a commit may be is decided before any store sees it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core.events import AgenticEvent
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import MAX_COMMIT_BYTES, MAX_EVENT_BYTES
from agenticflow.errors import BoundExceeded, CorruptStore
from agenticflow.storage.commits import Commit, NewEvent, StoredEvent, check_bounds
from agenticflow.storage.event_store import decode_event, encode_event
from agenticflow.storage.rows import Blob, Snapshot


def test_the_size_of_a_commit_is_that_of_all_it_writes() -> None:
    commit = Commit(
        stream_id="s",
        events=[NewEvent("a", b"123", 1, b"45"), NewEvent("b", b"", 1)],
        rows=[Blob("0" * 40, b"6789"), Snapshot(stream_id="s", version=1, data=b"0")],
    )
    assert check_bounds(commit) == 10


@given(st.lists(st.integers(0, MAX_EVENT_BYTES + 2), min_size=1, max_size=40))
def test_exactly_what_passes_a_limit_is_refused(sizes: list[int]) -> None:
    whole = bytes(MAX_EVENT_BYTES + 2)
    commit = Commit(stream_id="s", events=[NewEvent("a", whole[:size], 1) for size in sizes])
    if max(sizes) > MAX_EVENT_BYTES or sum(sizes) > MAX_COMMIT_BYTES:
        with pytest.raises(BoundExceeded):
            check_bounds(commit)
    else:
        assert check_bounds(commit) == sum(sizes)


def lies(event: NewEvent, schemas: SchemaRegistry) -> AgenticEvent:
    """Return ``event`` as it comes back from a store."""
    place = StoredEvent("s", 3, 9, event.event_type, event.data, event.timestamp, event.metadata, event.schema_version)
    return decode_event(place, schemas)


def test_an_event_is_written_in_the_version_that_todays_code_writes() -> None:
    schemas = SchemaRegistry()
    schemas.upcaster("moved", 1)(lambda payload: payload)
    assert encode_event(AgenticEvent("moved"), schemas).schema_version == 2
    assert encode_event(AgenticEvent("moved", schema_version=5), schemas).schema_version == 5
    assert encode_event(AgenticEvent("stayed"), schemas).schema_version == 1


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x01", b"\x90", b"\x81\xa1a"])
def test_a_payload_that_is_no_mapping_is_damage(data: bytes) -> None:
    with pytest.raises(CorruptStore, match=r"msgpack|no payload"):
        lies(NewEvent("a", data, 1), SchemaRegistry())


@given(
    st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary()),
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.text(min_size=1),
)
def test_an_event_comes_back_as_it_went_in(payload: dict[str, object], timestamp: int, actor: str) -> None:
    event = AgenticEvent("happened", payload, timestamp=timestamp, actor_id=actor)
    schemas = SchemaRegistry()
    back = lies(encode_event(event, schemas), schemas)
    assert back == event
    assert (back.payload, back.timestamp, back.metadata) == (event.payload, event.timestamp, event.metadata)
