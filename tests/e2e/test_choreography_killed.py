"""Programs whose agents react to events are killed in the middle, again and again: each event has one reaction of each agent, for ever."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from agenticflow import open_store
from tests.docs.pages import ROOT

pytestmark = pytest.mark.proof

LIVES = 6


async def test_one_reaction_and_one_emission_however_often_the_program_is_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    command = [sys.executable, "-m", "tests.e2e.reaction_program", url]
    for life in range(LIVES):
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
            assert program.stdout is not None
            # killed after so many orders, each life somewhat later, so that it happens in other places
            for line in program.stdout:
                if int(line) >= 40 + 23 * life:
                    break
            program.kill()
    subprocess.run([*command, "--last"], cwd=ROOT, check=True, timeout=120)
    store = await open_store(url, read_only=True)
    try:
        events = [event async for event in store.read_all()]
    finally:
        await store.close()
    by_type: dict[str, list[object]] = {}
    for event in events:
        by_type.setdefault(event.event_type, []).append(event.payload.get("order"))
    orders = set(by_type["order.placed"])
    assert len(orders) > 40 * LIVES
    for event_type in ("order.paid", "stock.reserved", "stock.counted"):
        assert Counter(by_type[event_type]) == Counter(orders), event_type
    assert Counter(by_type["mail.sent"]) == Counter([*orders, *orders])
    reactions = Counter(
        (e.payload["agent_id"], e.payload["reacted_to"]) for e in events if e.event_type == "agent_reacted"
    )
    assert set(reactions.values()) == {1}
    assert len(reactions) == 4 * len(orders)
