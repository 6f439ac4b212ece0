"""``agenticflow chat`` as people use it: lines in, answers and tool calls out, Ctrl-C in the middle, and the conversation afterwards."""

from __future__ import annotations

import signal

import pytest

from tests.e2e.command_line import CommandLine

TEAM = '''
import asyncio
from pathlib import Path

from agenticflow import Agent, tool
from agenticflow.errors import ModelRateLimited
from agenticflow.testing import ScriptedModel, call_tool


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


@tool
async def wait() -> str:
    """Wait."""
    Path("waiting").touch()
    await asyncio.sleep(600)
    return "at last"


@tool(needs_approval=True)
def pay(amount: int) -> str:
    """Pay an amount."""
    return f"paid {amount}"


def speak(request):
    last = request.messages[-1]
    if last.results:
        return f"Well: {last.results[0].content}."
    calls = {"pay": call_tool("pay", amount=5), "wait": call_tool("wait"), "weather": call_tool("weather", city="Oslo")}
    for word, call in calls.items():
        if word in last.text:
            return call
    return " | ".join(message.results[0].content for message in request.messages if message.results) or "Hello."


guide = Agent("guide", instructions="Help.", model=ScriptedModel(speak, piece_chars=3), tools=[weather, wait, pay])
broken = Agent("broken", instructions="Help.", model=ScriptedModel(lambda request: 1 / 0))
limited = Agent(
    "limited",
    instructions="Help.",
    model=ScriptedModel([ModelRateLimited("slow down", retry_after_seconds=0.8), "Here I am."]),
)
other = Agent("other", instructions="Help.", model=ScriptedModel(["I am the other."]))
plain = Agent("plain")
'''


@pytest.fixture
def team(cli: CommandLine) -> CommandLine:
    (cli.folder / "team.py").write_text(TEAM, encoding="utf-8")
    return cli


def typed(team: CommandLine, lines: str, *arguments: str) -> tuple[str, str]:
    process = team.start("chat", "team.py:guide", *arguments, types=True)
    output, errors = process.communicate(lines, timeout=60)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return output, errors


def test_lines_are_answered_with_visible_calls_and_a_yes_is_asked_for(team: CommandLine) -> None:
    output, errors = typed(team, "weather please\npay now\ny\npay again\nn\n/new\nwhat was it?\n/exit\n")
    assert output.splitlines() == [
        "Well: sunny in Oslo.",
        "Well: paid 5.",
        "Well: local-owner did not allow this call.",
        "Hello.",
    ]
    assert '· weather(city="Oslo")' in errors
    assert "→ sunny in Oslo" in errors
    assert "! local-owner did not allow this call" in errors


def test_a_conversation_is_gone_on_with_by_its_id(team: CommandLine) -> None:
    assert team.run("chat", "team.py:guide", "-p", "weather", "--session", "ada", "-q")[0] == "Well: sunny in Oslo.\n"
    assert team.run("chat", "team.py:guide", "-p", "and?", "--session", "ada")[0] == "sunny in Oslo\n"


def test_ctrl_c_stops_an_answer_and_the_next_prompt_is_accepted(team: CommandLine) -> None:
    process = team.start("chat", "team.py:guide", "--session", "ada", types=True)
    assert process.stdin is not None
    process.stdin.write("wait for it\n")
    process.stdin.flush()
    while not (team.folder / "waiting").exists():
        assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate("and now?\n", timeout=60)
    assert process.returncode == 0, errors
    assert "stopped" in errors
    assert output == "interrupted: whoever waited for this call did not any more; it may be made again\n"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("team.py", "'team.py' has several agents: 'guide', 'broken', 'limited', 'other'"),
        ("team.py:giude", "did you mean 'guide'?"),
        ("tame.py", "there is no file 'tame.py'"),
        ("flow.py", "'flow.py' has no agent that asks a model"),
        ("team.txt", "there is no module 'team.txt'"),
        ("team.py:", "'team.py:' names no agent"),
    ],
)
def test_what_is_no_agent_is_told(team: CommandLine, target: str, words: str) -> None:
    assert words in team.run("chat", target, "-p", "Hello", code=2)[1]


def test_what_a_model_of_the_program_raises_is_told_and_the_conversation_goes_on(team: CommandLine) -> None:
    process = team.start("chat", "team.py:broken", types=True)
    _, errors = process.communicate("Hello\nAnybody?\n", timeout=60)
    assert process.returncode == 3, errors
    assert errors.count("the agent failed: ZeroDivisionError: division by zero") == 2
    assert "bug in agenticflow" not in errors


def test_who_waits_for_a_provider_is_told_until_when(team: CommandLine) -> None:
    output, errors = team.run("chat", "team.py:limited", "-p", "Hello")
    assert output == "Here I am.\n"
    assert "(ModelRateLimited: slow down; tried again at " in errors


def test_a_call_that_nobody_is_there_to_allow_waits_and_is_not_refused(team: CommandLine) -> None:
    errors = team.run("chat", "team.py:guide", "-p", "pay", code=6)[1]
    assert "nobody is here to say so: it waits" in errors
    assert "did not allow" not in errors
    assert "May guide call pay?" in team.run("approvals", "list")[0]


def test_the_demo_asks_an_agent_about_real_modules(cli: CommandLine) -> None:
    output, errors = cli.run("demo", "agent", "Which is larger, json or email?")
    assert output.startswith("email is the largest.\nemail: ")
    assert '· measure_module(name="json")' in errors


def test_a_file_describes_it_and_an_error_of_the_model_is_told(team: CommandLine) -> None:
    (team.folder / "agents.yaml").write_text(
        "name: clerk\ndescription: sells tea\ninstructions: Sell.\nmodel: openai:gpt-5\n", encoding="utf-8"
    )
    errors = team.run("chat", "agents.yaml", "-p", "Hello", code=2)[1]
    assert "OPENAI_API_KEY" in errors
