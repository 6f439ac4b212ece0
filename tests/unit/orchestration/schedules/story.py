"""A schedule as a story: what it is asked and when, and what follows. No event loop, no clock."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from agenticflow.core.decider import Command, Fact
from agenticflow.core.engine import ActivityFinished, Effect, TimersDue
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.orchestration.schedules import facts as f
from agenticflow.orchestration.schedules.guest import ScheduleGuest
from agenticflow.orchestration.schedules.state import ScheduleState
from agenticflow.testing.scenarios import Scenario, given

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def zone(name: str) -> tzinfo:
    return ZoneInfo(name)


GUEST = ScheduleGuest(zone)


class Story:
    """One schedule, in seconds after its creation; by default due every 100."""

    def __init__(self, *, seed: str = "seed", **spec: Any) -> None:
        if not spec.keys() & {"cron", "at"}:
            spec.setdefault("every_ns", 100 * SECOND)
        self.spec = f.ScheduleSpec(workflow="w", **spec)
        self.effects: list[Effect] = []
        self.scenario: Scenario[ScheduleState] = given(GUEST, stream_id="schedule-s/1")
        self.ask(f.CreateSchedule(now=START, spec=self.spec, seed=seed, requested_by="me"))

    @property
    def state(self) -> ScheduleState:
        return self.scenario.state

    def ask(self, command: Command) -> list[Fact]:
        version = self.scenario.version
        self.scenario.when(command)
        for fact in self.scenario.facts:
            version += 1
            self.effects.extend(GUEST.effects(self.state, fact, version))
        return self.scenario.facts

    def at(self, seconds: float) -> list[str]:
        """Time has come to this; return what follows, in words."""
        return self.words(self.ask(TimersDue(now=START + int(seconds * SECOND))))

    def steer(self, kind: type[Command], seconds: float, **options: Any) -> list[str]:
        return self.words(self.ask(kind(now=START + int(seconds * SECOND), **options)))

    def end(self, number: int, seconds: float, kind: OutcomeKind = OutcomeKind.SUCCEEDED) -> list[str]:
        error = ErrorInfo("ValueError", "no") if kind is OutcomeKind.FAILED else None
        now = START + int(seconds * SECOND)
        return self.words(
            self.ask(ActivityFinished(now=now, task_key="", token=number, outcome=Outcome(kind, error=error)))
        )

    @property
    def next(self) -> float | None:
        """When it is due next."""
        return None if self.state.next_due is None else after(self.state.next_due)

    def words(self, facts: list[Fact]) -> list[str]:
        return [self._word(fact) for fact in facts]

    def _word(self, fact: Fact) -> str:
        name = fact.event_type.removeprefix("schedule_")
        match fact:
            case f.ScheduleFired(due=due) | f.ScheduleQueued(due=due):
                return f"{name} {after(due):g}"
            case f.ScheduleSkipped(due=due, until=until):
                return f"{name} {after(due):g}" + ("" if until is None else f"-{after(until):g}")
            case _:
                return name


def after(moment: int) -> float:
    return (moment - START) / SECOND
