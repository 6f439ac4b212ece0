"""The ranker: joins all package reports into totals, one order by risk, and the worst of everything.

Pure arithmetic on what the analysts sent; it opens no file and knows no path but those in the reports. The
order in which reports arrive makes no difference.

``PackageReport``s come in; one ``Ranking`` goes out to ``report``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agenticflow.demos.audit.imports import cycles_in
from agenticflow.demos.audit.shapes import (
    RANK_LETTERS,
    Cycle,
    LineCounts,
    PackageReport,
    PackageScore,
    Ranking,
    RiskParts,
    Totals,
)

__all__ = ["RISK_WEIGHTS", "rank", "risk_of"]

RISK_WEIGHTS = RiskParts(complexity=0.35, length=0.20, documentation=0.20, cycles=0.15, broken=0.10)
"""How much each share counts; the weights add up to one. A matter of taste, stated in every report."""

TOP = 20
MAX_FINDINGS = 200
MAX_KNOT_NAMES = 60


def rank(packages: list[PackageReport]) -> Ranking:
    """Join the reports. Totals are exact sums; lists are the worst first, ties broken by name and place.

    ``packages`` is complete. The lists of functions are the exact worst of the whole code base, because each
    analyst sends its own worst; ``least_documented`` and ``largest`` are package names; ``knots`` are rings
    of imports between packages, at import time.
    """
    reports = sorted(packages, key=lambda report: report["name"])
    scores = [_score(report) for report in reports]
    totals = _totals(reports)
    functions = totals["functions"]
    return Ranking(
        totals=totals,
        average_complexity=round(totals["complexity"] / functions, 2) if functions else 0.0,
        documented=_share(totals["documented_names"], totals["public_names"]),
        complexity_ranks={
            letter: sum(report["complexity_ranks"].get(letter, 0) for report in reports) for letter in RANK_LETTERS
        },
        packages=sorted(scores, key=lambda score: (-score["risk"], score["name"])),
        most_complex=sorted(
            (row for report in reports for row in report["most_complex"]),
            key=lambda row: (-row["complexity"], row["path"], row["line"]),
        )[:TOP],
        longest=sorted(
            (row for report in reports for row in report["longest"]),
            key=lambda row: (-row["length"], row["path"], row["line"]),
        )[:TOP],
        least_documented=[
            score["name"]
            for score in sorted(scores, key=lambda score: (-score["undocumented_names"], score["name"]))
            if score["undocumented_names"]
        ][:TOP],
        largest=[score["name"] for score in sorted(scores, key=lambda score: (-score["code"], score["name"]))][:TOP],
        cycles=_largest_cycles(cycle for report in reports for cycle in report["cycles"]),
        deferred_cycles=_largest_cycles(cycle for report in reports for cycle in report["deferred_cycles"]),
        knots=_knots(reports),
        findings=[finding for report in reports for finding in report["findings"]][:MAX_FINDINGS],
    )


def risk_of(parts: RiskParts) -> float:
    """The weighted sum of the parts, from 0 to 100, with one decimal."""
    return round(
        100
        * (
            RISK_WEIGHTS["complexity"] * parts["complexity"]
            + RISK_WEIGHTS["length"] * parts["length"]
            + RISK_WEIGHTS["documentation"] * parts["documentation"]
            + RISK_WEIGHTS["cycles"] * parts["cycles"]
            + RISK_WEIGHTS["broken"] * parts["broken"]
        ),
        1,
    )


def _risk_parts(report: PackageReport) -> RiskParts:
    """The shares behind the risk.

    - complexity: of all complexity, what sits in functions above 10
    - length: of all function lines, what sits in functions of more than 60 lines
    - documentation: public names without a docstring
    - cycles: modules that are in a ring of imports at import time
    - broken: files that could not be analyzed
    """
    return RiskParts(
        complexity=_share(report["complexity_in_complex"], report["complexity"]) or 0.0,
        length=_share(report["long_function_lines"], report["function_lines"]) or 0.0,
        documentation=_share(report["public_names"] - report["documented_names"], report["public_names"]) or 0.0,
        cycles=_share(report["modules_in_cycles"], report["modules"]) or 0.0,
        broken=_share(report["files"] - report["analyzed_files"], report["files"]) or 0.0,
    )


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def _score(report: PackageReport) -> PackageScore:
    parts = _risk_parts(report)
    return PackageScore(
        name=report["name"],
        risk=risk_of(parts),
        parts=parts,
        files=report["files"],
        lines=report["lines"]["total"],
        code=report["lines"]["code"],
        functions=report["functions"],
        average_complexity=report["average_complexity"],
        max_complexity=report["max_complexity"],
        longest_function=max((row["length"] for row in report["longest"]), default=0),
        documented=_share(report["documented_names"], report["public_names"]),
        undocumented_names=report["public_names"] - report["documented_names"],
        cycles=report["cycle_count"],
        findings=report["finding_count"],
    )


def _totals(reports: Sequence[PackageReport]) -> Totals:
    return Totals(
        packages=len(reports),
        files=sum(report["files"] for report in reports),
        analyzed_files=sum(report["analyzed_files"] for report in reports),
        lines=LineCounts(
            total=sum(report["lines"]["total"] for report in reports),
            code=sum(report["lines"]["code"] for report in reports),
            comment=sum(report["lines"]["comment"] for report in reports),
            docstring=sum(report["lines"]["docstring"] for report in reports),
            blank=sum(report["lines"]["blank"] for report in reports),
        ),
        functions=sum(report["functions"] for report in reports),
        classes=sum(report["classes"] for report in reports),
        complexity=sum(report["complexity"] for report in reports),
        public_names=sum(report["public_names"] for report in reports),
        documented_names=sum(report["documented_names"] for report in reports),
        modules=sum(report["modules"] for report in reports),
        modules_in_cycles=sum(report["modules_in_cycles"] for report in reports),
        cycles=sum(report["cycle_count"] for report in reports),
        deferred_cycles=sum(report["deferred_cycle_count"] for report in reports),
        findings=sum(report["finding_count"] for report in reports),
    )


def _largest_cycles(cycles: Iterable[Cycle]) -> list[Cycle]:
    return sorted(cycles, key=lambda cycle: (-cycle["size"], cycle["package"], cycle["modules"]))[:TOP]


def _knots(reports: Sequence[PackageReport]) -> list[Cycle]:
    """Rings of imports between the units (packages and loose modules) of different or the same analysts."""
    units = {unit for report in reports for unit in report["depends"]}
    graph: dict[str, set[str]] = {unit: set() for unit in units}
    for report in reports:
        for unit, names in report["depends"].items():
            graph[unit].update(target for name in names if (target := _unit_of(name, units)) not in (None, unit))
    return [Cycle(package="", size=len(ring), modules=ring[:MAX_KNOT_NAMES]) for ring in cycles_in(graph)[:TOP]]


def _unit_of(name: str, units: set[str]) -> str | None:
    while name:
        if name in units:
            return name
        name = name.rpartition(".")[0]
    return None
