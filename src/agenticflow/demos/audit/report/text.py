"""Words and numbers as both reports show them, and the two ways of escaping.

No text from outside reaches a report except through ``html_text`` or ``markdown_code``.
"""

from __future__ import annotations

import html
import re

from agenticflow.demos.audit.shapes import Cycle, Finding, FunctionRow, Skipped, Survey

__all__ = [
    "RISK_EXPLAINED",
    "count",
    "cycle_text",
    "html_text",
    "left_out",
    "markdown_code",
    "percent",
    "place",
    "visible",
]

RISK_EXPLAINED = (
    ("complexity", "35", "share of all cyclomatic complexity that sits in functions above 10"),
    ("documentation", "20", "share of public names without a docstring"),
    ("length", "20", "share of function lines that sit in functions of more than 60 lines"),
    ("cycles", "15", "share of modules caught in a ring of imports at import time"),
    ("broken", "10", "share of files that could not be analyzed"),
)
"""Part, weight in points, meaning; a test holds the weights against ``ranking.RISK_WEIGHTS``."""


def visible(text: str) -> str:
    """The text with everything that does not print written as an escape.

    Line breaks, terminal escapes, lone surrogates and marks that turn the direction of writing could
    otherwise make a file name look like another one.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def html_text(text: str) -> str:
    """Safe as the text of an element and inside a quoted attribute."""
    return html.escape(visible(text), quote=True)


def markdown_code(text: str) -> str:
    """A code span, which renders nothing of what is in it, safe inside a table cell."""
    shown = visible(text).replace("|", "\\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def count(number: int) -> str:
    """With thousands set apart."""
    return f"{number:,}"


def percent(share: float | None) -> str:
    """None is a share of nothing."""
    return "-" if share is None else f"{100 * share:.0f} %"


def place(row: FunctionRow | Finding) -> str:
    """``file:line``, as editors understand it; findings about a whole file have no line."""
    return f"{row['path']}:{row['line']}" if row["line"] else row["path"]


def cycle_text(cycle: Cycle) -> tuple[list[str], int]:
    """The names to show and how many more there are."""
    return cycle["modules"], cycle["size"] - len(cycle["modules"])


def left_out(survey: Survey) -> tuple[list[Skipped], int]:
    """The rows of what the survey left out, and how many more there are."""
    return survey["skipped"], sum(survey["skipped_counts"].values()) - len(survey["skipped"])
