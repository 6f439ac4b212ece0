"""What the commands about runs print for people; the JSON forms and a running owner are in tests/e2e."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from agenticflow.app.engine.liveness import LivenessReport
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.cli import main
from agenticflow.cli.commands.demos import _print_story
from agenticflow.cli.commands.looking import drawings
from agenticflow.cli.terminal import duration
from agenticflow.demos.crash import CrashStory
from agenticflow.orchestration.liveness import Breach

FLOW = """
from agenticflow import Agent, RetryPolicy, TaskDefinition, WorkflowDefinition

hand = Agent("hand", {"work"})
once = RetryPolicy(max_attempts=1)


@hand.task("halve")
def halve(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd\\x1b[2J")
    return number // 2


halves = WorkflowDefinition(
    [
        TaskDefinition("halves", "hand", "halve", {"number": "${item}"}, for_each="${input.numbers}", retry_policy=once),
        TaskDefinition.wait_for("answer", "decision", {"halves"}),
        TaskDefinition("more", "hand", "halve", {"number": 4}, {"answer"}),
    ],
    name="halves",
)
"""

ASKED = """
from agenticflow import Agent, TaskContext, TaskDefinition, WorkflowDefinition

hand = Agent("hand", {"page"}, concurrency=2)


@hand.task("page")
async def page(context: TaskContext) -> object:
    return context.interrupt(None, question="Good?")


asked = WorkflowDefinition([TaskDefinition("page", "hand", "page", for_each="${input.pages}")], name="asked")
"""

Shown = Callable[..., list[str]]


@pytest.fixture
def flow(write: Callable[[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the file of the workflow; the store of the commands is a new one."""
    monkeypatch.setenv("AGENTICFLOW_STORE", f"sqlite:///{tmp_path}/state.db")
    return write("halves_flow.py", FLOW)


@pytest.fixture
def shown(flow: str, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Run a command that has to end well; return its lines on stdout. There are runs ``even`` (waiting) and ``odd`` (failed)."""
    assert main(["run", flow, "-i", "numbers=[2, 4]", "--workflow-id", "even", "--no-wait"]) == 6
    odd = f"numbers={list(range(1, 60, 2))}"
    assert main(["run", flow, "-i", odd, "--workflow-id", "odd"]) == 3
    capsys.readouterr()

    def run(*arguments: str) -> list[str]:
        assert main(list(arguments)) == 0
        return capsys.readouterr().out.splitlines()

    return run


def words(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_the_list_is_newest_first(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    heads, *rows = words(shown("runs", "list"))
    assert heads == ["WORKFLOW", "RUN", "NAME", "STATUS", "STARTED", "TOOK"]
    assert [row[:4] for row in rows] == [["odd", "1", "halves", "FAILED"], ["even", "1", "halves", "WAITING"]]
    assert len(shown("runs", "list", "--status", "waiting")) == 2
    assert len(shown("runs", "list", "--limit", "1")) == 2
    assert main(["runs", "list", "--status", "completed"]) == 0
    assert capsys.readouterr() == ("", "there are no runs\n")


def test_a_run_is_shown_with_its_tasks_and_what_it_waits_for(shown: Shown) -> None:
    lines = shown("runs", "show", "even")
    assert lines[0] == "even run 1: halves, WAITING"
    assert ["halves", "COMPLETED", "2", "of", "2", "items"] in words(lines)
    assert ["more", "PENDING"] in words(lines)
    assert "waiting: task 'answer' waits for the signal 'decision'" in lines
    assert any("nobody runs this store now" in line for line in lines)


def test_why_a_run_does_not_move_is_one_sentence_per_branch(shown: Shown, capsys: pytest.CaptureFixture[str]) -> None:
    head, sentence = shown("debug", "why", "even")
    assert head == "even run 1: WAITING"
    assert sentence.startswith("task 'answer' waits for the signal 'decision', since 20")
    assert sentence.endswith("Z; `agenticflow runs signal even decision` sends it")
    assert shown("debug", "why", "even", "more")[1] == "task 'more' waits for 'answer'; they have to end"
    assert shown("debug", "why", "even", "halves")[1:] == ["task 'halves' has ended"]
    assert shown("debug", "why", "odd") == ["odd run 1: FAILED", "it waits for nothing"]
    capsys.readouterr()
    assert main(["debug", "why", "even", "nothing"]) == 2
    assert "there are halves, answer, more" in capsys.readouterr().err
    assert main(["debug", "why", "nobody"]) == 7
    assert main(["debug", "why", "even"]) == 0
    assert "nobody runs this store now" in capsys.readouterr().err


def test_why_is_data_as_well(shown: Shown) -> None:
    told = json.loads("\n".join(shown("debug", "why", "even", "-o", "json")))
    [wait] = told["waits"]
    assert (told["is_performed"], told["more"], wait["task"]) == (False, 0, "answer")
    assert wait["reason"] == {"type": "signal", "signal": "decision"}
    assert (wait["since"][:2], wait["until"]) == ("20", None)


def test_the_doctor_says_that_every_run_is_alive(shown: Shown) -> None:
    assert shown("doctor", "--liveness") == ["1 open runs, every one is alive"]
    told = json.loads("\n".join(shown("doctor", "--liveness", "-o", "json")))
    assert told == {"open_runs": 1, "is_performed": False, "breaches": [], "more": 0}


def test_the_doctor_ends_with_3_when_a_run_is_stuck(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stuck = tuple(Breach("even", 1, "attempt", 1_700_000_000_000_000_000, f"t{number}", 5) for number in range(201))

    async def told(_: Orchestrator) -> LivenessReport:
        return LivenessReport(7, 1, True, stuck)

    monkeypatch.setattr(Orchestrator, "check_liveness", told)
    assert main(["doctor", "--liveness"]) == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("task 't0' of run 1 of workflow 'even' is stuck: it is in work by the history")
    assert lines[0].endswith(", since 2023-11-14 22:13:20Z")
    assert lines[-2:] == ["… and 1 more", "7 open runs, 201 branches stuck"]
    assert main(["doctor", "--liveness", "-o", "json"]) == 3
    assert json.loads(capsys.readouterr().out)["breaches"][0]["missing"] == "attempt"


def test_what_failed_in_a_map_is_shown_item_by_item_up_to_a_bound(shown: Shown) -> None:
    lines = shown("runs", "show", "odd")
    assert ["halves", "FAILED", "0", "of", "30", "items,", "30", "failed"] in words(lines)
    items = [line for line in lines if line.startswith("  halves[")]
    assert len(items) == 20
    assert "ValueError: 1 is odd" in items[0]
    assert "\x1b" not in "".join(lines), "what a handler says must not steer the terminal"
    assert any("… and 10 more" in line for line in lines)
    assert lines[-1].startswith("error: WorkflowExecutionError: ")


def test_a_completed_run_and_an_earlier_one(shown: Shown) -> None:
    shown("runs", "cancel", "even")
    shown("runs", "resume", "even")
    assert shown("runs", "show", "even", "--run", "1")[0] == "even run 1: halves, CANCELLED"
    assert shown("runs", "show", "even")[0] == "even run 2: halves, WAITING"


def test_events_are_lines_in_order(shown: Shown) -> None:
    lines = shown("runs", "events", "odd")
    assert [int(line.split()[0]) for line in lines] == list(range(1, len(lines) + 1))
    assert "workflow_started" in lines[0]
    assert "halves  " in lines[1]
    assert any("task_failed" in line and "error=ValueError: 1 is odd\\x1b" in line for line in lines)
    assert "workflow_failed" in lines[-1]


def test_steering_says_where_the_run_stands(shown: Shown) -> None:
    assert shown("runs", "pause", "even") == ["even run 1: PAUSED"]
    assert shown("runs", "unpause", "even") == ["even run 1: WAITING"]
    assert shown("runs", "signal", "even", "decision") == ["even run 1: RUNNING"]
    assert shown("runs", "cancel", "even", "--grace", "0") == ["even run 1: CANCELLED"]
    assert shown("store", "verify")[0].startswith("sound: 2 runs")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (61, "1 min 1 s"), (3600, "1 h 0 min"), (7384, "2 h 3 min")],
)
def test_durations_are_said_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def story(**changes: object) -> CrashStory:
    told: dict[str, object] = {
        "packages": 9,
        "recorded": ["a", "b", "c", "d", "e", "f", "g"],
        "in_work": ["h"],
        "run_after": ["h", "i"],
        "totals": {"files": 9, "functions": 8, "lines": {"total": 7}},
        "report": "audit.html",
        "store": "sqlite:///state.db",
        "seconds_to_resume": 1.5,
        "problems": [],
    }
    return CrashStory(**{**told, **changes})  # type: ignore[arg-type]  # the fields stand right above


def test_the_story_of_a_crash(capsys: pytest.CaptureFixture[str]) -> None:
    _print_story(story())
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split()[:5] == ["recorded", "before", "the", "kill", "7"]
    assert "a, b, c, d, e, f … and 1 more" in lines[1]
    assert lines[2].split() == ["of", "these", "run", "again", "0"]
    assert lines[4].split() == ["of", "these", "run", "again", "1", "h"]
    assert "No recorded work ran again. Resumed and done 1.5 s after the new process began." in lines


def test_a_broken_promise_is_not_glossed_over(capsys: pytest.CaptureFixture[str]) -> None:
    _print_story(story(run_after=["a"], problems=["'a' was recorded before the kill and ran again"]))
    shown = capsys.readouterr().out
    assert "BROKEN: 'a' was recorded before the kill and ran again" in shown
    assert "No recorded work ran again" not in shown


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("approvals approve even/1/answer@2", 7, "there is no request 'even/1/answer@2'"),
        ("approvals reject even/9/answer@2", 7, "there is no request"),
        ("approvals delegate even/1/answer@2 ada", 7, "there is no request"),
        ("approvals show even/1/answer@2", 7, "there is no request"),
        ("approvals list --run evne", 7, "did you mean 'even'?"),
        ("dead-letters list --run evne", 7, "did you mean 'even'?"),
        ("dead-letters retry even/1/halves[0]@2", 7, "there is no dead letter 'even/1/halves[0]@2'"),
        ("dead-letters retry bus-deadletter-x@3", 7, "`agenticflow dead-letters list` shows those that are"),
        ("dead-letters discard bus-deadletter-x@3", 7, "no dead letter 'bus-deadletter-x@3' is open"),
        ("dead-letters show bus-deadletter-x@3", 7, "no dead letter 'bus-deadletter-x@3' is open"),
        ("runs feedback even ''", 2, "the feedback says nothing"),
        ("runs feedback even '  '", 2, "the feedback says nothing"),
        ("runs approve even answer --by ''", 2, "--by names nobody"),
        ("runs reject even answer --by ' '", 2, "--by names nobody"),
    ],
)
def test_what_is_not_there_and_what_says_nothing_is_refused(
    shown: Shown, capsys: pytest.CaptureFixture[str], command: str, code: int, words: str
) -> None:
    assert main(shlex.split(command)) == code
    assert words in capsys.readouterr().err


def test_what_a_hint_names_can_be_pasted_into_a_shell(
    write: Callable[[str, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("AGENTICFLOW_STORE", f"sqlite:///{tmp_path}/state.db")
    flow = write("asked_flow.py", ASKED)
    assert main(["run", flow, "-i", "pages=[1, 2]", "--workflow-id", "two of them", "--no-wait"]) == 6
    capsys.readouterr()
    assert main(["debug", "why", "two of them", "page[1]"]) == 0
    sentence = capsys.readouterr().out
    [command] = re.findall(r"`agenticflow (approvals approve [^`]*)`", sentence)
    assert main(shlex.split(command)) == 0


def test_two_runs_are_compared_and_one_is_looked_at_as_it_stood(
    shown: Shown, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = words(shown("runs", "diff", "even", "odd"))
    assert lines[0] == ["TASK", "WHAT", "LEFT", "RIGHT"]
    assert ["status", "WAITING", "FAILED"] in [line[-3:] for line in lines]
    different = json.loads("\n".join(shown("runs", "diff", "even", "odd", "--json")))
    assert {one["what"] for one in different} >= {"input", "status"}
    assert shown("runs", "diff", "even", "even") == []
    assert words(shown("runs", "show", "even", "--at", "1"))[0][-1] == "RUNNING"
    assert words(shown("runs", "show", "odd", "--at", "1"))[0][-1] == "RUNNING"
    assert main(["runs", "show", "even", "--at", "9999"]) == 2
    assert "events, there is no version 9,999" in capsys.readouterr().err
    assert main(["runs", "diff", "even", "evne"]) == 7
    assert "did you mean 'even'?" in capsys.readouterr().err
    assert main(["runs", "diff", "even", "odd", "--right-run", "9"]) == 7


def test_a_run_is_forked_where_it_stood(
    shown: Shown, write: Callable[[str, str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown("runs", "fork", "even", "--at", "1", "--id", "again") == ["again run 1: RUNNING"]
    assert json.loads("\n".join(shown("runs", "show", "again", "--json")))["input"] == {"numbers": [2, 4]}
    answer = json.loads("\n".join(shown("runs", "fork", "even", "-i", "numbers=[8]", "--json")))
    assert (answer["run_no"], answer["workflow_id"][:10]) == (1, "even-fork-")
    changed = json.loads("\n".join(shown("runs", "show", answer["workflow_id"], "--json")))
    assert changed["input"] == {"numbers": [8]}
    other = write("other_flow.py", FLOW.replace('name="halves"', 'name="quarters"'))
    shown("runs", "fork", "even", "--input-json", '{"numbers": []}', "--definition", other, "--id", "other")
    forked = json.loads("\n".join(shown("runs", "show", "other", "--json")))
    assert (forked["name"], forked["input"]) == ("quarters", {"numbers": []})
    capsys.readouterr()


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["evne"], 7, "did you mean 'even'?"),
        (["even", "--at", "9999"], 2, "there is no version 9,999"),
        (["even", "--run", "9"], 7, "run 9"),
        (["even", "--from-task", "halv"], 2, "has no task 'halv'"),
        (["even", "--id", "odd"], 8, "give the fork another"),
        (["even", "-i", "numbers"], 2, "is no pair"),
        (["even", "--definition", "nowhere.yaml"], 2, "nowhere.yaml"),
    ],
)
def test_a_fork_that_cannot_be_is_refused(
    shown: Shown, capsys: pytest.CaptureFixture[str], options: list[str], code: int, words: str
) -> None:
    assert main(["runs", "fork", *options]) == code
    assert words in capsys.readouterr().err


def test_what_a_run_ends_with_is_quoted_for_the_shell(flow: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", flow, "-i", "numbers=[2]", "--workflow-id", "my even", "--no-wait"]) == 6
    told = capsys.readouterr().err
    assert "look at it with: agenticflow runs show 'my even'\n" in told
    assert "agenticflow runs signal 'my even' decision" in told
    assert main(["run", flow, "-i", "numbers=[1]", "--workflow-id", "my odd"]) == 3
    assert "`agenticflow runs resume 'my odd'`" in capsys.readouterr().err


@pytest.mark.parametrize("width", [80, 100, 140])
def test_bars_take_what_the_other_columns_leave_of_a_line(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(drawings, "data_width", lambda: width)
    row = ("statistics[10]", "1", "+10.108 s", "1.014 s", "5.072 s", "completed")
    assert sum(map(len, row)) + 2 * len(row) + drawings._bar_width([row]) <= width
