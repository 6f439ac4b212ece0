"""The audit as one HTML page that needs nothing but itself: no script, no font, no picture, no network.

Pure: an ``Audit`` comes in, text goes out, always the same for the same audit. Its Content-Security-Policy
forbids loading and running anything, so that even a mistake in escaping could not do so. ``page.css`` is
written into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files

from agenticflow.demos.audit.report.charts import complexity_chart, risk_level, scatter, treemap
from agenticflow.demos.audit.report.text import (
    RISK_EXPLAINED,
    count,
    cycle_text,
    html_text,
    left_out,
    percent,
    place,
)
from agenticflow.demos.audit.shapes import Audit, Cycle, FunctionRow, LineCounts, PackageScore, Ranking

__all__ = ["render_html"]

MAX_PACKAGES = 200
OPEN_PACKAGES = 15
WIDE, NARROW = 1040, 356
"""Widths the charts are drawn for; the style sheet shows the one that fits."""


def render_html(audit: Audit) -> str:
    """The whole page. Tables are cut after the worst rows and say how many more there are."""
    survey, ranking = audit["survey"], audit["ranking"]
    style = files(__package__).joinpath("page.css").read_text(encoding="utf-8")
    sections = (
        _overview(ranking),
        _risk(ranking),
        _complexity(ranking),
        _documentation(ranking),
        _cycles(ranking),
        _findings(audit),
        _method(),
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Code audit</title>
<style>
{style}</style>
</head>
<body>
<header>
<p class="eyebrow">agenticflow demo</p>
<h1>Code audit</h1>
<p class="lead"><code>{html_text(survey["root"])}</code></p>
<p class="muted">{_summary(ranking)} Parsed with Python {html_text(survey["python"])}.</p>
</header>
<main>
{"".join(sections)}</main>
</body>
</html>
"""


def _summary(ranking: Ranking) -> str:
    totals = ranking["totals"]
    broken = totals["files"] - totals["analyzed_files"]
    return f"{count(totals['packages'])} packages, {count(totals['files'])} files, " + (
        "all of them analyzed." if not broken else f"{count(broken)} of them could not be analyzed."
    )


def _section(identity: str, title: str, content: str) -> str:
    heading = f'<h2 id="{identity}-title">{title}</h2>'
    return f'<section id="{identity}" aria-labelledby="{identity}-title">{heading}\n{content}</section>\n'


def _overview(ranking: Ranking) -> str:
    totals = ranking["totals"]
    tiles = (
        (count(totals["lines"]["total"]), "lines", f"{count(totals['lines']['code'])} of code"),
        (count(totals["functions"]), "functions", f"and {count(totals['classes'])} classes"),
        (
            f"{ranking['average_complexity']:.2f}",
            "average complexity",
            f"{count(totals['complexity'])} in all",
        ),
        (
            percent(ranking["documented"]),
            "documented",
            f"{count(totals['documented_names'])} of {count(totals['public_names'])} public names",
        ),
        (
            count(totals["cycles"]),
            "import cycles" if totals["cycles"] != 1 else "import cycle",
            f"{count(totals['modules_in_cycles'])} modules in a ring",
        ),
        (count(totals["findings"]), "findings", "files not read in full"),
    )
    cells = "".join(
        f'<div class="tile"><dt>{label}</dt><dd><span class="figure">{figure}</span>'
        f'<span class="muted">{note}</span></dd></div>'
        for figure, label, note in tiles
    )
    return _section("overview", "At a glance", f'<dl class="tiles">{cells}</dl>\n{_line_bar(totals["lines"])}')


def _line_bar(lines: LineCounts) -> str:
    parts = (
        ("code", lines["code"]),
        ("docstrings", lines["docstring"]),
        ("comments", lines["comment"]),
        ("blank", lines["blank"]),
    )
    total = lines["total"] or 1
    bar = "".join(
        f'<span class="kind-{name}" style="width:{100 * number / total:.2f}%"></span>' for name, number in parts
    )
    legend = "".join(
        f'<li><span class="swatch kind-{name}"></span>{name} <b>{count(number)}</b> '
        f'<span class="muted">{100 * number / total:.0f} %</span></li>'
        for name, number in parts
    )
    return f'<div class="line-bar" aria-hidden="true">{bar}</div><ul class="legend">{legend}</ul>\n'


