"""``agenticflow approvals …`` beside a running owner, and without one."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from tests.e2e.command_line import CommandLine, until

ASKING = """
from agenticflow import Agent, TaskContext, TaskDefinition, WorkflowDefinition
from agenticflow.orchestration import Approval

hand = Agent("hand")


@hand.task("title")
async def title(context: TaskContext) -> object:
    return context.interrupt({"title": "Spring"}, key="title", question="Which title?")


@hand.task("pay")
async def pay(amount: int, title: object) -> str:
    return f"paid {amount} for {title['title']}"


asking = WorkflowDefinition(
    [
        TaskDefinition("title", "hand", "title"),
        TaskDefinition.ask(
            "sure",
            Approval(
                "Pay ${input.amount}?",
                assignees=["ada", "bob"],
                quorum=2,
                arguments={"amount": "${input.amount}"},
                response_schema={
                    "type": "object",
                    "properties": {"amount": {"type": "integer", "maximum": 100}},
                    "required": ["amount"],
                },
            ),
        ),
        TaskDefinition("pay", "hand", "pay", {"amount": "${sure.value.amount}"}, {"sure", "title"}),
    ],
    name="asking",
    context={"amount": 50},
)
"""


@pytest.fixture
def owner(cli: CommandLine) -> subprocess.Popen[str]:
    """Return a process that owns the store and waits for people."""
    (cli.folder / "asking.py").write_text(ASKING, encoding="utf-8")
    started = cli.start("run", "asking.py", "--workflow-id", "q1")
    assert started.stderr is not None
    for line in started.stderr:
        if "waits for an answer" in line:
            until(lambda: len(requests(cli)) == 2)
            return started
    raise AssertionError(f"the owner ended with {started.wait()} and never asked")


def requests(cli: CommandLine, *filters: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = cli.json("approvals", "list", *filters)
    return found


def by_task(cli: CommandLine) -> dict[str, str]:
    return {one["task_key"]: one["approval_id"] for one in requests(cli)}


def test_people_answer_from_other_processes_while_the_run_goes_on(
    cli: CommandLine, owner: subprocess.Popen[str]
) -> None:
    ids = by_task(cli)
    assert [one["approval_id"] for one in requests(cli, "--for", "eve")] == [ids["title"]]
    table, _ = cli.run("approvals", "list", "--for", "ada")
    assert "Pay 50?" in table
    assert "0 of 2 approved" in table

    sure = ids["sure"]
    _, errors = cli.run("approvals", "approve", sure, "--by", "eve", code=8)
    assert "ada, bob may answer 'sure'; 'eve' is not one of them" in errors
    _, errors = cli.run("approvals", "approve", sure, "--by", "ada", "--value", '{"amount": 500}', code=2)
    assert "answer.amount is 500, above the maximum 100" in errors
    _, errors = cli.run("approvals", "approve", sure, "--by", "ada", "--value", "amount: 5", code=2)
    assert "--value line 1 is no JSON" in errors
    assert cli.json("approvals", "approve", sure, "--by", "ada", "--value", '{"amount": 40}')["is_open"]
    output, _ = cli.run("approvals", "delegate", sure, "carl", "--by", "bob", "--comment", "on leave")
    assert output == f"{sure}: open, 1 of 2 approved\n"
    assert requests(cli, "--for", "bob", "--run", "q1") == requests(cli, "--for", "bob")
    shown, _ = cli.run("approvals", "show", sure)
    assert "bob handed it to carl  on leave" in shown
    assert '"maximum": 100' in shown

    cli.run("approvals", "approve", ids["title"], "--value", '{"title": "Summer"}')
    assert not cli.json("approvals", "approve", sure, "--by", "carl", "--value", '{"amount": 30}')["is_open"]
    output, _ = cli.end(owner, 0)
    assert json.loads(output) == {"pay": "paid 30 for Summer"}
    assert requests(cli) == []
    _, notes = cli.run("approvals", "list", "--for", "ada")
    assert "nothing waits for an answer of ada" in notes
    cli.run("approvals", "approve", sure, "--by", "carl", "--value", '{"amount": 30}')  # again: changes nothing
    _, errors = cli.run("approvals", "reject", sure, "--by", "carl", code=8)
    assert "COMPLETED" in errors


def test_without_an_owner_an_answer_waits_for_the_next(cli: CommandLine, owner: subprocess.Popen[str]) -> None:
    ids = by_task(cli)
    owner.kill()
    owner.communicate()
    assert by_task(cli) == ids
    _, notes = cli.run("approvals", "reject", ids["sure"], "--by", "ada", "--reason", "too much")
    assert "nobody runs this store now" in notes
    assert list(by_task(cli)) == ["title"]
    _, errors = cli.run("approvals", "approve", ids["sure"], "--by", "bob", code=8)
    assert "is closed: ada rejected it" in errors
    cli.run("approvals", "show", "nonsense", code=2)
    _, errors = cli.run("approvals", "show", "q9/1/sure@3", code=7)
    assert "there is no request 'q9/1/sure@3'" in errors


def test_the_older_way_by_task_answers_what_a_handler_asks_too(cli: CommandLine, owner: subprocess.Popen[str]) -> None:
    cli.run("runs", "approve", "q1", "title", "--by", "ada")
    until(lambda: list(by_task(cli)) == ["sure"])
    cli.run("runs", "reject", "q1", "sure", "--by", "ada")
    cli.end(owner, 3)


THINKING = """
import asyncio
from pathlib import Path

