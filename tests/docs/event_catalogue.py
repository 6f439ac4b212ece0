"""The part of the events page that is written by the code: ``python -m tests.docs.event_catalogue`` (``make names``) writes it anew."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from agenticflow.app.catalogue import catalogue_as_markdown
from tests.docs.pages import ROOT

__all__ = ["PAGE", "catalogue_on", "written_anew"]

PAGE: Final = ROOT / "docs" / "reference" / "events.md"
_BEGIN: Final = "<!-- written by the code from here -->"
_END: Final = "<!-- to here -->"
_PART: Final = re.compile(f"{_BEGIN}\n\n(.*)\n\n{_END}", re.DOTALL)


def catalogue_on(text: str) -> str:
    """Return the part of the page that the code has written."""
    found = _PART.search(text)
    assert found is not None, f"the page has no part between {_BEGIN!r} and {_END!r}"
    return found[1]


def written_anew(text: str) -> str:
    """Return the page with that part as the code says now."""
    return text.replace(catalogue_on(text), catalogue_as_markdown())


def write(path: Path = PAGE) -> None:
    path.write_text(written_anew(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    write()
