"""The examples with agents that ask a model: who answers, what is asked of people, what is refused, and that a killed pipeline goes on."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from agenticflow.testing.crashes import CrashCase, Resolution, crash_search
from agenticflow.testing.virtual_time import run_virtual

EXAMPLES = Path(__file__).parents[2] / "examples"


def shown(name: str, capsys: pytest.CaptureFixture[str]) -> list[str]:
    run_virtual(runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]())
    return capsys.readouterr().out.splitlines()


def test_customers_get_to_whoever_can_help_and_a_refund_needs_a_yes(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown("service_chat", capsys) == [
        "I forgot my password",
        "  technical: Done: a link was sent to ada.",
        "What is on A-17?",
        '  billing: Your invoice: {"number":"A-17","amount":40}',
        "Still nothing works!",
        "  manager: I am sorry. I take care of it myself, and call you within the hour.",
        "May billing call refund? {'agent': 'billing', 'tool': 'refund', 'params': {'number': 'A-17', 'amount': 40}}",
        "  Your invoice: 40 of A-17 were paid back",
        "refused: a card number at character 12",
        # what was refused is not kept
        "24 items in the conversation",
    ]


def test_a_text_is_researched_written_and_edited_with_two_checkpoints(capsys: pytest.CaptureFixture[str]) -> None:
    sources, publish, result = shown("research_pipeline", capsys)
    assert sources.startswith("Are these sources fine? {'found': 'Tea came to Europe")
    assert publish.startswith("Publish On tea?")
    assert "'title': 'On tea'" in result


@pytest.mark.proof
def test_the_pipeline_goes_on_wherever_it_is_killed() -> None:
    def case() -> CrashCase:
        parts = runpy.run_path(str(EXAMPLES / "research_pipeline.py"))
        return CrashCase(
            parts["pipeline"],
            agents=[parts["researcher"], parts["writer"], parts["editor"]],
            answer=lambda key: Resolution("approved", {"found": "tea"} if key == "sources" else {"text": "tea"}),
        )

    report = crash_search(case, every=6)
    assert not report.violations, report
