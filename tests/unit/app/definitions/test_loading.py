"""Definitions from files: what is read, and how every mistake is told."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agenticflow.agents import Agent, Worker
from agenticflow.app.definitions import load_workflow as load
from agenticflow.app.definitions import unperformed
from agenticflow.app.definitions.reading import read_document
from agenticflow.core.engine import EffectClass
from agenticflow.errors import DefinitionError
from agenticflow.orchestration import TaskDefinition, WorkflowDefinition
from agenticflow.resilience import RetryPolicy

Write = Callable[[str, str], str]


def mistakes(target: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load(target)
    return list(caught.value.problems)


def one_mistake(target: str) -> str:
    [problem] = mistakes(target)
    return problem


HANDLERS = """
from agenticflow import Agent, worker

clerk = Agent("clerk", {"desk"})


@clerk.task("stamp")
def stamp(paper: str) -> str:
    return paper


@worker("archive")
def archive(paper: str) -> str:
    return paper
"""


# --- YAML and JSON ------------------------------------------------------------------------------------------------------

FULL = """
name: papers
version: "2"
context: {paper: letter}
timeout_seconds: 60
output: "${archive}"
tasks:
  - task_id: stamp
    agent_id: clerk
    task_type: stamp
    params: {paper: "${input.paper}"}
    retry_policy: {max_attempts: 5, jitter: false}
    effect: pure
  - task_id: pause
    delay_seconds: 2
    dependencies: [stamp]
  - task_id: archive
    agent_id: archive
    params: {paper: "${stamp}"}
    dependencies: [stamp, pause]
    timeout_seconds: null
