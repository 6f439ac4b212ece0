"""``agenticflow runs …`` beside a running owner, and without one."""

from __future__ import annotations

import json
import subprocess

import apsw

from tests.e2e.command_line import CommandLine, until


def approving(cli: CommandLine) -> subprocess.Popen[str]:
    """Return a process that owns the store and waits for a signal."""
    owner = cli.start("run", "flow.py:approval", "--workflow-id", "a1")
    cli.owner_waits_for_signal(owner)
    return owner


def test_a_signal_reaches_the_owner_through_its_socket(cli: CommandLine) -> None:
    owner = approving(cli)
    assert (cli.store.stat().st_mode & 0o7777, cli.store.with_name("state.db.sock").stat().st_mode & 0o777) == (
        0o644,
        0o600,
    )
    answer = cli.json("runs", "signal", "a1", "decision", "--value", "yes", "--signal-id", "s1")
    assert answer["workflow_id"] == "a1"
    output, _ = cli.end(owner, 0)
    assert json.loads(output) == {"answer": "yes", "act": "act"}


def test_reading_beside_a_running_owner(cli: CommandLine) -> None:
    owner = approving(cli)
    [listed] = cli.json("runs", "list", "--open")
    assert (listed["workflow_id"], listed["status"]) == ("a1", "WAITING")
    shown = cli.json("runs", "show", "a1")
    assert shown["waits_for"] == ["task 'answer' waits for the signal 'decision'"]
    assert {task["key"]: task["status"] for task in shown["tasks"]} == {"ask": "COMPLETED", "answer": "WAITING"}
    lines = [json.loads(line) for line in cli.run("runs", "events", "a1", "-o", "json")[0].splitlines()]
    assert [line["version"] for line in lines] == list(range(1, len(lines) + 1))
    assert lines[0]["event_type"] == "workflow_started"
    assert cli.json("store", "verify") == {"sound": True, "runs": 1, "events": len(lines), "problems": []}
    assert cli.json("doctor")["store owner"]["value"] == f"pid {owner.pid}"


def test_why_a_run_does_not_move_is_asked_of_its_owner(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    told = cli.json("debug", "why", "g1", "third")
    assert told["is_performed"] is True
    assert [(wait["task"], wait["reason"]["type"]) for wait in told["waits"]] == [
        ("third", "dependencies"),
        ("second", "in_work"),
    ]
    assert told["waits"][1]["sentence"].startswith("task 'second' is in work at 'hand', attempt 1, since 20")
    assert cli.run("doctor", "--liveness")[0] == "1 open runs, every one is alive\n"
    assert cli.json("doctor", "--liveness")["is_performed"] is True
    _, errors = cli.run("debug", "why", "g1", "fourth", code=2)
    assert "there are first, second, third" in errors
    cli.let_go()
    cli.end(owner, 0)


def test_cancelling_ends_the_owners_run(cli: CommandLine) -> None:
    owner = approving(cli)
    cli.run("runs", "cancel", "a1", "--reason", "changed our minds")
    _, errors = cli.end(owner, 4)
    assert "workflow 'a1' was cancelled: changed our minds" in errors
    assert cli.json("runs", "show", "a1")["status"] == "CANCELLED"


def test_pausing_holds_the_owners_run_until_it_is_unpaused(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    assert cli.json("runs", "pause", "g1", "--reason", "lunch")["status"] == "PAUSED"
    cli.let_go()
    until(
        lambda: {"key": "second", "status": "COMPLETED"}.items() <= cli.json("runs", "show", "g1")["tasks"][1].items()
    )
    assert "the run is paused" in cli.json("runs", "show", "g1")["waits_for"]
    assert "third" not in cli.ran()
    cli.run("runs", "unpause", "g1")
    cli.end(owner, 0)
    assert cli.ran() == ["first", "second", "third"]


def test_following_events_ends_with_the_run(cli: CommandLine) -> None:
    owner = approving(cli)
    reader = cli.start("runs", "events", "a1", "--follow", "-o", "json")
    assert reader.stdout is not None
    assert json.loads(reader.stdout.readline())["event_type"] == "workflow_started"
    cli.run("runs", "signal", "a1", "decision")
    output, _ = cli.end(reader, 0)
    assert json.loads(output.splitlines()[-1])["event_type"] == "workflow_completed"
    cli.end(owner, 0)


def test_cancelling_when_nobody_runs_ends_the_run_at_once(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.kill()
    owner.wait()
    assert cli.json("runs", "cancel", "g1")["status"] == "CANCELLED"
    assert cli.json("run", "flow.py:gated", "--workflow-id", "g1", code=4)["status"] == "CANCELLED"
    assert cli.ran() == ["first", "second"]


def test_what_does_not_exist(cli: CommandLine) -> None:
    _, errors = cli.run("runs", "list", code=7)
    assert "there is no store at" in errors
    cli.run("run", "flow.py:plain", "--workflow-id", "plain-1")
    for command in (["show", "plain-2"], ["events", "plain-2"], ["cancel", "plain-2"], ["signal", "plain-2", "x"]):
        _, errors = cli.run("runs", *command, code=7)
        assert "did you mean 'plain-1'?" in errors
    _, errors = cli.run("runs", "show", "plain-1", "--run", "9", code=7)
    assert "run 9" in errors


def test_what_the_state_does_not_allow(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    for command in (["cancel", "p1"], ["pause", "p1"], ["resolve", "p1", "only", "failed"]):
        _, errors = cli.run("runs", *command, code=8)
        assert "COMPLETED" in errors
    assert cli.json("runs", "resume", "p1")["run_no"] == 1, "a completed workflow stays as it is"


def test_a_signal_that_nothing_waits_for_is_a_slip(cli: CommandLine) -> None:
    cli.run("run", "flow.py:approval", "--workflow-id", "a1", "--no-wait", code=6)
    _, errors = cli.run("runs", "signal", "a1", "decison", code=2)
    assert "did you mean 'decision'?" in errors
    _, errors = cli.run("runs", "resolve", "a1", "ask", "maybe", code=2)
    assert "'completed', 'failed' or 'run_again'" in errors


def test_a_reader_that_has_seen_enough_is_no_error(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    process = cli.start("runs", "events", "p1", "-o", "json")
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr is not None
    assert process.stderr.read() == ""


def test_verify_finds_what_does_not_follow_from_the_events(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    db = apsw.Connection(str(cli.store))
    db.execute("UPDATE runs SET status = 'FAILED', is_open = 1")
    db.close()
    found = cli.json("store", "verify", code=3)
    assert found["sound"] is False
    assert any("the index says status 'FAILED', its events say 'COMPLETED'" in problem for problem in found["problems"])


def test_a_file_that_is_no_store(cli: CommandLine) -> None:
    cli.store.write_text("not a database, and long enough to look at: " + "x" * 200)
    before = cli.store.read_bytes()
    _, errors = cli.run("runs", "list", code=3)
    assert "is not a SQLite database" in errors
    assert cli.json("doctor", code=3)["store contents"]["ok"] is False
    cli.run("run", "flow.py:plain", code=3)
    assert cli.store.read_bytes() == before