def _in_both_widths(draw: Callable[[int, int], str], wide_height: int, narrow_height: int) -> str:
    return f'<div class="wide">{draw(WIDE, wide_height)}</div><div class="narrow">{draw(NARROW, narrow_height)}</div>'


def _risk(ranking: Ranking) -> str:
    scores = ranking["packages"]
    chart = _in_both_widths(lambda width, height: treemap(scores, width, height), 500, 620)
    legend = "".join(
        f'<li><span class="swatch level{level}"></span>{bounds}</li>'
        for level, bounds in enumerate(("below 10", "10-20", "20-30", "30-40", "40 and more"))
    )
    shown, folded = scores[:OPEN_PACKAGES], scores[OPEN_PACKAGES:MAX_PACKAGES]
    rest = ""
    if folded:
        more = len(scores) - OPEN_PACKAGES - len(folded)
        note = f'<p class="muted">… and {count(more)} more packages.</p>' if more else ""
        rest = (
            f"<details><summary>{count(len(folded))} calmer packages</summary>"
            f"{_package_table(folded, 'Calmer packages, by risk')}{note}</details>"
        )
    content = (
        "<p>Each rectangle is a package: its area is lines of code, its colour the risk score.</p>"
        f'<figure>{chart}<ul class="legend" aria-label="Risk score">{legend}</ul></figure>\n'
        f"{_package_table(shown, 'Packages with the highest risk')}{rest}\n{_risk_formula()}"
    )
    return _section("risk", "Where the risk is", content)


def _risk_formula() -> str:
    rows = "".join(
        f"<tr><td>{name}</td><td class=n>{weight}</td><td>{text}</td></tr>" for name, weight, text in RISK_EXPLAINED
    )
    return (
        "<details><summary>How the risk score is made</summary><p>A weighted sum of five shares, each between 0 and 1, "
        "so that 0 is calm and 100 the worst possible. The weights are a matter of taste.</p>"
        '<div class="scroll"><table><thead><tr><th scope="col">part</th><th scope="col" class=n>points</th>'
        f'<th scope="col">what it is</th></tr></thead><tbody>{rows}</tbody></table></div></details>\n'
    )


def _package_table(scores: Iterable[PackageScore], caption: str) -> str:
    heads = (
        "risk",
        "files",
        "code",
        "functions",
        "average",
        "worst",
        "longest",
        "documented",
        "cycles",
        "findings",
    )
    return _table(
        caption,
        ("package", *heads),
        (
            (
                f"<code>{html_text(score['name'])}</code>",
                f'<span class="chip level{risk_level(score["risk"])}">{score["risk"]:.1f}</span>',
                count(score["files"]),
                count(score["code"]),
                count(score["functions"]),
                f"{score['average_complexity']:.2f}",
                count(score["max_complexity"]),
                count(score["longest_function"]),
                percent(score["documented"]),
                count(score["cycles"]),
                count(score["findings"]),
            )
            for score in scores
        ),
    )


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], texts: int = 1) -> str:
    """A table of cells that are HTML already; the first ``texts`` columns hold text, the others numbers."""
    head = "".join(
        f'<th scope="col"{" class=n" if column >= texts else ""}>{name}</th>' for column, name in enumerate(heads)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<th scope="row">{cell}</th>' if not column else f"<td{' class=n' if column >= texts else ''}>{cell}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>\n"
        for row in rows
    )
    # The box scrolls sideways on a phone; with a tab stop it does so from the keyboard too.
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{caption}">'
        f"<table><caption>{caption}</caption>"
        f"<thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table></div>\n"
    )


def _complexity(ranking: Ranking) -> str:
    chart = _in_both_widths(lambda width, _: complexity_chart(ranking["complexity_ranks"], width), 0, 0)
    content = (
        "<p>Functions by cyclomatic complexity: the number of ways through them. Rank C and beyond is hard to test. "
        "The bars are logarithmic.</p>"
        f"<figure>{chart}</figure>\n"
        f'<div class="pair">{_function_table("Most complex functions", ranking["most_complex"])}'
        f"{_function_table('Longest functions', ranking['longest'])}</div>"
    )
    return _section("complexity", "Complexity", content)


