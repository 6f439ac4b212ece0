"""What a person sees of a run: lines in a pipe, a table on a terminal."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from rich.console import Console

from agenticflow import (
    Agent,
    Orchestrator,
    RetryPolicy,
    TaskDefinition,
    WorkflowDefinition,
    WorkflowExecutionError,
    WorkflowState,
)
from agenticflow.cli.progress import LiveProgress, PlainProgress, progress_for, rows_of

hand = Agent("hand", {"work"})


@hand.task("say")
async def say(word: str) -> str:
    return word


@hand.task("break")
async def fail() -> str:
    raise ValueError("no luck")


WORK = WorkflowDefinition(
    [
        TaskDefinition("words", "hand", "say", {"word": "${item}"}, for_each=[str(number) for number in range(40)]),
        TaskDefinition("skipped", "hand", "say", {"word": "x"}, when="1 == 2"),
        TaskDefinition("bad", "hand", "break", retry_policy=RetryPolicy(max_attempts=1)),
        TaskDefinition.wait_for("answer", "decision", {"words"}),
        TaskDefinition("last", "hand", "say", {"word": "done"}, dependencies={"answer", "bad"}),
    ],
    name="work",
)


@asynccontextmanager
async def working() -> AsyncIterator[tuple[Orchestrator, str]]:
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(hand)
        handle = await orchestrator.start_workflow(WORK, workflow_id="w")
        yield orchestrator, handle.workflow_id


async def settled(orchestrator: Orchestrator, workflow_id: str) -> WorkflowState:
    """Return the state in which nothing but the signal is missing."""
    while True:
        state = await orchestrator.get_workflow_state(workflow_id)
        if "answer" in state.tasks and "bad" in state.tasks and state.tasks["bad"].ended_at is not None:
            return state
        await asyncio.sleep(0)


async def test_lines_tell_what_changed_once(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(WORK, "w")
    async with working() as (orchestrator, workflow_id):
        state = await settled(orchestrator, workflow_id)
        progress.look(state)
        progress.look(state)
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.splitlines() == [
            "  words 40 of 40",
            "  skipped skipped",
            "  bad failed: ValueError: no luck",
            "  answer waits for the signal 'decision': agenticflow runs signal w decision",
        ]
        await orchestrator.pause(workflow_id)
        progress.look(await orchestrator.get_workflow_state(workflow_id))
        assert capsys.readouterr().err == "  the run is paused: agenticflow runs unpause w\n"
        await orchestrator.abort(workflow_id)
        progress.close()


async def test_commands_to_copy_are_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    progress = PlainProgress(WORK, "my run; ls")
    async with working() as (orchestrator, workflow_id):
        progress.look(await settled(orchestrator, workflow_id))
        assert "agenticflow runs signal 'my run; ls' decision" in capsys.readouterr().err
        await orchestrator.pause(workflow_id)
        progress.look(await orchestrator.get_workflow_state(workflow_id))
        assert capsys.readouterr().err == "  the run is paused: agenticflow runs unpause 'my run; ls'\n"


async def test_quiet_lines_tell_only_what_somebody_has_to_act_on(capsys: pytest.CaptureFixture[str]) -> None:
    progress = progress_for(Console(file=io.StringIO()), WORK, "w", is_quiet=True)
    assert isinstance(progress, PlainProgress)
    async with working() as (orchestrator, workflow_id):
        progress.look(await settled(orchestrator, workflow_id))
        assert capsys.readouterr().err == (
            "  answer waits for the signal 'decision': agenticflow runs signal w decision\n"
        )


async def test_a_terminal_shows_every_task_and_how_far_a_map_is() -> None:
    screen = io.StringIO()
    progress = progress_for(Console(file=screen, force_terminal=True, width=140), WORK, "w")
    assert isinstance(progress, LiveProgress)
    async with working() as (orchestrator, workflow_id):
        progress.look(await settled(orchestrator, workflow_id))
        progress.say("a line that stays")
        await orchestrator.signal(workflow_id, "decision")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.wait(workflow_id)
        progress.look(await orchestrator.get_workflow_state(workflow_id))
        progress.close()
    shown = screen.getvalue()
    for words in ("40/40", "ValueError: no luck", "a line that stays", "FAILED", "of 5 tasks"):
        assert words in shown


async def test_a_long_definition_shows_what_matters_most() -> None:
    screen = io.StringIO()
    tasks = [TaskDefinition(f"t{number}", "hand", "say", {"word": "x"}) for number in range(60)]
    tasks.append(TaskDefinition("bad", "hand", "break", retry_policy=RetryPolicy(max_attempts=1)))
    long = WorkflowDefinition(tasks, name="long")
    progress = LiveProgress(Console(file=screen, force_terminal=True, width=100), long, "w")
    async with Orchestrator(store="memory:") as orchestrator:
        orchestrator.register_agent(hand)
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(long, workflow_id="w")
        state = await orchestrator.get_workflow_state("w")
        assert len(rows_of(long, state, "w")) == 61
        progress.look(state)
        progress.close()
    assert "no luck" in screen.getvalue()
    assert "t17" not in screen.getvalue()
