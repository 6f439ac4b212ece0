"""``agenticflow runs skip|retry|set-result|feedback|modify`` beside the process that performs the run, and without one."""

from __future__ import annotations

import json

from tests.e2e.command_line import CommandLine, until

STEPS = """
from flow import RetryPolicy, TaskDefinition, WorkflowDefinition, hand, task

HOURLY = RetryPolicy(max_attempts=2, initial_delay_seconds=3600, max_delay_seconds=3600, jitter=False)
flow = WorkflowDefinition(
    [
        task("first"),
        task("second", "first", gate="go"),
        TaskDefinition("bad", "hand", "break", {"reason": "no luck"}, retry_policy=HOURLY),
        task("extra", "second"),
        task("by_hand", "second"),
        task("end", "extra", "by_hand", "bad", join="settled"),
    ],
    output={"by_hand": "${by_hand}", "bad": "${bad}", "end": "${end}"},
)
"""


def test_steps_into_a_run_that_another_process_performs(cli: CommandLine) -> None:
    (cli.folder / "steps.py").write_text(STEPS, encoding="utf-8")
    owner = cli.start("run", "steps.py:flow", "--workflow-id", "s1")
    until(lambda: "second" in cli.ran())
    until(lambda: any(task["status"] == "RETRYING" for task in cli.json("runs", "show", "s1")["tasks"]))
    _, errors = cli.run("runs", "skip", "s1", "second", code=8)
    assert "is in work" in errors
    assert "runs cancel-task s1 second" in errors
    assert cli.json("runs", "skip", "s1", "extra", "--reason", "not today", "--by", "ada")["status"] == "RUNNING"
    cli.run("runs", "set-result", "s1", "by_hand", "--value", '{"done": true}')
    cli.run("runs", "retry", "s1", "bad")
    until(
        lambda: (
            {"key": "bad", "status": "FAILED", "attempt": 2}.items()
            <= next(task for task in cli.json("runs", "show", "s1")["tasks"] if task["key"] == "bad").items()
        )
    )
    _, errors = cli.run("runs", "set-result", "s1", "bad", "--value", "{done", code=2)
    assert "--value looks like JSON and is none" in errors
    cli.run("runs", "feedback", "s1", "hurry up", "--task", "second")
    cli.run("runs", "set-result", "s1", "bad", "--value", "mended")
    cli.let_go()
    output, _ = cli.end(owner, 0)
    assert json.loads(output) == {"by_hand": {"done": True}, "bad": "mended", "end": "end"}
    assert cli.ran() == ["first", "second", "end"]
    lines = [json.loads(line) for line in cli.run("runs", "events", "s1", "-o", "json")[0].splitlines()]
    [skipped] = [line["payload"] for line in lines if line["event_type"] == "task_skipped"]
    assert skipped == {"task_key": "extra", "reason": "not today", "decided_by": "ada"}


def test_steps_into_a_run_that_nobody_performs_now(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.kill()
    owner.wait()
    _, errors = cli.run("runs", "set-result", "g1", "third", "--value", "by hand")
    assert "the next owner acts on it" in errors
    _, errors = cli.run("runs", "retry", "g1", "fourth", code=2)
    assert "it has first, second, third" in errors
    _, errors = cli.run("runs", "skip", "g2", "third", code=7)
    assert "there is no workflow 'g2'" in errors
    cli.let_go()
    assert json.loads(cli.run("run", "flow.py:gated", "--workflow-id", "g1")[0]) == {"third": "by hand"}


CHANGES = """
- add: {task_id: check, agent_id: hand, task_type: step, params: {name: check}, dependencies: [second]}
- replace:
    task_id: third
    agent_id: hand
    task_type: step
    params: {name: other}
    dependencies: [check]
"""


def test_modifies_a_run_that_another_process_performs(cli: CommandLine) -> None:
    (cli.folder / "changes.yaml").write_text(CHANGES, encoding="utf-8")
    (cli.folder / "wrong.yaml").write_text("- remove: second\n- add: {task_id: x, agent: hand}\n", encoding="utf-8")
    (cli.folder / "unfit.json").write_text('[{"remove": "second"}, {"add": {"task_id": "x", "agent_id": "nobody"}}]')
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    _, errors = cli.run("runs", "modify", "g1", "wrong.yaml", code=2)
    assert "wrong.yaml line 2: a task has no 'agent'; did you mean 'agent_id'?" in errors
    _, errors = cli.run("runs", "modify", "g1", "unfit.json", code=2)
    assert "task 'second' has started, it is" in errors
    assert "'x' is for 'nobody', which is not registered here" in errors
    output, _ = cli.run("runs", "modify", "g1", "changes.yaml", "--dry-run")
    assert output.splitlines() == [
        "task 'check': task: - → hand:step after 'second' params={'name': 'check'}",
        "task 'third': params: {'gate': '', 'name': 'third'} → {'name': 'other'}",
        "task 'third': dependencies: ['second'] → ['check']",
        "g1 run 1: RUNNING",
    ]
    assert "workflow_modified" not in cli.run("runs", "events", "g1")[0]
    _, errors = cli.run("runs", "modify", "g1", "changes.yaml", "--expect", 1, code=8)
    assert "not at the expected 1" in errors
    answer = cli.json("runs", "modify", "g1", "changes.yaml", "--reason", "one more look", "--by", "ada")
    assert len(answer["differences"]) == 3
    assert "check" in cli.run("runs", "graph", "g1")[0]
    assert [line.split()[0] for line in cli.run("runs", "show", "g1")[0].splitlines()[3:]] == [
        "first",
        "second",
        "third",
        "check",
    ]
    cli.let_go()
    assert json.loads(cli.end(owner, 0)[0]) == {"third": "other"}
    assert cli.ran() == ["first", "second", "check", "other"]


def test_modifies_a_run_that_nobody_performs_now(cli: CommandLine) -> None:
    (cli.folder / "changes.yaml").write_text(CHANGES, encoding="utf-8")
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.kill()
    owner.wait()
    _, errors = cli.run("runs", "modify", "g1", "changes.yaml", "--dry-run")
    assert "recorded" not in errors
    _, errors = cli.run("runs", "modify", "g1", "changes.yaml")
    assert "recorded; nobody runs this store now" in errors
    cli.let_go()
    assert json.loads(cli.run("run", "flow.py:gated", "--workflow-id", "g1")[0]) == {"third": "other"}