def _function_table(caption: str, rows: Iterable[FunctionRow]) -> str:
    return _table(
        caption,
        ("function", "complexity", "lines"),
        (
            (
                f'<code>{html_text(row["name"])}</code><span class="place">{html_text(place(row))}</span>',
                count(row["complexity"]),
                count(row["length"]),
            )
            for row in rows
        ),
    )


def _documentation(ranking: Ranking) -> str:
    chart = _in_both_widths(lambda width, height: scatter(ranking["packages"], width, height), 460, 420)
    by_name = {score["name"]: score for score in ranking["packages"]}
    least = [by_name[name] for name in ranking["least_documented"] if name in by_name]
    table = _table(
        "Most public names without a docstring",
        ("package", "undocumented", "documented"),
        (
            (
                f"<code>{html_text(score['name'])}</code>",
                count(score["undocumented_names"]),
                percent(score["documented"]),
            )
            for score in least[:10]
        ),
    )
    content = (
        "<p>Complex and undocumented, top left, is where newcomers get lost. One circle per package, its area lines "
        "of code, its colour risk.</p>"
        f"<figure>{chart}</figure>\n{table}"
    )
    return _section("documentation", "Documentation", content)


def _cycles(ranking: Ranking) -> str:
    content = (
        _cycle_list("At import time", ranking["cycles"])
        + _cycle_list("Only with imports inside functions or for type checkers", ranking["deferred_cycles"])
        + _cycle_list("Between packages, at import time", ranking["knots"])
    )
    intro = "<p>Modules that import each other in a ring can only be understood, tested and moved together.</p>"
    return _section("cycles", "Import cycles", intro + content)


def _cycle_list(title: str, cycles: Sequence[Cycle]) -> str:
    if not cycles:
        return f'<h3>{title}</h3><p class="muted">None.</p>\n'
    items = []
    for cycle in cycles:
        names, more = cycle_text(cycle)
        shown = " ".join(f"<code>{html_text(name)}</code>" for name in names)
        tail = f' <span class="muted">and {count(more)} more</span>' if more else ""
        items.append(f'<li><span class="chip">{count(cycle["size"])}</span> {shown}{tail}</li>')
    return f'<h3>{title}</h3><ul class="rings">{"".join(items)}</ul>\n'


def _findings(audit: Audit) -> str:
    ranking = audit["ranking"]
    found = '<p class="muted">None: every file could be read and parsed.</p>'
    if ranking["findings"]:
        found = _table(
            "Files that could not be analyzed in full",
            ("place", "kind", "what"),
            (
                (
                    f"<code>{html_text(place(row))}</code>",
                    f'<span class="chip">{html_text(row["kind"])}</span>',
                    html_text(row["message"]),
                )
                for row in ranking["findings"]
            ),
            texts=3,
        )
        more = ranking["totals"]["findings"] - len(ranking["findings"])
        found += f'<p class="muted">… and {count(more)} more.</p>' if more > 0 else ""
    skipped, more = left_out(audit["survey"])
    if skipped:
        items = "".join(f"<li><code>{html_text(row['path'])}</code> {html_text(row['reason'])}</li>" for row in skipped)
        tail = f'<p class="muted">… and {count(more)} more.</p>' if more > 0 else ""
        total = len(skipped) + more
        found += f"<details><summary>{count(total)} left out by the survey</summary><ul>{items}</ul>{tail}</details>"
    return _section("findings", "Findings", found)


def _method() -> str:
    return _section(
        "method",
        "How it was counted",
        "<ul><li>Lines are physical lines; code, comments, docstrings and blank lines add up to them.</li>"
        "<li>Complexity is McCabe's, by the rules of radon; each nested function counts for itself.</li>"
        "<li>Public names are those that pydocstyle and ruff want documented.</li>"
        "<li>An import leads to the most specific module; a package's own parents are not counted.</li>"
        "<li>Nothing was executed: the audit reads source text only.</li></ul>",
    )
