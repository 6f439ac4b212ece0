"""A workflow as code on the command line: killed in the middle of its steps, looked at, steered, and started again with other code."""

from __future__ import annotations

import json
import signal
import subprocess
from itertools import pairwise
from typing import Final

import pytest

from tests.e2e.command_line import CommandLine, until

SHOP: Final = '''
"""An order as code. What began is in ran.log; a step ends when the file go-NAME is there."""

import asyncio
from pathlib import Path

from agenticflow import WorkflowContext, worker, workflow


async def begin(name):
    with Path("ran.log").open("a") as log:
        log.write(name + "\\n")
    while not Path(f"go-{name}").exists():
        await asyncio.sleep(0.01)


@worker("reserve")
async def reserve(item: str) -> dict[str, str]:
    await begin("reserve")
    return {"reservation": f"r-{item}"}


@worker("charge")
async def charge(cents: int) -> dict[str, str]:
    await begin("charge")
    return {"receipt": f"c-{cents}"}


@worker("ship")
async def ship(reservation: str) -> str:
    await begin("ship")
    return f"parcel of {reservation}"


@worker("thank")
async def thank(name: str) -> str:
    await begin("thank")
    return name


@workflow
async def order(ctx: WorkflowContext, input):
    held = await ctx.task("reserve", "reserve", {"item": input["item"]})
    paid = await ctx.task("charge", "charge", {"cents": input["cents"]}, effect="at_most_once")
    packed = await ctx.signal("packed")
    checked = await ctx.approval("check", "Is ${this} the right parcel?")
    parcel, thanked = await ctx.gather(
        ctx.task("ship", "ship", {"reservation": held["reservation"]}), ctx.task("thank", "thank", {"name": "Ada"})
    )
    await ctx.sleep("rest", 0.05)
    return {"parcel": parcel, "receipt": paid["receipt"], "packed": packed, "by": checked["by"], "thanked": thanked}


@workflow
async def other(ctx: WorkflowContext, input):
    return await ctx.task("only", "thank", {"name": "Bo"})
'''
PLACE: Final = ("run", "shop.py:order", "-i", "item=lamp", "-i", "cents=5", "--workflow-id", "o1")
RESULT: Final = {
    "parcel": "parcel of r-lamp",
    "receipt": "c-5",
    "packed": {"boxes": 2},
    "by": "Ada",
    "thanked": "Ada",
}


@pytest.fixture
def shop(cli: CommandLine) -> CommandLine:
    (cli.folder / "shop.py").write_text(SHOP, encoding="utf-8")
    return cli


def let_end(shop: CommandLine, *steps: str) -> None:
    for step in steps:
        (shop.folder / f"go-{step}").touch()


def change(shop: CommandLine, old: str, new: str) -> None:
    assert old in SHOP
    (shop.folder / "shop.py").write_text(SHOP.replace(old, new), encoding="utf-8")


def kill_when(shop: CommandLine, *began: str, count: int = 1) -> None:
    """Run the order until these steps have begun ``count`` times in all lives, then kill its process."""
    owner = shop.start(*PLACE)
    until(lambda: all(shop.ran().count(step) == count for step in began), f"{began} began")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()


def statuses(shop: CommandLine) -> dict[str, str]:
    return {task["key"]: task["status"] for task in shop.json("runs", "show", "o1")["tasks"]}


def answer(shop: CommandLine) -> None:
    shop.run("runs", "signal", "o1", "packed", "--value", '{"boxes": 2}')
    shop.run(*PLACE, "--no-wait", "-q", code=6)
    (asked,) = shop.json("approvals", "list")
    shop.run("approvals", "approve", asked["approval_id"], "--by", "Ada")


def test_killed_in_every_step_it_goes_on_with_what_is_recorded(shop: CommandLine) -> None:
    kill_when(shop, "reserve")
    let_end(shop, "reserve")
    kill_when(shop, "charge")
    _, errors = shop.run(*PLACE, code=6)
    assert "agenticflow runs resolve o1 charge" in errors
    assert shop.ran() == ["reserve", "reserve", "charge"], "at most once: nobody knows, and nobody tries again"
    shop.run("runs", "resolve", "o1", "charge", "completed", "--value", '{"receipt": "c-5"}')
    _, errors = shop.run(*PLACE, "--no-wait", code=6)
    assert "agenticflow runs signal o1 packed" in errors
    answer(shop)
    kill_when(shop, "ship", "thank")
    let_end(shop, "thank")
    owner = shop.start(*PLACE)
    until(lambda: statuses(shop).get("thank") == "COMPLETED")
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    let_end(shop, "ship")
    output, _ = shop.run(*PLACE)
    assert json.loads(output) == RESULT
    began = shop.ran()
    assert began[:3] == ["reserve", "reserve", "charge"]
    assert (began.count("charge"), began.count("thank"), began.count("ship")) == (1, 2, 3)
    again, _ = shop.run(*PLACE)
    assert json.loads(again) == RESULT
    assert shop.ran() == began, "its result is handed back"


