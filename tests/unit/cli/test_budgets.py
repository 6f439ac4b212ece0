"""``agenticflow budgets``: how budgets stand, in words and as JSON."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agenticflow import Orchestrator
from agenticflow.cli.program import main
from agenticflow.resilience import Amounts, Budget, Claim


async def _spend(url: str) -> None:
    async with Orchestrator(store=url) as orchestrator:
        budgets = orchestrator.budgets
        await budgets.open("run", Budget(usd=2, seconds=3_600))
        lineage = (await budgets.open("agent", Budget(tokens=5_000), parent="run")).lineage
        await budgets.settle(lineage, Claim("a", 1), Amounts(usd=Decimal("0.25"), tokens=1_200, tool_calls=1))
        await budgets.settle(lineage, Claim("a", 2), Amounts(usd=None, tokens=10))
        await budgets.reserve(lineage, Claim("a", 3), Amounts(usd=Decimal("0.5"), tokens=2_000))
        await budgets.settle(lineage, Claim("a", 4), None)


def test_how_budgets_stand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    asyncio.run(_spend(url))
    assert main(["budgets", "list", "--store", url]) == 0
    listed = capsys.readouterr().out
    assert "agent" in listed
    assert "1,210" in listed
    assert main(["budgets", "show", "agent", "--store", url]) == 0
    shown = capsys.readouterr()
    assert "agent: OPEN, 3 calls settled, 1 open" in shown.out
    assert "part of run" in shown.out
    assert "open: a#3, call 3 of a" in shown.out
    assert "1 calls have no known price, 10 tokens of them" in shown.err
    assert "1 calls count as what was reserved" in shown.err
    assert main(["budgets", "show", "run", "--store", url, "--format", "json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["limits"] == {"usd": "2", "seconds": 3600.0}
    assert plain["spent"] == {"usd": "0.25", "tokens": 1210, "tool_calls": 1}
    assert (plain["open_calls"], plain["left"]["usd"], plain["lineage"]) == (["a#3"], "1.25", ["run"])
    assert main(["budgets", "list", "--store", url, "--format", "json"]) == 0
    assert [view["budget_id"] for view in json.loads(capsys.readouterr().out)] == ["agent", "run"]


def test_what_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = f"sqlite:///{tmp_path}/state.db"

    async def make() -> None:
        async with Orchestrator(store=url):
            await asyncio.sleep(0)

    asyncio.run(make())
    assert main(["budgets", "list", "--store", url]) == 0
    assert "there are no budgets" in capsys.readouterr().err
    assert main(["budgets", "show", "nothing", "--store", url]) == 7
    assert "there is no budget 'nothing'" in capsys.readouterr().err
    assert main(["budgets"]) == 0
    assert "show" in capsys.readouterr().out


def test_calls_whose_owner_is_gone_are_settled_or_released_by_a_person(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    asyncio.run(_spend(url))

    def answer(*arguments: str) -> Any:
        assert main(["budgets", *arguments, "--store", url, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    assert main(["budgets", "close", "agent", "--store", url]) == 8
    assert "settle those that were made" in capsys.readouterr().err
    settled = answer("settle", "agent", "a#3", "--usd", "0.3", "--tokens", "1500", "--tool-calls", "2")
    assert settled["spent"] == {"usd": "0.55", "tokens": 2_710, "tool_calls": 3}
    assert settled["open_calls"] == answer("show", "run")["open_calls"] == []
    assert answer("show", "run")["spent"]["usd"] == "0.55"
    assert settled["unmetered_calls"] == 1
    assert answer("settle", "agent", "a#3", "--usd", "1.9")["spent"] == settled["spent"]

    async def reserve() -> None:
        async with Orchestrator(store=url) as orchestrator:
            for number in (5, 6):
                await orchestrator.budgets.reserve(["agent", "run"], Claim("a#", number), Amounts(tokens=100))

    asyncio.run(reserve())
    unknown = answer("settle", "agent", "a##5")
    assert (unknown["spent"]["tokens"], unknown["unmetered_calls"]) == (2_810, 2)
    released = answer("release", "agent", "a##6")
    assert (released["spent"]["tokens"], released["open_calls"]) == (2_810, [])
    assert answer("show", "run")["reserved"]["tokens"] == 0
    assert answer("close", "agent")["status"] == "CLOSED"


@pytest.mark.parametrize(
    ("code", "arguments", "words"),
    [
        (7, ("change", "nobody", "--usd", "1"), "there is no budget 'nobody'"),
        (7, ("close", "nobody"), "`agenticflow budgets list` shows what there is"),
        (7, ("settle", "nobody", "a#1"), "there is no budget 'nobody'"),
        (7, ("release", "nobody", "a#1"), "there is no budget 'nobody'"),
        (2, ("change", "run"), "give some of --usd"),
        (2, ("change", "run", "--tokens", "many"), "--tokens 'many' is no number"),
        (2, ("change", "run", "--usd", "-1"), "usd=Decimal('-1') is no amount"),
        (2, ("change", "run", "--usd", "1e999999999"), "is no amount"),
        (2, ("change", "run", "--seconds", "nan"), "seconds=nan is no number"),
        (2, ("open", "part", "--parent", "nobody"), "there is no budget 'nobody'"),
        (2, ("open", "", "--usd", "1"), "'' is no budget id"),
        (2, ("release", "run", "a"), "write it as `budgets show` does: OWNER#NUMBER"),
        (2, ("release", "run", "a#99999999999"), "is no call"),
        (2, ("settle", "run", "a#1", "--tokens", "-1"), "Invalid value"),
        (2, ("settle", "run", "a#1", "--tokens", "9" * 30), "Invalid value"),
    ],
)
def test_what_cannot_be_done_is_told_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], code: int, arguments: tuple[str, ...], words: str
) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    assert main(["budgets", "close", "run", "--store", url]) == 7
    assert main(["budgets", "open", "run", "--tokens", "10", "--store", url]) == 0
    capsys.readouterr()
    assert main(["budgets", *arguments, "--store", url]) == code
    assert words in " ".join(capsys.readouterr().err.split())
    assert main(["budgets", "show", "run", "--store", url, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["limits"] == {"tokens": 10}
