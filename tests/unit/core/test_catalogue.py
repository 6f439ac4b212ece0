"""The catalogue is what the payload structs say, in words; two of one name are a mistake."""

from __future__ import annotations

import enum
from typing import ClassVar, Literal

import msgspec
import pytest

from agenticflow.core.catalogue import RELEASES, PayloadField, catalogue_of, describe_event
from agenticflow.core.decider import Fact
from agenticflow.core.results import ErrorInfo
from agenticflow.errors import DefinitionError


class Colour(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


class Painted(Fact, frozen=True, kw_only=True):
    """A ``wall`` was painted,
    all of it.

    And this nobody needs to know.
    """

    event_type: ClassVar[str] = "painted"
    stream: ClassVar[str] = "wall-<id>"
    schema_version: ClassVar[int] = 3
    colour: Colour
    layers: list[int]
    names: tuple[str, ...] = ()
    place: tuple[str, int] | None = None
    prices: dict[str, float] = {}
    how: Literal["brush", "roller"] = "brush"
    error: ErrorInfo | None = None
    ended: int | None = None
    value: msgspec.Raw
    anything: object = None
    is_dry: bool = False


class Silent(Fact, frozen=True):
    event_type: ClassVar[str] = "task_completed"


def test_an_entry_says_what_the_struct_says() -> None:
    kind = describe_event(Painted)
    assert (kind.event_type, kind.stream, kind.schema_version) == ("painted", "wall-<id>", 3)
    assert kind.summary == "A `wall` was painted, all of it."
    assert kind.fields == (
        PayloadField("colour", "'red' or 'blue'", True),
        PayloadField("layers", "list of int", True),
        PayloadField("names", "list of str", False),
        PayloadField("place", "[str, int]", False),
        PayloadField("prices", "dict of str to float", False),
        PayloadField("how", "'brush' or 'roller'", False),
        PayloadField("error", "ErrorInfo", False),
        PayloadField("ended", "int", False),
        PayloadField("value", "value", True),
        PayloadField("anything", "value", False),
        PayloadField("is_dry", "bool", False),
    )


def test_a_fact_that_names_no_stream_is_on_that_of_its_room() -> None:
    assert describe_event(Silent, "somewhere").stream == "somewhere"
    assert describe_event(Painted, "somewhere").stream == "wall-<id>"


def test_since_when_is_what_the_releases_say() -> None:
    assert describe_event(Silent).since == "0.1.0"
    assert describe_event(Painted).since not in RELEASES


def test_two_payloads_of_one_name_are_a_mistake() -> None:
    assert [kind.event_type for kind in catalogue_of([(Painted, ""), (Silent, "somewhere")])] == [
        "painted",
        "task_completed",
    ]
    with pytest.raises(DefinitionError, match="two payloads are called 'painted', one of them Painted"):
        catalogue_of([(Painted, ""), (Painted, "")])
