"""The benchmark: the same work done by us, by each peer in its own environment, and by a bare loop, in one run.

``python benchmarks/run.py [--only CASE] [--peers NAME,…] [--quick] [--json FILE]``, or ``make bench``. Contestants take turns
within a case (A B A B …), so that a machine that slows down slows all of them; the median counts. Every figure is measured in
this run. A contestant that cannot be built, fails or takes too long is named with the reason, and the others go on.

Standard library only. How to read the output, and how fair it is: ``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.cases import CASES, CONTESTANTS, OURS, Bar, Case, Contestant, Metric
from benchmarks.environments import EnvironmentNotBuilt, interpreter

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
REPEATS = 3
BUDGET_SECONDS = 840.0
"""Of a default run without building environments; what does not fit any more is reported as not measured."""
QUICK_BUDGET_SECONDS = 170.0
QUICK_LIMIT_SECONDS = 30.0
SPREAD = 1.5
"""A slowest sample this many times slower than the fastest is mentioned: the machine was busy with something else."""


@dataclass
class Taken:
    """What one contestant did in one case."""

    size: int
    samples: list[dict[str, Any]] = field(default_factory=list)
    failure: str | None = None
    skipped: str | None = None
    """Why it did not take part, in its own words."""

    def median(self, key: str) -> float | None:
        """Return the median of a figure over all samples that have it."""
        values = [float(sample[key]) for sample in self.samples if key in sample]
        return statistics.median(values) if values else None


Measured = dict[str, dict[str, Taken]]
"""By case, then by contestant."""


# ------------------------------------------------------------------------------------------------ measuring


def once(python: Path, contestant: Contestant, case: Case, size: int, limit: float) -> dict[str, Any] | str:
    """Run one case of one contestant in a process of its own; return its figures, or why there are none."""
    command = [str(python), str(HERE / contestant.script), case.name, "--size", str(size)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=os.environ["BENCH_WORKDIR"],
        start_new_session=True,  # so that its own children end with it
    )
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        return f"took more than {limit:.0f} s"
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    if process.returncode != 0:
        return f"exit code {process.returncode}: {_last_line(errors)[:300]}"
    try:
        figures = json.loads(_last_line(output))
    except ValueError:
        return f"printed no figures: {_last_line(output)[:200]!r}"
    return figures if isinstance(figures, dict) else f"printed no figures: {figures!r:.200}"


def _last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "(nothing)"


def measure(
    cases: Sequence[Case], pythons: Mapping[str, Path], *, quick: bool, repeats: int, deadline: float
) -> Measured:
    """Run everything, turn by turn. After a failure a contestant sits out the rest of that case."""
    measured: Measured = {}
    for case in cases:
        print(f"{case.name}: {case.title}", file=sys.stderr, flush=True)
        taken = measured[case.name] = {
            contestant.name: Taken(size_of(case, contestant, quick))
            for contestant in CONTESTANTS
            if contestant.name in pythons and takes_part(contestant, case)
        }
        for _ in range(repeats):
            for contestant in CONTESTANTS:
                mine = taken.get(contestant.name)
                if mine is None or mine.failure or mine.skipped:
                    continue
                left = deadline - time.perf_counter()
                if left < 1:
                    if not mine.samples:
                        mine.failure = "not measured: the time of the whole run was used up"
                    continue
                limit = min(left, QUICK_LIMIT_SECONDS if quick else case.limit_seconds)
                outcome = once(pythons[contestant.name], contestant, case, mine.size, limit)
                if isinstance(outcome, str):
                    mine.failure = outcome
                elif "skipped" in outcome:
                    mine.skipped = str(outcome["skipped"])
                else:
                    mine.samples.append(outcome)
    return measured


def takes_part(contestant: Contestant, case: Case) -> bool:
    """Tell whether it has this case."""
    if case.ours_alone or case.against:
        return contestant.name == OURS or contestant.name in case.against
    return case.name not in contestant.lacks


def size_of(case: Case, contestant: Contestant, quick: bool) -> int:
    """Return how much work: the case's size, less where the contestant's cost grows faster than the work."""
    size = case.quick if quick else case.size
    return min(size, contestant.sizes.get(case.name, size))


# ------------------------------------------------------------------------------------------------ judging


@dataclass
class Row:
    """One line of the table."""

    case: Case
    metric: Metric
    figures: dict[str, float]
    ratios: dict[str, float]
    """How many times better ours is; above 1 ours is better, whichever way the figure points."""
    floor: float | None
    goal: float | None
    verdict: str


def rows(cases: Sequence[Case], measured: Measured) -> list[Row]:
    """Return a line per metric, judged."""
    found: list[Row] = []
    for case in cases:
        for metric in case.metrics:
            medians = {name: taken.median(metric.key) for name, taken in measured[case.name].items()}
            figures = {name: value for name, value in medians.items() if value is not None}
            ours = figures.get(OURS)
            ratios = {
                name: (ours / value if metric.higher_is_better else value / ours)
                for name, value in figures.items()
                if name != OURS and ours and value
            }
            floor = bar_value(metric.floor, figures, metric) if metric.floor else None
            goal = bar_value(metric.goal, figures, metric) if metric.goal else None
            mine = measured[case.name].get(OURS)
            words = "skipped" if mine is not None and mine.skipped else verdict(metric, ours, floor, goal)
            found.append(Row(case, metric, figures, ratios, floor, goal, words))
    return found


def bar_value(bar: Bar, figures: Mapping[str, float], metric: Metric) -> float | None:
    """Return the bar as a value, or nothing when none of those it is a multiple of was measured."""
    if not bar.of:
        return bar.value
    others = [figures[name] for name in bar.of if name in figures]
    if not others:
        return None
    return bar.value * (max(others) if metric.higher_is_better else min(others))


def verdict(metric: Metric, ours: float | None, floor: float | None, goal: float | None) -> str:
    """Return what the figure is worth, in words."""
    if ours is None:
        return "not measured"
    if metric.floor is None:
        return "-"

    def met(bar: float) -> bool:
        return ours >= bar if metric.higher_is_better else ours <= bar

    if floor is None:
        return f"no floor: {', '.join(metric.floor.of)} not measured"
    if not met(floor):
        return "BELOW FLOOR"
    if metric.goal is None:
        return "floor met"
    if goal is None:
        return f"floor met; no goal: {', '.join(metric.goal.of)} not measured"
    return "goal met" if met(goal) else "floor met"


# ------------------------------------------------------------------------------------------------ showing


def number(value: float | None) -> str:
    """Return a figure with as many digits as it deserves."""
    if value is None:
        return "?"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def bar_text(bar: Bar | None, value: float | None) -> str:
    """Return a bar for the table: the value, and what it is a multiple of."""
    if bar is None:
        return "-"
    if not bar.of:
        return number(value)
    return f"{number(value)} ({bar.value:.3g} x {'/'.join(bar.of)})"


def table(found: Sequence[Row], names: Sequence[str], measured: Measured) -> str:
    """Return the table as text: a figure per contestant, behind it how many times better ours is."""
    lines = [["case", "unit", *names, "floor", "goal", "verdict"]]
    for row in found:
        cells = [row.case.name, row.metric.unit]
        for name in names:
            taken = measured[row.case.name].get(name)
            if taken is None:
                cells.append("-")
            elif name not in row.figures:
                cells.append("skipped" if taken.skipped else "failed")
            else:
                ratio = f" ({row.ratios[name]:.3g}x)" if name in row.ratios else ""
                cells.append(number(row.figures[name]) + ratio)
        metric = row.metric
        lines.append([*cells, bar_text(metric.floor, row.floor), bar_text(metric.goal, row.goal), row.verdict])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rule = ["-" * width for width in widths]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in [lines[0], rule, *lines[1:]]
    )


def notes(
    cases: Sequence[Case], measured: Measured, missing: Mapping[str, str], chosen: Sequence[Contestant]
) -> list[str]:
    """Return what a reader must know beside the figures: who is missing where and why, other sizes, ways, unrest."""
    remarks = [f"{name}: NOT MEASURED AT ALL: {reason}" for name, reason in missing.items()]
    for contestant in chosen:
        name = contestant.name
        taken_by_case = {case: measured[case.name][name] for case in cases if name in measured[case.name]}
        failures = [(taken.failure, case.name) for case, taken in taken_by_case.items() if taken.failure]
        remarks += [f"{name} FAILED in {where}: {reason}" for reason, where in grouped(failures)]
        skips = [(taken.skipped, case.name) for case, taken in taken_by_case.items() if taken.skipped]
        remarks += [f"{name} skipped {where}: {reason}" for reason, where in grouped(skips)]
        sizes = [
            (f"{taken.size:,}", case.name) for case, taken in taken_by_case.items() if case.name in contestant.sizes
        ]
        remarks += [f"{name} ran {where} at size {size}, where it is faster" for size, where in grouped(sizes)]
        lacks = [(contestant.lacks[case.name], case.name) for case in cases if case.name in contestant.lacks]
        remarks += [f"{name} does not have {where}: {reason}" for reason, where in grouped(lacks)]
        for case, taken in taken_by_case.items():
            if ways := ways_text(taken):
                remarks.append(f"{name} ran {case.name} in several ways, the fastest counts; per second: {ways}")
            rates = [float(sample["per_second"]) for sample in taken.samples]
            if rates and max(rates) > SPREAD * min(rates):
                spread = f"{number(min(rates))} to {number(max(rates))} per second"
                remarks.append(f"{name} was unsteady in {case.name}: {spread}; run it again on a quiet machine")
    return remarks


def grouped(pairs: Sequence[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield each reason once with all the cases it holds for."""
    cases: dict[str, list[str]] = {}
    for reason, case in pairs:
        cases.setdefault(reason, []).append(case)
    yield from ((reason, ", ".join(names)) for reason, names in cases.items())


