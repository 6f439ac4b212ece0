"""Values at rest: encoded bytes, either the value itself or a reference to a blob that holds it.

A value above ``MAX_INLINE_BYTES`` is stored once, under its content hash, and a msgpack extension of 31 bytes stands in
its place wherever it flows. ``Values`` is what a decider may ask for referenced bytes: content-addressed, so asking
twice gives the same answer and purity is kept. What it does not hold raises ``BlobMissing``; the host fetches the
blob and asks the decider again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.types import MAX_BLOB_BYTES, MAX_INLINE_BYTES, Blobs
from agenticflow.errors import BoundExceeded

__all__ = ["BlobMissing", "BlobRef", "Values", "reference_in", "store_form"]

_EXTENSION: Final = codec.BLOB_EXTENSION
_SIZE: Final = codec.BLOB_REFERENCE_BYTES
_FIRST_BYTE: Final = 0xC7
MAX_AT_HAND_BYTES: Final = 16 * MAX_BLOB_BYTES
BlobRef = codec.BlobRef


class BlobMissing(Exception):  # a question to the host, not a failure
    """A decider needs the bytes of this blob to go on."""

    def __init__(self, reference: BlobRef) -> None:
        super().__init__(reference.hash)
        self.reference = reference


def store_form(data: bytes) -> tuple[bytes, Blobs]:
    """Return what to record for the encoded value ``data``, and what to store beside it: the blob ``(hash, data)``, or none.

    Raises ``BoundExceeded`` above ``MAX_BLOB_BYTES``.
    """
    size = len(data)
    if size <= MAX_INLINE_BYTES:
        return data, ()
    if size > MAX_BLOB_BYTES:
        raise BoundExceeded(
            f"a value of {size:,} bytes passes the limit of {MAX_BLOB_BYTES:,}",
            hint="write it to a file or an object store and return where it is",
        )
    name = codec.content_hash(data)
    stand_in = codec.encode(msgspec.msgpack.Ext(_EXTENSION, bytes.fromhex(name) + size.to_bytes(8, "big")))
    return stand_in, ((name, data),)


def reference_in(data: bytes) -> BlobRef | None:
    """Return the blob reference that ``data`` is, or ``None`` when it is the value itself."""
    if len(data) == _SIZE + 3 and data[0] == _FIRST_BYTE and data[1] == _SIZE and data[2] == _EXTENSION:
        return codec.BlobRef(hash=data[3:23].hex(), size=int.from_bytes(data[23:31], "big"))
    return None


class Values:
    """Blobs at hand, shared by everybody who asks. Nothing is dropped while somebody is ``gathering`` an answer, which may need
    several at once; otherwise the oldest are, above ``limit_bytes``."""

    __slots__ = ("_blobs", "_bytes", "_gatherers", "_limit")

    def __init__(self, limit_bytes: int = MAX_BLOB_BYTES) -> None:
        self._blobs: dict[str, bytes] = {}
        self._bytes = 0
        self._gatherers = 0
        self._limit = limit_bytes

    def resolve(self, data: bytes) -> bytes:
        """Return the encoded value behind ``data``. Raises ``BlobMissing``."""
        if data[0] != _FIRST_BYTE:  # nearly always
            return data
        reference = reference_in(data)
        if reference is None:
            return data
        blob = self._blobs.get(reference.hash)
        if blob is None:
            raise BlobMissing(reference)
        return blob

    def put(self, name: str, data: bytes) -> None:
        """Have the blob ``name`` at hand. Raises ``BoundExceeded`` when more than ``MAX_AT_HAND_BYTES`` are needed at once."""
        if name in self._blobs:
            return
        if self._bytes + len(data) > MAX_AT_HAND_BYTES:
            raise BoundExceeded(
                f"{len(self._blobs)} large values of {self._bytes:,} bytes are needed at once, the limit is {MAX_AT_HAND_BYTES:,}",
                hint="let the map return where its results are, not the results",
            )
        self._blobs[name] = data
        self._bytes += len(data)
        self._trim()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Drop nothing inside the block."""
        self._gatherers += 1
        try:
            yield
        finally:
            self._gatherers -= 1
            self._trim()

    def _trim(self) -> None:
        while self._bytes > self._limit and not self._gatherers and len(self._blobs) > 1:
            oldest = next(iter(self._blobs))
            self._bytes -= len(self._blobs.pop(oldest))
