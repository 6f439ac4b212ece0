"""What an OpenAPI document (3.0 and 3.1) offers, as data: operations with their params, bodies and credentials. Pure.

What cannot be offered to a model (files to upload, references to other documents, params in cookies that must be given) is left out with
the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from agenticflow.core.json_schema import schema_mistakes, understood_part
from agenticflow.errors import DefinitionError
from agenticflow.integrations.tools.http.client import FOR_PROGRAMS_ONLY
from agenticflow.integrations.tools.http.openapi.schemas import SchemaReader, resolved

__all__ = ["BODY", "LeftOut", "Operation", "Parameter", "operations_in", "servers_in"]

BODY: Final = "body"
MAX_OPERATIONS: Final = 5_000
MAX_NAME_CHARS: Final = 64
MAX_DESCRIPTION_CHARS: Final = 2_000
METHODS: Final = ("get", "put", "post", "delete", "patch")
NEVER_SENT: Final = frozenset({"accept", "content-type", "authorization"})
"""Headers that a document may list and that it does not decide about."""
FORM: Final = "application/x-www-form-urlencoded"
_FORMS: Final[tuple[Callable[[str], bool], ...]] = (
    lambda kind: kind == "application/json",
    lambda kind: kind.endswith("+json") or kind == "*/*",
    lambda kind: kind == FORM,
    lambda kind: kind.startswith("text/"),
)
"""Of a body, the best first."""


class Parameter(msgspec.Struct, frozen=True):
    """One param, and where it goes."""

    key: str
    """What the tool calls it."""
    name: str
    place: str
    """``path``, ``query`` or ``header``."""
    is_required: bool
    style: str
    explodes: bool
    is_json: bool = False
    """Whether it is written as JSON, whatever it is."""


class Operation(msgspec.Struct, frozen=True):
    """One operation as a tool."""

    name: str
    description: str
    method: str
    path: str
    parameters: tuple[Parameter, ...]
    body_key: str
    """What the tool calls the body; empty without one."""
    body_type: str
    schema: dict[str, Any]
    tags: tuple[str, ...]
    security: tuple[tuple[str, ...], ...]
    """Schemes that are needed together, in each of several ways; an empty way is without any."""
    server: str
    """Where it is served, if it says so itself."""


class LeftOut(msgspec.Struct, frozen=True):
    """An operation that is no tool, and why."""

    name: str
    reason: str


def operations_in(document: Mapping[str, Any]) -> Iterator[Operation | LeftOut]:
    """Yield every operation of the document, in its order. Raises ``DefinitionError`` when it is none."""
    version = document.get("openapi")
    if not isinstance(version, str) or not version.startswith(("3.0", "3.1", "3.2")):
        found = document.get("swagger", version)
        raise DefinitionError(
            f"the document says openapi: {found!r:.40}, and 3.0 to 3.2 are understood",
            hint="convert it, if it is Swagger 2; else look whether it is an OpenAPI document",
        )
    paths = document.get("paths")
    if not isinstance(paths, Mapping):
        raise DefinitionError("the document has no paths", hint="an OpenAPI document has `paths:` with operations")
    taken: set[str] = set()
    count = 0
    for path, given in paths.items():
        try:
            item = resolved(given, document)
        except DefinitionError as error:
            yield LeftOut(str(path), error.message)
            continue
        for method in METHODS:
            if method not in item:
                continue
            count += 1
            if count > MAX_OPERATIONS:
                raise DefinitionError(f"the document has more than {MAX_OPERATIONS:,} operations")
            operation = item[method]
            name = _unique(_name_of(operation, method, str(path)), taken)
            try:
                yield _read(document, item, resolved(operation, document), method, str(path), name)
            except DefinitionError as error:
                yield LeftOut(name, error.message)


def servers_in(part: Mapping[str, Any]) -> str:
    """Return the first server that a document, a path or an operation names, its variables filled in; empty without one."""
    servers = part.get("servers")
    if not isinstance(servers, list) or not servers or not isinstance(servers[0], Mapping):
        return ""
    url = str(servers[0].get("url", ""))
    variables = servers[0].get("variables")
    for name, one in variables.items() if isinstance(variables, Mapping) else ():
        if isinstance(one, Mapping):
            url = url.replace(f"{{{name}}}", str(one.get("default", "")))
    return url


def _read(
    document: Mapping[str, Any],
    item: Mapping[str, Any],
    operation: Mapping[str, Any],
    method: str,
    path: str,
    name: str,
) -> Operation:
    reader = SchemaReader(document)
    properties: dict[str, Any] = {}
    required: list[str] = []
    parameters: list[Parameter] = []
    for given in _parameters(document, item, operation):
        read = _parameter(given, properties)
        if read is None:
            continue
        parameters.append(read)
        properties[read.key] = _schema_of(given, reader)
        if read.is_required:
            required.append(read.key)
    _demand_path(path, parameters)
    body_key, body_type = "", ""
    if "requestBody" in operation:
        body = resolved(operation["requestBody"], document)
        body_type, content = _content(body)
        if body_type:
            body_key = BODY if BODY not in properties else f"{BODY}_sent"
            properties[body_key] = reader.read(content.get("schema", {}))
            if body.get("required") is True:
                required.append(body_key)
    tags = operation.get("tags")
    return Operation(
        name=name,
        description=_description(operation, method, path),
        method=method.upper(),
        path=path,
        parameters=tuple(parameters),
        body_key=body_key,
        body_type=body_type,
        schema=_whole_schema(properties, required, reader.defs),
        tags=tuple(map(str, tags)) if isinstance(tags, list) else (),
        security=_security(operation.get("security", document.get("security"))),
        server=servers_in(operation) or servers_in(item),
    )


def _parameters(
    document: Mapping[str, Any], item: Mapping[str, Any], operation: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """Return the params of the path and of the operation; the operation's own say more."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    for part in (item, operation):
        listed = part.get("parameters")
        for given in listed if isinstance(listed, list) else ():
            one = resolved(given, document)
            found[str(one.get("name", "")), str(one.get("in", ""))] = one
    return list(found.values())


