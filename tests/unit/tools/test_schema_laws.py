"""Laws of schemas: what the schema of a function takes, the function takes; what it does not, is told; what is given arrives."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

import jsonschema
import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.core import codec
from agenticflow.core.json_schema import compile_schema
from agenticflow.tools.schemas.hints import BadParams, read_parameters

TEXTS = st.text(st.characters(codec="utf-8"), max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


class Item(msgspec.Struct):
    name: str
    count: int = 1


class Box(TypedDict):
    items: list[Item]
    label: str | None


LEAVES: list[Any] = [int, float, str, bool, Literal["a", "b", 3], Item, Box, Any, int | str, float | None]


def hints() -> st.SearchStrategy[Any]:
    def around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return inner.map(list.__class_getitem__) | inner.map(lambda hint: dict.__class_getitem__((str, hint)))

    return st.recursive(st.sampled_from(LEAVES), around, max_leaves=3)


def values_of(schema: Any, root: Any) -> st.SearchStrategy[Any]:
    """Return values that ``schema`` takes, for the keywords that our schemas have."""
    if "$ref" in schema:
        return st.deferred(lambda: values_of(root["$defs"][schema["$ref"].removeprefix("#/$defs/")], root))
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values_of(one, root) for one in schema["anyOf"]])
    kind: object = schema.get("type")
    match kind:
        case "integer":
            return st.integers(-(2**53), 2**53)
        case "number":
            return st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
        case "string":
            return TEXTS
        case "boolean":
            return st.booleans()
        case "null":
            return st.none()
        case "array":
            return st.lists(values_of(schema.get("items", {}), root), max_size=3)
        case "object" if "properties" in schema:
            required = {name: values_of(schema["properties"][name], root) for name in schema["required"]}
            optional = {
                name: values_of(one, root) for name, one in schema["properties"].items() if name not in required
            }
            return st.fixed_dictionaries(required, optional=optional)
        case "object":
            return st.dictionaries(TEXTS, values_of(schema.get("additionalProperties", {}), root), max_size=3)
        case _:
            return JSON


def function_of(parameters: dict[str, Any], optional: set[str]) -> Any:
    text = ", ".join(
        f"{name}=None" if name in optional else name for name in sorted(parameters, key=optional.__contains__)
    )
    namespace: dict[str, Any] = {}
    exec(f"def function({text}): ...", namespace)
    namespace["function"].__annotations__ = dict(parameters)
    return namespace["function"]


PARAMETERS = st.dictionaries(st.sampled_from(["a", "b", "c"]), hints(), max_size=3)


@given(data=st.data(), parameters=PARAMETERS, optional=st.sets(st.sampled_from(["a", "b", "c"])))
@settings(max_examples=150)
def test_what_the_schema_takes_the_function_takes(
    data: st.DataObject, parameters: dict[str, Any], optional: set[str]
) -> None:
    read = read_parameters(function_of(parameters, optional), "t", lambda name, hint: False)
    jsonschema.Draft202012Validator.check_schema(read.schema)
    params = data.draw(values_of(read.schema, read.schema))
    jsonschema.validate(params, read.schema)
    assert compile_schema(read.schema).problems(params) == []
    taken = read.arguments(params)
    assert set(taken) == set(params)
    # what arrives goes back over the wire as what was sent, with the defaults of what was left out inside
    again = codec.decode(codec.encode(taken))
    assert read.arguments(again if isinstance(again, dict) else {}) == taken


@given(
    data=st.data(),
    parameters=PARAMETERS,
    params=st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), JSON, max_size=4),
)
@settings(max_examples=150)
def test_what_the_schema_does_not_take_is_told(
    data: st.DataObject, parameters: dict[str, Any], params: dict[str, Any]
) -> None:
    read = read_parameters(function_of(parameters, set()), "t", lambda name, hint: False)
    is_valid = jsonschema.Draft202012Validator(read.schema).is_valid(params)
    assert (compile_schema(read.schema).problems(params) == []) == is_valid, "we judge as the independent reader does"
    try:
        read.arguments(params)
        is_taken = True
    except BadParams as error:
        is_taken = not error.problems
    assert is_taken == is_valid