"""


def test_a_definition_in_yaml_is_the_same_as_in_python(write: Write) -> None:
    loaded = load(write("papers.yaml", FULL))
    assert loaded.definition == WorkflowDefinition(
        [
            TaskDefinition(
                "stamp",
                "clerk",
                "stamp",
                {"paper": "${input.paper}"},
                retry_policy=RetryPolicy(max_attempts=5, jitter=False),
                effect=EffectClass.PURE,
            ),
            TaskDefinition.timer("pause", 2, ["stamp"]),
            TaskDefinition("archive", "archive", None, {"paper": "${stamp}"}, ["stamp", "pause"], timeout_seconds=None),
        ],
        name="papers",
        version="2",
        context={"paper": "letter"},
        timeout_seconds=60,
        output="${archive}",
    )
    assert loaded.performers == ()


def test_json_says_the_same_as_yaml(write: Write) -> None:
    document = read_document(Path(write("papers.yaml", FULL)))
    as_json = load(write("papers.json", json.dumps(document.data, indent="\t"))).definition
    assert as_json.content_hash == load(write("papers.yaml", FULL)).definition.content_hash


def test_handlers_are_the_agents_and_workers_of_a_module_beside_the_file(write: Write) -> None:
    write("desk_handlers.py", HANDLERS)
    loaded = load(write("papers.yaml", "handlers: desk_handlers\n" + FULL))
    assert [type(one) for one in loaded.performers] == [Agent, Worker]
    assert unperformed(loaded.definition, loaded.performers) == []


def test_several_workflows_in_one_file_are_chosen_by_name(write: Write) -> None:
    task = "tasks: [{task_id: a, agent_id: b}]"
    path = write("two.yaml", f"workflows:\n  - {{name: one, {task}}}\n  - {{name: other, {task}}}\n")
    assert load(f"{path}:other").definition.name == "other"
    with pytest.raises(DefinitionError, match=r"has several workflows .*one, other"):
        load(path)
    with pytest.raises(DefinitionError, match=r"no workflow 'othr'.*did you mean 'other'"):
        load(f"{path}:othr")


def test_merge_keys_and_anchors_are_resolved(write: Write) -> None:
    text = (
        "tasks:\n  - &a {task_id: a, agent_id: x, params: &p {k: 1}}\n"
        "  - {<<: *a, task_id: b, params: {<<: *p, k: 2, on: yes}}\n"
    )
    tasks = load(write("m.yaml", text)).definition.tasks
    assert [task.params for task in tasks] == [{"k": 1}, {"k": 2, "on": True}]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param("tasks: []", "there are no tasks", id="no tasks"),
        pytest.param("name: x", "f.yaml line 1: `tasks` must be a list of tasks, not nothing", id="tasks left out"),
        pytest.param("tasks: 5", "f.yaml line 1: `tasks` must be a list of tasks, not a number", id="tasks a number"),
        pytest.param("- a", "f.yaml holds a list, not a workflow", id="a list"),
        pytest.param("", "f.yaml holds nothing, not a workflow", id="empty"),
        pytest.param(
            "tasks:\n- {task_id: a, agent_id: b, taks_type: c}",
            "f.yaml line 2: a task has no 'taks_type'; did you mean 'task_type'?",
            id="near",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  depends_on: [b]",
            "f.yaml line 3: a task has no 'depends_on'; did you mean 'dependencies'?",
            id="other system's word",
        ),
        pytest.param("tasks:\n- {agent_id: b}", "f.yaml line 2: the task has no task_id", id="no id"),
        pytest.param("tasks:\n- {task_id: 1a, agent_id: b}", "f.yaml line 2: '1a' is no task id", id="bad id"),
        pytest.param(
            "tasks:\n- {task_id: 1, agent_id: b}",
            "line 2: task_id: expected str, got int; put it in quotes",
            id="id a number",
        ),
        pytest.param(
            "version: 1.0\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: version: expected str, got float; put it in quotes",
            id="version",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  when: true",
            "f.yaml line 4: when: expected str | null, got bool",
            id="when",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  effect: once",
            "line 4: effect: invalid enum value 'once'; did you mean 'at_most_once'?",
            id="effect",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  max_parallel: 2",
            "f.yaml line 4: max_parallel of task 'a' needs for_each",
            id="option",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  retry_policy: {max: 2}",
            "f.yaml line 4: a retry policy has no 'max'",
            id="policy",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  retry_policy: 3",
            "f.yaml line 4: retry_policy is a number, no mapping",
            id="policy number",
        ),
        pytest.param(
            "tasks:\n- task_id: a\n  agent_id: b\n  dependencies: c",
            "f.yaml line 4: dependencies is a list; write [c]",
            id="one dependency",
        ),
        pytest.param(
            "tasks:\n- {task_id: a, agent_id: b}\n- {task_id: c, agent_id: b, dependencies: [aa]}",
            "f.yaml line 3: task 'c' depends on 'aa', which does not exist; did you mean 'a'?",
            id="unknown dependency",
        ),
        pytest.param(
            "tasks:\n- {task_id: a, agent_id: b}\n- {task_id: a, agent_id: b}",
            "f.yaml line 3: two tasks are called 'a'",
            id="twice",
        ),
        pytest.param("tasks:\n  - a: 1\n   b: 2", "f.yaml line 3:", id="indentation"),
        pytest.param("name: x\nname: y", "f.yaml line 2: the key 'name' stands twice in one mapping", id="key twice"),
        pytest.param("? [a, b]\n: 1", "f.yaml line 1: a key must be a text", id="key a list"),
        pytest.param("a: &x [*x]", "f.yaml line 1:", id="refers to itself"),
        pytest.param("a: 2024-13-77", "f.yaml line 1: '2024-13-77' is no valid value", id="no date"),
        pytest.param(
            "a: !!python/object:os.system {}\ntasks: []",
            "f.yaml line 1: a workflow has no 'a'",
            id="tagged mapping is data",
        ),
        pytest.param("a: !!python/name:os.system ''", "f.yaml line 1:", id="tagged scalar"),
        pytest.param("a: \x00", "f.yaml:", id="control character"),
        pytest.param(
            "handlers: nowhere_at_all\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: there is no module 'nowhere_at_all'",
            id="no module",
        ),
        pytest.param(
            "handlers: some.py\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: 'some.py' is a file",
            id="file for module",
        ),
        pytest.param(
            "handlers: ../../etc\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: '../../etc' is no name of a module",
            id="path for module",
        ),
        pytest.param(
            "handlers: 5\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: handlers is a number",
            id="number for module",
        ),
        pytest.param(
            "handlers: json\ntasks:\n- {task_id: a, agent_id: b}",
            "f.yaml line 1: there is neither an Agent nor a @worker",
            id="module without handlers",
        ),
        pytest.param("workflows: []", "f.yaml line 1: 'workflows' is no list of workflows", id="no workflows"),
        pytest.param(
            "workflows: [{name: a}]\nname: b", "f.yaml line 2: 'name' has no place beside 'workflows'", id="both"
        ),
    ],
)
def test_a_mistake_in_yaml_is_told_with_its_line(write: Write, text: str, words: str) -> None:
    assert words in "\n".join(mistakes(write("f.yaml", text)))


def test_all_mistakes_are_told_at_once(write: Write) -> None:
    text = "taks: 1\ntasks:\n- {task_id: a}\n- {agent_id: b}\n- 7\n"
    assert len(mistakes(write("f.yaml", text))) == 4


def test_an_alias_bomb_is_refused(write: Write) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    assert "too large or refers to itself" in one_mistake(write("f.yaml", "\n".join(lines)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "x",\n "tasks": [\n}', "f.json line 3: Expecting value"),
        ('{"name": "x", "name": "y"}', "the key 'name' stands twice in one object"),
        (
            '{"tasks": [\n {"task_id": "a", "agent": "b"}]}',
            "f.json line 2: a task has no 'agent'; did you mean 'agent_id'?",
        ),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_mistake_in_json_is_told_with_its_line(write: Write, text: str, words: str) -> None:
    assert words in one_mistake(write("f.json", text))


def test_a_file_that_is_not_there_or_not_text(write: Write, tmp_path: Path) -> None:
    path = Path(write("orders.yaml", ""))
    with pytest.raises(DefinitionError, match=r"there is no file .*did you mean .*orders.yaml"):
        load(str(tmp_path / "order.yaml"))
    path.write_bytes(b"name: \xff\xfe")
    assert "is not a text in UTF-8" in one_mistake(str(path))
    with pytest.raises(DefinitionError, match="is no workflow file"):
        load(str(tmp_path / "orders.txt"))
    with pytest.raises(DefinitionError, match="names no workflow"):
        load(f"{path}:")
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(DefinitionError, match="is a folder"):
        load(str(tmp_path / "folder.yaml"))


# --- Python -------------------------------------------------------------------------------------------------------------

MODULE = (
    HANDLERS
    + """
