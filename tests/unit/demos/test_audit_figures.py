"""The audit's figures, held against tools that others wrote: radon, ruff and grimp."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
import sysconfig
import tokenize
from collections import Counter
from pathlib import Path

import grimp
import pytest
from radon.complexity import cc_rank, cc_visit
from radon.raw import analyze as radon_lines
from radon.visitors import ComplexityVisitor

from agenticflow.demos.audit import analyze_package, survey
from agenticflow.demos.audit.imports import ImportGraph, imports_of
from agenticflow.demos.audit.source import count_lines
from agenticflow.demos.audit.structure import functions_of, public_names_of, rank_letter

STDLIB = Path(sysconfig.get_path("stdlib"))
PACKAGES = ("json", "asyncio", "email", "http", "logging", "concurrent", "importlib", "urllib")
MODULES = ("argparse", "ast", "contextlib", "dataclasses", "enum", "functools", "typing", "_pyio")


def files_of(package: str) -> list[Path]:
    return sorted((STDLIB / package).rglob("*.py"))


SAMPLE = [path for package in PACKAGES for path in files_of(package)] + [STDLIB / f"{module}.py" for module in MODULES]


def read(path: Path) -> str:
    with tokenize.open(path) as file:
        return file.read()


def names(paths: list[Path]) -> list[str]:
    return [str(path.relative_to(STDLIB)) for path in paths]


def test_the_sample_is_large_enough_to_mean_something() -> None:
    assert len(SAMPLE) > 90


@pytest.mark.parametrize("path", SAMPLE, ids=names(SAMPLE))
def test_complexity_is_radons_for_every_function(path: Path) -> None:
    tree = ast.parse(read(path))
    ours = {(function.line, function.column): function.complexity for function in functions_of(tree)[0]}
    theirs = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            [function] = ComplexityVisitor.from_ast(node).functions
            theirs[node.lineno, node.col_offset] = function.complexity
    assert ours == theirs


@pytest.mark.parametrize("path", SAMPLE, ids=names(SAMPLE))
def test_the_blocks_radon_reports_for_a_file_are_all_found(path: Path) -> None:
    source = read(path)
    functions, _ = functions_of(ast.parse(source))
    ours = {(function.line, function.name): function.complexity for function in functions}
    blocks = [block for block in cc_visit(source) if block.letter in "FM"]
    assert blocks or not functions
    assert {(block.lineno, block.fullname): block.complexity for block in blocks}.items() <= ours.items()


@pytest.mark.parametrize("path", SAMPLE, ids=names(SAMPLE))
def test_lines_are_radons(path: Path) -> None:
    # radon splits lines with str.splitlines, which also splits at form feeds; an editor does not
    source = read(path).replace("\f", "")
    theirs = radon_lines(source)
    ours = count_lines(source)
    assert ours["total"] == theirs.loc
    assert ours["code"] == theirs.sloc
    assert ours["blank"] == theirs.blank
    assert ours["comment"] + ours["docstring"] == theirs.multi + theirs.single_comments


@pytest.mark.parametrize("path", SAMPLE, ids=names(SAMPLE))
def test_functions_and_classes_are_as_many_as_their_keywords(path: Path) -> None:
    with path.open("rb") as file:
        tokens = [token.string for token in tokenize.tokenize(file.readline) if token.type == tokenize.NAME]
    functions, classes = functions_of(ast.parse(read(path)))
    keywords = Counter(tokens)
    assert (len(functions), classes) == (keywords["def"], keywords["class"])


def test_a_package_report_adds_up_to_radons_sums() -> None:
    [package] = [package for package in survey(str(STDLIB))["packages"] if package["name"] == "json"]
    report = analyze_package(str(STDLIB), package)
    sources = [read(path) for path in files_of("json")]
    blocks = [
        found
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
        for found in ComplexityVisitor.from_ast(node).functions
    ]
    lines = [radon_lines(source) for source in sources]
    assert report["files"] == report["analyzed_files"] == len(sources)
    assert report["functions"] == len(blocks)
    assert report["complexity"] == sum(block.complexity for block in blocks)
    assert report["max_complexity"] == max(block.complexity for block in blocks)
    assert report["average_complexity"] == round(sum(b.complexity for b in blocks) / len(blocks), 2)
    assert report["complexity_ranks"] == {
        letter: sum(cc_rank(block.complexity) == letter for block in blocks) for letter in "ABCDEF"
    }
    assert report["lines"]["total"] == sum(line.loc for line in lines)
    assert report["lines"]["code"] == sum(line.sloc for line in lines)


@pytest.mark.parametrize("complexity", range(1, 60))
def test_rank_letters_are_radons(complexity: int) -> None:
    assert rank_letter(complexity) == cc_rank(complexity)


def test_missing_docstrings_are_those_ruff_reports() -> None:
    """Ruff counts by pydocstyle's rules: D100 and D104 modules, D101 and D106 classes, D102 and D103 functions."""
    answer = subprocess.run(
        [
            *(sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--output-format", "json"),
            *("--exit-zero", "--ignore-noqa", "--select", "D100,D101,D102,D103,D104,D106"),
            *map(str, SAMPLE),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    theirs: dict[str, Counter[str]] = {str(path): Counter() for path in SAMPLE}
    kinds = {"D101": "class", "D106": "class", "D102": "function", "D103": "function"}
    for row in json.loads(answer.stdout):
        theirs[row["filename"]][kinds.get(row["code"], "module")] += 1
    ours = {str(path): Counter[str]() for path in SAMPLE}
    for path in SAMPLE:
        module = ".".join(path.relative_to(STDLIB).with_suffix("").parts).removesuffix(".__init__")
        for name in public_names_of(ast.parse(read(path)), module):
            if not name.documented:
                ours[str(path)][name.kind] += 1
    assert sum(sum(counts.values()) for counts in theirs.values()) > 100
    assert ours == theirs


@pytest.mark.parametrize("name", PACKAGES)
def test_imports_inside_a_package_are_grimps(name: str) -> None:
    assert importlib.util.find_spec(name) is not None
    theirs_graph = grimp.build_graph(name, cache_dir=None)
    trees: dict[str, tuple[ast.Module, bool]] = {}
    for path in files_of(name):
        parts = list(path.relative_to(STDLIB).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        trees[".".join(parts[:-1] if is_package else parts)] = ast.parse(read(path)), is_package
    ours = ImportGraph(frozenset(trees))
    for module, (tree, is_package) in trees.items():
        ours.add(module, imports_of(tree, module, is_package=is_package))
    assert theirs_graph.modules == set(trees)
    assert ours.all == {module: set(theirs_graph.find_modules_directly_imported_by(module)) for module in trees}
    assert all(ours.at_import[module] <= ours.all[module] for module in trees)


def test_import_time_imports_leave_out_functions_and_type_checking() -> None:
    source = """
import typing
from typing import TYPE_CHECKING
from . import a
if TYPE_CHECKING:
    from . import b
else:
    from . import c
if typing.TYPE_CHECKING:
    from . import d
def late():
    from . import e
class Body:
    from . import f
try:
    from . import g
except ImportError:
    from . import h
"""
    modules = frozenset({"pkg", *(f"pkg.{letter}" for letter in "abcdefgh"), "pkg.x"})
    graph = ImportGraph(modules)
    graph.add("pkg.x", imports_of(ast.parse(source), "pkg.x", is_package=False))
    assert graph.at_import["pkg.x"] == {f"pkg.{letter}" for letter in "acfgh"}
    assert graph.all["pkg.x"] == {f"pkg.{letter}" for letter in "abcdefgh"}
    assert graph.outside["pkg.x"] == {"typing"}
