"""Whether a value is what a JSON Schema says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from agenticflow.agents.context.outputs import parse_output
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.core import codec
from agenticflow.core.json_schema import compile_schema
from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["json_schema"]


def json_schema(
    schema: Mapping[str, Any] | type,
    *,
    name: str = "json_schema",
    kinds: Iterable[GuardrailKind | str] = (GuardrailKind.OUTPUT,),
) -> Guardrail:
    """Let pass what fits ``schema``, or the dataclass or struct given in its place. A text is taken as the JSON in it.

    Raises ``DefinitionError`` for what is no schema, or one with words that are not understood here.
    """
    compiled = compile_schema(_schema_of(schema) if isinstance(schema, type) else schema)

    def check(ctx: Any, value: Any) -> Verdict:
        try:
            plain = parse_output(value) if isinstance(value, str) else codec.decode(codec.encode(value))
        except InvalidInput as error:
            return False, error.message
        problems = compiled.problems(plain, "value")
        return not problems, "; ".join(problems)

    return Guardrail(check, name=name, kinds=kinds, is_quick=True)


def _schema_of(kind: type) -> dict[str, Any]:
    try:
        return msgspec.json.schema(kind)
    except TypeError as error:
        raise DefinitionError(f"{kind.__name__} has no JSON Schema: {error}", hint="give the schema") from error