def ways_text(taken: Taken) -> str:
    """Return the median rate of each way in which a contestant did a case, or nothing when there was only one."""
    rates: dict[str, list[float]] = {}
    for sample in taken.samples:
        for way, value in sample.get("variants", {}).items():
            rates.setdefault(way, []).append(float(value))
    return ", ".join(f"{way} {number(statistics.median(values))}" for way, values in rates.items())


# ------------------------------------------------------------------------------------------------ the whole


def prepare(chosen: Sequence[Contestant]) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the interpreter of each contestant, and why some have none."""
    pythons: dict[str, Path] = {}
    missing: dict[str, str] = {}
    for contestant in chosen:
        if contestant.pins is None:
            pythons[contestant.name] = Path(sys.executable)
            continue
        try:
            python, is_new = interpreter(contestant.pins)
        except EnvironmentNotBuilt as error:
            missing[contestant.name] = str(error)
            print(f"{contestant.name}: {error}", file=sys.stderr)
            continue
        pythons[contestant.name] = python
        if is_new:
            print(f"{contestant.name}: environment built from requirements/{contestant.pins}.txt", file=sys.stderr)
    return pythons, missing


@contextmanager
def workdir() -> Iterator[None]:
    """Give the scripts a place for databases on the project's disk, and clean their environment of Python settings."""
    place = RESULTS / f"work-{os.getpid()}"
    place.mkdir(parents=True)
    for name in [name for name in os.environ if name.startswith("PYTHON")]:
        del os.environ[name]
    os.environ["BENCH_WORKDIR"] = str(place)
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def machine() -> dict[str, Any]:
    """Return what the figures depend on, without names of hosts or paths."""
    load = os.getloadavg() if hasattr(os, "getloadavg") else (0.0, 0.0, 0.0)
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": cpus,
        "load_1m": round(load[0], 2),
    }


