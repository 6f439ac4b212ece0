"""What is killed while it talks: ``python -m tests.e2e.talking_program STORE LEDGER [--last]``.

Hands add to one conversation, two items at a time. Each writes down, outside the store, what it asks for and what was answered; after a
kill it asks again, with the same command id, for what was not answered. With ``--last`` it ends when everything is answered, and prints
what the conversation holds.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

from agenticflow import AgentSession, open_store

HANDS = 3


async def main(url: str, ledger: Path, *, is_last: bool) -> None:
    file = os.open(ledger, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
    lines = ledger.read_text().split("\n")
    store = await open_store(url)
    sessions = [AgentSession("talk", max_items=10_000, store=store) for _ in range(HANDS)]

    async def work(number: int) -> None:
        hand = f"hand-{number}"
        asked = [line.split()[2] for line in lines if line.startswith(f"asked {hand} ")]
        answered = {line.split()[2] for line in lines if line.startswith(f"answered {hand} ")}
        step = int(asked[-1]) if asked and asked[-1] not in answered else len(asked) + 1
        while not is_last or str(step) in asked:
            os.write(file, f"asked {hand} {step}\n".encode() if str(step) not in asked else b"")
            pair = [{"role": "user", "content": f"{hand} {step} {part}"} for part in ("question", "answer")]
            await sessions[number].add_items(pair, command_id=f"{hand} {step}")
            os.write(file, f"answered {hand} {step}\n".encode())
            step += 1

    await asyncio.gather(*map(work, range(HANDS)))
    print(json.dumps([item["content"] for item in await sessions[0].get_items()]))
    await store.close()


if __name__ == "__main__":
    print("ready", flush=True)
    asyncio.run(main(f"sqlite:///{sys.argv[1]}", Path(sys.argv[2]), is_last="--last" in sys.argv))
