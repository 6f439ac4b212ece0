"""The long form of ``tests/conformance/test_power_loss.py``: a thousand seeds, each a few lives that end with a power cut."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from agenticflow import open_store
from agenticflow.storage.store import Store
from agenticflow.testing.faulty_disk import Played, play

SHARES = 4
SEEDS = 1_000 // SHARES


async def opener(path: Path, layer: str) -> Store:
    return await open_store(f"sqlite:///{quote(str(path))}?durability=full&vfs={layer}")


@pytest.mark.crash
@pytest.mark.parametrize("share", range(SHARES))
def test_a_thousand_power_cuts(share: int, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    results: list[Played] = []
    for seed in range(share * SEEDS, (share + 1) * SEEDS):
        place = tmp_path / f"{seed}"
        place.mkdir()
        results.append(asyncio.run(play(seed, place, opener)))
        shutil.rmtree(place)
    problems = {played.seed: played.problems for played in results if played.problems}
    cuts = sum(played.lives for played in results)
    record_property("crash", f"power loss, share {share + 1} of {SHARES}|{SEEDS} seeds|{cuts}|-|{len(problems)}")
    assert not problems
