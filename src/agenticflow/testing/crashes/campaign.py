"""A campaign of real kills: a program is started, killed with SIGKILL at a random moment, and started again, many times.

The program says ``ready`` on its standard output as soon as it begins, before it opens its store, so that kills also meet opening and
recovery. What it did is judged afterwards by the caller, from the store and from what the program wrote down outside of it. Nothing
here knows workflows.
"""

from __future__ import annotations

import random  # noqa: TID251 - the moments of the kills follow from the caller's seed
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["KillReport", "kill_campaign"]

READY = "ready"


@dataclass
class KillReport:
    """What a campaign did."""

    seed: int
    kills: int = 0
    lives: int = 0
    answer: str = ""
    """What the last life, which was left alone, wrote after ``ready``."""

    def __str__(self) -> str:
        return f"{self.kills} kills in {self.lives} lives, seed {self.seed}"


def kill_campaign(
    command: Callable[[bool], Sequence[str | Path]],
    *,
    kills: int,
    seed: int,
    longest_seconds: float = 0.4,
    time_limit_seconds: float = 60.0,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> KillReport:
    """Start ``command(False)`` and kill it within ``longest_seconds`` of its being ready, ``kills`` times; then let ``command(True)``
    come to its end.

    ``command(is_last)`` returns the program and its arguments; before the last life it should go on until it is killed (ending with
    status 0 is taken as "there is nothing left to do for now" and costs a life, not a kill). Raises ``RuntimeError`` with what the program
    wrote when a life ends with another status, is not ready or does not end within ``time_limit_seconds``.
    """
    chance = random.Random(seed)  # noqa: S311 - repeatable by its seed
    report = KillReport(seed)

    def start(*, is_last: bool) -> subprocess.Popen[str]:
        report.lives += 1
        return subprocess.Popen(
            list(map(str, command(is_last))),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env=environment,
        )

    while report.kills < kills:
        if _kill_one(start(is_last=False), chance.uniform(0, longest_seconds), time_limit_seconds):
            report.kills += 1
    process = start(is_last=True)
    try:
        answer, _ = process.communicate(timeout=time_limit_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        answer, _ = process.communicate()
        raise RuntimeError(f"the last life did not end within {time_limit_seconds:g} s; it wrote: {answer}") from None
    if process.returncode:
        raise RuntimeError(f"the last life ended with status {process.returncode}; it wrote: {answer}")
    report.answer = answer.removeprefix(READY).strip()
    return report


def _kill_one(process: subprocess.Popen[str], after_seconds: float, time_limit_seconds: float) -> bool:
    """Kill ``process`` that long after it was ready; return whether it lived until then."""
    assert process.stdout is not None  # asked for by whoever started it
    try:
        first = process.stdout.readline()
        if first.strip() != READY:
            raise RuntimeError(f"the program did not say that it is ready, but: {first}{process.stdout.read()}")
        process.wait(timeout=after_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(timeout=time_limit_seconds)
        return True
    finally:
        if process.poll() is None:
            process.kill()
        rest = process.stdout.read()
        process.stdout.close()
        process.wait()
    if process.returncode:
        raise RuntimeError(f"a life ended by itself with status {process.returncode}; it wrote: {rest}")
    return False
