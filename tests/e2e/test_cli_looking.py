"""``runs watch|graph|timeline|approve|reject`` and ``events tail`` beside a running owner, and without one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.e2e.command_line import CommandLine, until

ASKING = """
from agenticflow import Agent, TaskDefinition, WorkflowDefinition

hand = Agent("hand")


@hand.task("say")
async def say(words: object) -> object:
    return words


asking = WorkflowDefinition(
    [
        TaskDefinition("draft", "hand", "say", {"words": "a letter"}),
        TaskDefinition.ask("sure", "Send ${draft}?", {"draft"}),
        TaskDefinition("send", "hand", "say", {"words": "${sure.by}"}, {"sure"}),
    ],
    name="asking",
)
"""


@pytest.fixture
def asked(cli: CommandLine) -> subprocess.Popen[str]:
    """Return a process that owns the store and waits for a person's answer."""
    (cli.folder / "asking.py").write_text(ASKING, encoding="utf-8")
    owner = cli.start("run", "asking.py", "--workflow-id", "q1")
    assert owner.stderr is not None
    for line in owner.stderr:
        if "waits for an answer: Send a letter?" in line:
            return owner
    raise AssertionError(f"the owner ended with {owner.wait()} and never asked")


def test_watching_ends_with_the_run_and_its_code(cli: CommandLine, asked: subprocess.Popen[str]) -> None:
    watcher = cli.start("runs", "watch", "q1", "--json")
    assert watcher.stdout is not None
    first = json.loads(watcher.stdout.readline())
    assert (first["status"], first["tasks"]["sure"]) == ("WAITING", "WAITING")
    cli.run("runs", "approve", "q1", "sure", "--by", "Ada", "--comment", "fine")
    output, _ = cli.end(watcher, 0)
    assert json.loads(output.splitlines()[-1])["status"] == "COMPLETED"
    output, _ = cli.end(asked, 0)
    assert json.loads(output) == {"send": "Ada"}
    _, errors = cli.run("runs", "watch", "q1")
    assert "send completed" in errors
    assert "q1 run 1: completed" in errors


def test_rejecting_fails_the_task_and_the_run(cli: CommandLine, asked: subprocess.Popen[str]) -> None:
    watcher = cli.start("runs", "watch", "q1")
    assert cli.json("runs", "reject", "q1", "sure", "--reason", "not like this", "--by", "Bob")["workflow_id"] == "q1"
    cli.end(watcher, 3)
    _, errors = cli.end(asked, 3)
    assert "not like this" in errors
    _, errors = cli.run("runs", "approve", "q1", "sure", code=8)
    assert "FAILED" in errors


def test_an_answer_that_nobody_asked_for_is_a_slip(cli: CommandLine, asked: subprocess.Popen[str]) -> None:
    _, errors = cli.run("runs", "approve", "q1", "shure", code=2)
    assert "did you mean 'sure'?" in errors
    _, errors = cli.run("runs", "reject", "q1", "draft", code=2)
    assert "there are sure" in errors
    _, errors = cli.run("runs", "approve", "q11", "sure", code=7)
    assert "did you mean 'q1'?" in errors


def test_without_an_owner_an_answer_is_kept_for_the_next(cli: CommandLine, asked: subprocess.Popen[str]) -> None:
    asked.kill()
    asked.wait()
    _, errors = cli.run("runs", "approve", "q1", "sure", "--by", "Ada")
    assert "nobody runs this store now" in errors
    assert cli.json("run", "asking.py", "--workflow-id", "q1")["result"] == {"send": "Ada"}