from agenticflow import TaskDefinition, WorkflowDefinition

clerk_again = clerk
papers = WorkflowDefinition([TaskDefinition("stamp", "clerk", "stamp", {"paper": "x"})], name="paperwork")
"""
)


def test_a_python_file_gives_its_workflow_and_its_performers_once(write: Write) -> None:
    path = write("papers_flow.py", MODULE)
    loaded = load(path)
    assert loaded.definition.name == "paperwork"
    assert [one.performer_id for one in loaded.performers] == ["clerk", "archive"]
    assert load(f"{path}:papers").definition is load(f"{path}:paperwork").definition


def test_a_module_in_a_package_keeps_its_full_name(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    write("desk_package/__init__.py", "")
    write("desk_package/handlers.py", HANDLERS)
    flow = MODULE.removeprefix(HANDLERS)
    path = write("desk_package/flow.py", f"from desk_package.handlers import clerk\n{flow}")
    assert load(path).definition.name == "paperwork"
    assert "desk_package.flow" in sys.modules
    monkeypatch.chdir(tmp_path)
    assert load("desk_package.flow:papers").definition.name == "paperwork"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("broken_syntax_flow.py", "x = 1\ndef f(:\n", "broken_syntax_flow.py line 2"),
        (
            "broken_import_flow.py",
            "import nothing_of_that_name\n",
            "at broken_import_flow.py line 1: ModuleNotFoundError",
        ),
        ("broken_top_flow.py", "x = 1\ny = x / 0\n", "at broken_top_flow.py line 2: ZeroDivisionError"),
        ("leaving_flow.py", "raise SystemExit(3)\n", "at leaving_flow.py line 1: SystemExit"),
        (
            "broken_task_flow.py",
            "from agenticflow import Agent\n\nAgent('a', 'abc')\n",
            "at broken_task_flow.py line 3: capabilities of agent",
        ),
        ("empty_flow.py", "x = 1\n", "has no workflow at its top level"),
        ("json.py", "x = 1\n", "the name of json.py belongs to another module"),
        ("no-name.py", "x = 1\n", "is no module name"),
    ],
)
def test_a_mistake_in_python_is_told_with_its_place(write: Write, name: str, text: str, words: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(write(name, text))
    assert words in str(caught.value)


def test_two_workflows_need_a_name(write: Write) -> None:
    path = write("two_flows.py", MODULE + "\nother = WorkflowDefinition(papers.tasks, name='other')\n")
    with pytest.raises(DefinitionError, match=r"has several workflows .*papers, other"):
        load(path)
    with pytest.raises(DefinitionError, match=r"no workflow 'othr'.*did you mean 'other'"):
        load(f"{path}:othr")


def test_tasks_that_nobody_here_performs_are_named(write: Write) -> None:
    performers = load(write("papers_flow.py", MODULE)).performers
    definition = WorkflowDefinition(
        [
            TaskDefinition("a", "clerc", "stamp"),
            TaskDefinition("b", "clerk", "fold"),
            TaskDefinition("c", "archive"),
            TaskDefinition.wait_for("d", "go"),
        ]
    )
    assert unperformed(definition, performers) == [
        "task 'a' is for 'clerc', and no agent or worker of that name is there; did you mean 'clerk'?",
        "task 'b' is of type 'fold', and 'clerk' has no handler for that",
    ]
