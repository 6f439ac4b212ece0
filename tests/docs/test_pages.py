"""The documentation does what it says: every block runs, every internal link leads somewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, anchors, blocks, environment_of, links, pages

SECONDS = 300


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def run(arguments: list[str | Path], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in ``folder`` as a reader would, on a store in memory unless the page says otherwise."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"AGENTICFLOW_STORE": "memory:", "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.timeout(SECONDS + 10)
@pytest.mark.parametrize("page", [page for page in pages() if not environment_of(page)], ids=name)
def test_every_block_runs(page: Path, tmp_path: Path) -> None:
    result = run(["-m", "tests.docs.run_page", page], tmp_path)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"


@pytest.mark.parametrize("page", [*pages(), ROOT / "CHANGELOG.md"], ids=name)
def test_every_internal_link_leads_somewhere(page: Path) -> None:
    broken: list[str] = []
    for link in links(page.read_text(encoding="utf-8")):
        target = urlsplit(link)
        if target.scheme or target.netloc:
            continue
        path = (page.parent / unquote(target.path)).resolve() if target.path else page
        in_the_house = path.exists() and path.is_relative_to(ROOT)
        heading = target.fragment if path.suffix == ".md" else ""
        if not in_the_house or (heading and heading not in anchors(path.read_text(encoding="utf-8"))):
            broken.append(link)
    assert not broken


@pytest.mark.parametrize(("index", "below"), [("docs/index.md", "docs"), ("docs/adr/README.md", "docs/adr")])
def test_every_page_is_on_its_index(index: str, below: str) -> None:
    page = ROOT / index
    listed = {
        (page.parent / unquote(urlsplit(link).path)).resolve() for link in links(page.read_text(encoding="utf-8"))
    }
    decisions = ROOT / "docs" / "adr"
    written = {
        path.resolve() for path in (ROOT / below).rglob("*.md") if below == "docs/adr" or decisions not in path.parents
    }
    assert not written - listed - {page.resolve()}


def test_the_readme_begins_with_a_complete_program(tmp_path: Path) -> None:
    """The first block runs as a file of its own, is about thirty lines long, and prints something."""
    programs = [
        block for block in blocks((ROOT / "README.md").read_text(encoding="utf-8")) if block.language == "python"
    ]
    assert programs, "the README has no program yet"
    first = programs[0]
    assert len(first.code.splitlines()) <= 35
    program = tmp_path / "program.py"
    program.write_text(first.code, encoding="utf-8")
    result = run([program], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout
    assert result.stderr == ""
