"""Large values are stored once, by content; what stands for them is small, and is told apart from every value."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core import codec, values
from agenticflow.core.types import MAX_INLINE_BYTES
from agenticflow.core.values import BlobMissing, Values, reference_in, store_form
from agenticflow.errors import BoundExceeded


def test_up_to_the_bound_a_value_stands_for_itself() -> None:
    data = bytes(MAX_INLINE_BYTES)
    assert store_form(data) == (data, ())


def test_above_it_a_stand_in_of_31_bytes_does() -> None:
    data = codec.encode("x" * MAX_INLINE_BYTES)
    stand_in, (blob,) = store_form(data)
    assert blob == (codec.content_hash(data), data)
    assert len(stand_in) == 31
    reference = reference_in(stand_in)
    assert reference == codec.BlobRef(codec.content_hash(data), len(data))
    assert codec.decode(stand_in) == reference
    assert store_form(data) == (stand_in, (blob,)), "stored once, whoever stores it"


def test_beyond_the_largest_blob_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_BLOB_BYTES", MAX_INLINE_BYTES + 10)
    assert store_form(bytes(MAX_INLINE_BYTES + 10))[1]
    with pytest.raises(BoundExceeded, match="65,547 bytes") as refusal:
        store_form(bytes(MAX_INLINE_BYTES + 11))
    assert "object store" in refusal.value.hint


def test_a_value_that_begins_like_a_stand_in_stands_for_itself() -> None:
    data = msgspec.msgpack.encode(msgspec.msgpack.Ext(1, b"abc"))
    assert data[:1] == b"\xc7"
    assert Values().resolve(data) is data


@given(st.binary(max_size=64) | st.lists(st.integers(0, 255), min_size=31, max_size=31).map(bytes))
def test_no_encoded_value_is_mistaken_for_a_stand_in(raw: bytes) -> None:
    assert reference_in(codec.encode(raw)) is None
    assert reference_in(codec.encode([raw])) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\xc7\x1c\x07" + bytes(27),
        b"\xc7\x1c\x08" + bytes(28),
        b"\xc7\x1b\x07" + bytes(28),
        b"\xc8\x1c\x07" + bytes(28),
    ],
)
def test_what_only_looks_like_a_stand_in_is_none(data: bytes) -> None:
    assert reference_in(data) is None


def test_what_is_at_hand_is_resolved_and_the_rest_asked_for() -> None:
    data = bytes(MAX_INLINE_BYTES + 1)
    stand_in, (blob,) = store_form(data)
    at_hand = Values()
    assert at_hand.resolve(b"\x01") == b"\x01"
    with pytest.raises(BlobMissing) as question:
        at_hand.resolve(stand_in)
    assert question.value.reference == codec.BlobRef(blob[0], len(data))
    at_hand.put(*blob)
    at_hand.put(*blob)
    assert at_hand.resolve(stand_in) is data


def stand_in_for(data: bytes) -> bytes:
    return store_form(data)[0]


def test_several_are_kept_while_one_answer_needs_them_and_the_oldest_go_afterwards() -> None:
    first, second, third = (bytes([n]) * (MAX_INLINE_BYTES + 1) for n in range(3))
    at_hand = Values(limit_bytes=2 * len(first))
    with at_hand.gathering():
        for data in (first, second, third):
            at_hand.put(codec.content_hash(data), data)
        with at_hand.gathering():
            assert at_hand.resolve(stand_in_for(first)) == first
        assert [at_hand.resolve(stand_in_for(data)) for data in (first, second, third)] == [first, second, third]
    with pytest.raises(BlobMissing):
        at_hand.resolve(stand_in_for(first))
    assert at_hand.resolve(stand_in_for(second)) == second
    at_hand.put(codec.content_hash(first), first)
    with pytest.raises(BlobMissing):
        at_hand.resolve(stand_in_for(second))


def test_one_value_above_the_limit_is_kept_alone() -> None:
    large = bytes(MAX_INLINE_BYTES + 1)
    at_hand = Values(limit_bytes=10)
    at_hand.put(codec.content_hash(large), large)
    assert at_hand.resolve(stand_in_for(large)) == large


def test_an_answer_that_needs_too_much_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_AT_HAND_BYTES", 100)
    at_hand = Values()
    at_hand.put("a", bytes(60))
    at_hand.put("b", bytes(40))
    with pytest.raises(BoundExceeded, match="2 large values of 100 bytes"):
        at_hand.put("c", b"1")
