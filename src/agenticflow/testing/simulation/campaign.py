"""A campaign: many schedules, one per seed, until one breaks a promise; that one is made short and told.

A ``Trial`` is what a seed is tried on: a user's own workflow, or one drawn by chance. Data passes in as trials and out as a
``SimulationReport``, which can be added up over processes. Event loops are made here: call it from a plain function.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.workers import Worker
from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.testing.crashes.cases import CrashCase
from agenticflow.testing.crashes.shorthand import Searched, case_maker
from agenticflow.testing.simulation.faults import ALL_FAULTS, FaultKind, Plan, draw_plan
from agenticflow.testing.simulation.schedule import Schedule

__all__ = ["ANYTHING", "SimulationReport", "SimulationViolation", "Trial", "run_campaign", "simulate"]

ANYTHING: Final = object()
"""Nobody knows what comes out; everything else is checked."""
MAX_SHRINKING: Final = 400
"""Schedules played to make one that fails shorter."""
SHOWN_STORY: Final = 60
SHOWN_PROBLEMS: Final = 8


class SimulationViolation(msgspec.Struct):
    """A promise that was broken, by the shortest schedule that was found to break it."""

    seed: int
    """``simulate(…, seed=this, schedules=1)`` plays the schedule it was found with."""
    problems: list[str]
    plan: str
    """What went wrong, and when, after it was made short."""
    story: list[str]
    """What happened, in order: virtual seconds, and what."""
    trial: str = ""
    """What it was tried on, where that is drawn from the seed too."""

    def __str__(self) -> str:
        problems = [f"  {problem}" for problem in self.problems[:SHOWN_PROBLEMS]]
        story = [f"    {line}" for line in self.story[-SHOWN_STORY:]]
        return "\n".join([f"seed {self.seed}:", *problems, f"  made short: {self.plan}{self.trial}", *story])


class SimulationReport(msgspec.Struct):
    """What a campaign did and found."""

    schedules: int = 0
    calls: int = 0
    """Handler calls in all."""
    repeated_calls: int = 0
    processes: int = 0
    """Orchestrators that were started."""
    faults: dict[str, int] = {}
    """How often what went wrong, by its name."""
    marks: dict[str, int] = {}
    """How often each place was reached that ``sometimes`` names."""
    missing_marks: list[str] = []
    """Of those asked for: never reached, so the campaign has not tried what it is for."""
    violations: list[SimulationViolation] = []

    @property
    def is_sound(self) -> bool:
        """Whether nothing was broken, and everything was tried that was to be."""
        return not self.violations and not self.missing_marks

    def add(self, other: SimulationReport) -> None:
        """Take in what another process did. ``missing_marks`` are what is missing in both."""
        self.schedules += other.schedules
        self.calls += other.calls
        self.repeated_calls += other.repeated_calls
        self.processes += other.processes
        self.faults = dict(Counter(self.faults) + Counter(other.faults))
        self.marks = dict(Counter(self.marks) + Counter(other.marks))
        self.missing_marks = [mark for mark in self.missing_marks if mark in other.missing_marks]
        self.violations = self.violations + other.violations

    def __str__(self) -> str:
        calls = f"{self.calls:,} handler calls ({self.repeated_calls:,} repeated)"
        lines = [
            f"{self.schedules:,} schedules, {self.processes:,} processes, {calls}, {len(self.violations)} violations"
        ]
        lines += ["faults injected:", *_table(self.faults)] if self.faults else []
        lines += ["reached:", *_table(self.marks)] if self.marks else []
        lines += [f"never reached: {mark}" for mark in self.missing_marks]
        return "\n".join([*lines, *map(str, self.violations)])


def _table(counts: dict[str, int]) -> list[str]:
    return [f"{count:>11,}  {name}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


@dataclass(frozen=True)
class Trial:
    """What a schedule is played on."""

    new_case: Callable[[], CrashCase]
    """Makes a fresh case, with an outside world of its own."""
    tasks: int
    expected: object = ANYTHING
    """What the client must be told in the end: the result, or ``(status, keys of failed tasks)``."""
    smaller: Callable[[], Iterable[Trial]] = lambda: ()
    """Returns trials like this one with something left out."""
    shown: str = ""

    @property
    def arrivals(self) -> int:
        """About how many fail-points a run of it passes."""
        return 8 * self.tasks + 10


def simulate(
    new_case: Searched,
    *,
    agents: Sequence[Agent] = (),
    workers: Sequence[Worker[..., Any]] = (),
    input: object = None,
    schedules: int = 500,
    seed: int = 0,
    faults: Collection[FaultKind] = ALL_FAULTS,
    may_pause: bool = True,
    may_abort: bool = False,
    durability: Literal["full", "normal"] = "full",
    same_result: bool = True,
    marks: Collection[str] = (),
    max_violations: int = 1,
) -> SimulationReport:
    """Play a workflow of your own under ``schedules`` random schedules, the seeds from ``seed`` on; return what was broken.

    Each seed is one order of events, one set of ``faults`` (processes killed, power lost, a full or unreadable disk, commits of unknown
    outcome, an orchestrator overtaken by another, cut off, or with a clock that jumps, messages lost, repeated and late), and the same
    one every time. ``new_case`` makes a fresh case for each, with an outside world of its own; its ``resolve`` and ``answer`` are the
    people who are asked, its ``steer`` has no place here. With ``may_pause`` and ``may_abort`` somebody sometimes does that to the run.
    With ``durability="normal"`` some power losses take acknowledged commits: then at-most-once work may run twice, which is what
    that mode means.

    ``new_case`` may be a workflow as it is, with its ``agents``, ``workers`` and ``input``: the same handlers then serve every schedule, so
    they must leave nothing behind outside that the next one would find.

    Checked after each: the result is that of a run where nothing goes wrong (unless the order of events has a say in it:
    ``same_result=False``), everything acknowledged is recorded, one terminal event and one completion per task, outcomes of superseded
    attempts do not count, at-most-once work is called once and never before its intent is recorded, nothing starts while paused or after an
    abort, no timer is early, what is undone is undone once and in reverse order, all readers fold the same state, every run
    ends, and ``CrashCase.check``. Where a second orchestrator was at work, or acknowledged commits were lost, idempotent work may run
    again after its completion.

    ``marks`` names places (``sometimes("…")`` in your handlers) that some schedule has to reach. Ends after ``max_violations``; each is
    made short first. Limits in time of your workflow are reached when a clock jumps: leave ``FaultKind.CLOCK_JUMP`` out then, or give
    ``same_result=False``. Plain handlers are called on the event loop, at one moment; CPU-bound ones have no place here.
    """
    maker = case_maker(new_case, agents, workers, input)
    case = maker()
    if case.steer is not None:
        raise InvalidInput(
            "a case with `steer` cannot be simulated: it would hold on to one orchestrator",
            hint="leave it out, and give may_pause= or may_abort=",
        )
    trial = Trial(maker, _count(case.tasks))
    calm = Schedule(case, Plan(seed, disorder=0.0, latency_seconds=0.0))
    calm.play()
    report = SimulationReport()
    if calm.violations:
        report.violations = [_told(seed, trial, calm, calm.violations)]
        return report  # not even when nothing goes wrong
    if same_result:
        trial = replace(trial, expected=calm.outcome)

    def plan_of(number: int, tried: Trial) -> Plan:
        return draw_plan(
            number,
            arrivals=calm.arrivals,
            kinds=frozenset(faults),
            may_pause=may_pause,
            may_abort=may_abort,
            durability=durability,
        )

    return run_campaign(
        lambda number: trial, range(seed, seed + schedules), plan_of, marks=marks, max_violations=max_violations
    )


def run_campaign(
    trial_of: Callable[[int], Trial],
    seeds: Iterable[int],
    plan_of: Callable[[int, Trial], Plan],
    *,
    marks: Collection[str] = (),
    max_violations: int = 1,
    makes_short: bool = True,
) -> SimulationReport:
    """Play the trial of each seed under its plan, ending after ``max_violations``, each of which is made short first."""
    report, injected, reached = SimulationReport(), Counter[str](), Counter[str]()
    for seed in seeds:
        trial = trial_of(seed)
        plan = plan_of(seed, trial)
        schedule, problems = _played(trial, plan)
        report.schedules += 1
        report.calls += schedule.calls.count
        report.repeated_calls += schedule.calls.again
        report.processes += len(schedule.processes)
        injected += schedule.injected
        reached += schedule.marks
        if problems:
            tell = _made_short if makes_short else _as_found
            report.violations = [*report.violations, tell(seed, trial, plan, schedule, problems)]
            if len(report.violations) >= max_violations:
                break
    report.faults, report.marks = dict(injected), dict(reached)
    report.missing_marks = sorted(mark for mark in set(marks) if not reached[mark])
    return report


def _played(trial: Trial, plan: Plan) -> tuple[Schedule, list[str]]:
    schedule = Schedule(trial.new_case(), plan)
    schedule.play()
    problems = list(schedule.violations)
    was_aborted = schedule.outside.has_aborted
    if trial.expected is not ANYTHING and not was_aborted and schedule.outcome != trial.expected:
        problems.append(f"the result is {schedule.outcome!r:.300} and not {trial.expected!r:.300}")
    return schedule, problems


# --- making it short ------------------------------------------------------------------------------------------------------


def _made_short(seed: int, trial: Trial, plan: Plan, schedule: Schedule, problems: list[str]) -> SimulationViolation:
    """Leave out what can be left out while the same kind of promise is broken."""
    kinds = {_kind_of(problem) for problem in problems}
    left = MAX_SHRINKING
    is_shorter = True
    while is_shorter:
        is_shorter = False
        for shorter_trial, shorter_plan in _shorter(trial, plan):
            left -= 1
            if left < 0:
                break
            played, found = _played(shorter_trial, shorter_plan)
            if kinds & {_kind_of(problem) for problem in found}:
                trial, plan, schedule, problems, is_shorter = shorter_trial, shorter_plan, played, found, True
                break
    return _told(seed, trial, schedule, problems)


def _as_found(seed: int, trial: Trial, plan: Plan, schedule: Schedule, problems: list[str]) -> SimulationViolation:
    return _told(seed, trial, schedule, problems)


def _shorter(trial: Trial, plan: Plan) -> Iterator[tuple[Trial, Plan]]:
    for number in range(len(plan.faults)):
        yield trial, replace(plan, faults=plan.faults[:number] + plan.faults[number + 1 :])
    for calmer in (
        replace(plan, pause_at=None),
        replace(plan, abort_at=None),
        replace(plan, disorder=0.0),
        replace(plan, latency_seconds=0.0),
        replace(plan, snapshot_every=None),
        replace(plan, synced_every=1),
    ):
        if calmer != plan:
            yield trial, calmer
    for smaller in trial.smaller():
        yield smaller, plan


def _kind_of(problem: str) -> str:
    """Return a problem without its names and numbers: what makes two of them the same."""
    return re.sub(r"'[^']*'|[\d.]+", "", problem)[:50]


def _told(seed: int, trial: Trial, schedule: Schedule, problems: list[str]) -> SimulationViolation:
    return SimulationViolation(seed, problems, str(schedule.plan), schedule.story, trial.shown)


def _count(tasks: Sequence[TaskDefinition]) -> int:
    inner = [task.workflow for task in tasks if isinstance(task.workflow, WorkflowDefinition)]
    return len(tasks) + sum(_count(workflow.tasks) for workflow in inner)
