"""Operations from outside: their arguments are checked, and each is one call of the orchestrator's own."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import msgspec
import pytest

from agenticflow.agents import Agent
from agenticflow.app.commands import door
from agenticflow.app.commands.door import carry_out
from agenticflow.app.commands.operations import Start
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.errors import InvalidInput, InvariantError, StoreUnavailable, WorkflowNotFoundError
from agenticflow.orchestration import TaskDefinition, WorkflowDefinition
from agenticflow.runtime.ownership import send_command
from agenticflow.storage.memory import MemoryStore

hand = Agent("hand", {"work"})
ran: list[str] = []


@hand.task("step")
async def step(name: str) -> str:
    ran.append(name)
    return name


WORK = WorkflowDefinition(
    [
        TaskDefinition.wait_for("answer", "decision"),
        TaskDefinition("act", "hand", "step", {"name": "${answer}"}, {"answer"}),
    ],
    name="work",
)


async def test_a_program_that_performs_nothing_records_commands_for_the_next_owner() -> None:
    ran.clear()
    store = MemoryStore()
    async with Orchestrator(store=store, performs=False) as tool:
        tool.register_agent(hand)
        start = msgspec.to_builtins(Start(definition=WORK, workflow_id="w"))
        assert await carry_out(tool, "start", start) == {"workflow_id": "w", "run_no": 1, "status": "WAITING"}
        signal = {"workflow_id": "w", "signal": "decision", "value": "yes", "signal_id": "1"}
        assert (await carry_out(tool, "signal", signal))["status"] == "RUNNING"
        assert (await carry_out(tool, "signal", signal))["status"] == "RUNNING"
        assert (await carry_out(tool, "waits", {"workflow_id": "w"}))["waits_for"] == []
    assert ran == [], "it starts no activity"
    async with Orchestrator(store=store) as owner:
        owner.register_agent(hand)
        assert await owner.wait("w") == {"act": "yes"}
    assert ran == ["yes"]


async def test_opening_without_performing_takes_up_nothing() -> None:
    store = MemoryStore()
    async with Orchestrator(store=store, performs=False) as tool:
        await tool.start_workflow(WORK, workflow_id="w")
        await tool.signal("w", "decision", "yes")
        before = await store.last_position()
    async with Orchestrator(store=store, performs=False) as tool:
        tool.register_agent(hand)
        assert (await tool.get_execution("w")).status == "RUNNING"
    assert await store.last_position() == before


async def test_cancelling_where_nobody_performs_ends_the_run() -> None:
    store = MemoryStore()
    async with Orchestrator(store=store, performs=False) as tool:
        await tool.start_workflow(WORK, workflow_id="w")
        await tool.signal("w", "decision", "yes")
        assert await carry_out(tool, "cancel", {"workflow_id": "w", "reason": "no"}) == {
            "workflow_id": "w",
            "run_no": 1,
            "status": "CANCELLED",
        }


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("stop", {}, "there is no operation 'stop'"),
        ("pause", {}, "missing required field `workflow_id`"),
        ("pause", {"workflow_id": 5}, "Expected `str`, got `int`"),
        ("pause", {"workflow_id": "w", "force": True}, "unknown field `force`"),
        ("resolve", {"workflow_id": "w", "task_key": "a", "decision": "maybe"}, "'maybe' is no decision"),
    ],
)
async def test_arguments_from_outside_are_checked(name: str, arguments: dict[str, object], words: str) -> None:
    async with Orchestrator(store="memory:") as orchestrator:
        with pytest.raises(InvalidInput) as caught:
            await carry_out(orchestrator, name, arguments)
    assert words in str(caught.value)


async def test_the_owner_answers_at_its_door_until_it_stops(tmp_path: Path) -> None:
    file = tmp_path / "state.db"
    async with Orchestrator(store=f"sqlite:///{file}") as owner:
        await owner.start_workflow(WORK, workflow_id="w")
        assert await send_command(file, "ping", {}) == {"pid": os.getpid()}
        paused = await send_command(file, "pause", {"workflow_id": "w"})
        assert paused == {"workflow_id": "w", "run_no": 1, "status": "PAUSED"}
        with pytest.raises(WorkflowNotFoundError):
            await send_command(file, "pause", {"workflow_id": "v"})
    with pytest.raises(StoreUnavailable):
        await send_command(file, "ping", {})


async def test_a_bug_behind_the_door_is_answered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oh")

    file = tmp_path / "state.db"
    async with Orchestrator(store=f"sqlite:///{file}") as owner:
        await owner.start_workflow(WORK, workflow_id="w")
        monkeypatch.setattr(owner, "pause", broken)
        with pytest.raises(InvariantError, match="the owner failed at 'pause': ZeroDivisionError: oh"):
            await send_command(file, "pause", {"workflow_id": "w"})


def test_every_operation_says_how_it_is_carried_out() -> None:
    assert all(inspect.iscoroutinefunction(kind.carry_out) for kind in door._OPERATIONS.values())
