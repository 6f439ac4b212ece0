"""Metrics as text, in the form that Prometheus and everything that speaks to it read (text format 0.0.4).

Our own thirty lines, because the format is frozen and small, and the client library brings a registry of its own, one for the process, in
which a count under a label takes four times as long; the tests read every page with that library's parser instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from agenticflow.observability.registry import Family, Labels, Spread

__all__ = ["CONTENT_TYPE", "as_text"]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def as_text(families: Iterable[Family]) -> str:
    """Return one page with all ``families``. A counter's samples end in ``_total``, as is usual there."""
    return "".join(f"{line}\n" for family in families for line in _lines(family))


def _lines(family: Family) -> Iterator[str]:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    yield f"# HELP {name} {_escaped(family.text)}"
    yield f"# TYPE {name} {family.kind}"
    for labels, value in family.series.items():
        pairs = _pairs(family.labels, labels)
        if not isinstance(value, Spread):
            yield f"{name}{_braces(pairs)} {_number(value)}"
            continue
        for bound, count in zip((*family.bounds, math.inf), accumulate(value.classes), strict=True):
            upper = f'le="{_number(bound)}"'
            yield f"{name}_bucket{_braces([*pairs, upper])} {count}"
        yield f"{name}_sum{_braces(pairs)} {_number(value.total)}"
        yield f"{name}_count{_braces(pairs)} {value.count}"


def _pairs(names: Labels, values: Labels) -> list[str]:
    return [
        f'{name}="{_escaped(value).replace(chr(34), chr(92) + chr(34))}"'
        for name, value in zip(names, values, strict=True)
    ]


def _braces(pairs: list[str]) -> str:
    return f"{{{','.join(pairs)}}}" if pairs else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    if math.isnan(value):
        return "NaN"
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
