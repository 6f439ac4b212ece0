"""Forms: what a person's answer has to look like, as a part of JSON Schema that anybody can draw a form from. Pure.

Keywords are ``type``, ``enum``, ``const``, ``properties``, ``required``, ``additionalProperties`` (true or false), ``items``,
``minItems``, ``maxItems``, ``minLength``, ``maxLength``, ``minimum``, ``maximum``, ``exclusiveMinimum``, ``exclusiveMaximum``; ``title``,
``description``, ``default`` and ``examples`` are for whoever draws. Another keyword is a mistake, not something that is passed over: what
a form says holds, as ``core.json_schema`` has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from agenticflow.core import codec
from agenticflow.core.json_schema import compile_schema, inner_schemas, schema_mistakes, short
from agenticflow.errors import AgenticFlowError

__all__ = ["MAX_FORM_BYTES", "Form", "form_problems", "misfit"]

Form = Mapping[str, object]
MAX_FORM_BYTES: Final = 16 * 1024
MAX_DEPTH: Final = 20
_KEYWORDS: Final = (
    *("type", "enum", "const", "properties", "required", "additionalProperties", "items"),
    *("minItems", "maxItems", "minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    *("title", "description", "default", "examples"),
)


def form_problems(form: object) -> list[str]:
    """Return, in words, what is wrong with ``form``; empty when answers can be held against it."""
    if not isinstance(form, Mapping):
        return [f"a form is a mapping like {{'type': 'string'}}, not {short(form)}"]
    problems = schema_mistakes(form, _KEYWORDS) or list(_undrawable(form, "#", 0))
    if not problems:
        try:
            size = len(codec.encode(form))
        except AgenticFlowError as error:
            return [str(error)]
        if size > MAX_FORM_BYTES:
            problems.append(f"it has {size:,} bytes, above the limit of {MAX_FORM_BYTES:,}")
    return problems


def _undrawable(form: Form, place: str, depth: int) -> Iterator[str]:
    """Yield what JSON Schema allows and a form does not."""
    where = "" if place == "#" else f"at {place}: "
    if depth > MAX_DEPTH:
        yield f"it is nested more than {MAX_DEPTH} deep"
        return
    for keyword in ("title", "description"):
        if not isinstance(form.get(keyword, ""), str):
            yield f"{where}{keyword} is {short(form[keyword])}, not a text"
    if not isinstance(form.get("additionalProperties", True), bool):
        yield f"{where}additionalProperties is {short(form['additionalProperties'])}, not true or false"
    for way, inner in inner_schemas(form):
        if isinstance(inner, Mapping):
            yield from _undrawable(inner, f"{place}{way}", depth + 1)
        elif way != "/additionalProperties":
            yield f"at {place}{way}: a form is a mapping like {{'type': 'string'}}, not {short(inner)}"
    if "default" in form and (words := misfit(form, form["default"], "it")) is not None:
        yield f"{where}the default does not fit: {words}"


def misfit(form: Form, value: object, path: str = "answer") -> str | None:
    """Return, in words that name the field, the first thing in ``value`` that ``form`` does not take; ``None`` when it fits.

    The form has no problems.
    """
    return next(iter(compile_schema(form).problems(value, path)), None)
