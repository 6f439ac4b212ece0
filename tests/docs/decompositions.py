"""The page of forty answers, written by what judges them: ``python -m tests.docs.decompositions`` (part of ``make names``)."""

from __future__ import annotations

from typing import Final

from benchmarks.decompositions import table
from tests.docs.pages import ROOT
from tests.docs.written_parts import with_part

__all__ = ["PAGE", "PART", "write"]

PAGE: Final = ROOT / "docs" / "reference" / "decompositions.md"
PART: Final = "verdicts"


def write() -> None:
    """Write the verdicts into the page."""
    PAGE.write_text(with_part(PAGE.read_text(encoding="utf-8"), PART, "\n".join(table())), encoding="utf-8")


if __name__ == "__main__":
    write()
