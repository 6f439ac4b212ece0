"""The one codec: every row of the table in its docstring, round trips, and errors that name the place."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import re
from collections import OrderedDict, deque
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.core import codec
from agenticflow.errors import CorruptStore, NotSerializable

SUMMER = dt.timezone(dt.timedelta(hours=2))


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


@dataclasses.dataclass
class Point:
    x: int
    tags: object = None


class Row(msgspec.Struct):
    name: str
    cells: object = None


class Model:
    """Looks like a pydantic model."""

    model_fields = {"amount": object()}

    def model_dump(self, *, mode: str) -> dict[str, object]:
        return {"amount": "1.50", "mode": mode}


TABLE: list[tuple[object, object]] = [
    (None, None),
    (True, True),
    (False, False),
    (-(2**63), -(2**63)),
    (2**64 - 1, 2**64 - 1),
    (1.5, 1.5),
    ("naïve ✓", "naïve ✓"),
    (b"\x00\xff", b"\x00\xff"),
    (bytearray(b"ab"), b"ab"),
    ([1, "a"], [1, "a"]),
    ((1, "a"), [1, "a"]),
    ({7}, [7]),
    (frozenset({7}), [7]),
    (deque([1, 2]), [1, 2]),
    ({"a": {"b": (1,)}}, {"a": {"b": [1]}}),
    (OrderedDict(a=1), {"a": 1}),
    (MappingProxyType({"a": MappingProxyType({"b": 2})}), {"a": {"b": 2}}),
    (dt.datetime(2026, 7, 1, 12, tzinfo=SUMMER), dt.datetime(2026, 7, 1, 10, tzinfo=dt.UTC)),
    (dt.datetime(1905, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC), dt.datetime(1905, 1, 1, 0, 0, 0, 1, tzinfo=dt.UTC)),
    (dt.datetime(2026, 7, 1, 12, 30), "2026-07-01T12:30:00"),  # noqa: DTZ001 - a row of the table
    (dt.date(2026, 7, 1), "2026-07-01"),
    (dt.time(12, 30), "12:30:00"),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Decimal("1.50"), "1.50"),
    (dt.timedelta(seconds=90), "PT90S"),
    (Colour.RED, "red"),
    (Colour.BLUE, 2),
    (Point(1, (2, 3)), {"x": 1, "tags": [2, 3]}),
    (Row("a", {"b": Point(1)}), {"name": "a", "cells": {"b": {"x": 1, "tags": None}}}),
    (Model(), {"amount": "1.50", "mode": "json"}),
]


@pytest.mark.parametrize(("goes_in", "comes_out"), TABLE, ids=lambda value: repr(value)[:40])
def test_the_table_in_the_docstring(goes_in: object, comes_out: object) -> None:
    flowed = codec.decode(codec.encode(goes_in))
    assert flowed == comes_out
    assert type(flowed) is type(comes_out)


def test_an_aware_moment_comes_back_in_utc() -> None:
    flowed = codec.decode(codec.encode(dt.datetime(2026, 7, 1, 12, tzinfo=SUMMER)))
    assert isinstance(flowed, dt.datetime)
    assert flowed.utcoffset() == dt.timedelta(0)


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
    | st.datetimes(timezones=st.just(dt.UTC)),
    lambda values: st.lists(values) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), values),
    max_leaves=20,
)


@given(PLAIN)
def test_plain_data_comes_back_as_it_was(value: object) -> None:
    data = codec.encode(value)
    assert codec.decode(data) == value
    assert codec.encode(codec.decode(data)) == data, "encoding what was decoded gives the same bytes"


@given(st.lists(PLAIN, max_size=40))
def test_encoded_elements_are_put_together_to_the_list_of_them(values: list[object]) -> None:
    assert codec.encode_array([codec.encode(value) for value in values]) == codec.encode(values)


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 65_535, 65_536, 65_537])
def test_lists_of_every_header_size_are_put_together(count: int) -> None:
    data = codec.encode_array([b"\x07"] * count)
    assert data == codec.encode([7] * count)
    assert codec.decode(data) == [7] * count


CULPRITS: list[tuple[object, str]] = [
    (object(), "value (a object)"),
    ({"rows": [1, {"x": object()}]}, "value['rows'][1]['x'] (a object)"),
    ([(1, {2}), [object()]], "value[1][0] (a object)"),
    (deque([object()]), "value[0] (a object)"),
    (Point(1, {"a": object()}), "value.tags['a'] (a object)"),
    ([Row("a", [object()])], "value[0].cells[0] (a object)"),
    ({"n": 2**64}, "value['n'] (a int)"),
    ({"text": "caf\udce9"}, "value['text'] (a str)"),
    ({"caf\udce9": 1}, "value (a dict)"),
    ({"when": dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))}, "value['when'] (a datetime)"),
    ((number for number in [1]), "value (a generator)"),
    (test_lists_of_every_header_size_are_put_together, "value (a function)"),
    ({"big": Decimal, "fine": 1}, "value['big'] (a type)"),
]


@pytest.mark.parametrize(("value", "place"), CULPRITS, ids=[place for _, place in CULPRITS])
def test_what_has_no_form_is_named_with_its_place_and_type(value: object, place: str) -> None:
    with pytest.raises(NotSerializable, match=rf"^{re.escape(place)} has no form on the wire: .+") as refusal:
        codec.encode(value)
    assert "plain data" in refusal.value.hint


def test_a_value_inside_itself_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(NotSerializable, match="nested more than 200 deep"):
        codec.encode({"it": endless})


def test_a_class_that_only_has_model_dump_is_no_pydantic_model() -> None:
    class Imposter:
        def model_dump(self) -> dict[str, object]:
            return {}

    with pytest.raises(NotSerializable, match="Imposter"):
        codec.encode(Imposter())


@pytest.mark.parametrize(
    "data", [b"", b"\xc1", b"\x92\x01", b"\x01\x01", b"\xa1\xff", b"\xd4\x05\x00", b"\xd4\x07\x00"]
)
def test_bytes_that_are_no_value_are_corrupt(data: bytes) -> None:
    with pytest.raises(CorruptStore, match=f"^{len(data)} bytes are not a value"):
        codec.decode(data)


def test_a_blob_stand_in_is_seen_as_what_it_is() -> None:
    stand_in = msgspec.msgpack.Ext(codec.BLOB_EXTENSION, bytes(range(20)) + (70_000).to_bytes(8, "big"))
    assert codec.decode(codec.encode([stand_in])) == [codec.BlobRef(bytes(range(20)).hex(), 70_000)]


def test_the_content_hash_is_stable_and_tells_apart() -> None:
    assert codec.content_hash(b"") == "3345524abf6bbe1809449224b5972c41790b6cf2"
    assert codec.content_hash(b"a") != codec.content_hash(b"b")
    assert len(codec.content_hash(b"a")) == 40


def test_the_constants_are_what_they_say() -> None:
    assert codec.decode(codec.NULL) is None
    assert codec.decode(codec.EMPTY) == {}


@settings(max_examples=30)
@given(st.binary(max_size=200))
def test_decoding_anything_gives_a_value_or_a_corrupt_store(data: bytes) -> None:
    try:
        codec.decode(data)
    except CorruptStore:
        return


@given(st.lists(st.text("abc", max_size=3), unique=True), st.permutations(range(8)))
def test_the_canonical_form_does_not_depend_on_how_a_value_was_built(names: list[str], order: list[int]) -> None:
    one = {"set": set(names), "map": {name: {"s": frozenset(names)} for name in names}, "list": [set(names), (1, 2)]}
    shuffled = sorted(names, key=lambda name: order[len(name) + name.count("a")])
    other = {
        "list": [set(shuffled), [1, 2]],
        "map": {name: {"s": frozenset(shuffled)} for name in shuffled},
        "set": frozenset(reversed(shuffled)),
    }
    assert codec.encode(one, is_canonical=True) == codec.encode(other, is_canonical=True)
    assert codec.decode(codec.encode(one, is_canonical=True)) == codec.decode(codec.encode(codec.in_order(other)))


def test_the_canonical_form_names_what_has_none() -> None:
    with pytest.raises(NotSerializable, match=r"value\['x'\]\[1\]"):
        codec.encode({"x": [1, object()]}, is_canonical=True)
