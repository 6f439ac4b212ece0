"""Old payloads are brought to the present on read, step by step; what cannot be is an error, not a guess."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import DefinitionError, PermanentError


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
