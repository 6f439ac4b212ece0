"""A handler that kills its process with SIGKILL, beside innocent tasks: after exactly three deaths it is put aside, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.command_line import LIMIT_SECONDS, CommandLine, until

pytestmark = pytest.mark.proof

ROOT = Path(__file__).parents[2]
MOST_LIVES = 12
INNOCENTS = 4 * 3 + 3


class Program:
    """Lives of the program over one store."""

    def __init__(self, cli: CommandLine) -> None:
        self.cli = cli
        self.ledger = cli.folder / "ledger"

    def start(self, *options: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.poison_program", str(self.cli.store), str(self.ledger), *options],
            cwd=ROOT,
            env=os.environ | {"AGENTICFLOW_ENGINE__DRAIN_SECONDS": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.cli.started.append(process)
        return process

    def live(self, *options: str) -> int:
        """Start it again and again until it ends by itself; return how often it was killed."""
        for deaths in range(MOST_LIVES):
            process = self.start(*options)
            _, errors = process.communicate(timeout=LIMIT_SECONDS)
            if process.returncode == 0:
                return deaths
            assert process.returncode == -signal.SIGKILL, errors
        raise AssertionError(f"it was killed {MOST_LIVES} times")

    def calls(self) -> Counter[str]:
        return Counter(self.ledger.read_text(encoding="utf-8").splitlines())


@pytest.fixture
def program(cli: CommandLine) -> Program:
    return Program(cli)


def test_the_culprit_is_put_aside_after_three_deaths_and_everybody_else_goes_on(
    cli: CommandLine, program: Program
) -> None:
    assert program.live() == 3
    calls = program.calls()
    assert calls["strike poisoned bad"] == 3
    innocents = {call: count for call, count in calls.items() if call.startswith("work")}
    assert len(innocents) == INNOCENTS + 1  # and what depends on one of them
    assert max(innocents.values()) <= 3  # at two deaths, and once to its end
    for number in range(4):
        assert cli.status(f"other{number}") == "COMPLETED"
    assert cli.status("poisoned") == "NEEDS_ATTENTION"

    (letter,) = cli.json("dead-letters", "list")
    assert (letter["kind"], letter["task_key"], len(letter["losses"])) == ("task", "bad", 3)
    shown, _ = cli.run("dead-letters", "show", letter["letter_id"])
    assert 'params: {"password": "[hidden]"}' in shown
    assert "reported last: 25% row 3 of 12, password=" in shown
    assert "hunter2" not in shown
    assert shown.count("died before") == 3
    why, _ = cli.run("debug", "why", "poisoned")
    assert "task 'bad' is in quarantine, because its process died 3 times while it ran" in why
    assert cli.json("dead-letters", "list", "--run", "other1") == []
    assert "problems" not in cli.run("store", "verify")[0]


def test_a_retry_begins_the_count_anew_and_suspects_nobody_else(cli: CommandLine, program: Program) -> None:
    program.live()
    (letter,) = cli.json("dead-letters", "list")
    _, notes = cli.run("dead-letters", "retry", letter["letter_id"], "--by", "ada", "--reason", "more memory")
    assert "nobody runs this store now" in notes
    before = program.calls()
    assert program.live() == 3
    assert program.calls() - before == Counter({"strike poisoned bad": 3})
    (again,) = cli.json("dead-letters", "list")
    assert again["letter_id"] != letter["letter_id"]
    cli.run("dead-letters", "retry", letter["letter_id"], code=8)
    cli.run("dead-letters", "retry", again["letter_id"])
    assert program.live("--harmless", "--until", "COMPLETED") == 0
    assert cli.json("dead-letters", "list") == []


def test_a_discard_reaches_the_process_that_runs_the_store(cli: CommandLine, program: Program) -> None:
    program.live()
    owner = program.start("--until", "FAILED")
    assert owner.stdout is not None
    assert owner.stdout.readline() == "the others are done\n"
    (letter,) = cli.json("dead-letters", "list")
    _, notes = cli.run("dead-letters", "discard", letter["letter_id"], "--by", "ada", "--reason", "broken file")
    assert "nobody runs this store" not in notes
    assert owner.wait(timeout=LIMIT_SECONDS) == 0
    assert cli.status("poisoned") == "FAILED"
    assert "ada has given it up: broken file" in cli.run("runs", "show", "poisoned")[0]
    cli.run("dead-letters", "show", letter["letter_id"], code=7)


def test_processes_that_are_stopped_are_not_counted(cli: CommandLine, program: Program) -> None:
    for _ in range(4):
        process = program.start("--slow", "--harmless")
        until(lambda: program.ledger.exists() and "strike" in program.ledger.read_text(encoding="utf-8"))
        program.ledger.unlink()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_SECONDS)
    assert program.live("--harmless", "--until", "COMPLETED") == 0
    assert "process_lost" not in cli.run("events", "tail", "--count", "1000")[0]
    assert cli.json("dead-letters", "list") == []