def versions(chosen: Sequence[Contestant]) -> dict[str, str]:
    """Return the version of each peer, from its pins."""
    found: dict[str, str] = {}
    for contestant in chosen:
        if contestant.pins is not None:
            pins = HERE.parent / "requirements" / f"{contestant.pins}.txt"
            lines = pins.read_text(encoding="utf-8").splitlines() if pins.is_file() else []
            prefix = f"{contestant.name}=="
            found[contestant.name] = next(
                (line.removeprefix(prefix).split()[0] for line in lines if line.startswith(prefix)), "?"
            )
    return found


def document(
    found: Sequence[Row], measured: Measured, about: Mapping[str, Any], remarks: Sequence[str]
) -> dict[str, Any]:
    """Return everything for the JSON file: judged rows, and every sample behind them."""
    return {
        **about,
        "rows": [
            {
                "case": row.case.name,
                "title": row.case.title,
                "metric": row.metric.key,
                "unit": row.metric.unit,
                "higher_is_better": row.metric.higher_is_better,
                "medians": row.figures,
                "times_better": row.ratios,
                "floor": row.floor,
                "goal": row.goal,
                "verdict": row.verdict,
            }
            for row in found
        ],
        "samples": {
            case: {
                name: {"size": taken.size, "failure": taken.failure, "samples": taken.samples}
                for name, taken in by_contestant.items()
            }
            for case, by_contestant in measured.items()
        },
        "notes": list(remarks),
    }


