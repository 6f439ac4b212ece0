"""``make simulate``: the whole campaign, one process per core; fails with the seed and a short story on the first violation.

``python -m tests.simulation.campaign --seed 4711 --schedules 1`` plays one schedule again.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time

import msgspec

from agenticflow.testing.simulation import SimulationReport
from tests.simulation.campaign.trials import SOMETIMES, campaign

WHOLE = 20_000
"""From so many schedules on every mark has to be reached."""


def main() -> int:
    """Play, print the report, return 1 when something was broken or never tried."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.campaign", description=__doc__)
    parser.add_argument("--schedules", type=int, default=WHOLE, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the first (default: %(default)s)")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, help="side by side (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON, from this process")
    given = parser.parse_args()
    if given.json:
        report = campaign(given.seed, given.schedules, marks=SOMETIMES)
        sys.stdout.buffer.write(msgspec.json.encode(report))
        return 0
    began = time.monotonic()
    report = _side_by_side(given.seed, given.schedules, max(1, min(given.processes, given.schedules)))
    took = time.monotonic() - began
    if given.schedules < WHOLE:
        report.missing_marks = []
    print(report)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = used.ru_utime + used.ru_stime
    print(f"{took:.1f} s; {worked:.1f} s of processor time, {report.schedules / worked:.0f} schedules a second of it")
    return 0 if report.is_sound else 1


def _side_by_side(first: int, count: int, processes: int) -> SimulationReport:
    shares = [count // processes + (number < count % processes) for number in range(processes)]
    children = []
    for share in shares:
        command = [
            sys.executable,
            "-m",
            "tests.simulation.campaign",
            "--json",
            f"--seed={first}",
            f"--schedules={share}",
        ]
        children.append(subprocess.Popen(command, stdout=subprocess.PIPE))
        first += share
    reports = []
    for child in children:
        output, _ = child.communicate()
        if child.returncode:
            raise SystemExit(f"a part of the campaign ended with status {child.returncode}")
        reports.append(msgspec.json.decode(output, type=SimulationReport))
    whole = reports[0]
    for report in reports[1:]:
        whole.add(report)
    return whole


if __name__ == "__main__":
    sys.exit(main())
