"""Encoded values as JSON and back. What JSON has no word for is spelled as an object with one key that begins with ``$``.

``{"$bytes": base64}``, ``{"$encoded": value}`` for bytes that are an encoded value themselves, ``{"$blob": hash, "bytes": size}``,
``{"$time": ISO 8601}``, ``{"$float": "nan"}``, and ``{"$map": [[key, value]]}`` for keys that are no text or begin with ``$``.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import msgspec

from agenticflow.core import codec
from agenticflow.errors import CorruptStore

__all__ = ["inner_value", "pack", "read", "references", "spell"]

_NOTHING = object()


def pack(value: object) -> bytes:
    """Return a decoded value, references to blobs among it, encoded again."""
    return codec.encode(_wire(value))


def _wire(value: object) -> object:
    if isinstance(value, codec.BlobRef):
        return msgspec.msgpack.Ext(codec.BLOB_EXTENSION, bytes.fromhex(value.hash) + value.size.to_bytes(8, "big"))
    if isinstance(value, dict):
        return {key: _wire(item) for key, item in value.items()}
    return [_wire(item) for item in value] if isinstance(value, list) else value


def inner_value(data: bytes) -> object:
    """Return the value that ``data`` is the encoded form of. Raises ``CorruptStore`` when it is just bytes."""
    value = codec.decode(data)
    if pack(value) != data:
        raise CorruptStore("the bytes are not what a value is encoded to")
    return value


def references(value: object) -> Iterator[codec.BlobRef]:
    """Yield every reference to a blob in a decoded value, also inside encoded values in it."""
    if isinstance(value, codec.BlobRef):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)
    elif isinstance(value, bytes):
        try:
            inner = codec.decode(value)
        except CorruptStore:
            return
        yield from references(inner)


def spell(value: object) -> Any:
    """Return a decoded value as JSON can say it."""
    if isinstance(value, dict):
        if all(isinstance(key, str) and not key.startswith("$") for key in value):
            return {key: spell(item) for key, item in value.items()}
        return {"$map": [[spell(key), spell(item)] for key, item in value.items()]}
    if isinstance(value, list):
        return [spell(item) for item in value]
    if isinstance(value, bytes):
        try:
            return {"$encoded": spell(inner_value(value))}
        except CorruptStore:
            return {"$bytes": base64.b64encode(value).decode()}
    if isinstance(value, codec.BlobRef):
        return {"$blob": value.hash, "bytes": value.size}
    if isinstance(value, datetime):
        return {"$time": value.isoformat()}
    if isinstance(value, float) and not math.isfinite(value):
        return {"$float": repr(value)}
    return value


def read(said: object) -> object:
    """Return the decoded value that ``said``, read from JSON, spells. Raises ``ValueError`` for what spells nothing."""
    if isinstance(said, list):
        return [read(item) for item in said]
    if not isinstance(said, dict):
        return said
    word = next(iter(said), "")
    if not word.startswith("$"):
        return {key: read(item) for key, item in said.items()}
    content = said[word]
    if word == "$blob" and isinstance(content, str) and len(bytes.fromhex(content)) == 20:
        return codec.BlobRef(content, int(said["bytes"]))
    if len(said) == 1:
        found = _read_word(word, content)
        if found is not _NOTHING:
            return found
    raise ValueError(f"an object with the key {word!r} spells nothing")


def _read_word(word: str, content: Any) -> object:
    if word == "$encoded":
        return pack(read(content))
    if word == "$map" and isinstance(content, list):
        return {read(key): read(item) for key, item in content}
    if isinstance(content, str):
        if word == "$bytes":
            return base64.b64decode(content, validate=True)
        if word == "$time":
            return datetime.fromisoformat(content)
        if word == "$float":
            return float(content)
    return _NOTHING
