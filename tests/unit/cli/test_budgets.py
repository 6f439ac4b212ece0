"""``agenticflow budgets``: how budgets stand, in words and as JSON."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path

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
    assert "open: call 3 of a" in shown.out
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
