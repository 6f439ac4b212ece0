"""What form an answer shall have, as a type or a JSON Schema, and reading it from a model's words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar, cast

import msgspec

from agenticflow.agents.model.outputs.closing import closed
from agenticflow.agents.model.outputs.extraction import candidates
from agenticflow.agents.model.requests import OutputSpec
from agenticflow.core.json_schema import CompiledSchema, beginning_of, compile_schema, inner_schemas, schema_mistakes
from agenticflow.errors import DefinitionError, ModelOutputInvalid

__all__ = ["Expected"]

T = TypeVar("T")
WRAPPED: Final = "value"
"""The field that holds an answer which is no object: providers hold only objects to a form."""
_NAME_CHARS: Final = 64
_MOVED_WITH_IT: Final = ("#/$defs/", "#/definitions/")
"""Where references lead from inside the wrapping as well."""


class _Pydantic(Protocol):
    """What is used of pydantic, which is not imported: whoever gives a model of it has it."""

    def model_json_schema(self) -> dict[str, object]: ...

    def model_validate(self, obj: object) -> object: ...


class Expected(Generic[T]):
    """The form of an answer. ``spec`` is what a provider is told, ``read`` makes a ``T`` of a model's words."""

    __slots__ = ("_beginning", "_compiled", "_is_wrapped", "_schema", "_type", "spec")

    def __init__(self, form: type[T] | Mapping[str, object]) -> None:
        """Take a type (a dataclass, a msgspec Struct, a TypedDict, a pydantic model, ``list[str]`` …) or a JSON Schema.

        Raises ``DefinitionError`` that lists what answers cannot be held to.
        """
        self._type: Any = None if isinstance(form, Mapping) else form
        schema = dict(form) if isinstance(form, Mapping) else _schema_of(form)
        problems = schema_mistakes(schema)
        if not problems and schema.get("type") != "object":
            problems = [
                f"the reference {one!r:.80} has to lead to #/$defs/NAME, where the answer is no object"
                for one in _references(schema)
                if not str(one).startswith(_MOVED_WITH_IT)
            ]
        if problems:
            raise DefinitionError(
                f"answers cannot be held to this schema: {'; '.join(problems)}",
                hint="mend the schema, or give a type",
                problems=problems,
            )
        self._is_wrapped = schema.get("type") != "object"
        if self._is_wrapped:
            definitions: dict[str, object] = {
                name: schema.pop(name) for name in ("$defs", "definitions") if name in schema
            }
            schema = {"type": "object", "properties": {WRAPPED: schema}, "required": [WRAPPED], **definitions}
        self._schema = schema
        self._compiled = compile_schema(schema)
        self._beginning: CompiledSchema | None = None
        self.spec = OutputSpec(_name_of(form, schema), closed(schema))

    def read(self, text: str) -> T:
        """Return the answer in ``text``, also from between words. Raises ``ModelOutputInvalid`` with all that is wrong."""
        problems: list[str] = []
        for value in candidates(text):
            found = self._compiled.problems(value, "answer")
            if found and self._is_wrapped and not self._compiled.problems({WRAPPED: value}):
                value, found = {WRAPPED: value}, []
            if not found:
                try:
                    return self._made(value)
                except (msgspec.ValidationError, ValueError, TypeError) as error:
                    found = [" ".join(str(error).split())]
            problems = problems or found
        if not problems:
            problems = ["there is no JSON in it"]
        raise ModelOutputInvalid(
            f"the answer does not have the form {self.spec.name!r}: {'; '.join(problems)}",
            hint="ask again, or ask for a simpler form",
            problems=problems,
            text=text,
        )

    def begun(self, value: object) -> tuple[object, T | None] | None:
        """Return what the beginning of an answer says: plain data, and a ``T`` once all is there that it requires. ``None`` when it does
        not fit, as far as it goes."""
        if self._is_wrapped and isinstance(value, list):
            value = {WRAPPED: value}
        if self._beginning is None:
            self._beginning = compile_schema(beginning_of(self._schema))
        if self._beginning.problems(value):
            return None
        data = value
        if self._is_wrapped:
            if not isinstance(value, Mapping) or WRAPPED not in value:
                return None
            data = value[WRAPPED]
        if self._type is None and self._compiled.problems(value):
            return data, None
        try:
            return data, self._made(value)
        except (msgspec.ValidationError, ValueError, TypeError):
            return data, None

    def made(self, value: object) -> T:
        """Return plain data that was read before as what the form says. Raises ``ModelOutputInvalid`` when it does not fit any more."""
        try:
            return self._made({WRAPPED: value} if self._is_wrapped else value)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            raise ModelOutputInvalid(
                f"a recorded answer does not have the form {self.spec.name!r} any more: {error}",
                hint="the form has changed since",
            ) from error

    def _made(self, value: object) -> T:
        if self._is_wrapped and isinstance(value, Mapping):
            value = value[WRAPPED]
        if self._type is None:
            return cast("T", value)
        if hasattr(self._type, "model_validate"):
            return cast("T", cast("_Pydantic", self._type).model_validate(value))
        return cast("T", msgspec.convert(value, self._type))


def _schema_of(form: object) -> dict[str, object]:
    if hasattr(form, "model_json_schema"):
        return cast("_Pydantic", form).model_json_schema()
    try:
        schema: dict[str, object] = msgspec.json.schema(form)
    except (TypeError, NotImplementedError) as error:
        raise DefinitionError(
            f"{form!r:.80} is no form of an answer: {error}",
            hint="give a dataclass, a msgspec Struct, a pydantic model, a plain type or a JSON Schema",
        ) from error
    reference = schema.get("$ref")
    definitions = schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        name = reference.rpartition("/")[2]
        return {**definitions[name], "$defs": definitions}
    return schema


def _references(schema: object) -> Iterator[object]:
    if isinstance(schema, Mapping):
        if "$ref" in schema:
            yield schema["$ref"]
        for _, inner in inner_schemas(schema):
            yield from _references(inner)


def _name_of(form: object, schema: Mapping[str, object]) -> str:
    """Return a name that providers take: letters, digits, ``_`` and ``-``."""
    written = str(schema.get("title") or getattr(form, "__name__", "") or "answer")
    name = "".join(char if char.isascii() and (char.isalnum() or char in "_-") else "_" for char in written)
    return name[:_NAME_CHARS]
