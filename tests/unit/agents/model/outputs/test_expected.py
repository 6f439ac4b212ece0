"""The form of an answer, as a type or as a schema: what a provider is told, and what is made of the words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from agenticflow.agents.model.outputs import Expected
from agenticflow.errors import DefinitionError, ModelOutputInvalid


@dataclass
class Place:
    name: str
    kind: Literal["town", "village"] = "town"


class Trip(msgspec.Struct):
    places: list[Place]
    days: int
    after: Trip | None = None


class Row(TypedDict):
    a: int


def test_a_type_says_what_it_wants() -> None:
    spec = Expected(Trip).spec
    assert spec.name == "Trip"
    assert spec.schema["type"] == "object"
    assert spec.schema["required"] == ["places", "days"]
    assert spec.schema["additionalProperties"] is False
    definitions: Any = spec.schema["$defs"]
    assert definitions["Place"]["additionalProperties"] is False


def test_a_value_of_the_type_comes_out() -> None:
    said = 'Gladly: {"places": [{"name": "Ulm"}], "days": 2, "after": {"places": [], "days": 1}, "note": "extra"}'
    trip = Expected(Trip).read(said)
    assert trip == Trip([Place("Ulm")], 2, Trip([], 1))
    assert Expected(Row).read('{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("form", "said", "value"),
    [
        (list[int], '{"value": [1, 2]}', [1, 2]),
        (list[int], "[1, 2]", [1, 2]),
        (int, "42", 42),
        (int, 'It is {"value": 42}.', 42),
        (str, '{"value": "x"}', "x"),
        (list[Place], '[{"name": "Ulm", "kind": "village"}]', [Place("Ulm", "village")]),
        ({"type": "array", "items": {"$ref": "#/$defs/N"}, "$defs": {"N": {"type": "integer"}}}, "[3]", [3]),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, '{"a": 1, "b": 2}', {"a": 1, "b": 2}),
        ({"anyOf": [{"type": "null"}, {"type": "integer"}]}, "null", None),
        ({"type": "array", "items": True}, '[1, "a"]', [1, "a"]),
    ],
)
def test_what_is_no_object_is_wrapped_into_one_for_the_provider(form: Any, said: str, value: object) -> None:
    expected: Expected[object] = Expected(form)
    assert expected.spec.schema["type"] == "object"
    assert expected.read(said) == value


def test_the_first_value_that_fits_is_taken() -> None:
    said = 'Not [1, 2] but {"name": 3}, no, {"name": "Ulm"}, or {"name": "Bonn"}.'
    assert Expected(Place).read(said) == Place("Ulm")


@pytest.mark.parametrize(
    ("said", "problems"),
    [
        ("I do not know.", ["there is no JSON in it"]),
        ("", ["there is no JSON in it"]),
        ('{"name": "Ulm", "kind": "city"}', ["answer.kind is 'city', not one of 'town', 'village'"]),
        ("[1]", ["answer is [1], not object"]),
        (
            '{"kind": 1} {"name": 2}',
            ["answer.name is missing (string)", "answer.kind is 1, not one of 'town', 'village'"],
        ),
    ],
)
def test_everything_that_is_wrong_is_told(said: str, problems: list[str]) -> None:
    with pytest.raises(ModelOutputInvalid, match="does not have the form 'Place'") as caught:
        Expected(Place).read(said)
    assert sorted(caught.value.problems) == sorted(problems)
    assert caught.value.text == said


def test_what_only_the_type_knows_is_told_too() -> None:
    class Even(msgspec.Struct):
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError("the number is\nodd")

    with pytest.raises(ModelOutputInvalid, match="the number is odd"):
        Expected(Even).read('{"number": 3}')
    assert Expected(Even).read('{"number": 4}').number == 4


class Model:
    """What is used of a pydantic model, spelled out."""

    def __init__(self, a: int) -> None:
        self.a = a

    @classmethod
    def model_json_schema(cls) -> dict[str, object]:
        return {"title": "My model (2)", "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}

    @classmethod
    def model_validate(cls, value: dict[str, int]) -> Model:
        if value["a"] > 9:
            raise ValueError("too large")
        return cls(value["a"])


def test_a_model_of_another_library_reads_itself() -> None:
    expected = Expected(Model)
    assert expected.spec.name == "My_model__2_"
    assert expected.read('{"a": 1}').a == 1
    with pytest.raises(ModelOutputInvalid, match="too large"):
        expected.read('{"a": 10}')


class Leg(pydantic.BaseModel):
    place: str = pydantic.Field(min_length=1)
    kilometres: float = pydantic.Field(gt=0, description="by road")


class Journey(pydantic.BaseModel):
    legs: list[Leg]
    vehicle: Literal["car", "train"] | None = None
    notes: dict[str, int] = {}

    @pydantic.field_validator("legs")
    @classmethod
    def is_a_journey(cls, legs: list[Leg]) -> list[Leg]:
        if not legs:
            raise ValueError("a journey has legs")
        return legs


def test_a_pydantic_model_reads_itself() -> None:
    expected = Expected(Journey)
    assert expected.spec.name == "Journey"
    journey = expected.read('{"legs": [{"place": "Ulm", "kilometres": 90}], "notes": {"stops": 2}}')
    assert journey == Journey(legs=[Leg(place="Ulm", kilometres=90)], notes={"stops": 2})
    with pytest.raises(ModelOutputInvalid, match=r"answer\.legs\[0\]\.kilometres is 0, not above 0"):
        expected.read('{"legs": [{"place": "Ulm", "kilometres": 0}]}')
    with pytest.raises(ModelOutputInvalid, match="a journey has legs"):
        expected.read('{"legs": []}')


def test_a_schema_without_a_name_has_one() -> None:
    assert Expected({"type": "object"}).spec.name == "answer"


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"type": "thing"}, "type is 'thing', not one of"),
        ({"type": "object", "unevaluatedProperties": False}, "the keyword 'unevaluatedProperties' is not understood"),
        ({"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}, "the reference '#' has to lead to"),
        (Expected, "is no form of an answer"),
        (complex, "is no form of an answer"),
    ],
)
def test_what_is_no_form_is_told_before_anything_is_asked(form: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        Expected(form)


def test_what_was_recorded_is_made_into_the_type_again_and_told_when_that_has_changed() -> None:
    assert Expected(Place).made({"name": "Oslo", "kind": "town"}) == Place("Oslo")
    assert Expected(list[int]).made([1, 2]) == [1, 2]
    with pytest.raises(ModelOutputInvalid, match="a recorded answer does not have the form 'Place' any more"):
        Expected(Place).made({"name": "Oslo", "kind": "city"})
