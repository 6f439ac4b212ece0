"""Every decision made twice gives the same bytes: whole runs, in processes that hash differently."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.house import ROOT, plain_environment

pytestmark = pytest.mark.proof

RECORD = (
    "import sys; from pathlib import Path; from tests.golden import record; sys.exit(record.main(Path(sys.argv[1])))"
)


def run(hash_seed: int, *arguments: str | Path) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=ROOT,
        env=plain_environment(PYTHONHASHSEED=str(hash_seed)),
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def test_a_run_of_fifty_tasks_writes_the_same_bytes_in_every_process() -> None:
    one, two = (run(hash_seed, "-m", "tests.simulation.same_bytes") for hash_seed in (1, 2))
    assert len(one) > 10_000
    assert one == two


def test_every_scenario_of_the_golden_histories_writes_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    for hash_seed in (1, 2):
        (tmp_path / str(hash_seed)).mkdir()
        run(hash_seed, "-c", RECORD, tmp_path / str(hash_seed))
    files = sorted(path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.json"))
    assert len(files) > 10
    for file in files:
        assert (tmp_path / "1" / file).read_bytes() == (tmp_path / "2" / file).read_bytes(), file
