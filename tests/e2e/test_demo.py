"""``agenticflow demo`` on a small tree, in real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.command_line import CommandLine

MODULE = '"""Module {0}."""\n\n\ndef double(x: int) -> int:\n    """Twice."""\n    return 2 * x if x else 0\n'


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "tree"
    for name in ("alpha", "beta", "gamma", "delta", "epsilon"):
        (root / name).mkdir(parents=True)
        (root / name / "__init__.py").write_text(MODULE.format(name))
    (root / "alpha" / "broken.py").write_text("def f(:\n")
    return root


def test_the_demo_audits_and_says_where_the_report_is(cli: CommandLine, tree: Path) -> None:
    output, errors = cli.run("demo", "--path", tree, "--output", "out", "--workflow-id", "d1")
    assert "analyze 5 of 5" in errors
    assert "agenticflow runs show d1" in errors
    report = cli.folder / "out" / "audit.html"
    assert f"report: {report}" in output
    assert "broken.py" in report.read_text()
    figures = {words[0]: words[-1] for line in output.splitlines() if len(words := line.split()) == 2}
    assert (figures["packages"], figures["files"], figures["functions"], figures["findings"]) == ("5", "6", "5", "1")


def test_the_demo_as_json_and_again_under_the_same_id(cli: CommandLine, tree: Path) -> None:
    first = cli.json("demo", "--path", tree, "--output", "out", "--workflow-id", "d1", "--quiet")
    assert first["status"] == "COMPLETED"
    assert first["result"]["totals"]["packages"] == 5
    again = cli.json("demo", "--path", tree, "--output", "out", "--workflow-id", "d1", "--quiet")
    assert again == first, "recorded, not run again"
    _, errors = cli.run("demo", "--path", tree, "--output", "other", "--workflow-id", "d1", code=8)
    assert "belongs to 'audit'" in errors


def test_what_cannot_be_audited_is_told_before_anything_is_recorded(cli: CommandLine, tree: Path) -> None:
    (cli.folder / "empty").mkdir()
    (cli.folder / "file").touch()
    for arguments, words in (
        (["--path", "nowhere"], "there is no directory"),
        (["--path", "empty"], "there is no Python file"),
        (["--path", "flow.py"], "is a file, not a directory"),
        (["--path", tree, "--output", "file"], "is a file, not a directory"),
    ):
        _, errors = cli.run("demo", *arguments, code=2)
        assert words in errors
    assert not cli.store.exists()


def test_demo_crash_keeps_every_promise(cli: CommandLine, tree: Path) -> None:
    output, errors = cli.run("demo", "crash", "--path", tree, "--output", "stage", "-o", "json")
    assert "killed with SIGKILL" in errors
    story = json.loads(output)
    assert story["ok"] is True
    assert story["problems"] == []
    assert story["recorded"], "it was killed after something was recorded"
    assert not set(story["recorded"]) & set(story["run_after"]), "and nothing recorded ran again"
    assert len(story["recorded"]) + len(story["run_after"]) == story["packages"] == 5
    assert story["totals"]["files"] == 6


def test_demo_crash_wants_a_middle_and_an_empty_folder(cli: CommandLine, tree: Path) -> None:
    _, errors = cli.run("demo", "crash", "--path", tree / "beta", code=2)
    assert "too few to be interrupted" in errors
    _, errors = cli.run("demo", "crash", "--path", tree, "--output", ".", code=2)
    assert "is not empty" in errors
