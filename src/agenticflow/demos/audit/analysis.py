"""The analyst: everything worth knowing about one package, in one bounded answer.

It adds up what ``source``, ``structure`` and ``imports`` find in each file. A file that cannot be read,
decoded or parsed becomes a finding and the rest goes on; only an input that no survey can have made is
refused. Nothing is executed or imported, no state is kept: the same files give the same answer, byte for
byte.

``survey.Package`` comes in; ``PackageReport`` goes out to ``ranking``, below ``REPORT_MAX_BYTES`` whatever
the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import msgspec

from agenticflow.demos.audit.imports import ImportedName, ImportGraph, cycles_in, imports_of
from agenticflow.demos.audit.shapes import (
    RANK_LETTERS,
    AuditInputError,
    Cycle,
    FileRow,
    Finding,
    FunctionRow,
    LineCounts,
    Missing,
    Package,
    PackageReport,
)
from agenticflow.demos.audit.source import Problem, no_lines, read_source
from agenticflow.demos.audit.structure import Function, Structure, rank_letter, structure_of

__all__ = ["LONG_FUNCTION", "REPORT_MAX_BYTES", "analyze_package", "clipped", "module_name"]

REPORT_MAX_BYTES = 50_000
"""Encoded as JSON; a value of this size still travels inside its event instead of beside it."""

LONG_FUNCTION = 60
"""Functions with more lines than this are long: more than one screen."""

COMPLEX_FUNCTION = 10
"""Functions above this are complex: McCabe's own limit (IEEE Trans. Software Eng. SE-2, 1976)."""

TOP = 10
MAX_DEPENDS_BYTES = 12_000
MAX_NAME = 120


@dataclass
class _Tally:
    """What has been added up so far."""

    package: str
    lines: LineCounts = field(default_factory=no_lines)
    functions: list[FunctionRow] = field(default_factory=list)
    files: list[FileRow] = field(default_factory=list)
    missing: list[Missing] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    imported: dict[str, list[ImportedName]] = field(default_factory=dict)
    analyzed: int = 0
    classes: int = 0
    public: int = 0

    def add_lines(self, lines: LineCounts) -> None:
        self.lines = LineCounts(
            total=self.lines["total"] + lines["total"],
            code=self.lines["code"] + lines["code"],
            comment=self.lines["comment"] + lines["comment"],
            docstring=self.lines["docstring"] + lines["docstring"],
            blank=self.lines["blank"] + lines["blank"],
        )

    def add_finding(self, path: str, problem: Problem) -> None:
        self.findings.append(
            Finding(
                package=self.package,
                kind=problem.kind,
                path=clipped(path),
                line=problem.line,
                message=clipped(problem.message, 2 * MAX_NAME),
            )
        )

    def add_structure(self, path: str, structure: Structure) -> None:
        shown = clipped(path)
        self.functions += [_row(self.package, shown, function) for function in structure.functions]
        self.classes += structure.classes
        self.public += len(structure.public)
        self.missing += [
            Missing(path=shown, line=name.line, name=clipped(name.name), kind=name.kind)
            for name in structure.public
            if not name.documented
        ]


