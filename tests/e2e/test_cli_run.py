"""``agenticflow run`` in real processes: exit codes, what goes where, interruption, kill, and going on."""

from __future__ import annotations

import json
import signal

import pytest

from tests.e2e.command_line import CommandLine, until


def test_the_result_goes_to_stdout_and_everything_else_to_stderr(cli: CommandLine) -> None:
    output, errors = cli.run("run", "flow.py:plain", "--input", "size=3", "--workflow-id", "p1")
    assert json.loads(output) == {"said": "only", "size": 3}
    assert "p1 run 1: started" in errors
    assert "only completed" in errors
    assert "agenticflow runs show p1" in errors


def test_a_workflow_may_be_its_own_sub_workflow(cli: CommandLine) -> None:
    (cli.folder / "deep.yaml").write_text(
        "name: deep\nhandlers: flow\ntasks:\n"
        "- {task_id: again, workflow: deep, params: {depth: 1}, when: '${depth} == 0'}\n"
        "- {task_id: last, agent_id: hand, task_type: step, params: {name: last}, dependencies: [again], join: settled}\n"
    )
    told = cli.json("run", "deep.yaml", "-i", "depth=0", "--workflow-id", "d1")
    assert told["status"] == "COMPLETED"
    assert cli.ran() == ["last", "last"]


def test_a_workflow_that_names_itself_for_ever_fails(cli: CommandLine) -> None:
    (cli.folder / "self.yaml").write_text("name: self\ntasks:\n- {task_id: a, workflow: self}\n")
    _, errors = cli.run("run", "self.yaml", "--workflow-id", "s1", code=3)
    assert "a failed: WorkflowExecutionError: workflow 's1~a' failed" in errors


def test_the_result_as_json(cli: CommandLine) -> None:
    told = cli.json("run", "flow.py:plain", "--workflow-id", "p1", "--quiet")
    assert told["workflow_id"] == "p1"
    assert told["status"] == "COMPLETED"
    assert told["result"] == {"said": "only", "size": 1}


def test_the_same_id_again_hands_back_the_result_and_runs_nothing(cli: CommandLine) -> None:
    first, _ = cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    second, _ = cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    assert first == second
    assert cli.ran() == ["only"]