def test_a_run_is_drawn_with_its_statuses(cli: CommandLine) -> None:
    cli.run("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    output, _ = cli.run("runs", "graph", "b1")
    assert output.startswith("flowchart TD\n")
    assert "class n1 failed" in output
    told = cli.json("runs", "graph", "b1", "--direction", "LR")
    assert told["statuses"] == {"fine": "COMPLETED", "bad": "FAILED", "never": "PENDING"}


def test_the_timeline_has_a_row_for_every_attempt(cli: CommandLine) -> None:
    cli.run("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    output, _ = cli.run("runs", "timeline", "b1")
    assert "ValueError: no luck" in output
    assert "█" in output
    assert "✗" in output
    told = cli.json("runs", "timeline", "b1")
    assert [(row["task_key"], row["attempt"], row["outcome"]) for row in told["rows"]] == [
        ("fine", 1, "completed"),
        ("bad", 1, "failed"),
    ]
    assert told["ended_at"] is not None


def test_the_latest_events_of_all_streams(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    cli.run("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    lines = [json.loads(line) for line in cli.run("events", "tail", "-n", "1000", "--json")[0].splitlines()]
    assert {line["stream_id"] for line in lines} == {"workflow-p1/1", "workflow-b1/1", "agent-hand"}
    assert [line["position"] for line in lines] == sorted(line["position"] for line in lines)
    types = cli.run("events", "tail", "--type", "workflow_*", "--type", "task_failed", "--run", "b1")[0].splitlines()
    assert [line.split()[4] for line in types] == ["workflow_started", "task_failed", "workflow_failed"]
    assert len(cli.run("events", "tail", "-n", "2")[0].splitlines()) == 2
    assert cli.run("events", "tail", "-n", "0")[0] == ""


def test_following_shows_what_comes_until_it_is_interrupted(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    reader = cli.start("events", "tail", "-n", "1", "--type", "workflow_*", "--follow", "--json")
    assert reader.stdout is not None
    assert json.loads(reader.stdout.readline())["event_type"] == "workflow_completed"
    cli.run("run", "flow.py:plain", "--workflow-id", "p2")
    assert json.loads(reader.stdout.readline())["stream_id"] == "workflow-p2/1"
    reader.send_signal(signal.SIGINT)
    until(lambda: reader.poll() is not None, "the reader ends")
    assert reader.returncode == 130


def test_what_does_not_exist(cli: CommandLine) -> None:
    _, errors = cli.run("events", "tail", code=7)
    assert "there is no store at" in errors
    cli.run("run", "flow.py:plain", "--workflow-id", "plain-1")
    for command in (["watch"], ["graph"], ["timeline"]):
        _, errors = cli.run("runs", *command, "plain-2", code=7)
        assert "did you mean 'plain-1'?" in errors
        _, errors = cli.run("runs", *command, "plain-1", "--run", "9", code=7)
        assert "run 9" in errors
    _, errors = cli.run("events", "tail", "--run", "plain-2", code=7)
    assert "did you mean 'plain-1'?" in errors
    _, errors = cli.run("events", "tail", "--type", " ", code=2)
    assert "is no pattern" in errors


@pytest.mark.parametrize("command", [["runs", "timeline", "p1"], ["runs", "graph", "p1"], ["events", "tail"]])
def test_a_reader_that_has_seen_enough_is_no_error(cli: CommandLine, command: list[str]) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    process = cli.start(*command)
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


CONTINUING = """
from agenticflow import TaskDefinition, WorkflowDefinition

counting = WorkflowDefinition(
    [
        TaskDefinition.wait_for("go", "go"),
        TaskDefinition.choice("more", {"again": "${left} == 1", "done": None}, {"go"}),
        TaskDefinition("again", dependencies={"more"}, continue_with={"left": 0}),
        TaskDefinition.timer("done", 0, {"more"}),
    ],
    name="counting",
    context={"left": 1},
)
"""


def test_a_run_that_goes_on_as_the_next_is_followed_there(cli: CommandLine) -> None:
    (cli.folder / "counting.py").write_text(CONTINUING, encoding="utf-8")
    cli.owner_waits_for_signal(cli.start("run", "counting.py", "--workflow-id", "c1"))
    watcher = cli.start("runs", "watch", "c1", "--json")
    assert watcher.stdout is not None
    assert json.loads(watcher.stdout.readline())["run_no"] == 1
    cli.run("runs", "signal", "c1", "go")
    until(lambda: cli.json("runs", "show", "c1")["run_no"] == 2, "the next run has begun")
    cli.run("runs", "signal", "c1", "go")
    output, _ = cli.end(watcher, 0)
    last = json.loads(output.splitlines()[-1])
    assert (last["run_no"], last["status"]) == (2, "COMPLETED")


CHOREOGRAPHY = """
import asyncio

from agenticflow import Agent, AgenticEvent, EventBus, Orchestrator

till = Agent("till")


@till.on("order.placed")
async def pay(event: AgenticEvent) -> AgenticEvent:
    return AgenticEvent("order.paid", event.payload)


async def main() -> None:
    bus, paid = EventBus(), asyncio.Event()
    await bus.subscribe("order.paid", lambda event: paid.set())
    orchestrator = Orchestrator(bus, store="sqlite:///state.db")
    orchestrator.register_agent(till)
    async with orchestrator:
        await bus.publish(AgenticEvent("order.placed", {"order_id": 7}, correlation_id="order-7"))
        await asyncio.wait_for(paid.wait(), 10)


asyncio.run(main())
"""


def test_what_caused_what_is_drawn_as_a_tree(cli: CommandLine) -> None:
    (cli.folder / "reacting.py").write_text(CHOREOGRAPHY, encoding="utf-8")
    subprocess.run([sys.executable, "reacting.py"], cwd=cli.folder, check=True, timeout=60)
    lines = cli.run("events", "trace", "order-7")[0].splitlines()
    assert [line[22:].split()[0] for line in lines] == ["order.placed", "agent_reacted", "order.paid"]
    found = json.loads(cli.run("events", "trace", "order-7", "--json")[0])
    assert [(one["depth"], one["event_type"], one["correlation_id"]) for one in found["events"]] == [
        (0, "order.placed", "order-7"),
        (1, "agent_reacted", "order-7"),
        (2, "order.paid", "order-7"),
    ]
    assert found["events"][2]["caused_by"] == found["events"][1]["id"]
    _, errors = cli.run("events", "trace", "order-7", "--limit", "1")
    assert "there is more" in errors
    _, errors = cli.run("events", "trace", "nobody", code=7)
    assert "no event belongs to 'nobody'" in errors


def redirected(cli: CommandLine, where: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a command with its output redirected as a shell does it."""
    return subprocess.run(
        ["sh", "-c", f'exec "$@" {where}', "sh", sys.executable, "-m", "agenticflow", *arguments],
        cwd=cli.folder,
        env=os.environ | {"AGENTICFLOW_STORE": f"sqlite:///{cli.store}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no device here that is always full")
def test_output_that_cannot_be_written_is_no_bug_of_ours(cli: CommandLine) -> None:
    ended = redirected(cli, ">/dev/full", "run", "flow.py:plain", "--workflow-id", "g1")
    assert ended.returncode == 3
    assert "error: stdout cannot be written: No space left on device\nhint: make room" in ended.stderr
    assert cli.status("g1") == "COMPLETED"


@pytest.mark.parametrize("where", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_output_is_nobody_elses(cli: CommandLine, where: str) -> None:
    ended = redirected(cli, where, "run", "flow.py:plain", "--workflow-id", "g1")
    assert (ended.returncode, cli.status("g1")) == (0, "COMPLETED")
    output, _ = cli.run("store", "verify")
    assert output.startswith("sound")


def test_a_run_goes_on_when_nobody_reads_its_progress_any_more(cli: CommandLine) -> None:
    where = ">out.txt 2>/dev/full" if os.path.exists("/dev/full") else ">out.txt 2>&-"
    assert redirected(cli, where, "run", "flow.py:plain", "--workflow-id", "g1").returncode == 0
    assert cli.status("g1") == "COMPLETED"
