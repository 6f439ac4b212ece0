"""The short form of ``make simulate``: some hundred random workflows under random schedules, and what makes that worth anything."""

from __future__ import annotations

import subprocess
import sys

from agenticflow.testing.simulation import Plan, Schedule, SimulationReport
from tests.contracts.house import ROOT, plain_environment
from tests.simulation.campaign.trials import OFTEN, campaign, trial_of

SHORT = 500
PARTS = 4
DIGEST = """
import hashlib, sys
from agenticflow.testing.simulation import Schedule
from tests.simulation.campaign.trials import plan_of, trial_of
for seed in range(40):
    trial = trial_of(seed)
    schedule = Schedule(trial.new_case(), plan_of(seed, trial))
    schedule.play()
    print(seed, hashlib.sha256("\\n".join(schedule.story).encode()).hexdigest(), schedule.arrivals, schedule.loop.steps)
"""


def test_five_hundred_schedules_break_no_promise() -> None:
    report = SimulationReport(missing_marks=list(OFTEN))
    for part in range(PARTS):
        report.add(campaign(part * SHORT // PARTS, SHORT // PARTS, marks=OFTEN))
    assert report.is_sound, str(report)
    assert report.schedules == SHORT


def test_a_mark_that_was_never_reached_makes_a_campaign_unsound() -> None:
    report = campaign(0, 5, marks=("somebody won the lottery",))
    assert report.missing_marks == ["somebody won the lottery"]
    assert not report.is_sound
    assert "never reached: somebody won the lottery" in str(report)


def test_one_seed_is_one_schedule_in_every_process() -> None:
    told = [
        subprocess.run(
            [sys.executable, "-c", DIGEST],
            cwd=ROOT,
            env=plain_environment(PYTHONHASHSEED=hash_seed),
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len({line.split()[1] for line in told[0].splitlines()}) > 35


def test_the_order_of_what_is_ready_follows_from_the_seed() -> None:
    """The same workflow where nothing goes wrong, and another seed: another order."""
    trial = next(trial for trial in map(trial_of, range(100)) if trial.tasks > 15)
    stories = set()
    for other in range(10):
        schedule = Schedule(trial.new_case(), Plan(other, latency_seconds=0.0))
        schedule.play()
        assert not schedule.violations
        stories.add("\n".join(schedule.story))
    assert len(stories) > 1
