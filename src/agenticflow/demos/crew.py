"""The crew of the audit demo: four agents, and the workflow that they share.

A surveyor finds the packages, analysts take one package each from a dynamic map, a ranker joins, a reporter writes. The handlers are the
plain functions of ``demos.audit``; all that is added here is who does what, after whom, and a trace of what really ran, for the demo that
kills itself.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Final

from agenticflow.agents import Agent
from agenticflow.demos.audit import (
    Audit,
    Package,
    PackageReport,
    Ranking,
    ReportFiles,
    Survey,
    analyze_package,
    rank,
    survey,
    write_report,
)
from agenticflow.orchestration import TaskDefinition, WorkflowDefinition

__all__ = ["AUDIT", "analyze", "audit_agents", "audit_input", "ran"]

AUDIT: Final = WorkflowDefinition(
    [
        TaskDefinition(
            "survey", "surveyor", "survey", {"path": "${input.path}", "include_tests": "${input.include_tests}"}
        ),
        TaskDefinition(
            "analyze",
            "analyst",
            "analyze",
            {
                "root": "${survey.root}",
                "package": "${item}",
                "trace": "${input.trace}",
                "pace_seconds": "${input.pace_seconds}",
            },
            dependencies={"survey"},
            for_each="${survey.packages}",
        ),
        TaskDefinition("rank", "ranker", "rank", {"packages": "${analyze}"}, dependencies={"analyze"}),
        TaskDefinition(
            "report",
            "reporter",
            "report",
            {"audit": {"survey": "${survey}", "ranking": "${rank}"}, "directory": "${input.output}"},
            dependencies={"survey", "rank"},
        ),
    ],
    name="audit",
    output={"totals": "${rank.totals}", "report": "${report}"},
)


def audit_input(
    path: str, output: Path, *, include_tests: bool = False, trace: Path | None = None, pace_seconds: float = 0.0
) -> dict[str, object]:
    """Return the workflow input. Paths are made absolute: the run may go on from another directory."""
    return {
        "path": str(Path(path).expanduser().absolute()),
        "include_tests": include_tests,
        "output": str(output.expanduser().absolute()),
        "trace": "" if trace is None else str(trace.absolute()),
        "pace_seconds": pace_seconds,
    }


def audit_agents() -> list[Agent]:
    """Return the crew, one analyst's seat for each processor."""
    surveyor = Agent("surveyor", {"code_survey"}, role="finds what there is to audit")
    analyst = Agent("analyst", {"code_analysis"}, role="measures one package", concurrency=os.cpu_count() or 1)
    ranker = Agent("ranker", {"ranking"}, role="joins all measurements into one order")
    reporter = Agent("reporter", {"report_generation"}, role="writes what people read")
    surveyor.task("survey")(look_around)
    analyst.task("analyze", run_in="process")(analyze)
    ranker.task("rank")(put_in_order)
    reporter.task("report")(write)
    return [surveyor, analyst, ranker, reporter]


def look_around(path: str, include_tests: bool) -> Survey:
    """Find the packages."""
    return survey(path, include_tests=include_tests)


def analyze(root: str, package: Package, trace: str, pace_seconds: float) -> PackageReport:
    """Measure one package, in a process of its own.

    Leaves a line in ``trace`` when there is one, and takes at least ``pace_seconds``, so that a small code base too has a middle in which
    the demo can be killed.
    """
    if trace:
        _append(trace, package["name"])
    time.sleep(pace_seconds)
    return analyze_package(root, package)


def put_in_order(packages: list[PackageReport]) -> Ranking:
    """Join the reports."""
    return rank(packages)


def write(audit: Audit, directory: str) -> ReportFiles:
    """Write both files; writing them again leaves the same bytes."""
    return write_report(audit, directory)


def _append(trace: str, line: str) -> None:
    """Add a line in one write, so that lines of several processes do not mix."""
    descriptor = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{json.dumps(line)}\n".encode())
    finally:
        os.close(descriptor)


def ran(trace: Path) -> list[str]:
    """Return the packages whose analysis began, in that order; one that began twice stands there twice."""
    if not trace.exists():
        return []
    return [json.loads(line) for line in trace.read_text(encoding="utf-8").splitlines()]
