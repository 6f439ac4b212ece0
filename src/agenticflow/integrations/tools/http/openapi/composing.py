"""A call of an operation as what is sent: address, headers, body. Pure.

Values are written as the document asks for (``style`` and ``explode``), and each is quoted, so that none of them becomes another path,
another param or another header.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from agenticflow.errors import InvalidInput
from agenticflow.integrations.tools.http.openapi.operations import FORM, Operation, Parameter

__all__ = ["Sent", "composed"]

_SEPARATORS: Final = {"form": ",", "simple": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


class Sent(msgspec.Struct, frozen=True):
    """What is sent, credentials aside."""

    address: str
    headers: dict[str, str]
    body: str | None


def composed(operation: Operation, base: str, params: Mapping[str, Any]) -> Sent:
    """Return what a call with ``params``, which fit the schema, is. Raises ``InvalidInput`` for values that cannot stand where they go."""
    path = operation.path
    query: list[tuple[str, str]] = []
    headers: dict[str, str] = {}
    for parameter in operation.parameters:
        value = params.get(parameter.key)
        if value is None:
            continue
        if parameter.place == "path":
            path = path.replace(f"{{{parameter.name}}}", _segment(parameter, value))
        elif parameter.place == "query":
            query += _pairs(parameter, value)
        else:
            headers[parameter.name.lower()] = _joined(parameter, value)
    if not {".", ".."}.isdisjoint(path.split("/")):
        raise InvalidInput("the params make the address lead elsewhere", hint="give what identifies the thing")
    address = base.rstrip("/") + path
    if query:
        address += ("&" if "?" in address else "?") + urlencode(query, quote_via=quote)
    body = None
    if operation.body_key and operation.body_key in params:
        body = _body(operation.body_type, params[operation.body_key])
        headers["content-type"] = operation.body_type
    return Sent(address, headers, body)


def _segment(parameter: Parameter, value: object) -> str:
    text = _joined(parameter, value)
    if not text:
        raise InvalidInput(f"{parameter.key!r} is empty, which is no part of a path", hint="give what identifies it")
    return quote(text, safe="")


def _joined(parameter: Parameter, value: object) -> str:
    """Return the value as one text."""
    if parameter.is_json:
        return _json(value)
    if isinstance(value, Mapping):
        join = "=" if parameter.explodes else ","
        return ",".join(f"{name}{join}{_text(one)}" for name, one in value.items())
    if isinstance(value, (list, tuple)):
        return _SEPARATORS.get(parameter.style, ",").join(map(_text, value))
    return _text(value)


def _pairs(parameter: Parameter, value: object) -> Iterator[tuple[str, str]]:
    """Yield the value as pairs of a query."""
    name = parameter.name
    if parameter.is_json:
        yield name, _json(value)
    elif isinstance(value, Mapping) and parameter.style == "deepObject":
        yield from ((f"{name}[{key}]", _text(one)) for key, one in value.items())
    elif isinstance(value, Mapping) and parameter.explodes:
        yield from ((str(key), _text(one)) for key, one in value.items())
    elif isinstance(value, (list, tuple)) and parameter.explodes:
        yield from ((name, _text(one)) for one in value)
    else:
        yield name, _joined(parameter, value)


def _body(kind: str, value: object) -> str:
    if kind.startswith("text/") and isinstance(value, str):
        return value
    if kind == FORM and isinstance(value, Mapping):
        pairs = [
            (name, one) for name, given in value.items() for one in (given if isinstance(given, list) else [given])
        ]
        return urlencode([(str(name), _text(one)) for name, one in pairs if one is not None])
    return _json(value)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, (Mapping, list, tuple, bool)) or value is None:
        return _json(value)
    return str(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
