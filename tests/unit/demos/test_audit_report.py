"""The joined figures and the report: exact sums, nothing lost, nothing trusted, nothing half written."""

from __future__ import annotations

import hashlib
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.demos.audit import (
    Audit,
    AuditInputError,
    PackageReport,
    analyze_package,
    rank,
    render_html,
    render_markdown,
    survey,
    write_report,
)
from agenticflow.demos.audit.ranking import RISK_WEIGHTS, risk_of
from agenticflow.demos.audit.report.charts import Box, squarified
from agenticflow.demos.audit.report.text import RISK_EXPLAINED, html_text, markdown_code, visible
from agenticflow.demos.audit.shapes import RiskParts

WriteTree = Callable[[Mapping[str, str | bytes]], Path]

FILES = {
    "calm/__init__.py": '"""Calm."""\n',
    "calm/a.py": '"""A."""\n\n\ndef f():\n    """F."""\n',
    "wild/__init__.py": "from . import b\n",
    "wild/b.py": "from . import c\ndef f(a):\n" + "    if a: pass\n" * 70,
    "wild/c.py": "from . import b\nimport calm\nclass C:\n    def m(self): return 1 if self else 2\n",
    "wild/bad.py": "def f(:\n",
    "loose.py": "# nothing\n",
}


def reports_of(root: Path) -> list[PackageReport]:
    found = survey(str(root))
    return [analyze_package(found["root"], package) for package in found["packages"]]


def audit_of(root: Path) -> Audit:
    return Audit(survey=survey(str(root)), ranking=rank(reports_of(root)))


