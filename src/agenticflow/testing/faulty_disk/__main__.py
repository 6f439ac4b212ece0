"""Play many power cuts and say what was found: ``python -m agenticflow.testing.faulty_disk --seeds 1000``."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from agenticflow.app.wiring import open_store
from agenticflow.storage.store import Store
from agenticflow.testing.faulty_disk.power_loss import Opener, Played, play

__all__ = ["main"]


def main() -> int:
    """Return 0 when every promise was kept, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m agenticflow.testing.faulty_disk", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many seeds to play (%(default)s)")
    parser.add_argument("--first", type=int, default=0, help="the first seed (%(default)s)")
    parser.add_argument("--durability", choices=("full", "normal"), default="full")
    parser.add_argument("--lying-disk", action="store_true", help="a disk that ignores syncs: violations must be found")
    options = parser.parse_args()
    opener = _opener(options.durability)
    logging.getLogger("agenticflow").setLevel(logging.CRITICAL)  # a dying store complains a lot
    results: list[Played] = []
    with tempfile.TemporaryDirectory(prefix="agenticflow-power-") as folder:
        for seed in range(options.first, options.first + options.seeds):
            place = Path(folder, f"{seed}")
            place.mkdir()
            played = asyncio.run(
                play(
                    seed, place, opener, may_lose_tail=options.durability == "normal", obeys_sync=not options.lying_disk
                )
            )
            results.append(played)
            for problem in played.problems[:5]:
                sys.stderr.write(f"seed {seed}: {problem}\n")
            shutil.rmtree(place)
    violated = sum(bool(played.problems) for played in results)
    sys.stdout.write(
        f"{len(results)} seeds, {sum(p.lives for p in results)} power cuts, durability {options.durability}: "
        f"{sum(p.acknowledged for p in results):,} commits acknowledged, {sum(p.lost for p in results):,} of them lost, "
        f"{sum(p.unknown for p in results):,} with unknown outcome, {violated} seeds with violations\n"
    )
    return 1 if violated else 0


def _opener(durability: str) -> Opener:
    async def opener(path: Path, layer: str) -> Store:
        return await open_store(f"sqlite:///{quote(str(path))}?durability={durability}&vfs={layer}")

    return opener


if __name__ == "__main__":
    sys.exit(main())
