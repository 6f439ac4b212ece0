"""The customer service: who gets to whom, and that a desk whose process ends goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agenticflow.errors import GuardrailTripwireTriggered
from agenticflow.testing.virtual_time import run_virtual
from examples.customer_service import desk, main


def test_everybody_gets_an_answer_from_whoever_can_give_it(capsys: pytest.CaptureFixture[str]) -> None:
    answers = run_virtual(main())
    assert [answer["by"] for answer in answers] == ["technical", "billing", "manager", "manager", "manager"]
    assert answers[1]["text"] == "40 for A-17 will be refunded."
    assert answers[2]["text"] == "I see to it myself. 1900 is more than I may refund."
    assert answers[3]["text"] == "I see to it myself. You have asked before."
    assert answers[4]["text"] == "I see to it myself. No invoice was named.", "sent in circles"
    shown = capsys.readouterr().out
    assert "carl was asked to say it otherwise" in shown
    assert "6 lines were kept of the conversation with ada" in shown


async def ways(query: str) -> list[str]:
    """Who was asked, in order."""
    async with desk(store="memory:") as service:
        handle = await service.start(query, workflow_id="w")
        await handle.result()
        keys = (await handle.execution()).tasks
        return [key for key in keys if not key.endswith("-said") and not key.startswith("guard")]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("reset", ["triage-1", "technical-1"]),
        ("it smokes", ["triage-1", "technical-1", "manager-1"]),
        ("invoice A-17", ["triage-1", "billing-1"]),
        ("invoice A-18", ["triage-1", "billing-1", "manager-1"]),
        ("refund", ["triage-1", "billing-1", "triage-2", "billing-2", "manager-1"]),
    ],
)
def test_the_way_of_a_query(query: str, asked: list[str]) -> None:
    assert run_virtual(ways(query)) == asked


async def test_a_desk_that_opens_again_knows_its_customers_and_its_answers(tmp_path: Path) -> None:
    store: Any = f"sqlite:///{tmp_path / 'desk.db'}"
    async with desk(store=store) as service:
        first = await service.run("How do I reset it?", session_id="ada", workflow_id="ticket-1")
    async with desk(store=store) as service:
        assert await service.run("How do I reset it?", session_id="ada", workflow_id="ticket-1") == first
        assert (await service.run("It does not work!", session_id="ada"))["by"] == "manager"
        with pytest.raises(GuardrailTripwireTriggered, match="no card numbers"):
            await service.run("4111 1111 1111 1111", session_id="ada")
