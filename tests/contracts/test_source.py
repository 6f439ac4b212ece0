"""The rules of the house that a linter does not know: sizes, names, late imports, reasons."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from tests.contracts.house import PACKAGE, PROJECT, RULES, Source, sources, sources_of_tests

FORBIDDEN_MODULES = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}
COMPOSITION_ROOT = "agenticflow.app.wiring"


def test_modules_stay_below_the_wall() -> None:
    too_long = {s.name: s.line_count for s in sources() if s.line_count > RULES["max_module_lines"]}
    assert not too_long, "split along a noun"


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from ``def`` to the end, without the docstring: a contract may be as long as it must."""
    assert function.end_lineno is not None
    lines = function.end_lineno - function.lineno + 1
    first = function.body[0]
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        assert first.end_lineno is not None
        lines -= first.end_lineno - first.lineno + 1
    return lines


def test_functions_fit_on_a_screen() -> None:
    """Longer ones are ``match`` dispatchers, named with their reason in ``[tool.house.long_functions]``."""
    long = {
        name: body_lines(node)
        for source in sources()
        for name, node in source.functions()
        if body_lines(node) > RULES["max_function_lines"]
    }
    allowed = set(RULES["long_functions"])
    assert set(long) <= allowed, long
    assert allowed <= set(long), "these are short now: take them off the list"


def test_folders_can_be_surveyed() -> None:
    """Folders with more files are named with their reason in ``[tool.house.wide_folders]``."""
    wide: dict[str, int] = {}
    for folder in [PACKAGE, *(path for path in PACKAGE.rglob("*") if path.is_dir())]:
        count = sum(1 for path in folder.glob("*.py") if not path.name.startswith("__"))
        if count > RULES["max_folder_files"]:
            wide[folder.relative_to(PACKAGE).as_posix()] = count
    allowed = set(RULES["wide_folders"])
    assert set(wide) <= allowed, wide
    assert allowed <= set(wide), "these are narrow now: take them off the list"


def test_rooms_are_named_after_what_is_in_them() -> None:
    nameless = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*")
        if path.stem in FORBIDDEN_MODULES or path.stem.endswith(("_common", "_helpers", "_utils"))
    ]
    assert not nameless


def test_the_port_has_the_good_name() -> None:
    pattern = re.compile(r"^_?(Abstract[A-Z]|Base[A-Z])|Impl$")
    assert not [f"{s.name}.{c.name}" for s in sources() for c in s.classes() if pattern.search(c.name)]


def test_ports_have_at_most_nine_methods() -> None:
    def abstract_methods(node: ast.ClassDef) -> int:
        return sum(
            "abstractmethod" in ast.unparse(decorator)
            for member in node.body
            if isinstance(member, ast.FunctionDef | ast.AsyncFunctionDef)
            for decorator in member.decorator_list
        )

    wide = {f"{s.name}.{c.name}": abstract_methods(c) for s in sources() for c in s.classes()}
    assert not {name: count for name, count in wide.items() if count > 9}


def late_imports(source: Source) -> Iterator[tuple[str, ast.Import | ast.ImportFrom]]:
    for name, function in source.functions():
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield name, node


def test_imports_stand_at_the_top() -> None:
    """Elsewhere only in the composition root, or with ``# late: <reason>`` on the line or above it."""
    unexplained: list[str] = []
    for source in sources():
        if source.name == COMPOSITION_ROOT:
            continue
        reasons = {line for line, text in source.comments if re.match(r"#\s*late: \S", text)}
        unexplained += [
            f"{name} (line {node.lineno}): {ast.unparse(node)}"
            for name, node in late_imports(source)
            if not reasons & {node.lineno - 1, node.lineno, node.end_lineno or node.lineno}
        ]
    assert not unexplained


def test_what_is_imported_is_declared() -> None:
    """The package imports nothing that its own dependencies and extras do not name."""
    declared = list(PROJECT["project"]["dependencies"])
    for extra in PROJECT["project"]["optional-dependencies"].values():
        declared += extra
    names = {re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-") for requirement in declared}
    by_module = metadata.packages_distributions()
    undeclared: set[str] = set()
    for source in sources():
        for node in ast.walk(source.tree):
            modules: list[str] = []
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                modules = [node.module]
            for module in (name.partition(".")[0] for name in modules):
                if module in sys.stdlib_module_names or module == "agenticflow":
                    continue
                owners = {owner.lower().replace("_", "-") for owner in by_module.get(module, [module])}
                if not owners & names:
                    undeclared.add(f"{source.name}: {module}")
    assert not undeclared


def test_the_type_checker_is_rarely_overruled() -> None:
    """At most one ignore per thousand lines, each with its reason: ``# type: ignore[code]  # reason``."""
    everything = (*sources(), *(s for s in sources_of_tests() if not s.path.name.startswith("rejected")))
    ignores = [
        (f"{source.name}:{line}", text)
        for source in everything
        for line, text in source.comments
        if re.search(r"type:\s*ignore", text)
    ]
    assert not [at for at, text in ignores if not re.search(r"type: ignore\[[\w, -]+\]\s+#\s*\S", text)], "no reason"
    lines = sum(source.line_count for source in everything)
    assert len(ignores) <= max(1, lines // 1_000 * RULES["ignores_per_thousand_lines"]), ignores


def test_nothing_is_left_to_do() -> None:
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    left = [
        f"{s.name}:{line}" for s in (*sources(), *sources_of_tests()) for line, text in s.comments if marks.search(text)
    ]
    assert not left, "do it, or make it an issue"


def test_no_mock_library() -> None:
    """Fakes come from ``agenticflow.testing``; a mock proves only that the test agrees with itself."""
    mocked: list[str] = []
    for source in (one for one in sources_of_tests() if "mock" in one.text):
        for node in ast.walk(source.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            if any(name.startswith(("unittest.mock", "pytest_mock", "mock.")) or name == "mock" for name in names):
                mocked.append(source.name)
    assert not mocked


def test_every_module_says_what_it_is_for() -> None:
    silent = [s.name for s in sources() if not ast.get_docstring(s.tree)]
    assert not silent


def test_the_package_is_typed() -> None:
    assert Path(PACKAGE, "py.typed").exists()
