"""From a seed to its trial and its plan; and every mark that a campaign has to reach."""

from __future__ import annotations

from collections.abc import Iterator

from agenticflow.testing.simulation import ANYTHING, Plan, SimulationReport, Trial, draw_plan, run_campaign
from tests.simulation.campaign.stories import Story, story_of, tell
from tests.simulation.campaign.world import StoryWorld

OFTEN = (
    "a choice was made",
    "a command id was known already",
    "a commit met a conflict",
    "a commit on its way was lost with the power",
    "a handler was called again",
    "a loop went round",
    "a map was expanded",
    "a person said no",
    "a person said yes",
    "a read failed",
    "a run failed",
    "a run was continued by the next",
    "a run was paused",
    "a run was told to end",
    "a run was undone",
    "a signal was received",
    "a snapshot was taken",
    "a task was given to another agent",
    "a task was skipped",
    "a task was tried again",
    "a timer fired",
    "acknowledged commits were lost with the power",
    "an orchestrator that was overtaken met the fence",
    "an outcome was unknown",
    "killed twice",
    "killed while starting",
    "tasks were cancelled",
)
"""Reached by the short campaign."""
SOMETIMES = (
    *OFTEN,
    "an orchestrator was started again after it had overtaken another",
    "an outcome came late",
    "at-most-once work was run again by a person",
    "something was undone twice",
    "the watch found a stuck run",
)
"""Reached by the whole one."""


def trial_of(seed: int) -> Trial:
    """Return the trial of a seed: a random workflow of up to 20 tasks."""
    return _trial(story_of(seed))


def plan_of(seed: int, trial: Trial) -> Plan:
    """Return the plan of a seed for its trial."""
    return draw_plan(seed, arrivals=trial.arrivals, may_abort=True, durability="normal")


def campaign(first: int, count: int, *, marks: tuple[str, ...] = (), max_violations: int = 1) -> SimulationReport:
    """Play ``count`` seeds from ``first`` on."""
    return run_campaign(trial_of, range(first, first + count), plan_of, marks=marks, max_violations=max_violations)


def _trial(story: Story) -> Trial:
    told = tell(story)

    def smaller() -> Iterator[Trial]:
        for task in reversed(story.tasks):
            shorter = story.without(task.task_id)
            if shorter is not None:
                try:
                    yield _trial(shorter)
                except Exception:  # noqa: BLE001 - what is left makes no workflow: another task is left out
                    continue

    return Trial(
        lambda: StoryWorld(story, told).case(),
        story.size,
        ANYTHING if told is None else told.outcome,
        smaller,
        repr(story),
    )
