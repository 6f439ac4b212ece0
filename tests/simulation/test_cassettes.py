"""Whatever happened to a random workflow under a random schedule of faults: its cassette is decided as it was recorded."""

from __future__ import annotations

from agenticflow.app.cassettes import record_cassette
from agenticflow.testing.cassettes import replay_cassette
from agenticflow.testing.simulation import Schedule
from agenticflow.testing.simulation.disk import at_once
from tests.simulation.campaign.trials import plan_of, trial_of

SCHEDULES = 100


def test_runs_of_a_hundred_schedules_are_decided_as_they_were() -> None:
    events = 0
    for seed in range(SCHEDULES):
        trial = trial_of(seed)
        schedule = Schedule(trial.new_case(), plan_of(seed, trial))
        schedule.play()
        store = schedule.disk.store
        for row in at_once(store.list_runs(kind="workflow", limit=1_000)):
            cassette = at_once(record_cassette(store, row.execution_id, row.run_no, release="test"))
            report = replay_cassette(cassette.to_json().encode())
            assert report.is_same, f"seed {seed}: {report}"
            events += report.events
    assert events > 1_000
