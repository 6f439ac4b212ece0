"""The program in this process: help, and that every command goes to its function with what it was given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from agenticflow import __version__
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.cli import main
from agenticflow.cli.exits import Exit, tell
from agenticflow.cli.program import app

COMMANDS: list[list[str]] = [
    [],
    ["demo"],
    ["demo", "crash"],
    ["run"],
    ["init"],
    ["completion"],
    ["events"],
    ["events", "tail"],
    *(["workflows", name] for name in ("validate", "graph", "schema")),
    *(["runs", name] for name in ("watch", "graph", "timeline", "diff", "fork", "approve", "reject")),
    ["runs"],
    *(
        ["runs", name]
        for name in ("list", "show", "events", "cancel", "signal", "resume", "pause", "unpause", "resolve")
    ),
    ["debug"],
    ["debug", "why"],
    ["approvals"],
    ["dead-letters"],
    *(["dead-letters", name] for name in ("list", "show", "retry", "discard")),
    *(["approvals", name] for name in ("list", "show", "approve", "reject", "delegate")),
    ["schedules"],
    *(["schedules", name] for name in ("list", "show", "create", "pause", "resume", "delete", "trigger")),
    ["store"],
    ["store", "verify"],
    ["config"],
    *(["config", name] for name in ("show", "validate", "schema")),
    ["metrics"],
    ["doctor"],
    ["version"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "agenticflow")
def test_every_command_explains_itself(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert "Usage: agenticflow" in shown.out


@pytest.fixture(scope="module")
def whole_program() -> Any:
    return typer.main.get_command(app)


WRONG: list[list[str]] = [["run", "x", "--nosuch"], ["runs", "lst"], ["rnus"], ["runs", "show"], ["--nosuch"]]


@pytest.mark.parametrize("words", [*([*command, "--help"] for command in COMMANDS), *WRONG], ids=" ".join)
def test_a_command_alone_reads_as_in_the_whole_program(
    words: list[str], whole_program: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """``main`` builds only what the words name; help, and what is wrong with them, are the same as if all were there."""
    code = main(words)
    alone = capsys.readouterr()
    whole = Exit.OK
    try:
        whole_program.main(words, prog_name="agenticflow", standalone_mode=False)
    except Exception as error:  # noqa: BLE001 - as in main
        whole = tell(error)
    assert (code, alone) == (whole, capsys.readouterr())


def test_every_command_and_option_has_help() -> None:
    def undescribed(command: Any, path: str) -> list[str]:
        found = [] if command.help else [path]
        found += [f"{path} {option.name}" for option in command.params if not (option.help or option.hidden)]
        for name, inner in getattr(command, "commands", {}).items():
            found += undescribed(inner, f"{path} {name}")
        return found

    assert undescribed(typer.main.get_command(app), "agenticflow") == []


@pytest.mark.parametrize("command", [[], ["runs"], ["schedules"], ["debug"], ["store"], ["config"]])
def test_without_a_command_there_is_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command) == 0
    assert "Commands" in (shown := capsys.readouterr().out) or "Start here" in shown


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert main(["version"]) == 0
    assert capsys.readouterr().out == f"agenticflow {__version__}\n" * 2
    assert main(["version", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["agenticflow"] == __version__


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument"),
        (["runs", "list", "-o", "xml"], "'xml' is not one of"),
        (["runs", "list", "--limit", "0"], "--limit"),
        (["runs", "list", "--status", "runing"], "did you mean RUNNING?"),
        (["runs", "resolve", "w", "t", "failed", "--value", "1"], "--value goes with the decision 'completed' only"),
    ],
)
def test_wrong_usage_is_two_lines_and_code_2(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert words in shown.err
    assert len(shown.err.splitlines()) <= 2


def test_ctrl_c_in_a_command_that_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Orchestrator, "list_workflows", interrupted)
    assert main(["runs", "list"]) == 130


def test_a_bug_is_one_line_and_how_to_report_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(Orchestrator, "list_workflows", broken)
    assert main(["runs", "list"]) == 1
    assert capsys.readouterr().err.splitlines()[0] == "error: internal error: ZeroDivisionError: oh"


def test_doctor_tells_of_a_store_that_is_not_there_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AGENTICFLOW_STORE", f"sqlite:///{tmp_path}/none.db")
    assert main(["doctor", "-o", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["store contents"]["value"] == "none yet; the first run makes the file"
    assert {"python", "sqlite", "msgspec", "terminal", "extra uvloop"} <= set(told)
    assert not list(tmp_path.iterdir()), "looking makes nothing"
    assert main(["doctor", "--store", "ftp://x"]) == 3
    assert "WRONG" in capsys.readouterr().out


def test_logs_are_shown_on_request(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text("tasks: [{task_id: a, delay_seconds: 0.3}]")
    for flags, is_told in (([], False), (["--verbose"], True)):
        store = ["--store", f"sqlite:///{tmp_path}/state{len(flags)}.db"]
        assert main(["run", str(tmp_path / "w.yaml"), "--workflow-id", "w", "--detach", *store]) == 0
        assert main([*flags, "run", str(tmp_path / "w.yaml"), "--workflow-id", "w", *store]) == 0
        assert ("took up 1 unfinished runs" in capsys.readouterr().err) is is_told
