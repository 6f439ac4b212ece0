"""The policy as data, archives as bytes, and what a reference looks like."""

from __future__ import annotations

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core import codec
from agenticflow.core.values import store_form
from agenticflow.errors import CorruptStore, InvalidInput
from agenticflow.orchestration.guest import child_id
from agenticflow.storage.archives import MAX_ARCHIVE_BYTES, MAX_ARCHIVE_EVENTS, Archive, fitting, pack, unpack
from agenticflow.storage.commits import StoredEvent
from agenticflow.storage.key_values import end_of_prefix
from agenticflow.storage.retention import RetentionPolicy, family_of, references_within

DAY = 86_400_000_000_000


@pytest.mark.parametrize(
    "wrong",
    [
        {"archive_after_days": -1},
        {"delete_after_days": -0.5},
        {"archive_after_days": float("nan")},
        {"delete_after_days": float("inf")},
        {"keep_last": -1},
        {"topic_events": -1},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput) as caught:
        msgspec.convert(wrong, RetentionPolicy)
    assert next(iter(wrong)) in caught.value.message
    assert caught.value.hint


def test_a_policy_without_days_is_for_ever() -> None:
    policy = RetentionPolicy(keep_last=5, topic_events=5)
    assert (policy.archives_before(10 * DAY), policy.deletes_before(10 * DAY)) == (None, None)


def test_days_count_back_from_now() -> None:
    policy = RetentionPolicy(archive_after_days=1.5, delete_after_days=3)
    assert policy.archives_before(10 * DAY) == 8.5 * DAY
    assert policy.deletes_before(10 * DAY) == 7 * DAY


def test_what_is_deleted_is_archived_first() -> None:
    assert RetentionPolicy(delete_after_days=3).archives_before(10 * DAY) == 7 * DAY
    assert RetentionPolicy(archive_after_days=5, delete_after_days=3).archives_before(10 * DAY) == 7 * DAY


def event(version: int, size: int = 10) -> StoredEvent:
    return StoredEvent("s", version, version * 3, "happened", bytes(size), -version, b"\x80" * (version % 2), 2)


@given(first=st.integers(1, 10**12), sizes=st.lists(st.integers(0, 200), min_size=1, max_size=20))
def test_an_archive_gives_back_every_byte(first: int, sizes: list[int]) -> None:
    events = [event(first + number, size) for number, size in enumerate(sizes)]
    archive = pack(events)
    assert (archive.first_version, archive.last_version) == (first, first + len(sizes) - 1)
    assert archive.last_position == events[-1].position
    assert unpack("s", archive) == events


def test_an_archive_has_bounds_and_takes_at_least_one_event() -> None:
    assert fitting([1] * 5_000) == MAX_ARCHIVE_EVENTS
    assert fitting([MAX_ARCHIVE_BYTES // 4] * 9) == 4
    assert fitting([10 * MAX_ARCHIVE_BYTES, 1]) == 1
    assert fitting([]) == 0


@pytest.mark.parametrize(
    "spoil",
    [
        lambda archive: {"data": archive.data[:-5]},
        lambda archive: {"data": b"no zlib"},
        lambda archive: {"raw_bytes": archive.raw_bytes - 1},
        lambda archive: {"raw_bytes": archive.raw_bytes + 1},
        lambda archive: {"first_version": 2},
        lambda archive: {"last_version": 4},
        lambda _: {"data": zlib.compress(b"\xc1"), "raw_bytes": 1},
        lambda _: {"data": zlib.compress(bytes(10**8)), "raw_bytes": 10},
    ],
)
def test_a_damaged_archive_is_told(spoil: object) -> None:
    archive = pack([event(1), event(2), event(3)])
    assert callable(spoil)
    damaged = msgspec.structs.replace(archive, **spoil(archive))
    assert isinstance(damaged, Archive)
    with pytest.raises(CorruptStore) as caught:
        unpack("s", damaged)
    assert "the archive of events" in caught.value.message


@given(before=st.binary(max_size=40), after=st.binary(max_size=40), content=st.binary(max_size=8))
def test_a_reference_is_found_wherever_it_stands(before: bytes, after: bytes, content: bytes) -> None:
    form, (blob,) = store_form(codec.encode([content, bytes(70_000)]))
    assert blob[0] in references_within(before + form + after)
    assert blob[0] in references_within(codec.encode({"deep": [{"er": msgspec.Raw(form)}], "text": before.hex()}))
    assert blob[0] in references_within(b"\xc7\x1c\x07" + form)


@given(ids=st.lists(st.text("xy~", min_size=1, max_size=60), min_size=2, max_size=4), generation=st.integers(0, 2))
def test_the_id_of_a_sub_workflow_tells_its_parents(ids: list[str], generation: int) -> None:
    """As the engine builds it, however deep and however long."""
    chain = [ids[0]]
    for task_key in ids[1:]:
        chain.append(child_id(chain[-1], task_key, generation))
    parent, child = chain[-2:]
    family = family_of(child)
    assert parent in family.names or (family.beginning and parent.startswith(family.beginning))


def test_what_has_no_mark_has_no_parents() -> None:
    for name in ("", "a", "x" * 141, "~a"):
        family = family_of(name)
        assert (family.names, family.beginning) == ((), "")


def test_what_refers_to_nothing_has_no_references() -> None:
    assert references_within(b"") == set()
    assert references_within(b"\xc7\x1c\x07" + bytes(27)) == set()
    assert references_within(codec.encode({"n": 7})) == set()


@given(prefix=st.text(), rest=st.text())
def test_nothing_that_begins_like_a_prefix_lies_behind_its_end(prefix: str, rest: str) -> None:
    end = end_of_prefix(prefix)
    if end is None:
        assert set(prefix) <= {"\U0010ffff"}
    else:
        assert prefix + rest < end
        assert not end.startswith(prefix) or prefix == ""
        assert end.encode()
