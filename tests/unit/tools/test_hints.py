"""From type hints to a schema, from params to arguments, and what is refused because no model could be told of it."""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import socket
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Annotated, Any, Literal, TypedDict

import jsonschema
import msgspec
import pydantic
import pytest

from agenticflow.errors import DefinitionError
from agenticflow.tools.schemas.hints import BadParams, Parameters, read_parameters, read_return


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: int
    y: float | None = None
    names: list[str] = field(default_factory=list)


class Place(TypedDict):
    city: str
    inside: Place | None


class Line(msgspec.Struct):
    """From here to there."""

    start: Point
    end: Point


class Person(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=2)
    home: Address | None = None


class Address(pydantic.BaseModel):
    street: str


class Positive:
    """What a hint may hold beside a type, in the shape of annotated-types."""

    ge = 1


class Described:
    """As pydantic's ``Field``: words, and constraints inside."""

    description = "how many"
    metadata = (Positive(),)


def is_context(name: str, hint: object) -> bool:
    return name == "ctx"


def read(function: Callable[..., object], **descriptions: str) -> Parameters:
    return read_parameters(function, "t", is_context, descriptions)


def everything(
    text: str,
    count: Annotated[int, "how many"],
    share: float,
    flag: bool,
    colour: Colour,
    mode: Literal["fast", "slow"],
    point: Point,
    place: Place,
    line: Line,
    many: list[dict[str, int]],
    when: dt.datetime,
    price: decimal.Decimal,
    key: uuid.UUID,
    anything: Any,
    thing: object,
    nested: dict[str, object],
    person: Person,
    ctx: object,
    maybe: int | None = None,
    some: Annotated[list[int], msgspec.Meta(max_length=3, description="a few")] = [],  # noqa: B006 - never changed
    bounded: Annotated[int, Positive()] = 3,
    told: Annotated[int, Described()] = 3,
    where: socket.socket | None = None,
) -> None: ...


def fewer(
    text: str,
    count: Annotated[int, "how many"],
    point: Point,
    colour: Colour = Colour.RED,
    mode: Literal["a", "b"] = "a",
) -> None:
    """Do it.

    Args:
        text: what to say
        count: not this
        point: where
    """