from agenticflow import Agent, TaskContext, TaskDefinition, WorkflowDefinition

hand = Agent("hand")


async def call(context: TaskContext, name: str) -> str:
    reply = context.interrupt({"tool": name}, key=name, question=f"Call {name}?", on_rejection="return")
    if not reply.is_approved:
        return f"denied by {reply.by}: {reply.comment}"
    done = Path(f"{name}-{context.effect_key}")
    if not done.exists():
        done.touch()
        with Path("ran.log").open("a") as log:
            log.write(name + "\\n")
    return "called"


@hand.task("think")
async def think(context: TaskContext) -> dict[str, str]:
    async with asyncio.TaskGroup() as group:
        calls = {name: group.create_task(call(context, name)) for name in ("mail", "pay", "post")}
    return {name: one.result() for name, one in calls.items()}


thinking = WorkflowDefinition([TaskDefinition("think", "hand", "think")], name="thinking", output="${think}")
"""


def by_key(cli: CommandLine) -> dict[str, str]:
    return {one["interrupt_key"]: one["approval_id"] for one in requests(cli)}


def owner_asks(cli: CommandLine, process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "waits for an answer" in line:
            return
    raise AssertionError(f"the owner ended with {process.wait()} and never asked")


def test_three_tools_asking_at_once_are_answered_one_by_one_across_kills(cli: CommandLine) -> None:
    (cli.folder / "thinking.py").write_text(THINKING, encoding="utf-8")
    answers = {
        "post": ["approve"],
        "mail": ["reject", "--by", "bob", "--reason", "spam"],
        "pay": ["approve", "--value", "5"],
    }
    ids: dict[str, str] = {}
    asked: dict[str, str] = {}
    for key, (verb, *options) in answers.items():
        owner = cli.start("run", "thinking.py", "--workflow-id", "q1")
        owner_asks(cli, owner)
        found = by_key(cli)
        assert len(found) == 3 - len(ids)
        if not ids:
            table, _ = cli.run("approvals", "list")
            assert all(f"Call {name}?" in table and one in table for name, one in found.items())
            assert sorted(found) == ["mail", "pay", "post"]
            asked = found
            _, errors = cli.run("runs", "approve", "q1", "think", code=8)
            assert "asks 3 questions at once" in errors
        assert found.items() <= asked.items(), "the same ids in every life"
        cli.run("approvals", verb, found[key], *options)
        owner.kill()
        owner.communicate()
        ids[key] = found[key]
    output, _ = cli.run("run", "thinking.py", "--workflow-id", "q1")
    assert json.loads(output) == {"mail": "denied by bob: spam", "pay": "called", "post": "called"}
    assert sorted(cli.ran()) == ["pay", "post"]
    assert requests(cli) == []
    assert cli.run("store", "verify")[0].startswith("sound: 1 runs")
