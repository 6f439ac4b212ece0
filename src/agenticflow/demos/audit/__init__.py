"""The audit demo: agents read a real code base and write one report about it.

``survey`` finds the packages, ``analyze_package`` measures one of them, ``rank`` joins all results,
``write_report`` leaves one HTML file and one Markdown file. Each is a plain function from JSON-able values to
JSON-able values, gives equal answers for equal trees and may run twice, so an engine may retry it wherever it
likes.

Nothing in here executes, imports or changes the code that it reads.
"""

from agenticflow.demos.audit.analysis import analyze_package
from agenticflow.demos.audit.ranking import rank
from agenticflow.demos.audit.report import render_html, render_markdown, write_report
from agenticflow.demos.audit.shapes import (
    Audit,
    AuditInputError,
    Package,
    PackageReport,
    Ranking,
    ReportFiles,
    Survey,
)
from agenticflow.demos.audit.survey import survey

__all__ = [
    "Audit",
    "AuditInputError",
    "Package",
    "PackageReport",
    "Ranking",
    "ReportFiles",
    "Survey",
    "analyze_package",
    "rank",
    "render_html",
    "render_markdown",
    "survey",
    "write_report",
]
