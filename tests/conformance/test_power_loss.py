"""Power may go at any moment: nothing acknowledged is lost, nothing is damaged. And the proof finds those who break that.

The long form, a thousand seeds, is ``python -m agenticflow.testing.faulty_disk --seeds 1000``.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import apsw
import pytest

from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.integrations.stores.sqlite import writer as sqlite_writer
from agenticflow.integrations.stores.sqlite.file import connect, mapped
from agenticflow.integrations.stores.sqlite.requests import refused
from agenticflow.storage.store import Store
from agenticflow.testing.faulty_disk import Opener, Played, play

SEEDS = 60


async def full(path: Path, layer: str) -> Store:
    return await SQLiteStore.open(path, vfs=layer)


async def normal(path: Path, layer: str) -> Store:
    return await SQLiteStore.open(path, vfs=layer, durability="normal")


def playing(seeds: range, folder: Path, opener: Opener, **options: bool) -> list[Played]:
    async def play_all() -> list[Played]:
        results = []
        for seed in seeds:
            place = folder / f"{seed}"
            place.mkdir()
            results.append(await play(seed, place, opener, **options))
        return results

    return asyncio.run(play_all())


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_no_power_cut_damages_the_store_or_takes_back_what_was_acknowledged(first: int, tmp_path: Path) -> None:
    results = playing(range(first, first + 20), tmp_path, full)
    assert {played.seed: played.problems for played in results if played.problems} == {}
    assert sum(played.acknowledged for played in results) > 100
    assert sum(played.unknown for played in results) > 0, "no cut met a commit: this proves nothing"


def test_with_normal_durability_only_the_end_of_the_history_may_be_missing(tmp_path: Path) -> None:
    results = playing(range(40), tmp_path, normal, may_lose_tail=True)
    assert {played.seed: played.problems for played in results if played.problems} == {}
    assert sum(played.lost for played in results) > 0, "nothing was lost: then the other mode would be no better"


def test_normal_durability_would_be_caught_if_it_promised_more(tmp_path: Path) -> None:
    results = playing(range(10), tmp_path, normal)
    assert any("was acknowledged and is gone" in problem for played in results for problem in played.problems)


def test_a_disk_that_lies_about_syncing_is_caught(tmp_path: Path) -> None:
    results = playing(range(10), tmp_path, full, obeys_sync=False)
    assert any("was acknowledged and is gone" in problem for played in results for problem in played.problems)
    assert any("damaged" in problem or "not a SQLite" in problem for played in results for problem in played.problems)


def test_a_store_that_does_not_sync_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = connect

    def careless(*args: Any, **options: Any) -> apsw.Connection:
        db = honest(*args, **options)
        db.pragma("synchronous", "off")
        return db

    monkeypatch.setattr(sqlite_writer, "connect", careless)
    results = playing(range(10), tmp_path, full)
    assert any("was acknowledged and is gone" in problem for played in results for problem in played.problems)


def test_a_store_that_acknowledges_before_it_commits_is_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def optimist(writer: Any, waiting: Any, batch: Any, *_: object) -> Any:
        return batch

    monkeypatch.setattr(sqlite_writer.Writer, "_after_failed_commit", optimist)
    assert any(played.problems for played in playing(range(10), tmp_path, full))


def test_a_store_that_takes_a_failed_commit_for_undone_is_caught(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Engine rule 11: after an I/O error at COMMIT it may have happened all the same."""

    def pessimist(writer: Any, waiting: Any, batch: Any, position: int, last_sid: int, error: apsw.Error) -> Any:
        writer._undo(position, last_sid)
        writer._look_up_ends()
        return refused(waiting, mapped(error, writer._file))

    monkeypatch.setattr(sqlite_writer.Writer, "_after_failed_commit", pessimist)
    results = playing(range(60), tmp_path, full)
    assert any("was refused and is there" in problem for played in results for problem in played.problems)


def test_the_long_form_is_a_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "agenticflow.testing.faulty_disk", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)

    kept = run("--seeds", "3")
    assert (kept.returncode, kept.stderr) == (0, "")
    assert kept.stdout.startswith("3 seeds, ")
    broken = run("--seeds", "5", "--first", "5", "--lying-disk")
    assert broken.returncode == 1
    assert "seed 5" in broken.stderr


@pytest.mark.crash
@pytest.mark.parametrize("durability", ["full", "normal"])
def test_a_thousand_seeds(durability: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "agenticflow.testing.faulty_disk", "--seeds", "1000", "--durability", durability]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_800, check=False, cwd=tmp_path)
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert done.stdout.startswith("1000 seeds")
