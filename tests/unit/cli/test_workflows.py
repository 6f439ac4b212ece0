"""``workflows validate|graph|schema``, ``completion`` and ``init`` in this process."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from agenticflow.app.definitions import workflow_schema
from agenticflow.cli import Exit, main

Write = Callable[[str, str], str]
Captured = pytest.CaptureFixture[str]

FILE = """
name: papers
tasks:
  - {task_id: load, agent_id: x, params: {from: "${place}"}}
  - {task_id: read, agent_id: x, dependencies: [load]}
  - {task_id: count, agent_id: x, dependencies: [load]}
  - {task_id: report, agent_id: x, dependencies: [read, count]}
"""


def test_a_sound_file_is_said_to_be_sound(write: Write, capsys: Captured) -> None:
    path = write("papers.yaml", FILE)
    assert main(["workflows", "validate", path]) == Exit.OK
    assert capsys.readouterr().out == f"{path}: ok: papers, 4 tasks; needs the input place; handlers not checked\n"
    assert main(["workflows", "validate", path, "--json"]) == Exit.OK
    [told] = json.loads(capsys.readouterr().out)
    [one] = told["workflows"]
    assert (told["valid"], one["name"], one["tasks"], one["levels"]) == (True, "papers", 4, 3)
    assert one["needs_input"] == {"place": ["load"]}


def test_mistakes_are_printed_as_places_that_editors_can_jump_to(write: Write, capsys: Captured) -> None:
    good, wrong = write("good.yaml", FILE), write("wrong.yaml", FILE.replace("[read, count]", "[reed, count]"))
    assert main(["workflows", "validate", good, wrong, "nowhere.yaml"]) == Exit.USAGE
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith(f"{good}: ok")
    assert lines[1] == f"{wrong}:7: task 'report' depends on 'reed', which does not exist; did you mean 'read'?"
    assert lines[2].startswith("nowhere.yaml: there is no file 'nowhere.yaml'")
    assert shown.err == "2 mistakes in 2 files\n"
    assert main(["workflows", "validate", wrong, "-o", "json"]) == Exit.USAGE
    [told] = json.loads(capsys.readouterr().out)
    assert told["problems"][0]["line"] == 7
    assert told["problems"][0]["file"] == wrong


def test_handlers_are_imported_unless_told_otherwise(write: Write, capsys: Captured) -> None:
    path = write("papers.yaml", "handlers: there_is_no_such_module\n" + FILE)
    assert main(["workflows", "validate", path]) == Exit.USAGE
    assert "there is no module 'there_is_no_such_module'" in capsys.readouterr().out
    assert main(["workflows", "validate", path, "--without-handlers"]) == Exit.OK


def test_a_graph_is_a_flowchart_or_levels_or_its_longest_chain(write: Write, capsys: Captured) -> None:
    path = write("papers.yaml", FILE)
    assert main(["workflows", "graph", path]) == Exit.OK
    assert capsys.readouterr().out.startswith('flowchart TD\n    n0["load"]\n')
    assert main(["workflows", "graph", path, "--mermaid", "--direction", "lr"]) == Exit.OK
    assert capsys.readouterr().out.startswith("flowchart LR\n")
    assert main(["workflows", "graph", path, "--levels"]) == Exit.OK
    assert [line.split(maxsplit=1)[1].strip() for line in capsys.readouterr().out.splitlines()] == [
        "TASKS",
        "load",
        "count, read",
        "report",
    ]
    assert main(["workflows", "graph", path, "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert told["tasks"][3] == {"task_id": "report", "kind": "task", "dependencies": ["read", "count"]}
    assert told["levels"] == [["load"], ["count", "read"], ["report"]]


def test_durations_are_pairs_json_or_a_file(write: Write, capsys: Captured) -> None:
    path, file = write("papers.yaml", FILE), write("durations.json", '{"load": 1, "count": 2.5}')
    assert main(["workflows", "graph", path, "--critical-path", "load=1,read=3, report=2"]) == Exit.OK
    assert capsys.readouterr().out.splitlines()[-1] == "6 seconds, however many work at it"
    for text in (f"@{file}", '{"load": 1, "count": 2.5}'):
        assert main(["workflows", "graph", path, "--critical-path", text, "--json"]) == Exit.OK
        assert json.loads(capsys.readouterr().out) == {"path": ["load", "count"], "seconds": 3.5}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--levels", "--mermaid"], "do not go together"),
        (["--direction", "up"], "'UP' is no direction of a drawing"),
        (["--critical-path", "laod=1"], "there is no task 'laod'"),
        (["--critical-path", "load"], "'' for task 'load' is no number of seconds"),
        (["--critical-path", "load=-1"], "'-1' for task 'load' is no number of seconds"),
        (["--critical-path", "@nowhere.json"], "the durations cannot be read"),
        (["--critical-path", "{"], "the durations cannot be read"),
        (["--critical-path", "@LIST"], "the durations are no mapping"),
    ],
)
def test_wrong_questions_about_a_graph(write: Write, capsys: Captured, arguments: list[str], words: str) -> None:
    listed = write("list.json", "[1]")
    arguments = [argument.replace("LIST", listed) for argument in arguments]
    assert main(["workflows", "graph", write("papers.yaml", FILE), *arguments]) == Exit.USAGE
    assert words in capsys.readouterr().err


def test_the_schema_is_printed(capsys: Captured) -> None:
    assert main(["workflows", "schema"]) == Exit.OK
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(workflow_schema()))


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_script_is_printed(shell: str, capsys: Captured) -> None:
    assert main(["completion", shell]) == Exit.OK
    assert "_AGENTICFLOW_COMPLETE" in capsys.readouterr().out
    assert main(["completion", "tcsh"]) == Exit.USAGE


def test_json_may_be_asked_for_by_its_short_name(capsys: Captured) -> None:
    assert main(["version", "--json"]) == Exit.OK
    assert "agenticflow" in json.loads(capsys.readouterr().out)


# --- init ---------------------------------------------------------------------------------------------------------------


def test_a_project_is_named_after_its_folder(tmp_path: Path, capsys: Captured) -> None:
    assert main(["init", str(tmp_path / "My Shop"), "--json"]) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["name"], told["template"]) == ("my-shop", "basic")
    assert "workflow.yaml" in told["files"]
    assert (tmp_path / "My Shop" / "pyproject.toml").read_text().startswith('[project]\nname = "my-shop"')
    assert main(["init", str(tmp_path / "7")]) == Exit.OK
    assert 'name = "project-7"' in (tmp_path / "7" / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("name", "package"), [("shop", "shop"), ("json", "json_app"), ("agenticflow", "agenticflow_app")]
)
def test_a_package_does_not_take_the_name_of_another(tmp_path: Path, name: str, package: str) -> None:
    assert main(["init", str(tmp_path), "-t", "enterprise", "--name", name]) == Exit.OK
    assert (tmp_path / package / "payments.py").exists()
    assert f"{package}.payments" in (tmp_path / "workflow.yaml").read_text()


def test_nothing_is_written_over_unless_it_is_meant(tmp_path: Path, capsys: Captured) -> None:
    mine = tmp_path / "workflow.yaml"
    mine.write_text("mine")
    assert main(["init", str(tmp_path)]) == Exit.CONFLICT
    assert "'workflow.yaml' in" in capsys.readouterr().err
    assert mine.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["workflow.yaml"]
    assert main(["init", str(tmp_path), "--force"]) == Exit.OK
    assert mine.read_text() != "mine"


@pytest.mark.parametrize("name", ["My Shop", "7up", "", "a/b"])
def test_a_name_that_packages_cannot_have_is_refused(tmp_path: Path, name: str, capsys: Captured) -> None:
    assert main(["init", str(tmp_path), "--name", name]) == Exit.USAGE
    assert "is no name of a project" in capsys.readouterr().err


def test_a_place_that_cannot_be_written(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file" / "inside")]) == Exit.USAGE
    assert "the project cannot be written" in capsys.readouterr().err
