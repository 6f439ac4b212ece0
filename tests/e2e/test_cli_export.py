"""``runs export``: a run of a store file as a cassette, beside its owner, after it was archived, and when it cannot be."""

from __future__ import annotations

import json

import pytest

from agenticflow.testing.cassettes import replay_cassette
from tests.e2e.command_line import CommandLine


@pytest.fixture
def done(cli: CommandLine) -> CommandLine:
    """Return a folder with the run ``p1``, which is done."""
    cli.run("run", "flow.py:plain", "-i", "size=3", "-i", "password=hunter2-x", "--workflow-id", "p1")
    return cli


def test_to_a_file_that_replays(done: CommandLine) -> None:
    output, errors = done.run("runs", "export", "p1", "--run", "1", "--out", "p1.json")
    assert output == ""
    assert "p1 run 1: 4 events" in errors
    assert "written to p1.json" in errors
    assert "events[1].input.password" in errors
    text = (done.folder / "p1.json").read_text(encoding="utf-8")
    assert "hunter2" not in text
    assert json.loads(text)["events"][0]["payload"]["input"] == {"password": "[hidden]", "size": 3}
    report = replay_cassette(done.folder / "p1.json")
    assert (report.is_same, report.events, report.redacted) == (True, 4, 1)


def test_to_stdout_also_without_saying_so(done: CommandLine) -> None:
    first, errors = done.run("runs", "export", "p1", "--out", "-")
    assert "bytes written\n" in errors
    assert replay_cassette(first.encode()).is_same
    assert done.run("runs", "export", "p1")[0] == first
    assert sorted(path.name for path in done.folder.glob("*.json")) == []


def test_an_archived_run_says_the_same(done: CommandLine) -> None:
    before, _ = done.run("runs", "export", "p1")
    assert done.json("store", "compact", "--archive-after", "0")["archived_runs"] == 1
    assert done.run("runs", "export", "p1")[0] == before


def test_a_run_that_goes_on_is_exported_beside_its_owner(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:approval", "--workflow-id", "a1")
    cli.owner_waits_for_signal(owner)
    text, _ = cli.run("runs", "export", "a1")
    assert json.loads(text)["status"] == "WAITING"
    assert replay_cassette(text.encode()).is_same
    assert owner.poll() is None


def test_what_is_there_is_not_overwritten(done: CommandLine) -> None:
    there = done.folder / "there.json"
    there.write_text("mine", encoding="utf-8")
    _, errors = done.run("runs", "export", "p1", "--out", there, code=2)
    assert "something at" in errors
    assert "name another file" in errors
    assert there.read_text(encoding="utf-8") == "mine"
    _, errors = done.run("runs", "export", "p1", "--out", "no/such/folder/p1.json", code=2)
    assert "cannot write" in errors


def test_what_is_not_there_is_told(done: CommandLine) -> None:
    _, errors = done.run("runs", "export", "p11", "--out", "p11.json", code=7)
    assert "did you mean 'p1'?" in errors
    _, errors = done.run("runs", "export", "p1", "--run", "5", code=7)
    assert "no run 5 of 'p1'" in errors
    assert not (done.folder / "p11.json").exists()
