"""The one codec: msgpack through msgspec, for events, values, snapshots and the command socket.

``encode`` turns a value into bytes, ``decode`` turns bytes into plain data. What flows between tasks is always the decoded
value, so a program behaves the same in memory, on disk and across processes:

=====================================  ==========================================
goes in                                comes out
=====================================  ==========================================
None, bool, int (64 bit), float, str   itself
bytes, bytearray                       bytes
list, tuple, set, frozenset, deque     list
dict, any mapping                      dict
aware datetime                         aware datetime (UTC)
naive datetime, date, time, UUID,      text
Decimal, timedelta, Enum by value
dataclass, msgspec Struct, pydantic    dict
=====================================  ==========================================

A handler's type hints turn them back. Nothing is ever pickled; an unknown type is an error that names its place.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from agenticflow.errors import CorruptStore, NotSerializable

__all__ = ["EMPTY", "NULL", "BlobRef", "content_hash", "decode", "encode", "encode_array", "in_order"]

MAX_DEPTH: Final = 200
BLOB_EXTENSION: Final = 7
BLOB_REFERENCE_BYTES: Final = 28  # 20 of hash, 8 of size


class BlobRef(msgspec.Struct, frozen=True):
    """Stands for a value that is stored apart: its content hash (40 hexadecimal digits) and size in bytes."""

    hash: str
    size: int


def _extension(code: int, data: memoryview) -> object:
    if code == BLOB_EXTENSION and len(data) == BLOB_REFERENCE_BYTES:
        return BlobRef(hash=data[:20].hex(), size=int.from_bytes(data[20:], "big"))
    raise ValueError(f"unknown extension {code}")


def _plain(value: object) -> object:
    """Give msgspec a form it knows, for the types it does not."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, deque):
        return list(value)
    dump = getattr(value, "model_dump", None)
    if dump is not None and hasattr(type(value), "model_fields"):  # pydantic, without importing it
        return dump(mode="json")
    raise NotImplementedError(type(value).__name__)


_encoder = msgspec.msgpack.Encoder(enc_hook=_plain, decimal_format="string", uuid_format="canonical")
_ordering_encoder = msgspec.msgpack.Encoder(
    enc_hook=_plain, decimal_format="string", uuid_format="canonical", order="deterministic"
)
_decoder: msgspec.msgpack.Decoder[object] = msgspec.msgpack.Decoder(ext_hook=_extension)


def encode(value: object, *, is_canonical: bool = False) -> bytes:
    """Return ``value`` as msgpack. Raises ``NotSerializable`` with the path to what has no form on the wire.

    With ``is_canonical`` keys and members of sets are sorted, so that equal values give equal bytes: for whatever is hashed.
    """
    try:
        return _encoder.encode(in_order(value) if is_canonical else value)
    except (NotImplementedError, TypeError, ValueError, OverflowError, RecursionError, UnicodeEncodeError) as error:
        raise NotSerializable(
            f"{_find_culprit(value)} has no form on the wire: {error}",
            hint="return plain data, a dataclass, a msgspec Struct or a pydantic model",
        ) from error


def encode_ordered(value: object) -> bytes:
    """Return ``value`` as msgpack with keys and members of sets in an order that is the same in every process, though not that of
    ``in_order``. Raises ``NotSerializable`` as ``encode`` does."""
    try:
        return _ordering_encoder.encode(value)
    except (NotImplementedError, TypeError, ValueError, OverflowError, RecursionError):
        return encode(in_order(value))  # what cannot be compared, or a clearer error


def in_order(value: object) -> object:
    """Return ``value`` with keys and members of sets in the order of their encoded forms, which is the same everywhere; itself
    when they are in that order already."""
    if isinstance(value, (set, frozenset)):
        return sorted((in_order(item) for item in value), key=_encoder.encode)
    if isinstance(value, Mapping):
        keys = list(value)
        ordered = sorted(keys, key=_encoder.encode) if len(keys) > 1 else keys
        items = {key: in_order(value[key]) for key in ordered}
        is_same = keys == ordered and all(items[key] is value[key] for key in keys)
        return value if is_same else items
    if isinstance(value, (list, tuple)):
        parts = [in_order(item) for item in value]
        return value if all(new is old for new, old in zip(parts, value, strict=True)) else parts
    return value


def decode(data: bytes) -> object:
    """Return the plain data in ``data``. Raises ``CorruptStore`` when the bytes are not msgpack."""
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise CorruptStore(f"{len(data)} bytes are not a value in msgpack: {error}") from error


def encode_array(elements: list[bytes]) -> bytes:
    """Return the encoded list of already encoded ``elements``."""
    count = len(elements)
    if count < 16:
        header = bytes((0x90 | count,))
    elif count < 65_536:
        header = b"\xdc" + count.to_bytes(2, "big")
    else:
        header = b"\xdd" + count.to_bytes(4, "big")
    return header + b"".join(elements)


def content_hash(data: bytes) -> str:
    """Return the name of ``data``: BLAKE2b with 160 bits, as 40 hexadecimal digits."""
    return blake2b(data, digest_size=20).hexdigest()


def _find_culprit(value: object, path: str = "value", depth: int = 0) -> str:
    """Name the innermost part that cannot be encoded: ``value['rows'][3] (a socket)``."""
    if depth > MAX_DEPTH:
        return f"{path[:80]}… (nested more than {MAX_DEPTH} deep)"
    children: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        children = [(f"{path}[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, (list, tuple, set, frozenset, deque)):
        children = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        kind = type(value)
        fields: Iterable[str] = getattr(kind, "__struct_fields__", ()) or getattr(kind, "__dataclass_fields__", ())
        children = [(f"{path}.{name}", getattr(value, name, None)) for name in fields]
    for place, child in children:
        try:
            _encoder.encode(child)
        except Exception:  # noqa: BLE001 - whatever it is, it is the reason: look inside it
            return _find_culprit(child, place, depth + 1)
    return f"{path} (a {type(value).__name__})"


NULL: Final = encode(None)
EMPTY: Final = encode({})
