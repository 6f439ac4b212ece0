"""What must not get out with a cassette, by the rules of log lines (``core.redaction``), and where it was."""

from __future__ import annotations

from typing import Final

from agenticflow.app.cassettes.spelling import pack
from agenticflow.core import codec
from agenticflow.core.redaction import HIDDEN, is_secret_name, redact_text
from agenticflow.errors import CorruptStore

__all__ = ["MAX_PLACES", "Hiding"]

MAX_PLACES: Final = 1_000
"""Places that are listed; all are counted."""


class Hiding:
    """Hides secrets in values and remembers where they were."""

    def __init__(self) -> None:
        self.places: list[str] = []
        self.count = 0

    def hide(self, value: object, place: str = "", name: str = "") -> object:
        """Return the decoded ``value`` without secrets, itself when there are none; ``name`` is what it stands under.

        Looks into encoded values too. Bytes that are neither text nor an encoded value are kept, unless their name says that they are
        secret.
        """
        if isinstance(value, str):
            return self._shown(value, HIDDEN if name and is_secret_name(name) else redact_text(value), place)
        if isinstance(value, dict):
            return {key: self.hide(item, f"{place}.{key}", str(key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.hide(item, f"{place}[{index}]", name) for index, item in enumerate(value)]
        if isinstance(value, bytes):
            return self._of_bytes(value, place, name)
        return value

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
        before = self.count
        hidden = self.hide(inner, place, name)
        return value if self.count == before else pack(hidden)

    def _shown(self, value: object, shown: object, place: str) -> object:
        if shown != value:
            self.count += 1
            if len(self.places) < MAX_PLACES:
                self.places.append(place)
        return shown
