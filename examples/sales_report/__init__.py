"""A report on sales from any table of them, by three agents: every row accounted for, totals exact to the cent.

A clerk looks at the file and loads it, analysts take one segment each from two maps, a reporter writes what people read. Each result is
recorded before the next task uses it, so a run that is killed goes on after the last one; the rows themselves lie in work files. What
a handler does is a plain function of the module it is imported from; here is only who does what, after whom.

    python -m examples.sales_report --input file=sales.csv
    agenticflow run examples.sales_report --input file=sales.csv --workflow-id sales-1
"""

from __future__ import annotations

import time
from datetime import date
from pathlib import Path
from typing import Final

from agenticflow import Agent, PermanentError, TaskContext, TaskDefinition, WorkflowDefinition
from examples.sales_report.layout import Layout, Wishes, look
from examples.sales_report.measures import Found, Measured, find, measure
from examples.sales_report.report import Written, write
from examples.sales_report.rows import Loaded, Segment, load
from examples.sales_report.sample import make_sample

__all__ = ["DEFAULTS", "analyst", "clerk", "reporter", "workflow"]

DEFAULTS: Final[dict[str, object]] = {
    "file": "",  # none: a sample is made
    "output": "sales-report",
    "threshold": 5.0,  # robust standard deviations; one clean sale in a million is that far away
    "pause_seconds": 0.0,  # what each segment takes at least, for whoever wants to watch or to interrupt
    **dict.fromkeys(Wishes.__dataclass_fields__, ""),
}

MAX_NUMBER: Final = 1_000_000

clerk = Agent("clerk", {"data_loading"}, role="reads the file and accounts for every row")
analyst = Agent("analyst", {"statistics"}, role="measures one segment", concurrency=4)
reporter = Agent("reporter", {"report_generation"}, role="writes what people read")

workflow = WorkflowDefinition(
    [
        TaskDefinition(
            "look",
            "clerk",
            "look",
            {
                "file": "${input.file}",
                "output": "${input.output}",
                "wishes": {name: f"${{input.{name}}}" for name in Wishes.__dataclass_fields__},
            },
            timeout_seconds=3600,
        ),
        TaskDefinition(
            "load",
            "clerk",
            "load",
            {"layout": "${look.layout}", "folder": "${look.folder}"},
            dependencies={"look"},
            timeout_seconds=3600,
        ),
        TaskDefinition(
            "statistics",
            "analyst",
            "measure",
            {"segment": "${item}", "pause_seconds": "${input.pause_seconds}"},
            dependencies={"load"},
            for_each="${load.segments}",
            max_parallel=4,
        ),
        TaskDefinition(
            "anomalies",
            "analyst",
            "find",
            {
                "measured": "${item}",
                "first_day": "${load.first_day}",
                "last_day": "${load.last_day}",
                "threshold": "${input.threshold}",
            },
            dependencies={"statistics", "load"},
            for_each="${statistics}",
            max_parallel=4,
        ),
        TaskDefinition(
            "report",
            "reporter",
            "write",
            {
                "layout": "${look.layout}",
                "loaded": "${load}",
                "measured": "${statistics}",
                "found": "${anomalies}",
                "folder": "${look.folder}",
                "threshold": "${input.threshold}",
            },
            dependencies={"look", "load", "statistics", "anomalies"},
        ),
    ],
    name="sales-report",
    context=DEFAULTS,
    output="${report}",
)


@clerk.task("look")
def look_at(file: str, output: str, wishes: Wishes, context: TaskContext) -> dict[str, object]:
    """Find out how the file is laid out. Paths are made absolute: the run may go on from another directory."""
    given = context.input if isinstance(context.input, dict) else {}
    if unknown := sorted(given.keys() - DEFAULTS):
        raise PermanentError(f"there is no input {unknown[0]!r}", hint=f"there are {', '.join(DEFAULTS)}")
    for name in ("threshold", "pause_seconds"):
        number = given.get(name, 0)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not 0 <= number < MAX_NUMBER:
            raise PermanentError(f"{name} is {number!r}", hint="give a number, 0 or more")
    folder = Path(output).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = f"the report cannot be written to {str(folder)!r}: {error.strerror}"
        raise PermanentError(words, hint="name another folder with --input output=FOLDER") from None
    source = Path(file).expanduser().absolute() if file else folder / "sample.csv"
    if not file:
        source.write_bytes(make_sample().data)
    return {"layout": look(source, wishes), "folder": str(folder)}


@clerk.task("load")
def load_rows(layout: Layout, folder: str, context: TaskContext) -> Loaded:
    """Sort every row out."""
    return load(layout, Path(folder), context.raise_if_cancelled)


@analyst.task("measure")
def measure_segment(segment: Segment, pause_seconds: float) -> Measured:
    """Measure one segment, month by month."""
    time.sleep(pause_seconds)
    return measure(segment)


@analyst.task("find")
def find_anomalies(measured: Measured, first_day: str, last_day: str, threshold: float) -> Found:
    """Find what stands out in one segment."""
    return find(measured, date.fromisoformat(first_day), date.fromisoformat(last_day), threshold)


@reporter.task("write")
def write_report(
    layout: Layout, loaded: Loaded, measured: list[Measured], found: list[Found], folder: str, threshold: float
) -> Written:
    """Write both files; writing them again leaves the same bytes."""
    return write(layout, loaded, measured, found, Path(folder), threshold)
