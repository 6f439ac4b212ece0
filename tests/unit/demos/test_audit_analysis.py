"""The analyst: broken files are findings, cycles are found, answers are bounded and repeatable."""

from __future__ import annotations

import ast
import json
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.demos.audit import AuditInputError, Package, PackageReport, analyze_package, source
from agenticflow.demos.audit.analysis import REPORT_MAX_BYTES, module_name
from agenticflow.demos.audit.imports import cycles_in
from agenticflow.demos.audit.source import count_lines
from agenticflow.demos.audit.structure import functions_of

WriteTree = Callable[[Mapping[str, str | bytes]], Path]
Analyze = Callable[[Mapping[str, str | bytes]], PackageReport]


def complexity_of(body: str) -> int:
    [function] = functions_of(ast.parse(f"def f():\n    {body}\n"))[0]
    return function.complexity


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("pass", 1),
        ("return a if b else c", 2),
        ("return a and b and c or d", 4),
        ("assert a and b", 2),
        ("return [x for x in y if x if z]", 4),
        ("return lambda: a or b", 2),
        ("with a: pass", 1),
        ("try: a\n    except B: c\n    except D: e\n    else: f\n    finally: g", 4),
        ("for a in b: pass\n    else: c", 3),
        ("while a: pass", 2),
        ("match a:\n        case 1: pass\n        case 2: pass\n        case _: pass", 3),
    ],
)
def test_complexity_of_each_construct(body: str, expected: int) -> None:
    assert complexity_of(body) == expected


def test_nested_functions_and_local_classes_count_for_themselves() -> None:
    tree = ast.parse(
        """
def outer(a=b or c):
    if a:
        def inner():
            return a and b
    class Local:
        def method(self):
            return 1 if self else 2
"""
    )
    functions, classes = functions_of(tree)
    assert {f.name: f.complexity for f in functions} == {"outer": 2, "outer.inner": 2, "outer.Local.method": 2}
    assert classes == 1


def test_each_kind_of_line_is_counted_once() -> None:
    text = (
        '"""Doc.\n\nMore.\n"""\n'
        "# comment\nx = [  # trailing\n    # inside\n\n    1,\n]\n\n"
        '"alone"\ny = """\n# text\n"""\n'
    )
    assert count_lines(text) == {"total": 15, "code": 7, "comment": 1, "docstring": 4, "blank": 3}


def test_files_without_a_last_line_end_and_with_old_ones_are_counted_alike(analyze: Analyze) -> None:
    report = analyze({"a.py": b"x = 1\r\n# c\r\n", "b.py": b"x = 1\r# c\r", "c.py": b"x = 1\n# c"})
    assert report["lines"] == {"total": 6, "code": 3, "comment": 3, "docstring": 0, "blank": 0}


