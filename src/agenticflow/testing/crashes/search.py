"""Crash-point search: kill a workflow at every point where a process can die, start it again, and see that nothing is lost or repeated.

A case is played once undisturbed, counting every arrival at a named point (``runtime.failpoints``, and both sides of each commit).
Then, for each arrival, a fresh case is played up to it; there the process "dies": nothing of that life runs on or reaches the
store any more. A new orchestrator over what survived must bring the run to the same end. Lives share nothing but the store
and the case's outside world.

Data passes in as ``CrashCase`` and out as ``CrashReport``. Event loops are made here: call it from a plain function.
"""

from __future__ import annotations

import random  # noqa: TID251 - which deaths are sampled follows from the caller's seed
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.testing.crashes.cases import CrashCase, CrashReport, CrashViolation
from agenticflow.testing.crashes.lives import FileMedium, MemoryMedium, Play
from agenticflow.testing.crashes.shorthand import Searched, case_maker

__all__ = ["crash_search"]

MAX_LATENCY_SECONDS: Final = 0.006


class _Search:
    """All plays of one case."""

    def __init__(
        self,
        new_case: Callable[[], CrashCase],
        directory: Path | None,
        time_limit_seconds: float,
        latency_seed: int | None,
        large_in_files: bool,
    ) -> None:
        self._new_case = new_case
        self._directory = directory
        self._outcome: object = None
        self._limit = time_limit_seconds
        self._latency_seed = latency_seed
        self._large_in_files = large_in_files
        self.report = CrashReport()

    def undisturbed(self) -> None:
        """Count the arrivals, and learn how the run ends."""
        play = self._play(())
        self._outcome = play.outcome
        self.report.arrivals.update(play.lives[0].arrivals)
        self._take(play)

    def disturbed(self, *deaths: int) -> Play:
        """Die at the given arrivals and see how the run ends."""
        play = self._play(deaths)
        if play.outcome != self._outcome:
            play.violations.append(f"the result is {play.outcome!r:.300} and not {self._outcome!r:.300}")
        for life in play.lives[1:]:
            self.report.recovery_arrivals.update(life.arrivals)
        self._take(play)
        return play

    def _play(self, deaths: Sequence[int]) -> Play:
        self.report.cases += 1
        medium: MemoryMedium | FileMedium = MemoryMedium()
        if self._directory is not None:
            medium = FileMedium(self._directory / f"case-{self.report.cases}.db", large_in_files=self._large_in_files)
        play = Play(self._new_case(), medium, self._limit, self._new_latency())
        play.run(deaths)
        if isinstance(medium, FileMedium) and not play.violations:
            medium.remove()
        return play

    def _new_latency(self) -> Callable[[], float]:
        """Return how long a commit is on its way: the same times in each play, so that arrivals stay where they are."""
        if self._latency_seed is None:
            return lambda: 0.0
        chance = random.Random(self._latency_seed)  # noqa: S311 - repeatable by its seed
        return lambda: chance.random() * MAX_LATENCY_SECONDS

    def _take(self, play: Play) -> None:
        report, deaths = self.report, play.deaths
        report.kills += len(deaths)
        report.calls += play.calls.count
        report.repeated_calls += play.calls.again
        report.violations += [CrashViolation(deaths, what) for what in play.violations]


def crash_search(
    new_case: Searched,
    *,
    agents: Sequence[Agent] = (),
    workers: Sequence[Worker[..., Any]] = (),
    input: object = None,
    directory: Path | None = None,
    every: int = 1,
    start: int = 1,
    double_kills: int = 0,
    seed: int = 0,
    latency_seed: int | None = None,
    max_violations: int = 20,
    time_limit_seconds: float = 30.0,
    large_in_files: bool = False,
) -> CrashReport:
    """Kill the workflow at every arrival at a named point, restart it, and return what was promised and not kept.

    ``new_case`` makes a fresh case for each kill, with an outside world of its own. It may be a workflow as it is, with its ``agents``,
    ``workers`` and ``input``: the same handlers then serve every kill, so they must leave nothing behind outside that the next would find.

    Without a ``directory`` runs live in a
    ``MemoryStore`` and virtual time, with it in SQLite files there and real time; the file of a case without violation is
    removed; ``large_in_files`` gives each file a folder for large values. ``every`` and ``start`` search a share of the points
    (``every=4, start=2``: the second of each four). ``double_kills`` more cases die once in the run and once more, at a random moment,
    in the life after. With a ``latency_seed`` each commit is on its way for some milliseconds, which gives another order of events per
    seed. ``time_limit_seconds`` is how long one life may take before the run counts as stuck. The search ends early after
    ``max_violations``.

    Checked in each case: the same result, no call of a handler after its task's completion (or before its scheduling, or after the end of
    the run) was recorded, at-most-once work called once and never before its intent was recorded, one terminal event, one completion
    per task, versions without gaps, an index row that follows from the history, ``verify`` where the store has it, nothing critical
    reported by the engine, and ``CrashCase.check``.

    A killed life ends by cancellation behind a fence: nothing reaches the store, but a handler's own ``finally`` and
    ``except CancelledError`` blocks run, which a real kill would not let them.
    """
    maker = case_maker(new_case, agents, workers, input)
    search = _Search(maker, directory, time_limit_seconds, latency_seed, large_in_files)
    report = search.report
    search.undisturbed()
    if report.violations:
        return report  # not even undisturbed
    arrival = start
    while len(report.violations) < max_violations:
        play = search.disturbed(arrival)
        if arrival > report.points and not play.deaths:
            break  # with threads in play another run may have had a few arrivals more
        arrival += every
    chance = random.Random(seed)  # noqa: S311 - a sample, repeatable by its seed
    longest = max(1, report.points // 2)
    for _ in range(double_kills):
        if len(report.violations) >= max_violations:
            break
        second = chance.randint(1, longest) if chance.random() < 0.5 else chance.randint(1, 12)
        search.disturbed(chance.randint(1, report.points), second)
    return report