class Page(HTMLParser):
    """What a browser would see: tags, attributes, text."""

    VOID = frozenset({"meta"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_totals_are_the_sums_of_the_packages(write_tree: WriteTree) -> None:
    reports = reports_of(write_tree(FILES))
    totals = rank(reports)["totals"]
    assert totals["packages"] == len(reports) == 3
    assert totals["files"] == len(FILES)
    assert totals["analyzed_files"] == len(FILES) - 1
    assert totals["findings"] == 1
    assert totals["functions"] == 3
    assert totals["classes"] == 1
    assert totals["complexity"] == 1 + 71 + 2
    assert totals["lines"]["total"] == sum(text.count("\n") for text in FILES.values())
    assert totals["lines"]["total"] == sum(totals["lines"][kind] for kind in ("code", "comment", "docstring", "blank"))
    assert (totals["cycles"], totals["modules_in_cycles"]) == (1, 2)


def test_the_order_of_reports_makes_no_difference(write_tree: WriteTree) -> None:
    reports = reports_of(write_tree(FILES | {f"broken{n}/__init__.py": "(" for n in range(3)}))
    expected = msgspec.json.encode(rank(reports))
    for seed in range(5):
        shuffled = random.Random(seed).sample(reports, len(reports))
        assert msgspec.json.encode(rank(shuffled)) == expected


def test_the_riskier_package_comes_first_and_its_score_can_be_worked_out(write_tree: WriteTree) -> None:
    first, *others = rank(reports_of(write_tree(FILES)))["packages"]
    assert first["name"] == "wild"
    assert {score["name"]: score["risk"] for score in others} == {"calm": 0.0, "loose.py": 20.0}
    assert first["parts"] == {
        "complexity": round(71 / 73, 4),
        "length": round(71 / 72, 4),
        "documentation": 1.0,
        "cycles": 0.5,
        "broken": 0.25,
    }
    assert first["risk"] == pytest.approx(35 * 71 / 73 + 20 * 71 / 72 + 20 + 15 / 2 + 10 / 4, abs=0.06)


@pytest.mark.parametrize(("share", "risk"), [(0.0, 0.0), (0.5, 50.0), (1.0, 100.0)])
def test_risk_runs_from_zero_to_a_hundred(share: float, risk: float) -> None:
    parts = RiskParts(complexity=share, length=share, documentation=share, cycles=share, broken=share)
    assert risk_of(parts) == risk


def test_the_report_explains_the_weights_that_are_used() -> None:
    assert {name: float(points) / 100 for name, points, _ in RISK_EXPLAINED} == RISK_WEIGHTS


def test_rings_between_packages_are_knots(write_tree: WriteTree) -> None:
    root = write_tree(
        {
            "one/__init__.py": "import two.x\n",
            "two/__init__.py": "",
            "two/x.py": "from loose import y\n",
            "loose.py": "import one\n",
            "alone.py": "import one, sys\n",
        }
    )
    [knot] = rank(reports_of(root))["knots"]
    assert knot == {"package": "", "size": 3, "modules": ["loose", "one", "two"]}


def test_rings_between_the_subpackages_of_one_package_are_knots(write_tree: WriteTree) -> None:
    root = write_tree(
        {
            "app/__init__.py": "",
            "app/one/__init__.py": "from app import two\n",
            "app/two/__init__.py": "from .. import one\n",
            "app/main.py": "from app.one import x\n",
        }
    )
    [knot] = rank(reports_of(root / "app"))["knots"]
    assert knot["modules"] == ["app.one", "app.two"]


def test_nothing_at_all_can_be_ranked_and_rendered(write_tree: WriteTree) -> None:
    root = write_tree({"empty.py": ""})
    ranking = rank([])
    assert (ranking["totals"]["files"], ranking["documented"], ranking["packages"]) == (0, None, [])
    audit = Audit(survey=survey(str(root)), ranking=ranking)
    assert "0 packages" in Page(render_html(audit)).text
    assert "# Code audit" in render_markdown(audit)


@given(st.lists(st.integers(1, 100_000), min_size=1, max_size=40))
def test_a_treemap_fills_its_box_in_proportion(areas: list[int]) -> None:
    areas.sort(reverse=True)
    box = Box(0, 0, 800, 400)
    parts = squarified(areas, box)
    assert len(parts) == len(areas)
    for area, part in zip(areas, parts, strict=True):
        assert part.width * part.height == pytest.approx(800 * 400 * area / sum(areas), rel=1e-6, abs=1e-3)
        assert -1e-6 <= part.x <= part.x + part.width <= 800 + 1e-6
        assert -1e-6 <= part.y <= part.y + part.height <= 400 + 1e-6


def test_the_page_shows_the_figures_and_is_well_formed(write_tree: WriteTree) -> None:
    audit = audit_of(write_tree(FILES))
    page = Page(render_html(audit))
    assert page.open == []
    for expected in ("wild", "calm", "wild/b.py:2", "wild.b", "syntax-error", "wild/bad.py:1"):
        assert expected in page.text
    assert page.tags.count("svg") == 6
    assert ("role", "img") in page.attributes
    markdown = render_markdown(audit)
    for expected in ("`wild`", "`wild/b.py:2`", "`wild.b`, `wild.c`", "syntax-error", "| files | 7, 6 analyzed |"):
        assert expected in markdown


def test_the_page_needs_nothing_but_itself(write_tree: WriteTree) -> None:
    text = render_html(audit_of(write_tree(FILES)))
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(page.tags)
    assert not {"src", "href", "action", "srcset"} & {name for name, _ in page.attributes}
    assert not re.search(r"https?:|url\(|@import", text)
    assert any("default-src 'none'" in value for _, value in page.attributes)
    assert "prefers-color-scheme: dark" in text


NASTY_NAMES = [
    "<img src=x onerror=alert(1)>",
    '"><svg onload=x>',
    "' onmouseover='x",
    "a|b`c``d",
    "line\nbreak",
    "esc\x1b[31m",
    "flip\u202egpj",
    "</title></style>",
    "&lt;b&gt;",
    "[link](x)",
]


@pytest.mark.parametrize("name", NASTY_NAMES)
def test_hostile_names_are_shown_and_do_nothing(write_tree: WriteTree, name: str) -> None:
    folder = name.replace("/", "_")
    root = write_tree({f"{folder}/__init__.py": "def f(): pass\n", f"{folder}/{folder}.py": "(", f"{folder}.py": ""})
    audit = audit_of(root)
    plain = Page(render_html(audit_of_plain(root, folder)))
    page = Page(render_html(audit))
    assert page.open == []
    assert Counter(page.tags) == Counter(plain.tags)
    assert {name for name, _ in page.attributes} == {name for name, _ in plain.attributes}
    assert visible(folder) in page.text
    markdown = render_markdown(audit)
    assert "\x1b" not in markdown + page.text
    assert "\u202e" not in markdown + page.text
    for table in re.findall(r"(?:^\|.*\n)+", markdown, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1
    assert markdown_code(folder) in markdown


def audit_of_plain(root: Path, folder: str) -> Audit:
    """The same audit, as if the folder had a harmless name of the same length."""
    harmless = "x" * len(visible(folder))
    text = msgspec.json.encode(audit_of(root)).decode()
    quoted = msgspec.json.encode(folder).decode()[1:-1]
    return cast("Audit", msgspec.json.decode(text.replace(quoted, harmless)))


@given(st.text())
def test_escaped_text_reads_back_and_never_leaves_its_place(text: str) -> None:
    page = Page(f'<p title="{html_text(text)}">{html_text(text)}</p>')
    assert (page.tags, page.text) == (["p"], visible(text))
    assert page.attributes == [("title", visible(text))]
    span = markdown_code(text)
    [fence] = re.findall(r"^`+", span)
    assert span.endswith(fence)
    assert fence not in re.findall(r"`+", span[len(fence) : -len(fence)])
    assert "\n" not in span


def test_a_second_write_leaves_the_same_bytes_and_no_litter(write_tree: WriteTree, tmp_path: Path) -> None:
    audit = audit_of(write_tree(FILES))
    target = tmp_path / "new" / "report"
    first = write_report(audit, str(target))
    contents = {path.name: path.read_bytes() for path in target.iterdir()}
    second = write_report(audit_of(tmp_path / "tree"), str(target))
    assert second == first
    assert {path.name: path.read_bytes() for path in target.iterdir()} == contents
    assert set(contents) == {"audit.html", "audit.md"}
    for written in (first["html"], first["markdown"]):
        content = Path(written["path"]).read_bytes()
        assert (len(content), hashlib.sha256(content).hexdigest()) == (written["bytes"], written["sha256"])


def test_a_write_that_fails_leaves_the_old_report_whole(
    write_tree: WriteTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = audit_of(write_tree(FILES))
    target = tmp_path / "report"
    write_report(audit, str(target))
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    audit["survey"]["root"] = "another"

    def full_disk(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_report(audit, str(target))
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before


def test_a_file_in_the_place_of_the_directory_is_refused(write_tree: WriteTree, tmp_path: Path) -> None:
    audit = audit_of(write_tree(FILES))
    blocker = tmp_path / "report"
    blocker.write_text("mine")
    with pytest.raises(AuditInputError, match="is a file"):
        write_report(audit, str(blocker))
    assert blocker.read_text() == "mine"


def test_a_recorded_audit_renders_to_the_same_bytes(write_tree: WriteTree) -> None:
    audit = audit_of(write_tree(FILES))
    recorded = cast("Audit", msgspec.json.decode(msgspec.json.encode(audit)))
    assert recorded == audit
    assert render_html(recorded) == render_html(audit)
    assert render_markdown(recorded) == render_markdown(audit)


def test_very_many_packages_make_a_bounded_page(write_tree: WriteTree) -> None:
    [report] = reports_of(write_tree({"p/__init__.py": "def f(): pass\n"}))
    many = [cast("PackageReport", {**report, "name": f"p{number}"}) for number in range(3000)]
    audit = Audit(survey=survey(str(write_tree({}))), ranking=rank(many))
    page = render_html(audit)
    assert len(page) < 300_000
    assert "2920 smaller" in page
    assert "2,800 more packages" in page