def test_the_schema_says_what_the_hints_say() -> None:
    schema = read(fewer).schema
    assert schema == {
        "type": "object",
        "properties": {
            "text": {"type": "string", "description": "what to say"},
            "count": {"type": "integer", "description": "how many"},
            "point": {"$ref": "#/$defs/Point", "description": "where"},
            "colour": {"$ref": "#/$defs/Colour", "default": "red"},
            "mode": {"enum": ["a", "b"], "default": "a"},
        },
        "required": ["text", "count", "point"],
        "additionalProperties": False,
        "$defs": {
            "Point": {
                "title": "Point",
                "type": "object",
                "properties": {
                    "x": {"type": "integer"},
                    "y": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": None},
                    "names": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["x"],
            },
            "Colour": {"title": "Colour", "enum": ["blue", "red"]},
        },
    }


def test_descriptions_given_go_over_those_written() -> None:
    properties = read(fewer, text="mine").schema["properties"]
    assert isinstance(properties, dict)
    assert properties["text"]["description"] == "mine"
    with pytest.raises(DefinitionError, match="for the parameter 'txt', which it has not") as refusal:
        read(fewer, txt="mine")
    assert refusal.value.hint == "did you mean 'text'?"
    with pytest.raises(DefinitionError) as refusal:
        read(fewer, zzz="mine")
    assert refusal.value.hint == "it has text, count, point, colour, mode"


def all_but_sockets() -> Callable[..., object]:
    """Return ``everything`` without the one parameter that no schema describes."""

    def function(*args: object) -> None: ...

    function.__annotations__ = {name: hint for name, hint in everything.__annotations__.items() if name != "where"}
    signature = __import__("inspect").signature(everything)
    kept = [parameter for name, parameter in signature.parameters.items() if name != "where"]
    vars(function)["__signature__"] = signature.replace(parameters=kept)
    function.__globals__.update()
    return function


GOOD: dict[str, Any] = {
    "text": "x",
    "count": 3,
    "share": 1,
    "flag": True,
    "colour": "blue",
    "mode": "slow",
    "point": {"x": 1},
    "place": {"city": "Oslo", "inside": {"city": "N", "inside": None}},
    "line": {"start": {"x": 0}, "end": {"x": 2, "y": 0.5}},
    "many": [{"a": 1}],
    "when": "2026-11-28T20:00:00Z",
    "price": "0.10",
    "key": "12345678-1234-5678-1234-567812345678",
    "anything": [1, "x"],
    "thing": {"deep": True},
    "nested": {"a": [None]},
    "person": {"name": "Ada", "home": {"street": "High Street"}},
}


def test_params_become_what_the_hints_ask_for() -> None:
    parameters = read(all_but_sockets())
    jsonschema.Draft202012Validator.check_schema(parameters.schema)
    jsonschema.validate(GOOD, parameters.schema)
    taken = parameters.arguments(GOOD)
    assert taken["colour"] is Colour.BLUE
    assert taken["point"] == Point(1)
    assert taken["line"] == Line(Point(0), Point(2, 0.5))
    assert taken["when"] == dt.datetime(2026, 11, 28, 20, tzinfo=dt.UTC)
    assert taken["price"] == decimal.Decimal("0.10")
    assert taken["key"] == uuid.UUID("12345678-1234-5678-1234-567812345678")
    assert taken["person"] == Person(name="Ada", home=Address(street="High Street"))
    assert taken["thing"] == {"deep": True}
    assert isinstance(taken["share"], float)
    assert set(taken) == set(GOOD), "what is left out keeps its default, which is the function's business"
    assert parameters.context_name == "ctx"


def test_constraints_beside_a_type_hold_whoever_wrote_them() -> None:
    parameters = read(all_but_sockets())
    assert parameters.arguments({**GOOD, "bounded": 1, "told": 1, "some": [1, 2, 3]})["some"] == [1, 2, 3]
    with pytest.raises(BadParams) as refusal:
        parameters.arguments({**GOOD, "bounded": 0, "told": 0, "some": [1, 2, 3, 4]})
    assert sorted(refusal.value.problems) == [
        "'bounded' is 0, below the minimum 1",
        "'some' has 4 items, above the most of 3",
        "'told' is 0, below the minimum 1",
    ]
    properties = parameters.schema["properties"]
    assert isinstance(properties, dict)
    assert properties["told"]["description"] == "how many"
    assert properties["some"]["description"] == "a few"
    assert properties["some"]["default"] == []


def test_every_mistake_is_told_at_once() -> None:
    parameters = read(fewer)
    for _ in range(2):
        with pytest.raises(BadParams, match="have 4 mistakes"):
            parameters.arguments({"txt": "x", "count": "3", "point": {"x": 1, "y": "far"}, "mode": "a"})
    with pytest.raises(BadParams, match="have 4 mistakes") as refusal:
        parameters.arguments({"txt": "x", "count": "3", "point": {"x": 1, "y": "far"}, "mode": "a"})
    assert refusal.value.problems == (
        "'text' is missing (string: what to say)",
        "'txt' is not asked for; did you mean 'text'?",
        "'count' is '3', not integer",
        "'point.y' is 'far', not number or null",
    )
    with pytest.raises(BadParams, match="have a mistake"):
        read(fewer).arguments({"text": "x", "count": 3, "point": {"x": 1}, "mode": "c"})


def test_what_only_the_type_itself_knows_is_told_in_its_words() -> None:
    def takes(
        when: dt.datetime,
        person: Person,
        days: dict[dt.date, int] | None = None,
        ids: list[uuid.UUID] | None = None,
    ) -> None: ...

    good = {"when": "2026-11-28", "person": {"name": "Ada"}}
    with pytest.raises(BadParams) as refusal:
        read(takes).arguments(good)
    assert refusal.value.problems == ("'when': invalid RFC3339 encoded datetime, it is '2026-11-28'",)
    good["when"] = "2026-11-28T00:00:00Z"
    with pytest.raises(BadParams) as refusal:
        read(takes).arguments({**good, "person": {"name": "A"}})
    assert refusal.value.problems == ("'person.name' has 1 characters, below the least of 2",)
    with pytest.raises(BadParams) as refusal:
        read(takes).arguments({**good, "days": {"never": 1}, "ids": ["x"]})
    assert refusal.value.problems == (
        "'a key of days': invalid RFC3339 encoded date, it is {'never': 1}",
        "'ids[0]': invalid UUID, it is 'x'",
    )


def test_a_place_that_cannot_be_followed_shows_no_value() -> None:
    def takes(deep: dict[str, dt.date]) -> None: ...

    with pytest.raises(BadParams) as refusal:
        read(takes).arguments({"deep": {"a": "never"}})
    assert refusal.value.problems == ("'deep[...]': invalid RFC3339 encoded date",)


def test_whole_numbers_may_be_written_with_a_point() -> None:
    def takes(count: int, counts: list[int], by: dict[str, int]) -> None: ...

    assert read(takes).arguments({"count": 3.0, "counts": [1.0], "by": {"a": 2.0}}) == {
        "count": 3,
        "counts": [1],
        "by": {"a": 2},
    }
    with pytest.raises(BadParams):
        read(takes).arguments({"count": 3.5, "counts": [], "by": {}})


def test_a_check_of_the_authors_own_is_a_mistake_of_the_params() -> None:
    class Even:
        def __init__(self, number: int) -> None:
            self.number = number

        @staticmethod
        def model_json_schema() -> dict[str, object]:
            return {"type": "integer"}

        @classmethod
        def model_validate(cls, value: Any) -> Even:
            if value % 2:
                raise ValueError
            return cls(value)

    def takes(count: int) -> None: ...

    takes.__annotations__["count"] = Even
    assert read(takes).arguments({"count": 4})["count"].number == 4
    with pytest.raises(BadParams) as refusal:
        read(takes).arguments({"count": 3})
    assert len(refusal.value.problems) == 1
    assert refusal.value.problems[0].endswith("it is 3")


def test_a_function_without_parameters_takes_nothing() -> None:
    def takes() -> None: ...

    parameters = read(takes)
    assert parameters.schema == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    with pytest.raises(BadParams) as refusal:
        parameters.arguments({"a": 1})
    assert refusal.value.problems == ("'a' is not asked for; there are no fields",)


def test_a_default_without_a_json_form_is_not_shown() -> None:
    def takes(thing: Any = object, other: int = 3) -> None: ...

    properties = read(takes).schema["properties"]
    assert properties == {"thing": {}, "other": {"type": "integer", "default": 3}}


def test_an_object_that_is_called_is_read_by_its_call() -> None:
    class Adder:
        def __call__(self, a: int) -> int:
            return a

    assert read(Adder()).names == ("a",)
    assert read(partial(fewer, text="x")).names[1:3] == ("count", "point")


def test_a_decorated_function_keeps_its_hints() -> None:
    def passed_on(function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def call(*args: object, **kwargs: object) -> object:
            return function(*args, **kwargs)

        return call

    def takes(a: int) -> None: ...

    assert read(passed_on(takes)).arguments({"a": 3}) == {"a": 3}


def test_what_no_schema_describes_is_refused_when_it_is_defined() -> None:
    def unhinted(a) -> None: ...  # type: ignore[no-untyped-def]  # that is the mistake

    def starred(*a: int) -> None: ...

    def named(**a: int) -> None: ...

    def placed(a: int, /) -> None: ...

    def hidden(*, __a: int) -> None: ...

    def foreign(where: socket.socket) -> None: ...

    def calls(back: Callable[[], None] | None) -> None: ...

    def mixed(a: Point | Line) -> None: ...

    for function, words in (
        (unhinted, "the parameter 'a' of tool 't' has no type hint"),
        (starred, r"the parameter .\*a: .*int.* of tool 't' cannot be described"),
        (named, r"the parameter .\*\*a: .*int.* of tool 't' cannot be described"),
        (placed, "the parameter .a: .*int.* of tool 't' cannot be described"),
        (hidden, "the parameter '__a' of tool 't' has a name that no schema can have"),
        (foreign, "the parameter 'where' of tool 't' has the type socket, which no schema describes"),
        (calls, "the parameter 'back' of tool 't' has the type .*Callable.* | NoneType"),
        (mixed, "more than one dict-like type|is not supported"),
        (everything, "has the type socket | NoneType"),
    ):
        with pytest.raises(DefinitionError, match=words):
            read(function)


def test_a_hint_that_names_something_unknown_is_said_to() -> None:
    def takes(a: int) -> None: ...

    takes.__annotations__["a"] = "Nowhere"
    with pytest.raises(DefinitionError, match="names something unknown: name 'Nowhere' is not defined"):
        read(takes)


def test_two_types_of_one_name_are_told_apart_or_refused() -> None:
    def other() -> type[pydantic.BaseModel]:
        class Address(pydantic.BaseModel):
            number: int

        class Firm(pydantic.BaseModel):
            at: Address

        return Firm

    def takes(person: Person, firm: int) -> None: ...

    takes.__annotations__["firm"] = other()
    with pytest.raises(DefinitionError, match="two types of a tool are called 'Address'"):
        read(takes)


def test_what_a_function_returns_is_checked_as_it_flows_on() -> None:
    def gives() -> Annotated[Point, "where it is"]:
        return Point(1)

    returned = read_return(gives, "t")
    assert returned is not None
    assert returned.schema["title"] == "Point"
    assert returned.check({"x": 1, "y": None, "names": []}) is None
    assert returned.check({"x": "one"}) == "'the result.x': expected int, got str, it is 'one'"
    assert returned.check(3) == "'the result': expected object, got int, it is 3"
    assert returned.check({}) == "'the result': object missing required field x"


def test_a_return_type_that_refers_to_itself() -> None:
    def gives() -> Place:
        return Place(city="Oslo", inside=None)

    returned = read_return(gives, "t")
    assert returned is not None
    jsonschema.validate({"city": "Oslo", "inside": {"city": "N", "inside": None}}, returned.schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"city": "Oslo", "inside": {"city": 3, "inside": None}}, returned.schema)


def test_what_promises_nothing_is_not_checked() -> None:
    def silent():  # type: ignore[no-untyped-def]  # that is the case
        ...

    def whatever() -> Any: ...

    def thing() -> object: ...

    def foreign() -> socket.socket:
        return socket.socket()

    assert [read_return(one, "t") for one in (silent, whatever, thing, foreign)] == [None] * 4


def test_a_plain_return_type_has_a_plain_schema() -> None:
    def gives() -> int:
        return 1

    returned = read_return(gives, "t")
    assert returned is not None
    assert returned.schema == {"type": "integer"}
    assert returned.check("x") == "'the result': expected int, got str, it is 'x'"
