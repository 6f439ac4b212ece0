"""The shapes that travel between the audit's agents.

Every shape is a ``TypedDict`` of JSON values, because each of them is recorded as a fact between two agents
and may be read back by another process. Shapes hold data only: whoever fills them decides what the numbers
mean, and says so in its own docstring. Lists are bounded by their makers; wherever a list was cut, a count of
the whole stands beside it.

Data passes Survey → Package → PackageReport → Ranking → Audit → ReportFiles, never backwards.
"""

from __future__ import annotations

from typing import Literal, TypedDict

from agenticflow.errors import InvalidInput

__all__ = [
    "RANK_LETTERS",
    "Audit",
    "AuditInputError",
    "Cycle",
    "FileRow",
    "Finding",
    "FindingKind",
    "FunctionRow",
    "LineCounts",
    "Missing",
    "Package",
    "PackageReport",
    "PackageScore",
    "Ranking",
    "ReportFile",
    "ReportFiles",
    "RiskParts",
    "Skipped",
    "Survey",
    "Totals",
]

RANK_LETTERS = ("A", "B", "C", "D", "E", "F")
"""Radon's ranks of cyclomatic complexity: A 1-5, B 6-10, C 11-20, D 21-30, E 31-40, F 41 and more."""

FindingKind = Literal["syntax-error", "undecodable", "unreadable", "too-large", "too-deep"]


class AuditInputError(InvalidInput, ValueError):
    """The path or package given to the audit cannot be used; give another one, trying again does not help."""


class Skipped(TypedDict):
    """Something the survey left out, and why. ``path`` is relative to the root and safe to print."""

    path: str
    reason: str


class Package(TypedDict):
    """One analyst's work: the files of a package, or a group of loose modules.

    ``files`` are paths relative to the survey's root, with ``/``. ``base`` is the directory (relative to the
    root, empty for the root itself) from which Python would import them, ``prefix`` the dotted package that
    ``base`` itself is in.
    """

    name: str
    kind: Literal["package", "modules"]
    base: str
    prefix: str
    files: list[str]
    bytes: int


class Survey(TypedDict):
    """What there is to audit. ``skipped`` is cut at a bound, ``skipped_counts`` counts all by reason."""

    root: str
    python: str
    packages: list[Package]
    file_count: int
    bytes: int
    skipped: list[Skipped]
    skipped_counts: dict[str, int]


class LineCounts(TypedDict):
    """Physical lines; ``total`` is exactly the sum of the other four."""

    total: int
    code: int
    comment: int
    docstring: int
    blank: int


class FunctionRow(TypedDict):
    """One function or method. ``length`` counts lines from ``def`` to the last line, both included."""

    package: str
    path: str
    line: int
    name: str
    complexity: int
    length: int


class FileRow(TypedDict):
    """One file with its size in lines and the sum of its functions' complexity."""

    path: str
    lines: int
    functions: int
    complexity: int


class Missing(TypedDict):
    """A public name without a docstring."""

    path: str
    line: int
    name: str
    kind: Literal["module", "class", "function"]


class Cycle(TypedDict):
    """Modules that import each other in a ring; ``modules`` is cut at a bound, ``size`` is not."""

    package: str
    size: int
    modules: list[str]


class Finding(TypedDict):
    """A file that could not be audited in full. ``line`` is 0 where no line is to blame."""

    package: str
    kind: FindingKind
    path: str
    line: int
    message: str


class PackageReport(TypedDict):
    """What one analyst found out. Counts are of the whole package, lists are the worst few."""

    name: str
    files: int
    analyzed_files: int
    lines: LineCounts
    functions: int
    classes: int
    complexity: int
    complexity_in_complex: int
    average_complexity: float
    max_complexity: int
    complexity_ranks: dict[str, int]
    function_lines: int
    long_function_lines: int
    public_names: int
    documented_names: int
    modules: int
    modules_in_cycles: int
    cycle_count: int
    deferred_cycle_count: int
    finding_count: int
    most_complex: list[FunctionRow]
    longest: list[FunctionRow]
    largest_files: list[FileRow]
    undocumented: list[Missing]
    cycles: list[Cycle]
    deferred_cycles: list[Cycle]
    findings: list[Finding]
    depends: dict[str, list[str]]


class RiskParts(TypedDict):
    """The five shares (each 0.0 to 1.0) that make up a risk score."""

    complexity: float
    length: float
    documentation: float
    cycles: float
    broken: float


class PackageScore(TypedDict):
    """A package's line in the ranking: its risk from 0 (calm) to 100, and the figures people compare."""

    name: str
    risk: float
    parts: RiskParts
    files: int
    lines: int
    code: int
    functions: int
    average_complexity: float
    max_complexity: int
    longest_function: int
    documented: float | None
    undocumented_names: int
    cycles: int
    findings: int


class Totals(TypedDict):
    """Sums over all packages; each equals the sum of the packages' own figures exactly."""

    packages: int
    files: int
    analyzed_files: int
    lines: LineCounts
    functions: int
    classes: int
    complexity: int
    public_names: int
    documented_names: int
    modules: int
    modules_in_cycles: int
    cycles: int
    deferred_cycles: int
    findings: int


class Ranking(TypedDict):
    """The joined result: ``packages`` is complete, by risk; the other lists are the worst few of all."""

    totals: Totals
    average_complexity: float
    documented: float | None
    complexity_ranks: dict[str, int]
    packages: list[PackageScore]
    most_complex: list[FunctionRow]
    longest: list[FunctionRow]
    least_documented: list[str]
    largest: list[str]
    cycles: list[Cycle]
    deferred_cycles: list[Cycle]
    knots: list[Cycle]
    findings: list[Finding]


class Audit(TypedDict):
    """What the reporter needs; the ranking holds what a reader wants to see of the packages."""

    survey: Survey
    ranking: Ranking


class ReportFile(TypedDict):
    """One written file."""

    path: str
    bytes: int
    sha256: str


class ReportFiles(TypedDict):
    """Both written files."""

    html: ReportFile
    markdown: ReportFile
