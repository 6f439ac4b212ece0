"""Schemas of an OpenAPI document as those of a tool: whole by themselves, in JSON Schema. Pure.

References into the document become ``$defs``, and the dialect of OpenAPI 3.0 (``nullable``, bounds as flags) becomes JSON Schema. What is
not understood here is left to the server, which checks once more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from agenticflow.errors import DefinitionError

__all__ = ["SchemaReader", "resolved"]

MAX_NODES: Final = 5_000
"""Of the schemas of one tool."""
MAX_DEPTH: Final = 50
MAX_HOPS: Final = 20
"""References that lead to references."""
MAX_WORDS: Final = 1_000
MAX_VALUES: Final = 500
_LEFT_OUT: Final = frozenset(
    {
        *("nullable", "example", "examples", "xml", "externalDocs", "discriminator", "deprecated", "readOnly", "writeOnly"),
        *("$schema", "$id", "$anchor", "$comment", "$defs", "definitions", "title", "contentEncoding", "contentMediaType"),
    }
)  # fmt: skip
_SCHEMAS_BY_NAME: Final = frozenset({"properties", "patternProperties", "dependentSchemas"})
_LISTED_SCHEMAS: Final = frozenset({"anyOf", "oneOf", "allOf", "prefixItems"})
_ONE_SCHEMA: Final = frozenset(
    {
        *("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames"),
        *("unevaluatedItems", "unevaluatedProperties"),
    }
)


def resolved(node: object, document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what ``node`` stands for, a reference or the thing itself. Raises ``DefinitionError``."""
    for _ in range(MAX_HOPS):
        if not isinstance(node, Mapping):
            raise DefinitionError(f"{node!r:.80} stands where a part of the document should")
        reference = node.get("$ref")
        if reference is None:
            return node
        node = _target(reference, document)
    raise DefinitionError("its references lead in a circle")


def _target(reference: object, document: Mapping[str, Any]) -> object:
    if not isinstance(reference, str) or not reference.startswith("#/"):
        raise DefinitionError(f"the reference {reference!r:.120} leads outside the document")
    found: object = document
    for part in reference[2:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    if found is None:
        raise DefinitionError(f"the reference {reference!r:.120} leads nowhere")
    return found


class SchemaReader:
    """Reads the schemas of one tool; ``defs`` is what they refer to."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self._document = document
        self._names: dict[str, str] = {}
        self._nodes = 0
        self.defs: dict[str, Any] = {}

    def read(self, schema: object, depth: int = 0) -> Any:
        """Return ``schema`` as it is understood here. Raises ``DefinitionError`` for one that cannot be told whole."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise DefinitionError(f"its schemas have more than {MAX_NODES:,} parts, or lie too deep")
        if isinstance(schema, bool):
            return schema
        if not isinstance(schema, Mapping):
            raise DefinitionError(f"{schema!r:.80} is no schema")
        if "$ref" in schema:
            return self._reference(schema, depth)
        made: dict[str, Any] = {}
        for keyword, value in schema.items():
            if not isinstance(keyword, str) or keyword in _LEFT_OUT or keyword.startswith("x-"):
                continue
            made[keyword] = self._value(keyword, value, depth)
        _without_what_servers_say(made, schema)
        _bounds_of_3_0(made)
        if isinstance(description := schema.get("description"), str):
            made["description"] = description[:MAX_WORDS]
        if schema.get("nullable") is True:
            return _or_null(made)
        return made

    def _value(self, keyword: str, value: object, depth: int) -> object:
        if keyword in _SCHEMAS_BY_NAME and isinstance(value, Mapping):
            return {str(name): self.read(one, depth + 1) for name, one in value.items()}
        if keyword in _ONE_SCHEMA:
            return self.read(value, depth + 1)
        if keyword in _LISTED_SCHEMAS and isinstance(value, list):
            return [self.read(one, depth + 1) for one in value]
        if isinstance(value, list):
            if len(value) > MAX_VALUES:
                raise DefinitionError(f"its schemas list {len(value):,} values of {keyword!r}")
            return list(value)
        return value

    def _reference(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        reference = schema["$ref"]
        target = _target(reference, self._document)
        name = self._names.get(reference)
        if name is None:
            name = self._names[reference] = self._name(reference)
            self.defs[name] = None  # taken, while what it refers to is read: it may refer to itself
            self.defs[name] = self.read(target, depth + 1)
        made: dict[str, Any] = {"$ref": f"#/$defs/{name}"}
        if isinstance(description := schema.get("description"), str):
            made["description"] = description[:MAX_WORDS]
        return _or_null(made) if schema.get("nullable") is True else made

    def _name(self, reference: str) -> str:
        plain = re.sub(r"[^A-Za-z0-9_]", "_", reference.rpartition("/")[2]) or "schema"
        name, number = plain, 2
        while name in self.defs:
            name, number = f"{plain}_{number}", number + 1
        return name


def _without_what_servers_say(made: dict[str, Any], schema: Mapping[str, Any]) -> None:
    """Take out properties that only answers have."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return
    only_read = {name for name, one in properties.items() if isinstance(one, Mapping) and one.get("readOnly") is True}
    for name in only_read:
        made["properties"].pop(name, None)
    required = schema.get("required")
    if isinstance(required, list) and only_read:
        made["required"] = [name for name in required if name not in only_read]


def _bounds_of_3_0(made: dict[str, Any]) -> None:
    """Before 3.1 an exclusive bound was a flag beside the bound."""
    for flag, bound in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(made.get(flag), bool) and made.pop(flag) and bound in made:
            made[flag] = made.pop(bound)


def _or_null(made: dict[str, Any]) -> dict[str, Any]:
    kind = made.get("type")
    if isinstance(kind, str) and "enum" not in made and "const" not in made:
        return {**made, "type": [kind, "null"]}
    description = made.pop("description", None)
    both: dict[str, Any] = {"anyOf": [made, {"type": "null"}]}
    return both if description is None else {**both, "description": description}
