"""From a function to the schema of its params and of its result, and from params to its arguments. Pure.

The schema and the check are made of one msgspec Struct, so they cannot say different things. What a hint cannot say is refused when the
tool is defined: a parameter without a hint, one that has no name to fill it by, a type that has no JSON form.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin, get_type_hints

import msgspec

from agenticflow.core import codec
from agenticflow.core.json_schema import (
    MAX_PROBLEMS,
    CompiledSchema,
    JsonSchema,
    compile_schema,
    missing_words,
    short,
    unknown_words,
)
from agenticflow.errors import AgenticFlowError, DefinitionError, InvalidInput
from agenticflow.tools.schemas.docstrings import read_docstring

__all__ = ["BadParams", "Parameters", "Returned", "read_parameters", "read_return"]

ContextTest = Callable[[str, object], bool]
"""Whether the parameter of this name and hint is the context, which nobody but us fills."""
_NOTHING: Final = inspect.Parameter.empty
_PATH: Final = re.compile(r"(?P<words>.*) - at `(?P<key>key` in `)?\$(?P<path>.*)`$", re.DOTALL)
_META: Final = ("ge", "gt", "le", "lt", "multiple_of", "min_length", "max_length", "pattern")
_SIMPLE: Final = (str, int, float, bool, type(None))


class BadParams(InvalidInput):
    """Params do not fit. ``problems`` has every mistake, a line each."""

    def __init__(self, message: str, problems: list[str]) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class Parameters:
    """What a function takes: ``schema`` for whoever calls, ``arguments`` for whoever is called."""

    __slots__ = ("_bundle", "_each", "_hints", "context_name", "name", "names", "schema")

    def __init__(
        self,
        name: str,
        bundle: type[msgspec.Struct],
        hints: Mapping[str, object],
        schema: JsonSchema,
        context_name: str,
    ) -> None:
        self.name = name
        self._bundle = bundle
        self._hints = hints
        self.names = tuple(hints)
        self.schema = schema
        self._each: CompiledSchema | None = None
        """Of params by themselves, whatever else is there; made when the first mistake has to be told."""
        self.context_name = context_name

    def arguments(self, params: Mapping[str, object]) -> dict[str, Any]:
        """Return the arguments that ``params`` (plain data) stand for, converted to the hints; what is left out keeps its default.

        Raises ``BadParams`` with every mistake.
        """
        try:
            bundle = msgspec.convert(params, self._bundle, dec_hook=_foreign)
        except Exception:  # noqa: BLE001 - a hint's own validation is the author's code
            bundle = self._second_look(params)
        given = {}
        for name in self.names:
            value = getattr(bundle, name)
            if value is not msgspec.UNSET:
                given[name] = value
        return given

    def _second_look(self, params: Mapping[str, object]) -> msgspec.Struct:
        """Whole numbers may be written as 5.0; beyond that, find every mistake."""
        try:
            return msgspec.convert(_with_whole_numbers(params), self._bundle, dec_hook=_foreign)
        except Exception as error:  # noqa: BLE001 - as above
            problems = self._problems(params) or [_words(error)]
            count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
            raise BadParams(f"the params of {self.name!r} have {count}", problems[:MAX_PROBLEMS]) from None

    def _problems(self, params: Mapping[str, object]) -> list[str]:
        described = self.schema["properties"]
        schemas: Mapping[str, object] = described if isinstance(described, Mapping) else {}
        required = self.schema["required"]
        missing = [name for name in required if name not in params] if isinstance(required, list) else []
        problems = [f"{name!r} {missing_words(schemas.get(name))}" for name in missing]
        if self._each is None:
            rest = {key: said for key, said in self.schema.items() if key not in ("required", "additionalProperties")}
            self._each = compile_schema(rest)
        for name, value in params.items():
            if name not in self._hints:
                problems.append(f"{str(name)!r} {unknown_words(name, self.names)}")
                continue
            try:
                msgspec.convert(_with_whole_numbers(value), self._hints[name], dec_hook=_foreign)
            except Exception as error:  # noqa: BLE001 - a hint's own validation is the author's code
                found = self._each.problems({name: value})
                problems += found or [_misfit(name, value, error)]
        return problems


class Returned:
    """What a function gives back: ``schema`` of it, and ``check`` for what came."""

    __slots__ = ("_hint", "schema")

    def __init__(self, hint: object, schema: JsonSchema) -> None:
        self._hint = hint
        self.schema = schema

    def check(self, value: object) -> str | None:
        """Return, in words, why the decoded ``value`` is not what was promised; ``None`` when it is."""
        try:
            msgspec.convert(value, self._hint, dec_hook=_foreign)
        except Exception as error:  # noqa: BLE001 - a hint's own validation is the author's code
            return _misfit("the result", value, error)
        return None


# --- reading a function -------------------------------------------------------------------------------------------------


def read_parameters(
    function: Callable[..., object], name: str, is_context: ContextTest, descriptions: Mapping[str, str] | None = None
) -> Parameters:
    """Return what ``function`` takes. ``descriptions`` go over what its docstring says.

    Raises ``DefinitionError`` that names the parameter and what to write instead.
    """
    hints = _hints_of(function, name)
    told = dict(read_docstring(inspect.getdoc(function)).parameters)
    taken: dict[str, object] = {}
    fields: list[tuple[str, object] | tuple[str, object, object]] = []
    defaults: dict[str, object] = {}
    context_name = ""
    for parameter in inspect.signature(function).parameters.values():
        hint = hints.get(parameter.name, _NOTHING)
        if is_context(parameter.name, hint):
            context_name = parameter.name
            continue
        _demand_name(parameter, name)
        if hint is _NOTHING:
            raise DefinitionError(
                f"the parameter {parameter.name!r} of tool {name!r} has no type hint",
                hint=f"write {parameter.name}: str, or whatever it is: the schema is made of it",
            )
        hint, words = _normalised(hint)
        if words:
            told[parameter.name] = words
        taken[parameter.name] = hint
        if parameter.default is parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, msgspec.field(default_factory=_unset)))
            defaults[parameter.name] = parameter.default
    if descriptions:
        _demand_known(descriptions, taken, name)
        told.update(descriptions)
    for field in fields:
        _demand_schema(field[0], field[1], name)
    bundle = msgspec.defstruct("params", fields, kw_only=True, forbid_unknown_fields=True)
    schema = _flat(_schema_of(bundle))
    properties: dict[str, Any] = {}
    for field_name, one in schema["properties"].items():
        properties[field_name] = one = dict(one)
        if told.get(field_name):
            one["description"] = told[field_name]
        if field_name in defaults and (default := _plain_default(defaults[field_name])) is not msgspec.UNSET:
            one["default"] = default
    schema["properties"] = properties
    return Parameters(name, bundle, taken, schema, context_name)


def read_return(function: Callable[..., object], name: str) -> Returned | None:
    """Return what ``function`` promises to give back; ``None`` when it does not say, or what has no JSON form."""
    hint = _hints_of(function, name).get("return", _NOTHING)
    if hint is _NOTHING or hint is Any or hint is object:
        return None
    hint, _ = _normalised(hint)
    try:
        return Returned(hint, _flat(_schema_of(hint)))
    except (TypeError, NameError):
        return None


def _hints_of(function: Callable[..., object], name: str) -> dict[str, object]:
    while isinstance(function, partial):
        function = function.func
    target = function if inspect.isroutine(function) else type(function).__call__
    try:
        return get_type_hints(inspect.unwrap(target), include_extras=True)
    except NameError as error:
        raise DefinitionError(
            f"a type hint of tool {name!r} names something unknown: {error}",
            hint="import it at the top of the module, not under TYPE_CHECKING, and define it outside functions",
        ) from error


def _demand_name(parameter: inspect.Parameter, name: str) -> None:
    if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
        raise DefinitionError(
            f"the parameter {str(parameter)!r} of tool {name!r} cannot be described by a schema",
            hint="give each parameter its name and type; for any number of values take a list or a dict",
        )
    if parameter.name.startswith("__"):
        raise DefinitionError(
            f"the parameter {parameter.name!r} of tool {name!r} has a name that no schema can have",
            hint="write it without underscores in front",
        )


def _demand_known(descriptions: Mapping[str, str], taken: Mapping[str, object], name: str) -> None:
    for described in descriptions:
        if described not in taken:
            close = get_close_matches(described, taken, n=1)
            raise DefinitionError(
                f"a description of tool {name!r} is for the parameter {described!r}, which it has not",
                hint=f"did you mean {close[0]!r}?" if close else f"it has {', '.join(taken) or 'none'}",
            )


def _demand_schema(parameter: str, hint: object, name: str) -> None:
    try:
        _schema_of(hint)
    except (TypeError, NameError) as error:
        words = str(error).strip().splitlines()[-1].strip()
        raise DefinitionError(
            f"the parameter {parameter!r} of tool {name!r} has the type {_hint_name(hint)}, which no schema describes: {words}",
            hint="take plain types, lists, dicts, enums, Literals, dataclasses, TypedDicts, msgspec Structs or pydantic models",
        ) from error


def _normalised(hint: object) -> tuple[Any, str]:
    """Return ``hint`` in msgspec's words, and a description that stands in it: ``Annotated[int, "metres"]``."""
    if get_origin(hint) is not Annotated:
        return hint, ""
    inner, *notes = get_args(hint)
    words = ""
    metas: list[object] = []
    for note in notes:
        if isinstance(note, str):
            words = note
        elif isinstance(note, msgspec.Meta):
            metas.append(note)
            words = note.description or words
        else:  # pydantic's Field, annotated-types: by their shape
            for one in (note, *getattr(note, "metadata", ())):
                limits = {key: getattr(one, key) for key in _META if getattr(one, key, None) is not None}
                if limits:
                    metas.append(msgspec.Meta(**limits))
            told = getattr(note, "description", None)
            words = told if isinstance(told, str) else words
    for meta in metas:
        inner = Annotated[inner, meta]
    return inner, words


