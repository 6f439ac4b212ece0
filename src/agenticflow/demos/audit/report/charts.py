"""The page's charts, as inline SVG and nothing else.

Pure functions of the ranking; they decide geometry only. Colours are class names that ``page.css`` fills for
light and dark, names are escaped by ``text.html_text``. Each chart says in its ``aria-label`` what it shows;
exact figures are in the tables beside it. A chart is drawn for a given width, because text in a shrunk
picture cannot be read on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from agenticflow.demos.audit.report.text import count, html_text, percent
from agenticflow.demos.audit.shapes import PackageScore

__all__ = ["Box", "complexity_chart", "risk_level", "scatter", "squarified", "treemap"]

TREEMAP_MAX = 80
SCATTER_MAX = 150
CHAR_WIDTH = 7.3
"""Width of an average character at the charts' 12-pixel text; deciding what fits needs no font metrics."""

RANK_RANGES = (("A", "1-5"), ("B", "6-10"), ("C", "11-20"), ("D", "21-30"), ("E", "31-40"), ("F", "41+"))


@dataclass(frozen=True)
class Box:
    """A rectangle in the picture's units, with y growing downwards."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Circle:
    """A circle in the picture's units."""

    x: float
    y: float
    radius: float

    @property
    def core(self) -> Box:
        """The part that no label may cover."""
        half = self.radius * 0.6
        return Box(self.x - half, self.y - half, 2 * half, 2 * half)


def risk_level(risk: float) -> int:
    """0 to 4, the colour of a risk; the bounds are printed in the treemap's legend."""
    return sum(risk >= bound for bound in (10, 20, 30, 40))


def squarified(areas: Sequence[float], box: Box) -> list[Box]:
    """One rectangle per area, largest first, filling ``box`` with shapes as square as the order allows.

    Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000). ``areas`` are positive and in descending order;
    only their proportions matter.
    """
    total = sum(areas)
    if not areas or total <= 0:
        return []
    scale = box.width * box.height / total
    left = [area * scale for area in areas]
    done: list[Box] = []
    while left:
        side = min(box.width, box.height)
        taken = 1
        while taken < len(left) and _worst(left[: taken + 1], side) <= _worst(left[:taken], side):
            taken += 1
        row, left = left[:taken], left[taken:]
        thickness = sum(row) / side if side else 0.0
        offset = 0.0
        for area in row:
            length = area / thickness if thickness else 0.0
            if box.width >= box.height:
                done.append(Box(box.x, box.y + offset, thickness, length))
            else:
                done.append(Box(box.x + offset, box.y, length, thickness))
            offset += length
        if box.width >= box.height:
            box = Box(box.x + thickness, box.y, max(box.width - thickness, 0.0), box.height)
        else:
            box = Box(box.x, box.y + thickness, box.width, max(box.height - thickness, 0.0))
    return done


def _worst(row: Sequence[float], side: float) -> float:
    """The largest ratio of sides in a row of rectangles along ``side``."""
    total = sum(row)
    if not total or not side:
        return math.inf
    return max(side * side * max(row) / (total * total), total * total / (side * side * min(row)))


def treemap(scores: Sequence[PackageScore], width: int, height: int) -> str:
    """Area is lines of code, colour is risk. The smallest of very many packages share one rectangle."""
    sized = sorted((s for s in scores if s["code"]), key=lambda s: (-s["code"], s["name"]))
    shown, rest = sized[:TREEMAP_MAX], sized[TREEMAP_MAX:]
    rows = [(s["name"], s["code"], s["risk"]) for s in shown]
    if rest:
        code = sum(s["code"] for s in rest)
        risk = sum(s["risk"] * s["code"] for s in rest) / code
        rows.append((f"{len(rest)} smaller", code, risk))
        rows.sort(key=lambda row: -row[1])
    parts = []
    for (name, code, risk), box in zip(
        rows, squarified([row[1] for row in rows], Box(0, 0, width, height)), strict=True
    ):
        label = f"{html_text(name)}: {count(code)} lines of code, risk {risk:.1f}"
        parts.append(f'<g class="level{risk_level(risk)}"><title>{label}</title>{_rectangle(box, inset=1)}')
        parts += _inside_labels(box, name, f"{count(code)} · {risk:.0f}")
        parts.append("</g>")
    return _svg(width, height, "Packages by lines of code, coloured by risk", "".join(parts))


def _rectangle(box: Box, *, inset: float) -> str:
    width, height = max(box.width - 2 * inset, 0.5), max(box.height - 2 * inset, 0.5)
    place = f'x="{box.x + inset:.1f}" y="{box.y + inset:.1f}"'
    return f'<rect {place} width="{width:.1f}" height="{height:.1f}" rx="3"/>'


_ONE_LINE, _TWO_LINES = 22, 40
_LEAST_ROOM = 4


def _inside_labels(box: Box, name: str, figures: str) -> list[str]:
    room = int((box.width - 12) / CHAR_WIDTH)
    if box.height < _ONE_LINE or room < _LEAST_ROOM:
        return []
    labels = [_text(box.x + 7, box.y + 17, _shortened(name, room), "strong")]
    if box.height >= _TWO_LINES and len(figures) <= room:
        labels.append(_text(box.x + 7, box.y + 33, figures))
    return labels