BROKEN: dict[str, tuple[bytes, str, int]] = {
    "syntax": (b"x = 1\ndef f(:\n", "syntax-error", 2),
    "indent": (b"def f():\nreturn 1\n", "syntax-error", 2),
    "python2": (b"print 'hello'\n", "syntax-error", 1),
    "null": (b"x = 1\ny = '\0'\n", "syntax-error", 2),
    "latin": (b"x = 1\n# caf\xe9\n", "undecodable", 2),
    "codec": (b"# coding: no-such-codec\nx = 1\n", "undecodable", 1),
    "rot": (b"# coding: rot13\nk = 1\n", "undecodable", 1),
    "surrogate": (b"# coding: unicode_escape\nx = '\\ud800'\n", "syntax-error", 2),
    "parentheses": (b"x = " + b"(" * 300 + b")" * 300 + b"\n", "syntax-error", 1),
    "deep": (b"x = " + b"-" * 50_000 + b"1\n", "too-deep", 0),
    "huge": (b"#" * (source.MAX_FILE_BYTES + 1), "too-large", 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_file_is_a_finding_and_the_rest_is_analyzed(analyze: Analyze, name: str) -> None:
    content, kind, line = BROKEN[name]
    report = analyze({"good.py": "def f():\n    pass\n", "bad.py": content})
    [finding] = report["findings"]
    assert (finding["path"], finding["kind"], finding["line"]) == ("bad.py", kind, line)
    assert finding["message"]
    assert (report["files"], report["analyzed_files"], report["functions"]) == (2, 1, 1)
    lines = report["lines"]
    assert lines["total"] == lines["code"] + lines["comment"] + lines["docstring"] + lines["blank"]
    json.dumps(report, ensure_ascii=False).encode()


def test_the_lines_of_a_broken_file_still_count(analyze: Analyze) -> None:
    report = analyze({"bad.py": "# why\n\ndef f(:\n    pass\n"})
    assert report["lines"] == {"total": 4, "code": 2, "comment": 1, "docstring": 0, "blank": 1}


def test_declared_encodings_and_byte_order_marks_are_understood(analyze: Analyze) -> None:
    report = analyze({"a.py": b"# coding: latin-1\nx = '\xe9'\n", "b.py": b"\xef\xbb\xbfx = 1\n"})
    assert (report["findings"], report["analyzed_files"]) == ([], 2)


def test_files_that_vanished_or_changed_into_something_else_are_findings(write_tree: WriteTree, tmp_path: Path) -> None:
    root = write_tree({"dir.py/x": "", "good.py": ""})
    secret = tmp_path / "secret.py"
    secret.write_text("x = 1\n")
    (root / "link.py").symlink_to(secret)
    files = ["dir.py", "gone.py", "good.py", "link.py"]
    package = Package(name="p", kind="modules", base="", prefix="", files=files, bytes=0)
    report = analyze_package(str(root), package)
    assert [(f["path"], f["kind"]) for f in report["findings"]] == [
        ("dir.py", "unreadable"),
        ("gone.py", "unreadable"),
        ("link.py", "unreadable"),
    ]


def test_warnings_about_the_code_are_neither_raised_nor_printed(
    analyze: Analyze, capsys: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        report = analyze({"a.py": 'x = "\\d"\ny = 1 is 1\n', "b.py": b'# coding: unicode_escape\nx = "\\d"\n'})
    assert (caught, report["findings"]) == ([], [])
    assert capsys.readouterr() == ("", "")


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads take turns a thousand times as often as usual, so that races happen."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("hasty_threads")
def test_analysts_on_many_threads_do_not_disturb_each_other(write_tree: WriteTree) -> None:
    files = {f"m{number}.py": 'x = "\\d"\n' * 50 for number in range(20)}
    root = write_tree(files)
    package = Package(name="p", kind="modules", base="", prefix="", files=sorted(files), bytes=0)
    expected = analyze_package(str(root), package)
    filters = list(warnings.filters)
    answers: list[PackageReport] = []
    threads = [threading.Thread(target=lambda: answers.append(analyze_package(str(root), package))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4
    assert list(warnings.filters) == filters


@pytest.mark.parametrize("path", ["../secret.py", "/etc/hosts", "a/../../b.py", "", "a\0.py"])
def test_files_outside_the_root_are_refused(write_tree: WriteTree, path: str) -> None:
    package = Package(name="p", kind="modules", base="", prefix="", files=[path], bytes=0)
    with pytest.raises(ValueError, match="not below the root"):
        analyze_package(str(write_tree({})), package)


def test_a_root_that_is_not_there_is_refused(tmp_path: Path) -> None:
    package = Package(name="p", kind="modules", base="", prefix="", files=[], bytes=0)
    with pytest.raises(AuditInputError, match="no directory here"):
        analyze_package(str(tmp_path / "gone"), package)


def test_import_time_and_deferred_cycles_are_told_apart(analyze: Analyze) -> None:
    report = analyze(
        {
            "pkg/__init__.py": "",
            "pkg/a.py": "from .b import thing\n",
            "pkg/b.py": "import pkg.c\n",
            "pkg/c.py": "from . import a\n",
            "pkg/d.py": "from pkg import e\n",
            "pkg/e.py": "def f():\n    from . import d\n",
            "pkg/f.py": "from . import a\n",
        }
    )
    assert report["cycles"] == [{"package": "pkg", "size": 3, "modules": ["pkg.a", "pkg.b", "pkg.c"]}]
    assert report["deferred_cycles"] == [{"package": "pkg", "size": 2, "modules": ["pkg.d", "pkg.e"]}]
    assert (report["cycle_count"], report["deferred_cycle_count"], report["modules_in_cycles"]) == (1, 1, 3)


edges = st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7)), max_size=24)


@given(edges)
def test_cycles_are_what_reachability_says(pairs: set[tuple[int, int]]) -> None:
    nodes = [str(number) for number in range(8)]
    graph = {node: {str(b) for a, b in pairs if str(a) == node and a != b} for node in nodes}
    reach = {(a, b): b in graph[a] for a, b in product(nodes, nodes)}
    for through, a, b in product(nodes, nodes, nodes):
        reach[a, b] = reach[a, b] or (reach[a, through] and reach[through, b])
    rings = {frozenset(b for b in nodes if reach[a, b] and reach[b, a]) for a in nodes if reach[a, a]}
    found = cycles_in(graph)
    assert {frozenset(ring) for ring in found} == rings
    assert sorted(map(len, found), reverse=True) == [len(ring) for ring in found]


def test_a_long_chain_of_imports_does_not_exhaust_the_interpreter() -> None:
    size = 20_000
    graph = {str(number): [str((number + 1) % size)] for number in range(size)}
    [ring] = cycles_in(graph)
    assert len(ring) == size


def test_module_names_follow_base_and_prefix() -> None:
    package = Package(name="x", kind="package", base="src", prefix="", files=[], bytes=0)
    assert module_name(package, "src/app/__init__.py") == "app"
    assert module_name(package, "src/app/a.py") == "app.a"
    package["base"], package["prefix"] = "", "app.core"
    assert module_name(package, "x/a.py") == "app.core.x.a"
    assert module_name(package, "__init__.py") == "app.core"


def test_lists_hold_the_worst_and_counts_the_whole(analyze: Analyze) -> None:
    functions = "".join(f"def f{n}(a):\n" + "    a\n" * n for n in range(1, 41))
    report = analyze({"m.py": functions, "bad.py": "(", **{f"bad{n:02}.py": "(" for n in range(60)}})
    assert (report["functions"], len(report["longest"]), report["finding_count"]) == (40, 10, 61)
    assert [row["name"] for row in report["longest"]] == [f"f{n}" for n in range(40, 30, -1)]
    assert len(report["findings"]) < 61
    assert (report["public_names"], report["documented_names"]) == (41, 0)


@pytest.mark.parametrize("letter", ["x", "\N{GRINNING FACE}", "\x01"])
def test_a_report_stays_small_whatever_the_names(write_tree: WriteTree, letter: str) -> None:
    folder = letter * (240 // len(letter.encode()))
    deep = "/".join([folder] * 10)
    function = "def " + "f" * 500 + "():\n    pass\n"
    files: dict[str, str | bytes] = {f"{deep}/m{n}.py": function * 3 for n in range(30)}
    files |= {f"{deep}/b{n}.py": "(" for n in range(30)}
    files |= {f"i{n}.py": "".join(f"import {'m' * 200}{k}\n" for k in range(60)) for n in range(30)}
    root = write_tree(files)
    package = Package(name=folder * 3, kind="modules", base="", prefix="", files=sorted(files), bytes=0)
    report = analyze_package(str(root), package)
    assert len(msgspec.json.encode(report)) <= REPORT_MAX_BYTES
    assert (report["files"], report["functions"], report["finding_count"]) == (90, 90, 30)


def test_the_same_files_give_the_same_bytes_in_any_order(write_tree: WriteTree) -> None:
    files = {"b.py": "import a\ndef f(): pass\n", "a.py": "import b\nclass C: pass\n", "c.py": "("}
    root = write_tree(files)
    package = Package(name="p", kind="modules", base="", prefix="", files=sorted(files), bytes=0)
    turned = cast("Package", {**package, "files": sorted(files, reverse=True)})
    first = msgspec.json.encode(analyze_package(str(root), package))
    assert first == msgspec.json.encode(analyze_package(str(root), turned))
    assert json.loads(first)["cycle_count"] == 1