def _parameter(given: Mapping[str, Any], taken: Mapping[str, Any]) -> Parameter | None:
    name, place = str(given.get("name", "")), str(given.get("in", ""))
    is_required = given.get("required") is True or place == "path"
    if place == "header" and name.lower() in NEVER_SENT:
        return None
    if (
        place not in ("path", "query", "header")
        or not name
        or (place == "header" and name.lower() in FOR_PROGRAMS_ONLY)
    ):
        if is_required:
            raise DefinitionError(f"its param {name!r} goes into the {place}, which is not for a model to write")
        return None
    usual = "form" if place == "query" else "simple"
    style = str(given.get("style", usual))
    if style not in (usual, *(("spaceDelimited", "pipeDelimited", "deepObject") if place == "query" else ())):
        raise DefinitionError(f"its param {name!r} has the style {style!r}, which is not done here")
    explodes = given.get("explode")
    return Parameter(
        key=name if name not in taken else f"{name}_{place}",
        name=name,
        place=place,
        is_required=is_required,
        style=style,
        explodes=explodes if isinstance(explodes, bool) else style == "form",
        is_json="content" in given,
    )


def _schema_of(given: Mapping[str, Any], reader: SchemaReader) -> Any:
    schema = given.get("schema", {})
    content = given.get("content")
    if isinstance(content, Mapping) and content:
        first = next(iter(content.values()))
        schema = first.get("schema", {}) if isinstance(first, Mapping) else {}
    made = reader.read(schema)
    words = given.get("description")
    if isinstance(made, dict) and isinstance(words, str) and words:
        made = {**made, "description": words[:MAX_DESCRIPTION_CHARS]}
    return made


def _demand_path(path: str, parameters: Sequence[Parameter]) -> None:
    missing = set(re.findall(r"{([^{}]*)}", path)) - {one.name for one in parameters if one.place == "path"}
    if missing:
        raise DefinitionError(f"nobody says what {min(missing)!r} in its path is")


def _whole_schema(properties: dict[str, Any], required: list[str], defs: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of all params together, as far as it is understood here. Raises ``DefinitionError``."""
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    if required:
        schema["required"] = required
    if defs:
        schema["$defs"] = defs
    schema = understood_part(schema)
    if mistakes := schema_mistakes(schema):
        raise DefinitionError(f"the schema of its params is wrong: {mistakes[0]}")
    return schema


def _content(body: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the form that is sent of those the server takes: JSON, a form, or words."""
    content = body.get("content")
    offered: Mapping[str, Any] = content if isinstance(content, Mapping) else {}
    plain = {kind: kind.partition(";")[0].strip().lower() for kind in map(str, offered)}
    for fits in _FORMS:
        for kind, short in plain.items():
            if fits(short) and isinstance(offered[kind], Mapping):
                return ("application/json" if short == "*/*" else short), offered[kind]
    if body.get("required") is True:
        raise DefinitionError(f"it takes {', '.join(offered) or 'nothing that is named'}, which is not sent here")
    return "", {}


def _security(given: object) -> tuple[tuple[str, ...], ...]:
    if not isinstance(given, list):
        return ()
    return tuple(tuple(map(str, way)) for way in given if isinstance(way, Mapping))


def _description(operation: Mapping[str, Any], method: str, path: str) -> str:
    said: Sequence[object] = (operation.get("summary"), operation.get("description"))
    words = [one.strip() for one in said if isinstance(one, str) and one.strip()]
    return "\n\n".join(dict.fromkeys(words))[:MAX_DESCRIPTION_CHARS] or f"{method.upper()} {path}"


def _name_of(operation: object, method: str, path: str) -> str:
    said = operation.get("operationId") if isinstance(operation, Mapping) else None
    raw = said if isinstance(said, str) and said.strip() else f"{method}_{path}"
    name = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9_-]", "_", raw)).strip("_-") or method
    return (name if name[0].isalpha() else f"_{name}")[:MAX_NAME_CHARS]


def _unique(name: str, taken: set[str]) -> str:
    found, number = name, 2
    while found in taken:
        end = f"_{number}"
        found, number = name[: MAX_NAME_CHARS - len(end)] + end, number + 1
    taken.add(found)
    return found
