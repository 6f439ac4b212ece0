"""Every decision made twice gives the same bytes, in processes whose sets and dicts are ordered differently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from agenticflow.orchestration.facts import FACTS
from agenticflow.orchestration.snapshots import restore, take
from tests.contracts.house import plain_environment
from tests.scenarios.histories import encoded, whole
from tests.scenarios.runs import GUEST

ROOT = Path(__file__).parents[2]


def decided_with(hash_seed: str) -> list[str]:
    found = subprocess.run(
        [sys.executable, "-m", "tests.scenarios.histories"],
        cwd=ROOT,
        env=plain_environment(PYTHONHASHSEED=hash_seed),
        check=True,
        capture_output=True,
        text=True,
    )
    return found.stdout.split()


def test_two_processes_decide_the_same_bytes() -> None:
    here = [encoded(run.scenario.history).hex() for run in whole()]
    assert decided_with("1") == decided_with("4242") == here


def test_the_history_has_every_kind_of_fact() -> None:
    """So that what is proven here is proven of all of them."""
    seen = {fact.event_type for run in whole() for fact in run.scenario.history}
    assert set(FACTS.types) == seen


def test_folding_from_any_snapshot_gives_the_same_state_as_folding_from_the_beginning() -> None:
    for run in whole():
        history = run.scenario.history
        folded = GUEST.initial(run.state.stream_id)
        snapshots: list[bytes] = []
        for version, fact in enumerate(history, 1):
            GUEST.evolve(folded, fact, version, version * 10)
            snapshots.append(take(folded))
        for start, snapshot in enumerate(snapshots, 1):
            restored = restore(run.state.stream_id, snapshot)
            assert take(restored) == snapshot
            for version, fact in enumerate(history[start:], start + 1):
                GUEST.evolve(restored, fact, version, version * 10)
            assert take(restored) == snapshots[-1]
