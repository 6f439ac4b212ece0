"""``kill -9`` wherever a large value is on disk without its row, or its row without it: what was acknowledged is there, the rest goes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agenticflow.app.upkeep.verification import verify_store
from agenticflow.core.codec import content_hash
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime.failpoints import FILE_POINTS
from tests.e2e.large_values_program import LIMIT_SECONDS, VALUES, content

PROGRAM = Path(__file__).with_name("large_values_program.py")
POINTS = (*FILE_POINTS, "store.before_commit", "store.after_commit", "store.before_ack")


def begin(place: Path, number: int, point: str) -> subprocess.Popen[str]:
    arguments: list[str | Path] = [sys.executable, PROGRAM, place / "state.db", place / "values", str(number), point]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def life(place: Path, number: int, point: str) -> set[str]:
    """Let the program live until it comes to ``point``, kill it, and return the names of what was acknowledged."""
    process = begin(place, number, point)
    assert process.stdout is not None
    acknowledged = set()
    for line in process.stdout:
        if line == "here\n":
            process.send_signal(signal.SIGKILL)
        elif line.startswith("acknowledged "):
            acknowledged.add(line.split()[1])
        else:
            assert line == "done\n"
    process.stdout.close()
    assert process.wait(LIMIT_SECONDS) == (0 if point == "never" else -signal.SIGKILL), "it came to the point"
    return acknowledged


def files_of(folder: Path) -> set[str]:
    """Return the names of all files in the one folder in ``folder``."""
    (own,) = folder.iterdir()
    return {path.name for path in own.iterdir()} - {"store"}


async def examine(file: Path, acknowledged: set[str]) -> SQLiteStore:
    """Open the store, which must be sound and have what was acknowledged; return it."""
    store = await SQLiteStore.open(file)
    assert (await verify_store(store)).problems == []
    for name in acknowledged:
        assert await store.get_blob(name) is not None
    return store


async def test_killed_at_every_point_where_a_file_and_its_row_are_apart(tmp_path: Path) -> None:
    acknowledged: set[str] = set()
    for number, point in enumerate(POINTS):
        acknowledged |= life(tmp_path, number, point)
        store = await examine(tmp_path / "state.db", acknowledged)
        await store.compact(now=1)
        kept = {
            name
            for round_ in (*range(number + 1), *range(1_000, 1_001 + number))
            for which in range(VALUES)
            if await store.get_blob(name := content_hash(content(round_, which, is_kept=True))) is not None
        }
        assert acknowledged <= kept
        assert files_of(tmp_path / "values") == kept, "what a crash left over goes with the next compaction"
        await store.close()
        await (await examine(tmp_path / "state.db", acknowledged)).close()
    assert life(tmp_path, 100, "never") | acknowledged > acknowledged
    copy = await examine(tmp_path / "copy.db", acknowledged)
    await copy.close()
    assert files_of(tmp_path / "copy.db.values") >= acknowledged, "what killed copies left over is gone"


@pytest.mark.crash
@pytest.mark.parametrize("seed", range(20))
async def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    """Not at a point: some milliseconds after it began, later with each life."""
    acknowledged: set[str] = set()
    for number in range(6):
        process = begin(tmp_path, number, "never")
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range((seed * 7 + number * 3) % (2 * VALUES))]
        process.send_signal(signal.SIGKILL)
        lines += process.communicate(timeout=LIMIT_SECONDS)[0].splitlines()
        acknowledged |= {line.split()[1] for line in lines if line.startswith("acknowledged ")}
        await (await examine(tmp_path / "state.db", acknowledged)).close()
    assert acknowledged
