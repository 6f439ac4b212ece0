"""Files of modifications: what they may hold, and that every mistake is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from agenticflow import TaskDefinition
from agenticflow.app.definitions import load_modifications
from agenticflow.errors import DefinitionError


def written(folder: Path, text: str, name: str = "changes.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_yaml_and_json_hold_the_same(tmp_path: Path) -> None:
    yaml = written(tmp_path, "- add: {task_id: a, agent_id: team, dependencies: [b]}\n- remove: c\n")
    json = written(
        tmp_path, '[{"add": {"task_id": "a", "agent_id": "team", "dependencies": ["b"]}}, {"remove": "c"}]', "c.json"
    )
    expected = [{"add": TaskDefinition("a", "team", dependencies=["b"])}, {"remove": "c"}]
    assert load_modifications(yaml) == load_modifications(json) == expected


def test_every_mistake_is_told_with_its_line(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
- add: {task_id: a, agent: team}
- delete: b
- remove: [b]
- replace:
    task_id: c
    agent_id: team
    timeout_seconds: -1
- add: {task_id: d, agent_id: team}
  remove: e
- nonsense
""",
    )
    with pytest.raises(DefinitionError) as refusal:
        load_modifications(path)
    assert [problem[:64] for problem in refusal.value.problems] == [
        "changes.yaml line 2: a task has no 'agent'; did you mean 'agent_",
        "changes.yaml line 3: there is no modification 'delete'",
        "changes.yaml line 4: name the task to remove by its id",
        "changes.yaml line 8: timeout_seconds of task 'c' is -1.0 (give s",
        "changes.yaml line 9: a modification is one of `add:`, `remove:`,",
        "changes.yaml line 11: a modification is one of `add:`, `remove:`",
    ]
    assert str(refusal.value).startswith("changes.yaml has 6 mistakes: ")
    with pytest.raises(DefinitionError, match=r"one\.yaml has a mistake: one\.yaml line 1: there is no modification"):
        load_modifications(written(tmp_path, "- ad: x", "one.yaml"))


@pytest.mark.parametrize("text", ["", "{}", "tasks: []", "[]", "5"])
def test_what_is_no_list_of_modifications_is_told(tmp_path: Path, text: str) -> None:
    with pytest.raises(DefinitionError, match=r"not a list of modifications .*write `- add"):
        load_modifications(written(tmp_path, text))
