"""``agenticflow budgets …`` in real processes: without an owner, beside a running one, and for a run that has spent all it may."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.e2e.command_line import CommandLine, until

PAID = '''
"""An agent that asks a model, in a run with a budget that is too small."""

from agenticflow import Agent, TaskDefinition, WorkflowDefinition
from agenticflow.resilience import Budget
from agenticflow.testing import ScriptedModel

writer = Agent("writer", instructions="Write.", model=ScriptedModel(lambda request: "Tea."))
paid = WorkflowDefinition(
    [TaskDefinition("draft", "writer", "write", {"prompt": "About tea"})],
    name="paid",
    budget=Budget(tokens=100),
    output="${draft}",
)
'''


def test_a_budget_from_its_opening_to_its_end_without_an_owner(cli: CommandLine) -> None:
    opened = cli.json("budgets", "open", "team", "--usd", "5.10", "--seconds", "3600")
    assert (opened["status"], opened["limits"]) == ("OPEN", {"usd": "5.10", "seconds": 3600.0})
    part = cli.json("budgets", "open", "mine", "--tokens", "1000", "--parent", "team")
    assert part["lineage"] == ["mine", "team"]
    changed = cli.json("budgets", "change", "team", "--usd", "7", "--tool-calls", "4")
    assert changed["limits"] == {"usd": "7", "seconds": 3600.0, "tool_calls": 4}
    assert cli.json("budgets", "change", "team", "--seconds", "none")["limits"] == {"usd": "7", "tool_calls": 4}
    assert cli.run("budgets", "change", "team", "--usd", "8")[0] == "team: OPEN, left: usd 8 of 8, tool calls 4 of 4\n"
    assert cli.json("budgets", "open", "team", "--usd", "5.10", "--seconds", "3600")["limits"]["usd"] == "8"
    assert cli.json("budgets", "close", "mine")["status"] == "CLOSED"
    _, refused = cli.run("budgets", "change", "mine", "--tokens", "5", code=8)
    assert "hint: open it again" in refused


def test_an_owner_that_runs_changes_it_and_no_change_loses_another(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    cli.run("budgets", "open", "team")
    changes = [("--usd", "9"), ("--tokens", "7"), ("--tool-calls", "3"), ("--seconds", "60")]
    with ThreadPoolExecutor(len(changes)) as at_once:
        list(at_once.map(lambda change: cli.run("budgets", "change", "team", *change), changes))
    limits = cli.json("budgets", "show", "team")["limits"]
    assert limits == {"usd": "9", "tokens": 7, "tool_calls": 3, "seconds": 60.0}
    assert cli.json("budgets", "close", "team")["status"] == "CLOSED"
    cli.let_go()
    cli.end(owner, 0)


def test_a_run_that_has_spent_all_goes_on_when_more_is_allowed(cli: CommandLine) -> None:
    (cli.folder / "paid.py").write_text(PAID, encoding="utf-8")
    _, told = cli.run("run", "paid.py:paid", "--workflow-id", "p1", code=3)
    assert "does not cover this call" in told
    assert cli.json("budgets", "show", "workflow-p1")["limits"] == {"tokens": 100}
    assert cli.json("budgets", "change", "workflow-p1", "--tokens", "90000")["left"]["tokens"] == 90_000
    cli.run("runs", "resume", "p1")
    assert cli.run("run", "paid.py:paid", "--workflow-id", "p1")[0] == "Tea.\n"
    assert cli.json("budgets", "show", "workflow-p1")["calls"] == 1