def analyze_package(root: str, package: Package) -> PackageReport:
    """Measure the files of ``package`` below the directory ``root``, both as ``survey`` gave them.

    Lines are counted by ``source.count_lines``, complexity by ``structure.functions_of``, docstrings by
    ``structure.public_names_of``; ``cycles`` are rings of imports that run when a module is imported,
    ``deferred_cycles`` those rings that close only with imports inside functions or under ``TYPE_CHECKING``.
    Lists hold the worst entries, ties broken by place in the source.

    A file that has vanished since the survey is a finding. Raises ``AuditInputError`` (a ``ValueError``) for
    a root that is no directory and for file names that would lead out of it.
    """
    _check(root, package)
    tally = _Tally(package=clipped(package["name"]))
    for path in sorted(package["files"]):
        _add_file(tally, root, package, path)
    for top in (TOP, TOP // 2, 1):  # names may be long, and full of what JSON has to escape
        report = _report(tally, package, top)
        if len(msgspec.json.encode(report)) <= REPORT_MAX_BYTES:
            return report
    return _report(tally, package, 0)


def _check(root: str, package: Package) -> None:
    if not Path(root).is_dir():
        raise AuditInputError(
            f"{root!r} is no directory here", hint="run the survey again on the machine that analyzes"
        )
    for path in package["files"]:
        parts = PurePosixPath(path).parts
        if not parts or path.startswith("/") or ".." in parts or "\0" in path:
            raise AuditInputError(
                f"package {package['name']!r} names the file {path!r}, which is not below the root",
                hint="pass a package as the survey returned it",
            )


def _add_file(tally: _Tally, root: str, package: Package, path: str) -> None:
    source = read_source(Path(root, path))
    tally.add_lines(source.lines)
    if source.problem is not None:
        tally.add_finding(path, source.problem)
    functions: list[Function] = []
    module = module_name(package, path)
    tally.imported[module] = []
    if source.tree is not None:
        structure = structure_of(source.tree, module)
        functions = structure.functions
        tally.analyzed += 1
        tally.add_structure(path, structure)
        is_package = path.rpartition("/")[2] == "__init__.py"
        tally.imported[module] = list(imports_of(source.tree, module, is_package=is_package))
    tally.files.append(
        FileRow(
            path=clipped(path),
            lines=source.lines["total"],
            functions=len(functions),
            complexity=sum(function.complexity for function in functions),
        )
    )


def module_name(package: Package, path: str) -> str:
    """The dotted name under which Python would import the file."""
    inside = path.removeprefix(f"{package['base']}/") if package["base"] else path
    parts = [part for part in package["prefix"].split(".") if part] + inside.removesuffix(".py").split("/")
    if parts[-1] == "__init__" and len(parts) > 1:
        parts.pop()
    return ".".join(parts)


def clipped(text: str, limit: int = MAX_NAME) -> str:
    """At most ``limit`` characters, cut in the middle, where names differ least; encodable in any case."""
    text = text.encode("utf-8", "backslashreplace").decode()
    if len(text) <= limit:
        return text
    half = (limit - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def _row(package: str, path: str, function: Function) -> FunctionRow:
    return FunctionRow(
        package=package,
        path=path,
        line=function.line,
        name=clipped(function.name),
        complexity=function.complexity,
        length=function.length,
    )


def _report(tally: _Tally, package: Package, top: int) -> PackageReport:
    functions = tally.functions
    complexity = sum(row["complexity"] for row in functions)
    ranks = dict.fromkeys(RANK_LETTERS, 0)
    for row in functions:
        ranks[rank_letter(row["complexity"])] += 1
    graph = ImportGraph(frozenset(tally.imported))
    for module, names in tally.imported.items():
        graph.add(module, names, siblings=package["prefix"])
    rings = cycles_in(graph.at_import)
    at_import = {frozenset(ring) for ring in rings}
    deferred = [ring for ring in cycles_in(graph.all) if frozenset(ring) not in at_import]
    return PackageReport(
        name=tally.package,
        files=len(tally.files),
        analyzed_files=tally.analyzed,
        lines=tally.lines,
        functions=len(functions),
        classes=tally.classes,
        complexity=complexity,
        complexity_in_complex=sum(row["complexity"] for row in functions if row["complexity"] > COMPLEX_FUNCTION),
        average_complexity=round(complexity / len(functions), 2) if functions else 0.0,
        max_complexity=max((row["complexity"] for row in functions), default=0),
        complexity_ranks=ranks,
        function_lines=sum(row["length"] for row in functions),
        long_function_lines=sum(row["length"] for row in functions if row["length"] > LONG_FUNCTION),
        public_names=tally.public,
        documented_names=tally.public - len(tally.missing),
        modules=len(tally.imported),
        modules_in_cycles=sum(len(ring) for ring in rings),
        cycle_count=len(rings),
        deferred_cycle_count=len(deferred),
        finding_count=len(tally.findings),
        most_complex=sorted(functions, key=lambda row: (-row["complexity"], row["path"], row["line"]))[:top],
        longest=sorted(functions, key=lambda row: (-row["length"], row["path"], row["line"]))[:top],
        largest_files=sorted(tally.files, key=lambda row: (-row["lines"], row["path"]))[: top // 2],
        undocumented=tally.missing[:top],
        cycles=_cycles(tally.package, rings, top),
        deferred_cycles=_cycles(tally.package, deferred, top),
        findings=tally.findings[: 2 * top],
        depends=_depends(package, graph.outside),
    )


def _cycles(package: str, rings: list[list[str]], top: int) -> list[Cycle]:
    return [
        Cycle(package=package, size=len(ring), modules=[clipped(name) for name in ring[:top]])
        for ring in rings[: top // 2]
    ]


def _depends(package: Package, outside: Mapping[str, set[str]]) -> dict[str, list[str]]:
    """Import-time imports that leave the package, by importable unit: the package itself, or each loose
    module.

    The ranker joins these into the graph between packages. Names beyond the bound are dropped, longest lists
    last, so that only a package with thousands of foreign imports can lose an edge.
    """
    depends: dict[str, set[str]] = {}
    depth = package["prefix"].count(".") + 2 if package["prefix"] else 1
    for module, names in outside.items():
        unit = module if package["kind"] == "modules" else ".".join(module.split(".")[:depth])
        depends.setdefault(unit, set()).update(names)
    bounded: dict[str, list[str]] = {}
    room = MAX_DEPENDS_BYTES
    for unit in sorted(depends, key=lambda name: (len(depends[name]), name)):
        kept: list[str] = []
        for name in sorted(depends[unit]):
            room -= len(msgspec.json.encode(name)) + 1
            if room > 0:
                kept.append(name)
        room -= len(msgspec.json.encode(unit)) + 4
        if room > 0:
            bounded[unit] = kept
    return dict(sorted(bounded.items()))
