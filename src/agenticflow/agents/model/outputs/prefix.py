"""The beginning of JSON, read while it is spoken: each character is looked at once, however it is cut into pieces. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

__all__ = ["JsonPrefix"]

MAX_OPEN: Final = 200
"""Objects and lists inside of each other."""
_BEGINS: Final = re.compile(r"[{\[]")
_OUTSIDE: Final = re.compile(r'["{}\[\],:]')
_INSIDE: Final = re.compile(r'["\\]')
_HALF: Final = re.compile(r"\\u[dD][89abAB]")
_CLOSERS: Final = {"{": "}", "[": "]"}


class JsonPrefix:
    """Text goes in, and what it says so far comes out as JSON that is closed where it has come to. Mutable, private to who reads.

    JSON begins with the first brace or bracket. What is open when it is asked for is closed; a name without its value, and a number or a
    word that may go on, are left out. Whether it is JSON at all is said by whoever decodes it.
    """

    __slots__ = (
        "_closers",
        "_end",
        "_escape",
        "_escape_before",
        "_is_in_text",
        "_is_value",
        "_last",
        "_pieces",
        "_skip",
        "is_over",
        "length",
    )

    def __init__(self) -> None:
        self.length = 0
        """Characters of the JSON so far."""
        self.is_over = False
        """Whether nothing comes any more: the value is whole, or it is no JSON."""
        self._pieces: list[str] = []
        self._closers: list[str] = []
        """Of what is open, the outermost first."""
        self._end = 0
        """Where what is complete ends; nothing was opened or closed since."""
        self._last = ""
        """The last sign outside of texts."""
        self._is_in_text = False
        self._is_value = False
        """Whether the text that is open, or was last, is a value and no name."""
        self._escape = -1
        """Where the last escape of the open text begins."""
        self._escape_before = -1
        self._skip = 0
        """Characters that belong to it and have not come."""

    def add(self, text: str) -> None:
        """Take what is said next."""
        if not self.length and not self.is_over:
            begins = _BEGINS.search(text)
            text = text[begins.start() :] if begins is not None else ""
        if not text or self.is_over:
            return
        before = self.length
        self._pieces.append(text)
        self.length += len(text)
        at = self._skip
        while at < len(text) and not self.is_over:
            found = (_INSIDE if self._is_in_text else _OUTSIDE).search(text, at)
            if found is None:
                at = len(text)
            elif found[0] == "\\":
                self._escape_before, self._escape = self._escape, before + found.start()
                at = found.end() + 1  # whatever is escaped ends no text
            else:
                at = found.end()
                self._take(found[0], before + at)
        self._skip = max(0, at - len(text))

    def _take(self, sign: str, end: int) -> None:
        if sign == '"':
            self._is_in_text = not self._is_in_text
            if self._is_in_text:
                self._escape = self._escape_before = -1
                self._is_value = self._last != "{" and (self._last != "," or self._closers[-1] == "]")
            elif self._is_value:
                self._end = end
            return
        if sign in _CLOSERS:
            self._closers.append(_CLOSERS[sign])
            self._end = end
            self.is_over = len(self._closers) > MAX_OPEN
        elif sign == ",":
            self._end = end - 1
        elif sign != ":":
            self.is_over = self._closers.pop() != sign or not self._closers
            self._end = end
        self._last = sign

    def closed(self) -> Iterator[str]:
        """Yield what was said so far as JSON: with the words of a text that is still spoken, then without that text."""
        said = "".join(self._pieces)
        self._pieces = [said]
        closing = "".join(reversed(self._closers))
        if self._is_in_text and self._is_value:
            yield f'{said[: self._end_of_text(said)]}"{closing}'
        yield said[: self._end] + closing

    def _end_of_text(self, said: str) -> int:
        """Return where the open text ends, without an escape that has not all come, and without half of a pair of surrogates."""
        end = len(said)
        for begin in (self._escape, self._escape_before):
            wanted = 6 if said.startswith("u", begin + 1) else 2
            if begin >= 0 and (begin + wanted > end or (begin + wanted == end and _HALF.match(said, begin))):
                end = begin
        return end
