"""What a documentation page contains: its code blocks, hidden setup, links and headings.

A page is Markdown. Fenced blocks are read as they stand: their language, an optional ``title="file"``, the lines. A
comment ``<!-- setup: … -->`` holds Python that runs at its place without being shown. ``<!-- environment: prefect -->`` says that
the blocks run where that framework is installed: in ``tests/frameworks/prefect``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,}|~{3,})(?P<info>.*)$")
_SETUP = re.compile(r"<!--\s*setup:(?P<code>.*?)-->", re.DOTALL)
_ENVIRONMENT = re.compile(r"<!--\s*environment:\s*([\w-]+)\s*-->")
_TITLE = re.compile(r'\btitle="([^"]+)"')
_HEADING = re.compile(r"^#{1,6}\s+(.*?)\s*#*$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")


@dataclass(frozen=True)
class Block:
    """One fenced block, or a hidden setup (language ``setup``). ``line`` is that of its first line of code."""

    language: str
    title: str
    code: str
    line: int


def pages() -> list[Path]:
    """Return every page whose blocks run."""
    top = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md")]
    return [path for path in (*top, *sorted((ROOT / "docs").rglob("*.md"))) if path.exists()]


def environment_of(page: Path) -> str:
    """Return the framework whose environment the blocks of a page run in; empty: ours."""
    found = _ENVIRONMENT.search(page.read_text(encoding="utf-8"))
    return found[1] if found else ""


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page in order. Raises ``ValueError`` for a fence that never closes."""
    found: list[Block] = []
    lines = text.splitlines()
    number = 0
    prose: list[str] = []
    prose_from = 0

    def hidden_setups() -> None:
        joined = "\n".join(prose)
        for match in _SETUP.finditer(joined):
            line = prose_from + joined.count("\n", 0, match.start("code")) + 1
            found.append(Block("setup", "", match["code"].strip("\n ") + "\n", line))

    while number < len(lines):
        opening = _FENCE.match(lines[number])
        if opening is None:
            prose.append(lines[number])
            number += 1
            continue
        hidden_setups()
        start = number + 1
        number = start
        while number < len(lines) and not lines[number].strip().startswith(opening["ticks"]):
            number += 1
        if number == len(lines):
            raise ValueError(f"the block that begins in line {start} has no end")
        indent = len(opening["indent"])
        code = "".join(f"{line[indent:]}\n" for line in lines[start:number])
        info = opening["info"].strip()
        title = _TITLE.search(info)
        found.append(Block(info.split(" ")[0], title[1] if title else "", code, start + 1))
        number += 1
        prose, prose_from = [], number
    hidden_setups()
    return found


def without_blocks(text: str) -> str:
    """Return the prose of a page, with its fenced blocks and inline code taken out."""
    prose: list[str] = []
    ticks = ""
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if ticks:
            if line.strip().startswith(ticks):
                ticks = ""
        elif fence:
            ticks = fence["ticks"]
        else:
            prose.append(re.sub(r"`[^`]*`", "", line))
    return "\n".join(prose)


def links(text: str) -> list[str]:
    """Return the targets of a page's links, images left out."""
    return _LINK.findall(without_blocks(text))


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^(```|~~~).*?^\1", "", text, flags=re.DOTALL | re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading) for heading in _HEADING.findall(prose))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}
