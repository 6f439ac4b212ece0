"""What the commands about schedules print for people, and what they refuse."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenticflow.cli import main


@pytest.fixture(autouse=True)
def _a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTICFLOW_STORE", f"sqlite:///{tmp_path}/state.db")


def test_what_people_see(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedules", "create", "s", "nap", "--cron", "0 3 1 1 *", "--start-at", "2030-06-01T00:00:00Z"]) == 0
    shown = capsys.readouterr()
    assert shown.out == "s: ACTIVE, next 2031-01-01T03:00:00+00:00\n"
    assert "nobody runs this store now" in shown.err
    assert main(["schedules", "create", "t", "nap", "--every", "1000", "--overlap", "queue_one"]) == 0
    assert main(["schedules", "trigger", "t"]) == main(["schedules", "trigger", "t"]) == 0
    capsys.readouterr()
    assert main(["schedules", "list"]) == 0
    head, newest, oldest = (" ".join(line.split()) for line in capsys.readouterr().out.splitlines())
    assert head == "SCHEDULE WORKFLOW STATUS DUE NEXT RUNS"
    assert newest.startswith("t nap ACTIVE every 1000 s")
    assert oldest == "s nap ACTIVE cron 0 3 1 1 * UTC 2031-01-01 03:00:00 0"
    assert main(["schedules", "show", "s"]) == 0
    assert capsys.readouterr().out.splitlines()[:3] == [
        "s: nap, ACTIVE",
        "due: cron 0 3 1 1 * UTC; overlap skip, catch up last",
        "next: 2031-01-01 03:00:00Z",
    ]
    assert main(["schedules", "show", "t"]) == 0
    lines = capsys.readouterr().out
    assert "waiting: " in lines
    assert lines.rstrip().endswith("runs")


def test_a_workflow_that_nobody_knows_is_told_wherever_somebody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schedules", "create", "s", "nip", "--every", "1000"])
    assert "known by name only" in capsys.readouterr().err
    main(["schedules", "trigger", "s"])
    capsys.readouterr()
    starter = "waits for a process that runs this store and has registered the workflow 'nip'"
    assert main(["schedules", "list"]) == 0
    assert f"s {starter}" in capsys.readouterr().err
    assert main(["schedules", "show", "s"]) == 0
    shown = capsys.readouterr().out
    assert starter in shown.splitlines()
    child = shown.splitlines()[-1].split()[0]
    assert main(["debug", "why", child]) == main(["runs", "show", child]) == 7
    assert capsys.readouterr().err.count(f"{child!r} has not started: schedule 's' {starter}") == 2
    assert main(["debug", "why", "s"]) == main(["debug", "why", "s@2020"]) == 7
    told = capsys.readouterr().err
    assert "'s' is a schedule and no workflow" in told
    assert "there is no workflow 's@2020'" in told


def test_no_schedules(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schedules", "create", "s", "nap", "--every", "10"])
    main(["schedules", "delete", "s"])
    capsys.readouterr()
    assert main(["schedules", "list", "--open"]) == 0
    assert "there are no schedules" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["create", "s", "nap", "--at", "tomorrow"], 2, "--at 'tomorrow' is no time"),
        (["create", "s", "nap", "--every", "10", "--start-at", "2030-01-01"], 2, "start_at="),
        (["create", "s", "nap", "--every", "10", "--input-json", "[1]"], 2, "is an object"),
        (["create", "s", "nap"], 2, "when is the schedule 's' due"),
        (["show", "s"], 7, "no store"),
    ],
)
def test_what_is_refused(arguments: list[str], code: int, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schedules", *arguments]) == code
    assert what in capsys.readouterr().err


def test_a_schedule_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    main(["schedules", "create", "s", "nap", "--every", "10"])
    assert main(["schedules", "pause", "x"]) == 7
    assert "there is no schedule 'x'" in capsys.readouterr().err
    assert main(["schedules", "create", "s", "nap", "--every", "20"]) == 8
    assert "--replace" in capsys.readouterr().err
    assert main(["schedules", "create", "z", "nap", "--every", "20", "--start-at", "2030-01-01T00:00:00"]) == 2
    assert "2027-01-01T00:00:00Z" in capsys.readouterr().err
