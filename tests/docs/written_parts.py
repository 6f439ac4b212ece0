"""Parts of pages that are written by the code: each stands between two comments with its name."""

from __future__ import annotations

import re

__all__ = ["names_of_parts", "part", "with_part"]

_BEGIN = re.compile(r"<!-- written by the code from here: ([\w-]+) -->")


def names_of_parts(text: str) -> list[str]:
    """Return the names of the written parts of a page, in order."""
    return _BEGIN.findall(text)


def _bounds(text: str, name: str) -> tuple[int, int]:
    begin, end = f"<!-- written by the code from here: {name} -->\n\n", f"\n\n<!-- to here: {name} -->"
    start, stop = text.find(begin), text.find(end)
    assert 0 <= start < stop, f"the page has no part between {begin!r} and {end!r}"
    return start + len(begin), stop


def part(text: str, name: str) -> str:
    """Return one written part of a page."""
    start, stop = _bounds(text, name)
    return text[start:stop]


def with_part(text: str, name: str, written: str) -> str:
    """Return the page with that part as it is ``written`` now."""
    start, stop = _bounds(text, name)
    return text[:start] + written + text[stop:]