def _shortened(name: str, room: int) -> str:
    return name if len(name) <= room else f"{name[: room - 1]}…"


def _text(x: float, y: float, text: str, classes: str = "", anchor: str = "") -> str:
    attributes = (f' class="{classes}"' if classes else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{html_text(text)}</text>'


def complexity_chart(ranks: dict[str, int], width: int) -> str:
    """How many functions have which rank, logarithmic because A outnumbers F by far everywhere."""
    row, label, gap = 34, 74, 118
    total = sum(ranks.values())
    longest = max((math.log10(number + 1) for number in ranks.values()), default=0.0) or 1.0
    parts = []
    for position, (letter, bounds) in enumerate(RANK_RANGES):
        number = ranks.get(letter, 0)
        y = position * row
        length = (width - label - gap) * math.log10(number + 1) / longest
        parts.append(_text(4, y + 21, letter, "strong"))
        parts.append(_text(22, y + 21, bounds, "muted"))
        bar = Box(label, y + 4, max(length, 1.0), row - 10)
        parts.append(f'<g class="level{max(position - 1, 0)}">{_rectangle(bar, inset=0)}</g>')
        share = f"{100 * number / total:.1f} %" if total else "-"
        parts.append(_text(label + length + 8, y + 21, f"{count(number)} · {share}"))
    return _svg(
        width,
        row * len(RANK_RANGES),
        "Functions by rank of cyclomatic complexity, logarithmic",
        "".join(parts),
    )


def scatter(scores: Sequence[PackageScore], width: int, height: int) -> str:
    """Documented share against average complexity, one circle per package, its area the lines of code."""
    points = [s for s in scores if s["documented"] is not None and s["functions"]]
    points = sorted(points, key=lambda s: (-s["code"], s["name"]))[:SCATTER_MAX]
    left, right, top, bottom = 40, 16, 18, 42
    ceiling = max(math.ceil(max((s["average_complexity"] for s in points), default=1.0)), 2)
    largest = max((s["code"] for s in points), default=1) or 1
    biggest = min(width, height) / 17
    plot = Box(left, top, width - left - right, height - top - bottom)
    parts = _axes(plot, ceiling)
    labels: list[str] = []
    circles: list[tuple[PackageScore, Circle]] = []
    for score in points:
        x = plot.x + plot.width * (score["documented"] or 0.0)
        y = plot.y + plot.height * (1 - score["average_complexity"] / ceiling)
        circle = Circle(x, y, max(biggest * math.sqrt(score["code"] / largest), 3.0))
        circles.append((score, circle))
        tip = (
            f"{html_text(score['name'])}: {percent(score['documented'])} documented, "
            f"average complexity {score['average_complexity']:.2f}, risk {score['risk']:.1f}"
        )
        parts.append(
            f'<circle class="level{risk_level(score["risk"])}" cx="{x:.1f}" cy="{y:.1f}"'
            f' r="{circle.radius:.1f}"><title>{tip}</title></circle>'
        )
    taken = [circle.core for _, circle in circles]
    for score, circle in sorted(circles, key=lambda pair: (-pair[0]["risk"], pair[0]["name"])):
        labels += _free_label(_shortened(score["name"], 26), circle, taken, plot)
    title = "Documented share of public names against average complexity, one circle per package"
    return _svg(width, height, title, "".join(parts + labels))


def _axes(plot: Box, ceiling: int) -> list[str]:
    bottom, right = plot.y + plot.height, plot.x + plot.width
    parts = []
    step = max(1, math.ceil(ceiling / 8))
    for value in range(0, ceiling + 1, step):
        y = bottom - plot.height * value / ceiling
        parts.append(f'<line class="grid" x1="{plot.x:.1f}" x2="{right:.1f}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(_text(plot.x - 8, y + 4, str(value), "muted", "end"))
    for value in range(0, 101, 25):
        x = plot.x + plot.width * value / 100
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{plot.y:.1f}" y2="{bottom:.1f}"/>')
        parts.append(_text(x, bottom + 17, f"{value} %", "muted", "end" if x >= right else "middle"))
    parts.append(_text(plot.x + plot.width / 2, bottom + 35, "public names with a docstring →", "muted", "middle"))
    parts.append(_text(plot.x + 6, plot.y - 5, "↑ average complexity", "muted"))
    return parts


def _free_label(name: str, circle: Circle, taken: list[Box], plot: Box) -> list[str]:
    """The label right of its circle, else left, else above, else none: nobody can read a heap of names."""
    width, height = len(name) * CHAR_WIDTH, 14.0
    middle = circle.y - height / 2
    places = (
        Box(circle.x + circle.radius + 3, middle, width, height),
        Box(circle.x - circle.radius - 3 - width, middle, width, height),
        Box(circle.x - width / 2, circle.y - circle.radius - height - 1, width, height),
    )
    for box in places:
        fits = plot.x <= box.x and box.x + box.width <= plot.x + plot.width + 14 and box.y >= plot.y
        if fits and not any(box.overlaps(other) for other in taken):
            taken.append(box)
            return [_text(box.x, box.y + 11, name, "halo")]
    return []


def _svg(width: int, height: int, title: str, content: str) -> str:
    label = html_text(title)
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{content}</svg>'
