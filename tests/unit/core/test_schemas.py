"""Old payloads are brought to the present on read, step by step; what cannot be is an error, not a guess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypedDict

import msgspec
import pytest

from agenticflow.core.events import AgenticEvent
from agenticflow.core.schemas import Schema, SchemaRegistry
from agenticflow.errors import DefinitionError, InvalidInput, PermanentError


@pytest.fixture
def registry() -> SchemaRegistry:
    schemas = SchemaRegistry()

    @schemas.upcaster("order_placed", 2)
    def to_three(payload: dict[str, object]) -> Mapping[str, object]:
        return {**payload, "currency": "EUR"}

    @schemas.upcaster("order_placed", 1)
    def to_two(payload: dict[str, object]) -> Mapping[str, object]:
        return {"order_id": payload["id"]}

    return schemas


def test_a_payload_takes_every_step_to_the_present(registry: SchemaRegistry) -> None:
    assert registry.current_version("order_placed") == 3
    assert registry.upcast("order_placed", 1, {"id": 7}) == {"order_id": 7, "currency": "EUR"}
    assert registry.upcast("order_placed", 2, {"order_id": 7}) == {"order_id": 7, "currency": "EUR"}


def test_a_present_payload_is_left_alone(registry: SchemaRegistry) -> None:
    payload: dict[str, object] = {"order_id": 7}
    assert registry.upcast("order_placed", 3, payload) is payload
    assert registry.upcast("never_heard_of", 1, payload) is payload
    assert registry.current_version("never_heard_of") == 1


def test_a_step_does_not_change_what_it_was_given(registry: SchemaRegistry) -> None:
    stored: dict[str, object] = {"id": 7}
    registry.upcast("order_placed", 1, stored)
    assert stored == {"id": 7}


def test_a_payload_from_the_future_is_an_error(registry: SchemaRegistry) -> None:
    with pytest.raises(PermanentError, match="written in version 4, this program knows up to 3"):
        registry.upcast("order_placed", 4, {})


def test_a_missing_step_is_an_error() -> None:
    schemas = SchemaRegistry()
    schemas.upcaster("order_placed", 2)(dict)
    with pytest.raises(PermanentError, match="no upcaster leads 'order_placed' from version 1 to 3") as refusal:
        schemas.upcast("order_placed", 1, {})
    assert "upcaster('order_placed', 1)" in refusal.value.hint


def test_a_step_is_registered_once(registry: SchemaRegistry) -> None:
    with pytest.raises(DefinitionError, match="has an upcaster from version 1 already"):
        registry.upcaster("order_placed", 1)(dict)


def test_versions_start_at_one() -> None:
    with pytest.raises(DefinitionError, match="versions start at 1, not 0"):
        SchemaRegistry().upcaster("order_placed", 0)


# --- schemas --------------------------------------------------------------------------------------------------------------


class Line(msgspec.Struct):
    sku: str
    count: int = 1


class Placed(msgspec.Struct):
    order_id: int
    lines: list[Line] = []


@dataclass
class PlacedDataclass:
    order_id: int


class PlacedDict(TypedDict):
    order_id: int


@pytest.mark.parametrize("schema", [Placed, PlacedDataclass, PlacedDict, {"order_id": int}])
def test_a_payload_must_fit_the_schema_of_its_version(schema: Schema) -> None:
    schemas = SchemaRegistry()
    schemas.register("order_placed", 1, schema)
    schemas.check("order_placed", 1, {"order_id": 7, "more": "is welcome"})
    with pytest.raises(
        InvalidInput, match="'order_placed' in version 1 does not fit its schema at 'order_id': expected"
    ):
        schemas.check("order_placed", 1, {"order_id": "seven"})
    with pytest.raises(InvalidInput, match="does not fit its schema: object missing required field `order_id`"):
        schemas.check("order_placed", 1, {})


def test_the_error_names_the_place_deep_inside() -> None:
    schemas = SchemaRegistry()
    schemas.register("order_placed", 1, Placed)
    payload = AgenticEvent("order_placed", {"order_id": 7, "lines": [{"sku": "a"}, {"sku": 3}]}).payload
    with pytest.raises(InvalidInput, match=r"at 'lines\[1\]\.sku': expected `str`, got `int`"):
        schemas.check("order_placed", 1, payload)


def test_fields_may_have_any_name_and_be_null() -> None:
    schemas = SchemaRegistry()
    schemas.register("measured", 1, {"temperature °C": float, "note": str | None})
    schemas.check("measured", 1, {"temperature °C": 3.5, "note": None})
    with pytest.raises(InvalidInput, match="missing required field `temperature °C`"):
        schemas.check("measured", 1, {"note": "cold"})


def test_the_default_version_stands_for_the_current_one() -> None:
    schemas = SchemaRegistry()
    schemas.register("order_placed", 2, {"order_id": int})
    assert schemas.current_version("order_placed") == 2
    assert [schemas.written_version("order_placed", version) for version in (1, 2, 3)] == [2, 2, 3]
    with pytest.raises(InvalidInput, match="in version 2"):
        schemas.check("order_placed", 1, {})
    schemas.check("order_placed", 3, {})
    schemas.check("never_heard_of", 1, {})
    schemas.check_encoded("never_heard_of", 1, b"\x80")
    SchemaRegistry().check("order_placed", 1, {})


def test_what_is_checked_is_what_will_be_read_back() -> None:
    schemas = SchemaRegistry()
    schemas.register("paid", 1, {"amount": Decimal, "at": datetime})
    schemas.check("paid", 1, {"amount": Decimal("9.99"), "at": datetime(2026, 1, 1, tzinfo=UTC)})
    with pytest.raises(InvalidInput, match="at 'amount'"):
        schemas.check("paid", 1, {"amount": "nine", "at": datetime(2026, 1, 1, tzinfo=UTC)})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("", 1, Placed), "'' is no event type"),
        ((7, 1, Placed), "7 is no event type"),
        (("a", 0, Placed), "versions start at 1, not 0"),
        (("a", True, Placed), "versions start at 1, not True"),
        (("a", "1", Placed), "versions start at 1, not '1'"),
        (("a", 1, int), "the schema of a in version 1 is <class 'int'>"),
        (("a", 1, "Placed"), "the schema of a in version 1 is 'Placed'"),
        (("a", 1, {"n": "int"}), "the schema of a in version 1 is {'n': 'int'}"),
        (("a", 1, {"n": 7}), "the schema of a in version 1 cannot be used"),
    ],
)
def test_what_is_no_schema_is_refused(arguments: tuple[Any, ...], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        SchemaRegistry().register(*arguments)
    assert words in str(refusal.value)


def test_a_version_has_one_schema() -> None:
    schemas = SchemaRegistry()
    schemas.register("a", 1, Placed)
    with pytest.raises(DefinitionError, match="'a' has a schema of version 1 already"):
        schemas.register("a", 1, Placed)


# --- data from outside ----------------------------------------------------------------------------------------------------


@pytest.fixture
def outside() -> SchemaRegistry:
    schemas = SchemaRegistry()

    @schemas.migrator("1.0", "1.1")
    def with_currency(data: dict[str, object]) -> Mapping[str, object]:
        return {**data, "currency": "EUR"}

    @schemas.migrator("1.1", "2.0")
    def with_lines(data: dict[str, object]) -> Mapping[str, object]:
        return {"lines": [data["item"]], "currency": data["currency"]}

    schemas.register_format("1.0", {"item": str})
    schemas.register_format("2.0", {"lines": list[str], "currency": str})
    return schemas


def test_data_without_a_version_is_of_the_first(outside: SchemaRegistry) -> None:
    data = {"item": "a"}
    brought = outside.validate_and_migrate(data, "2.0")
    assert brought == {"lines": ["a"], "currency": "EUR", "_schema_version": "2.0"}
    assert data == {"item": "a"}, "what came in stays as it is"


@pytest.mark.parametrize("version", [1, 1.0, "1", "1.0"])
def test_versions_may_be_numbers(outside: SchemaRegistry, version: object) -> None:
    brought = outside.validate_and_migrate({"item": "a", "_schema_version": version}, "1.1")
    assert brought == {"item": "a", "currency": "EUR", "_schema_version": "1.1"}


def test_data_that_is_there_already_is_checked_and_left_alone(outside: SchemaRegistry) -> None:
    data = {"lines": ["a"], "currency": "EUR", "_schema_version": "2.0"}
    assert outside.validate_and_migrate(data, "2.0") == data
    with pytest.raises(InvalidInput, match=r"data of version '2.0' does not fit its schema at 'lines\[0\]'"):
        outside.validate_and_migrate({**data, "lines": [1]}, "2.0")
    with pytest.raises(InvalidInput, match=r"data of version '1.0' does not fit its schema: object missing"):
        outside.validate_and_migrate({}, "2.0")


def test_a_migrator_takes_the_shortest_way(outside: SchemaRegistry) -> None:
    @outside.migrator("1.0", "2.0")
    def at_once(data: dict[str, object]) -> Mapping[str, object]:
        return {"lines": [data["item"]], "currency": "USD"}

    migrate = outside.get_migrator("1.0", "2.0")
    assert migrate({"item": "a", "_schema_version": "1.0"})["currency"] == "USD"
    assert outside.get_migrator("2.0", "2.0")({"x": 1}) == {"x": 1, "_schema_version": "2.0"}


def test_where_no_migrator_leads_is_an_error_that_says_how_far_it_goes(outside: SchemaRegistry) -> None:
    with pytest.raises(PermanentError, match=r"no migrator leads data from version '1.1' to '3.0'") as refusal:
        outside.get_migrator("1.1", "3.0")
    assert "it can be brought to 1.1, 2.0" in refusal.value.hint
    with pytest.raises(PermanentError, match=r"from version '2.0' to '1.0'"):
        outside.validate_and_migrate({"_schema_version": "2.0"}, "1.0")


def test_two_ways_to_one_version_meet_once() -> None:
    schemas = SchemaRegistry()
    for way in (("1.0", "1.1"), ("1.0", "1.2"), ("1.1", "2.0"), ("1.2", "2.0"), ("2.0", "3.0")):
        schemas.migrator(*way)(dict)
    assert schemas.get_migrator("1.0", "3.0")({}) == {"_schema_version": "3.0"}


@pytest.mark.parametrize("version", [None, "", "one", "1.0-beta", "1.", True, [1], "1.2.3.4.5"])
def test_what_is_no_version_is_refused(outside: SchemaRegistry, version: Any) -> None:
    with pytest.raises(InvalidInput, match="is no version of data"):
        outside.validate_and_migrate({"_schema_version": version}, "2.0")
    with pytest.raises(InvalidInput, match="is no version of data"):
        outside.get_migrator("1.0", version)
    with pytest.raises(DefinitionError, match="is no version of data"):
        outside.migrator(version, "2.0")
    with pytest.raises(DefinitionError, match="is no version of data"):
        outside.register_format(version, {})


def test_data_is_a_mapping(outside: SchemaRegistry) -> None:
    nonsense: Any = [1]
    with pytest.raises(InvalidInput, match="is a mapping, not a list"):
        outside.validate_and_migrate(nonsense, "2.0")


def test_a_step_and_a_format_are_registered_once(outside: SchemaRegistry) -> None:
    for way in (("1.0", "1.1"), ("3.0", "3")):
        with pytest.raises(DefinitionError, match="there is a migrator from version"):
            outside.migrator(*way)(dict)
    with pytest.raises(DefinitionError, match=r"data of version '2.0' has a schema already"):
        outside.register_format("2.0", {})