def test_looking_at_a_run_that_waits(shop: CommandLine) -> None:
    let_end(shop, "reserve", "charge")
    shop.run(*PLACE, "--no-wait", code=6)
    assert statuses(shop) == {"reserve": "COMPLETED", "charge": "COMPLETED", "packed": "WAITING"}
    output, _ = shop.run("debug", "why", "o1")
    assert "packed" in output
    assert "agenticflow runs signal o1 packed" in output
    output, _ = shop.run("runs", "timeline", "o1")
    assert [line.split()[0] for line in output.splitlines()[2:]] == ["reserve", "charge", "packed"]
    shop.run("runs", "signal", "o1", "packed", "--value", '{"boxes": 2}')
    shop.run(*PLACE, "--no-wait", code=6)
    shown, _ = shop.run("runs", "show", "o1")
    assert "Is ${this} the right parcel?" in shown, "the words of a function are no templates"
    let_end(shop, "ship", "thank")
    shop.run("runs", "approve", "o1", "check", "--by", "Ada")
    output, _ = shop.run(*PLACE, "-q")
    assert json.loads(output) == RESULT
    output, _ = shop.run("runs", "graph", "o1")
    edges = [line.strip() for line in output.splitlines() if "-->" in line]
    names = ["reserve", "charge", "packed", "check", "ship", "thank", "rest"]
    told = [tuple(names[int(end[1:])] for end in edge.split(" --> ")) for edge in edges]
    assert told == [
        *pairwise(names[:4]),
        ("check", "ship"),
        ("check", "thank"),
        ("ship", "rest"),
        ("thank", "rest"),
    ]
    output, _ = shop.run("runs", "events", "o1")
    assert "steps_planned" in output
    assert "plan_closed" in output


def standing_still(shop: CommandLine) -> subprocess.Popen[str]:
    """Return a process that owns the store, is busy with something else, and has the wrong code for the order."""
    owner = shop.start("run", "shop.py:other", "--workflow-id", "b1")
    until(lambda: "thank" in shop.ran())
    return owner


CHANGES: Final = {
    "params": ('"cents": input["cents"]', '"cents": 7', "'cents': 7"),
    "a step before": ("    paid =", '    await ctx.task("fraud", "thank", {"name": "x"})\n    paid =', "step 'fraud'"),
    "another worker": ('"charge", {"cents"', '"thank", {"cents"', "'agent_id': 'thank'"),
    "a step that waits left out": ('await ctx.signal("packed")', "None", "step 'check'"),
}


@pytest.mark.parametrize(("old", "new", "told"), CHANGES.values(), ids=CHANGES)
def test_other_code_says_what_differs_first_and_where(shop: CommandLine, old: str, new: str, told: str) -> None:
    let_end(shop, "reserve", "charge")
    shop.run(*PLACE, "--no-wait", "-q", code=6)
    change(shop, old, new)
    _, errors = shop.run(*PLACE, code=6)
    assert "does not repeat run 1 of 'o1'" in errors
    assert told in errors
    assert "shop.py:" in errors
    assert " in order" in errors or "not asked for any more" in errors


def test_a_run_stands_still_beside_others_until_its_code_is_back(shop: CommandLine) -> None:
    let_end(shop, "reserve", "charge")
    shop.run(*PLACE, "--no-wait", "-q", code=6)
    old, new, told = CHANGES["params"]
    change(shop, old, new)
    owner = standing_still(shop)
    for command in (("runs", "show"), ("debug", "why")):
        output, _ = shop.run(*command, "o1")
        assert told in output
        assert "shop.py:" in output
    assert "every one is alive" in shop.run("doctor", "--liveness")[0]
    let_end(shop, "thank", "ship")
    shop.end(owner, 0)
    change(shop, "", "")  # the code it began with
    answer(shop)
    output, _ = shop.run(*PLACE)
    assert json.loads(output) == RESULT
    assert sorted(shop.ran()) == ["charge", "reserve", "ship", "thank", "thank"]


def test_a_version_that_is_not_there_is_named(shop: CommandLine) -> None:
    let_end(shop, "reserve", "charge")
    shop.run(*PLACE, "--no-wait", code=6)
    change(shop, "@workflow\nasync def order", '@workflow(version="2")\nasync def order')
    _, errors = shop.run(*PLACE, code=6)
    assert "version '1' of the workflow 'order', is not registered: here are '2'" in errors


def test_what_cannot_be_drawn_before_it_runs_says_so(shop: CommandLine) -> None:
    output, _ = shop.run("workflows", "validate", "shop.py")
    assert output.splitlines() == [
        f"shop.py: ok: {name}, as code: its steps are told by its runs" for name in ("order", "other")
    ]
    assert [one["is_code"] for one in shop.json("workflows", "validate", "shop.py:order")[0]["workflows"]] == [True]
    _, errors = shop.run("workflows", "graph", "shop.py:order", code=2)
    assert "'order' is a workflow as code" in errors
    assert "agenticflow runs graph" in errors
    (shop.folder / "bad.py").write_text("from agenticflow import workflow\n\n\n@workflow\ndef order(ctx, input): ...\n")
    _, errors = shop.run("run", "bad.py", code=2)
    assert "workflow 'order' is no async function" in errors