def _plain_default(default: object) -> object:
    try:
        return codec.decode(codec.encode(default))
    except AgenticFlowError:
        return msgspec.UNSET


def _unset() -> object:
    return msgspec.UNSET


# --- schemas ------------------------------------------------------------------------------------------------------------


def _schema_of(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema(kind, schema_hook=_foreign_schema)


def _foreign_schema(kind: type) -> dict[str, Any]:
    """Return the schema of a type msgspec does not know: a pydantic model's, or that of anything at all."""
    if kind is object:
        return {"description": "any value"}
    describe = getattr(kind, "model_json_schema", None)
    if describe is not None and hasattr(kind, "model_validate"):
        found: dict[str, Any] = describe()
        return found
    raise NotImplementedError


def _flat(schema: dict[str, Any]) -> dict[str, Any]:
    """Return ``schema`` with its own form at the top, and the definitions of models inside it beside the others."""
    definitions = dict(schema.pop("$defs", {}))
    top = schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name in definitions:
        top = dict(definitions.pop(name))
        if f'"#/$defs/{name}"' in msgspec.json.encode([top, definitions]).decode():
            definitions[name] = dict(top)  # it refers to itself
    _gather(top, definitions)
    for one in list(definitions.values()):
        _gather(one, definitions)
    if top.get("title") == "params":
        del top["title"]
    if definitions:
        top["$defs"] = definitions
    return top


def _gather(schema: Any, definitions: dict[str, Any]) -> None:
    """Move ``$defs`` inside ``schema`` to ``definitions``: references begin at the top."""
    if isinstance(schema, list):
        for one in schema:
            _gather(one, definitions)
    elif isinstance(schema, dict):
        for name, one in schema.pop("$defs", {}).items():
            if definitions.setdefault(name, one) != one:
                raise DefinitionError(
                    f"two types of a tool are called {name!r}",
                    hint="give one of them another name: a schema knows them by it",
                )
            _gather(one, definitions)
        for one in list(schema.values()):
            _gather(one, definitions)


# --- values -------------------------------------------------------------------------------------------------------------


def _foreign(hint: type, value: object) -> object:
    """Convert to a type msgspec does not know: a pydantic model validates, ``object`` takes everything."""
    if hint is object:
        return value
    model: Any = hint
    return model.model_validate(value)


def _with_whole_numbers(value: object) -> object:
    """Return ``value`` with 5 for 5.0: in JSON they are one number."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {key: _with_whole_numbers(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_whole_numbers(item) for item in value]
    return value


def _misfit(name: str, value: object, error: BaseException) -> str:
    words = _words(error)
    match = _PATH.match(words)
    path = name
    if match:
        words, path = match["words"], f"{name}{match['path']}"
        if match["key"]:
            path = f"a key of {path}"
        value = _at(value, match["path"])
    shown = "" if value is _NOTHING or "missing required" in words else f", it is {short(value)}"
    return f"{path!r}: {words[:1].lower()}{words[1:].replace('`', '')}{shown}"


def _at(value: object, path: str) -> object:
    """Return what stands at msgspec's ``path``, as far as it can be followed."""
    for part in re.findall(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]", path):
        key, index = part
        if key and isinstance(value, Mapping) and key in value:
            value = value[key]
        elif index.isdigit() and isinstance(value, (list, tuple)) and int(index) < len(value):
            value = value[int(index)]
        else:
            return _NOTHING
    return value


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _hint_name(hint: object) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " | ".join(map(_hint_name, get_args(hint)))
    return hint.__name__ if isinstance(hint, type) else str(hint)