def test_the_same_id_with_another_input_is_a_conflict(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    output, errors = cli.run("run", "flow.py:plain", "--workflow-id", "p1", "-i", "size=9", code=8)
    assert output == ""
    assert "error: workflow id 'p1' belongs to 'plain'" in errors


def test_a_run_that_fails_says_which_task_and_why(cli: CommandLine) -> None:
    output, errors = cli.run("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    assert output == ""
    assert "task bad: ValueError: no luck" in errors
    assert "never ran: never" in errors
    told = cli.json("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    assert told["status"] == "FAILED"
    assert told["error"]["remaining"] == ["never"]


def test_a_failed_workflow_is_resumed_durably_and_goes_on_with_the_next_owner(cli: CommandLine) -> None:
    cli.run("run", "flow.py:broken", "--workflow-id", "b1", code=3)
    flow = cli.folder / "flow.py"
    flow.write_text(flow.read_text().replace("    raise ValueError(reason)\n", "    return reason\n"))
    assert cli.json("runs", "resume", "b1")["run_no"] == 2
    assert cli.json("runs", "show", "b1")["tasks"], "the next run is recorded, and started by nobody yet"
    assert cli.ran() == ["fine"]
    told = cli.json("run", "flow.py:broken", "--workflow-id", "b1")
    assert (told["run_no"], told["status"]) == (2, "COMPLETED")
    assert cli.ran() == ["fine", "never"], "what had succeeded was kept"


def test_no_wait_leaves_a_run_that_waits_for_a_signal(cli: CommandLine) -> None:
    _, errors = cli.run("run", "flow.py:approval", "--workflow-id", "a1", "--no-wait", code=6)
    assert "waits for the signal 'decision'" in errors
    assert "agenticflow runs signal a1 decision" in errors
    _, errors = cli.run("runs", "signal", "a1", "decision", "--value", '{"ok": true}')
    assert "the next owner acts on it" in errors
    assert cli.ran() == ["ask"], "a command-line tool starts no activity"
    output, _ = cli.run("run", "flow.py:approval", "--workflow-id", "a1", "--no-wait")
    assert json.loads(output) == {"answer": {"ok": True}, "act": "act"}
    assert cli.ran() == ["ask", "act"]


def test_an_unknown_outcome_waits_for_a_person_and_is_never_repeated(cli: CommandLine) -> None:
    _, errors = cli.run("run", "flow.py:payment", "--workflow-id", "pay", code=6)
    assert "agenticflow runs resolve pay charge" in errors
    assert cli.json("runs", "resolve", "pay", "charge", "completed", "--value", '"paid"')["workflow_id"] == "pay"
    output, _ = cli.run("run", "flow.py:payment", "--workflow-id", "pay")
    assert output == "paid\n"
    assert cli.ran() == ["charge", "receipt"]


def test_sigterm_lets_handlers_end_records_them_and_exits_with_still_running(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.send_signal(signal.SIGTERM)
    assert owner.stderr is not None
    while "SIGTERM" not in (line := owner.stderr.readline()):
        assert line, "it ended without a word"
    cli.let_go()  # the handler ends while the process is draining
    _, errors = cli.end(owner, 5)
    assert "The same command with this --workflow-id goes on: g1" in errors
    shown = {task["key"]: task["status"] for task in cli.json("runs", "show", "g1")["tasks"]}
    assert shown["second"] == "COMPLETED", "what ended while draining is recorded"
    cli.run("run", "flow.py:gated", "--workflow-id", "g1")
    assert cli.ran() == ["first", "second", "third"]


def test_a_second_signal_ends_it_at_once(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.send_signal(signal.SIGINT)
    assert owner.stderr is not None
    while "SIGINT" not in (line := owner.stderr.readline()):
        assert line, "it ended without a word"
    owner.send_signal(signal.SIGINT)
    cli.end(owner, 5)
    cli.let_go()
    cli.run("run", "flow.py:gated", "--workflow-id", "g1")
    assert cli.ran() == ["first", "second", "second", "third"], "what was not recorded ran again"


def test_kill_9_and_the_same_command_goes_on(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    owner.kill()
    owner.wait()
    assert cli.status("g1") == "RUNNING"
    cli.let_go()
    _, errors = cli.run("run", "flow.py:gated", "--workflow-id", "g1")
    assert "taken up where it stands" in errors
    assert cli.ran() == ["first", "second", "second", "third"]
    assert cli.run("store", "verify")[0].startswith("sound: 1 runs")


def test_a_second_owner_is_refused(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    _, errors = cli.run("run", "flow.py:plain", code=8)
    assert f"(pid {owner.pid})" in errors
    cli.let_go()
    cli.end(owner, 0)


def test_detached_work_goes_to_the_owner(cli: CommandLine) -> None:
    owner = cli.start("run", "flow.py:gated", "--workflow-id", "g1")
    until(lambda: "second" in cli.ran())
    output, errors = cli.run("run", "flow.py:plain", "--workflow-id", "p1", "--detach")
    assert output == "p1\n"
    assert "handed to the process that owns the store" in errors
    until(lambda: cli.status("p1") == "COMPLETED")
    assert owner.poll() is None
    cli.let_go()
    cli.end(owner, 0)


def test_detached_work_waits_in_the_store_for_the_next_owner(cli: CommandLine) -> None:
    cli.run("run", "flow.py:plain", "--workflow-id", "p1", "--detach")
    assert cli.ran() == []
    assert [run["workflow_id"] for run in cli.json("runs", "list", "--open")] == ["p1"]
    cli.run("run", "flow.py:plain", "--workflow-id", "p1")
    assert cli.ran() == ["only"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["flow.py:plian"], "did you mean 'plain'?", id="workflow misspelt"),
        pytest.param(["flow.py"], "has several workflows", id="which of them"),
        pytest.param(["flwo.py:plain"], "did you mean 'flow.py'?", id="file misspelt"),
        pytest.param(["flow.py:plain", "-i", "size"], "write --input key=value", id="no pair"),
        pytest.param(["flow.py:plain", "--input-json", "{"], "--input-json line 1 is no JSON", id="no JSON"),
        pytest.param(["flow.py:plain", "--workflow-id", "a/b"], "is no workflow id", id="no id"),
        pytest.param(["flow.py:plain", "--store", "ftp://x"], "no store is known", id="no store"),
        pytest.param(["flow.py:plain", "--wokflow-id", "x"], "--workflow-id", id="no option"),
    ],
)
def test_a_mistake_is_told_in_words(cli: CommandLine, arguments: list[str], words: str) -> None:
    output, errors = cli.run("run", *arguments, code=2)
    assert output == ""
    assert errors.startswith("error: ")
    assert words in errors
    assert not cli.store.exists() or cli.json("runs", "list") == []