def arguments() -> argparse.Namespace:
    """Read the command line."""
    cases = [case.name for case in CASES]
    peers = [contestant.name for contestant in CONTESTANTS if contestant.pins is not None]

    def names(text: str) -> list[str]:
        wanted = [name for name in text.split(",") if name]
        if unknown := sorted(set(wanted) - set(peers)):
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(peers)}")
        return wanted

    parser = argparse.ArgumentParser(description="Measure agenticflow, its peers and the bare limit side by side.")
    parser.add_argument(
        "--only", action="append", choices=cases, metavar="CASE", help=f"may be repeated: {', '.join(cases)}"
    )
    parser.add_argument(
        "--peers", type=names, default=peers, metavar="A,B", help=f"which of {', '.join(peers)}; '' for none"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, once each: an impression, no verdict")
    parser.add_argument("--repeats", type=int, help=f"turns in each case (default {REPEATS}; with --quick 1)")
    parser.add_argument("--json", type=Path, default=RESULTS / "latest.json", help="default: results/latest.json here")
    parser.add_argument("--check", action="store_true", help="exit with 1 when ours is below a floor or not measured")
    return parser.parse_args()


def main() -> int:
    """Measure, judge, show and write. Returns the exit code."""
    options = arguments()
    cases = [case for case in CASES if not options.only or case.name in options.only]
    chosen = [contestant for contestant in CONTESTANTS if contestant.pins is None or contestant.name in options.peers]
    repeats = options.repeats or (1 if options.quick else REPEATS)
    pythons, missing = prepare(chosen)
    about = {
        "taken_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "machine": machine(),
        "versions": versions(chosen),
        "quick": options.quick,
        "repeats": repeats,
    }
    started = time.perf_counter()
    with workdir():
        budget = QUICK_BUDGET_SECONDS if options.quick else BUDGET_SECONDS
        measured = measure(cases, pythons, quick=options.quick, repeats=repeats, deadline=started + budget)
    found = rows(cases, measured)
    remarks = notes(cases, measured, missing, chosen)
    about["seconds"] = round(time.perf_counter() - started, 1)

    print(table(found, [contestant.name for contestant in chosen], measured))
    print("\n(…x): how many times better ours is than that contestant in this run; above 1 ours is better.")
    if options.quick:
        print("A quick look: small sizes, one turn. The verdicts of a full run count.")
    print("".join(f"\n- {remark}" for remark in remarks))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document(found, measured, about, remarks), indent=2, ensure_ascii=False)
    options.json.write_text(text + "\n", encoding="utf-8")
    print(f"\n{about['seconds']:.0f} s on {about['machine']['cpus']} cores; every sample is in {options.json.name}")
    missed = [row for row in found if row.verdict in {"BELOW FLOOR", "not measured"}]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
