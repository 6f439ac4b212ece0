"""What is killed while it modifies shared state: ``python -m tests.e2e.sharing_program STORE LEDGER [--last]``.

Hands count up one shared state. Each writes down, outside the store, what it asks for and what was answered; after a kill it asks
again, with the same command id, for what was not answered. With ``--last`` it ends when everything is answered, and prints the state.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from agenticflow import StateManager, open_store

HANDS = 4


def one_more_of(hand: str) -> Callable[[dict[str, int] | None], dict[str, int]]:
    def count(counts: dict[str, int] | None) -> dict[str, int]:
        return {**(counts or {}), hand: (counts or {}).get(hand, 0) + 1}

    return count


async def main(url: str, ledger: Path, *, is_last: bool) -> None:
    file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    lines = ledger.read_text().split("\n")
    store = await open_store(url)
    managers = [StateManager(store), StateManager(store)]

    async def work(number: int) -> None:
        hand = f"hand-{number}"
        asked = [line.split()[2] for line in lines if line.startswith(f"asked {hand} ")]
        answered = {line.split()[2] for line in lines if line.startswith(f"answered {hand} ")}
        step = int(asked[-1]) if asked and asked[-1] not in answered else len(asked) + 1
        while not is_last or str(step) in asked:
            os.write(file, f"asked {hand} {step}\n".encode() if str(step) not in asked else b"")
            counts, _ = await managers[number % 2].modify_state(
                "team", "counts", one_more_of(hand), command_id=f"{hand} {step}"
            )
            assert counts[hand] == step, f"{hand} was told {counts} at step {step}"
            os.write(file, f"answered {hand} {step}\n".encode())
            step += 1

    await asyncio.gather(*map(work, range(HANDS)))
    print(json.dumps(await managers[0].get_state("team", "counts")))
    await store.close()


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Path(sys.argv[2]), is_last="--last" in sys.argv))
