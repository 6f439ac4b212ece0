"""What must not get out with a cassette, by the rules of log lines (``core.redaction``), and where it was."""

from __future__ import annotations

import re
from typing import Final

from agenticflow.app.cassettes.spelling import pack
from agenticflow.core import codec
from agenticflow.core.redaction import HIDDEN, is_secret_name, redact_text
from agenticflow.errors import CorruptStore

__all__ = ["MAX_PLACES", "Hiding"]

MAX_PLACES: Final = 1_000
"""Places that are listed; all are counted."""


_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}")


class Hiding:
    """Hides secrets in values and remembers where they were."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.count = 0
        self.changes = 0
        """Secrets that were hidden, and references that were changed."""
        self.renamed: dict[str, codec.BlobRef] = {}
        """Large values, by content hash, that something was hidden in: a secret can be guessed by the hash of the whole."""
        self.keeps_references = False
        """Whether a text that is nothing but a reference (``${input.password}``) stays under any name: in a definition it says where."""

    def hide(self, value: object, place: str = "", name: str = "") -> object:
        """Return the decoded ``value`` without secrets, itself when there are none; ``name`` is what it stands under.

        Looks into encoded values too. Bytes that are neither text nor an encoded value are kept, unless their name says that they are
        secret.
        """
        if isinstance(value, str):
            is_secret = bool(name) and is_secret_name(name)
            if is_secret and self.keeps_references and _REFERENCE.fullmatch(value):
                return value
            return self._shown(value, HIDDEN if is_secret else redact_text(value), place)
        if isinstance(value, dict):
            return {key: self.hide(item, f"{place}.{key}", str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hide(item, f"{place}[{index}]", name) for index, item in enumerate(value)]
        if isinstance(value, bytes):
            return self._of_bytes(value, place, name)
        if isinstance(value, codec.BlobRef) and value.hash in self.renamed:
            self.changes += 1
            return self.renamed[value.hash]
        return value

    def hide_encoded(self, data: bytes, place: str) -> bytes:
        """Return the encoded value ``data`` without secrets, itself when there are none."""
        before = self.changes
        hidden = self.hide(codec.decode(data), place)
        return data if self.changes == before else pack(hidden)

    def _of_bytes(self, value: bytes, place: str, name: str) -> object:
        try:
            inner = codec.decode(value)
        except CorruptStore:
            if name and is_secret_name(name):
                return self._shown(value, HIDDEN.encode(), place)
            try:
                text = value.decode()
            except UnicodeDecodeError:
                return value
            return self._shown(value, redact_text(text).encode(), place)
        before = self.changes
        hidden = self.hide(inner, place, name)
        return value if self.changes == before else pack(hidden)

    def _shown(self, value: object, shown: object, place: str) -> object:
        if shown != value:
            self.count += 1
            self.changes += 1
            if len(self.places) < MAX_PLACES:
                self.places.append(place)
        return shown
