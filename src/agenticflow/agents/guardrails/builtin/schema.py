"""Whether a value is what a JSON Schema says. Pure.

Understands the part of draft 2020-12 that tools and answers of models use; a schema with a word that is not understood is refused when the
guardrail is made, so that nothing is silently left unchecked. ``format`` and descriptions say nothing here, as the draft has it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.context.outputs import parse_output
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.core import codec
from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["check_schema", "json_schema", "misfits_of"]

MAX_DEPTH: Final = 60
MAX_PATTERN_CHARS: Final = 10_000
MAX_MISFITS: Final = 5


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


TYPES: Final[Mapping[str, Callable[[Any], bool]]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: _is_number(value) and value == int(value),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
SAYING_NOTHING: Final = frozenset(
    {
        "$schema",
        "$id",
        "$comment",
        "$defs",
        "definitions",
        "title",
        "description",
        "default",
        "examples",
        "format",
        "deprecated",
        "readOnly",
        "writeOnly",
        "discriminator",
    }
)
COUNTS: Final = frozenset({"minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"})
BOUNDS: Final = frozenset({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})
SCHEMAS: Final = frozenset({"items", "additionalProperties", "not"})
LISTS_OF_SCHEMAS: Final = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})


def json_schema(
    schema: Mapping[str, Any] | type,
    *,
    name: str = "json_schema",
    kinds: Iterable[GuardrailKind | str] = (GuardrailKind.OUTPUT,),
) -> Guardrail:
    """Let pass what fits ``schema``, or the dataclass or struct given in its place. A text is taken as the JSON in it.

    Raises ``DefinitionError`` for what is no schema, or one with words that are not understood here.
    """
    whole = codec.decode(codec.encode(_schema_of(schema) if isinstance(schema, type) else schema))
    check_schema(whole)

    def check(ctx: Any, value: Any) -> Verdict:
        try:
            plain = parse_output(value) if isinstance(value, str) else codec.decode(codec.encode(value))
        except InvalidInput as error:
            return False, error.message
        misfits = misfits_of(plain, whole)
        return not misfits, "; ".join(misfits)

    return Guardrail(check, name=name, kinds=kinds, is_quick=True)


def _schema_of(kind: type) -> dict[str, Any]:
    try:
        return msgspec.json.schema(kind)
    except TypeError as error:
        raise DefinitionError(f"{kind.__name__} has no JSON Schema: {error}", hint="give the schema") from error


def check_schema(schema: object) -> None:
    """Refuse what is no schema that is understood here. Raises ``DefinitionError`` that names the place."""
    for place, part in _parts(schema, "#", 0):
        if isinstance(part, bool):
            continue
        if not isinstance(part, dict):
            raise DefinitionError(f"a schema at {place} is a {type(part).__name__}", hint="write a mapping, or true")
        for word, said in part.items():
            problem = _problem_of(word, said)
            if problem:
                raise DefinitionError(
                    f"{word!r} at {place} {problem}", hint="see docs/how-to/guardrails.md for what is understood"
                )
        if "$ref" in part:
            _referred(part["$ref"], schema)


def misfits_of(value: object, schema: object) -> list[str]:
    """Return in words where ``value`` is not what the checked ``schema`` says, the first five places; empty when it fits."""
    found: list[str] = []
    for misfit in _misfits(value, schema, schema, "$", 0):
        found.append(misfit)
        if len(found) == MAX_MISFITS:
            break
    return found


def _parts(schema: object, place: str, depth: int) -> Iterator[tuple[str, object]]:
    """Yield every schema in the schema, with where it stands."""
    if depth > MAX_DEPTH:
        raise DefinitionError(f"the schema is nested deeper than {MAX_DEPTH}", hint="use $ref to definitions")
    yield place, schema
    if not isinstance(schema, dict):
        return
    for word, said in schema.items():
        if word in SCHEMAS:
            yield from _parts(said, f"{place}/{word}", depth + 1)
        elif word in LISTS_OF_SCHEMAS and isinstance(said, list):
            for at, part in enumerate(said):
                yield from _parts(part, f"{place}/{word}/{at}", depth + 1)
        elif word in ("properties", "$defs", "definitions") and isinstance(said, dict):
            for name, part in said.items():
                yield from _parts(part, f"{place}/{word}/{name}", depth + 1)


def _problem_of(word: object, said: Any) -> str:
    if word in SAYING_NOTHING or word in SCHEMAS:
        return ""
    if word in COUNTS:
        return "" if isinstance(said, int) and not isinstance(said, bool) and said >= 0 else "is no count"
    if word in BOUNDS:
        return "" if _is_number(said) and (word != "multipleOf" or said > 0) else "is no number"
    if word in LISTS_OF_SCHEMAS:
        return "" if isinstance(said, list) and said else "is no list of schemas"
    match word:
        case "type":
            names = said if isinstance(said, list) else [said]
            return "" if names and all(isinstance(one, str) and one in TYPES for one in names) else "names no type"
        case "enum":
            return "" if isinstance(said, list) else "is no list"
        case "required":
            return "" if isinstance(said, list) and all(isinstance(one, str) for one in said) else "is no list of names"
        case "properties":
            return "" if isinstance(said, dict) else "is no mapping"
        case "uniqueItems":
            return "" if isinstance(said, bool) else "is neither true nor false"
        case "pattern":
            try:
                re.compile(said)
            except (re.error, TypeError) as error:
                return f"is no pattern: {error}"
            return ""
        case "const" | "$ref":
            return ""
        case _:
            return "is not understood"


def _misfits(value: Any, schema: Any, whole: object, at: str, depth: int) -> Iterator[str]:
    if depth > MAX_DEPTH:
        yield f"{at} is nested deeper than {MAX_DEPTH}"
        return
    if isinstance(schema, bool):
        if not schema:
            yield f"{at} may not be there"
        return
    if "$ref" in schema:
        yield from _misfits(value, _referred(schema["$ref"], whole), whole, at, depth + 1)
    if "type" in schema:
        names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        if not any(TYPES[name](value) for name in names):
            yield f"{at} is {_short(value)}, not of type {' or '.join(names)}"
            return
    if "enum" in schema and not any(_is_same(value, one) for one in schema["enum"]):
        yield f"{at} is {_short(value)}, not one of {_short(schema['enum'])}"
    if "const" in schema and not _is_same(value, schema["const"]):
        yield f"{at} is {_short(value)}, not {_short(schema['const'])}"
    if isinstance(value, str):
        yield from _misfits_of_text(value, schema, at)
    elif isinstance(value, list):
        yield from _misfits_of_list(value, schema, whole, at, depth)
    elif isinstance(value, dict):
        yield from _misfits_of_mapping(value, schema, whole, at, depth)
    elif _is_number(value):
        yield from _misfits_of_number(value, schema, at)
    yield from _misfits_of_parts(value, schema, whole, at, depth)


def _misfits_of_text(value: str, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    yield from _wrong_count(len(value), schema, "Length", "characters", at)
    if "pattern" in schema:
        if len(value) > MAX_PATTERN_CHARS:
            yield f"{at} has {len(value):,} characters, too many to compare with a pattern"
        elif re.search(schema["pattern"], value) is None:
            yield f"{at} is {_short(value)}, which does not match {schema['pattern']!r:.80}"


def _misfits_of_list(value: list[Any], schema: Mapping[str, Any], whole: object, at: str, depth: int) -> Iterator[str]:
    yield from _wrong_count(len(value), schema, "Items", "items", at)
    first = schema.get("prefixItems", [])
    for number, (item, part) in enumerate(zip(value, first, strict=False)):
        yield from _misfits(item, part, whole, f"{at}[{number}]", depth + 1)
    if "items" in schema:
        for number, item in enumerate(value[len(first) :], len(first)):
            yield from _misfits(item, schema["items"], whole, f"{at}[{number}]", depth + 1)
    if schema.get("uniqueItems"):
        seen: set[bytes] = set()
        for number, item in enumerate(value):
            form = codec.encode(_as_json_sees(item), is_canonical=True)
            if form in seen:
                yield f"{at}[{number}] is there twice"
            seen.add(form)


def _misfits_of_mapping(
    value: dict[str, Any], schema: Mapping[str, Any], whole: object, at: str, depth: int
) -> Iterator[str]:
    yield from _wrong_count(len(value), schema, "Properties", "properties", at)
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at} has no {name!r}"
    known = schema.get("properties", {})
    for name, item in value.items():
        if name in known:
            yield from _misfits(item, known[name], whole, f"{at}.{name}", depth + 1)
        elif "additionalProperties" in schema:
            yield from _misfits(item, schema["additionalProperties"], whole, f"{at}.{name}", depth + 1)


def _misfits_of_number(value: float, schema: Mapping[str, Any], at: str) -> Iterator[str]:
    if "minimum" in schema and value < schema["minimum"]:
        yield f"{at} is {value}, below {schema['minimum']}"
    if "maximum" in schema and value > schema["maximum"]:
        yield f"{at} is {value}, above {schema['maximum']}"
    if "exclusiveMinimum" in schema and value <= schema["exclusiveMinimum"]:
        yield f"{at} is {value}, not above {schema['exclusiveMinimum']}"
    if "exclusiveMaximum" in schema and value >= schema["exclusiveMaximum"]:
        yield f"{at} is {value}, not below {schema['exclusiveMaximum']}"
    if "multipleOf" in schema and not _is_multiple(value, schema["multipleOf"]):
        yield f"{at} is {value}, no multiple of {schema['multipleOf']}"


def _misfits_of_parts(value: Any, schema: Mapping[str, Any], whole: object, at: str, depth: int) -> Iterator[str]:
    for part in schema.get("allOf", ()):
        yield from _misfits(value, part, whole, at, depth + 1)
    fitting = {
        word: sum(next(_misfits(value, part, whole, at, depth + 1), None) is None for part in schema[word])
        for word in ("anyOf", "oneOf")
        if word in schema
    }
    if fitting.get("anyOf") == 0:
        yield f"{at} is {_short(value)}, which fits none of anyOf"
    if fitting.get("oneOf", 1) != 1:
        yield f"{at} is {_short(value)}, which fits {fitting['oneOf']} of oneOf, not one"
    if "not" in schema and next(_misfits(value, schema["not"], whole, at, depth + 1), None) is None:
        yield f"{at} is {_short(value)}, which is what it may not be"


def _wrong_count(count: int, schema: Mapping[str, Any], ending: str, what: str, at: str) -> Iterator[str]:
    least, most = schema.get(f"min{ending}", 0), schema.get(f"max{ending}", math.inf)
    if count < least:
        yield f"{at} has {count} {what}, at least {least} are needed"
    if count > most:
        yield f"{at} has {count} {what}, at most {most} may be there"


def _referred(reference: object, whole: object) -> object:
    """Return the schema that ``#/$defs/name`` means. Raises ``DefinitionError``."""
    found = whole
    if isinstance(reference, str) and (reference == "#" or reference.startswith("#/")):
        for step in reference.split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            found = found.get(step) if isinstance(found, dict) else None
        if isinstance(found, (dict, bool)):
            return found
    raise DefinitionError(f"$ref {reference!r:.80} leads nowhere", hint='refer to "#/$defs/name"')


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    quotient = value / step
    return abs(quotient - round(quotient)) <= 1e-9 * max(1.0, abs(quotient))


def _is_same(one: object, other: object) -> bool:
    """Whether JSON sees no difference: 1 is 1.0, and true is not 1."""
    return codec.encode(_as_json_sees(one), is_canonical=True) == codec.encode(_as_json_sees(other), is_canonical=True)


def _as_json_sees(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_as_json_sees(item) for item in value]
    if isinstance(value, dict):
        return {name: _as_json_sees(item) for name, item in value.items()}
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
