"""A pytest plugin for ``make crash``: prints at the end what was killed, how often, and what was found.

A test reports with ``record_property("crash", "what|points|kills|calls|violations")``; several lines are several properties.
"""

from __future__ import annotations

import pytest

COLUMNS = ("proof", "points", "kills", "calls", "violations")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    rows = sorted(
        (*str(value).split("|"), f"{report.duration:.0f} s")
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == "crash"
    )
    if not rows:
        return
    table = [(*COLUMNS, "took"), *rows, ("in all", *(_total(rows, column) for column in range(1, 5)), "")]
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    terminalreporter.section("what was killed, and what it did")
    for number, row in enumerate(table):
        if number in (1, len(table) - 1):
            terminalreporter.write_line("  ".join("-" * width for width in widths))
        cells = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        terminalreporter.write_line("  ".join([row[0].ljust(widths[0]), *cells]))


def _total(rows: list[tuple[str, ...]], column: int) -> str:
    """Add up what are plain numbers; ``551 seeds`` is not."""
    return f"{sum(int(row[column]) for row in rows if row[column].isdecimal()):,}"
