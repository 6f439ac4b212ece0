"""The audit as GitHub-flavoured Markdown, for a pull request or a terminal.

Pure: an ``Audit`` comes in, text goes out, always the same for the same audit. Names from outside only ever
appear in code spans (``text.markdown_code``), where nothing in them can become a link, a heading or HTML.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from agenticflow.demos.audit.report.text import (
    RISK_EXPLAINED,
    count,
    cycle_text,
    left_out,
    markdown_code,
    percent,
    place,
)
from agenticflow.demos.audit.shapes import RANK_LETTERS, Audit, Cycle, FunctionRow, Ranking

__all__ = ["render_markdown"]

MAX_PACKAGES = 50


def render_markdown(audit: Audit) -> str:
    """The whole report; tables are cut after the worst rows and say so."""
    survey, ranking = audit["survey"], audit["ranking"]
    totals = ranking["totals"]
    lines = totals["lines"]
    blocks = [
        "# Code audit",
        f"{markdown_code(survey['root'])}, parsed with Python {survey['python']}.",
        _table(
            ("figure", "value"),
            (
                ("packages", count(totals["packages"])),
                ("files", f"{count(totals['files'])}, {count(totals['analyzed_files'])} analyzed"),
                ("lines", count(lines["total"])),
                ("of these code", count(lines["code"])),
                ("of these comments", count(lines["comment"])),
                ("of these docstrings", count(lines["docstring"])),
                ("of these blank", count(lines["blank"])),
                ("functions", count(totals["functions"])),
                ("classes", count(totals["classes"])),
                ("cyclomatic complexity", count(totals["complexity"])),
                ("average complexity of a function", f"{ranking['average_complexity']:.2f}"),
                ("public names documented", percent(ranking["documented"])),
                ("import cycles", f"{count(totals['cycles'])} at import time"),
                ("findings", count(totals["findings"])),
            ),
        ),
        "## Packages by risk",
        _packages(ranking),
        "Risk is a sum of shares, 0 to 100: "
        + "; ".join(f"{weight} × {meaning}" for _, weight, meaning in RISK_EXPLAINED)
        + ".",
        "## Complexity",
        _table(
            ("rank", "functions"),
            ((letter, count(ranking["complexity_ranks"].get(letter, 0))) for letter in RANK_LETTERS),
        ),
        "### Most complex functions",
        _functions(ranking["most_complex"]),
        "### Longest functions",
        _functions(ranking["longest"]),
        "## Import cycles",
        _cycles("At import time", ranking["cycles"]),
        _cycles("Only with imports inside functions or for type checkers", ranking["deferred_cycles"]),
        _cycles("Between packages, at import time", ranking["knots"]),
        "## Findings",
        _findings(audit),
    ]
    return "\n\n".join(blocks) + "\n"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    body = [f"| {' | '.join(row)} |" for row in rows]
    if not body:
        return "None."
    rule = "| --- " + "| ---: " * (len(heads) - 1) + "|"
    return "\n".join([f"| {' | '.join(heads)} |", rule, *body])


def _packages(ranking: Ranking) -> str:
    shown = ranking["packages"][:MAX_PACKAGES]
    table = _table(
        (
            "package",
            "risk",
            "files",
            "code",
            "functions",
            "average",
            "worst",
            "longest",
            "documented",
            "findings",
        ),
        (
            (
                markdown_code(score["name"]),
                f"{score['risk']:.1f}",
                count(score["files"]),
                count(score["code"]),
                count(score["functions"]),
                f"{score['average_complexity']:.2f}",
                count(score["max_complexity"]),
                count(score["longest_function"]),
                percent(score["documented"]),
                count(score["findings"]),
            )
            for score in shown
        ),
    )
    return table + _more(len(ranking["packages"]) - len(shown), "packages")


def _more(number: int, what: str) -> str:
    return f"\n\n… and {count(number)} more {what}." if number > 0 else ""


def _functions(rows: Iterable[FunctionRow]) -> str:
    return _table(
        ("function", "place", "complexity", "lines"),
        (
            (
                markdown_code(row["name"]),
                markdown_code(place(row)),
                count(row["complexity"]),
                count(row["length"]),
            )
            for row in rows
        ),
    )


def _cycles(title: str, cycles: Sequence[Cycle]) -> str:
    if not cycles:
        return f"{title}: none."
    items = [f"{title}:", ""]
    for cycle in cycles:
        names, more = cycle_text(cycle)
        tail = f" and {count(more)} more" if more else ""
        items.append(f"- {count(cycle['size'])}: {', '.join(markdown_code(name) for name in names)}{tail}")
    return "\n".join(items)


def _findings(audit: Audit) -> str:
    ranking = audit["ranking"]
    table = _table(
        ("place", "kind", "what"),
        ((markdown_code(place(row)), row["kind"], markdown_code(row["message"])) for row in ranking["findings"]),
    )
    table += _more(ranking["totals"]["findings"] - len(ranking["findings"]), "findings")
    skipped, more = left_out(audit["survey"])
    if not skipped:
        return table
    return (
        f"{table}\n\nLeft out by the survey:\n\n"
        + "\n".join(f"- {markdown_code(row['path'])}: {row['reason']}" for row in skipped)
        + _more(more, "entries")
    )
