"""Workflows that continue as new, with the engine."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.agents.workers import worker
from agenticflow.core.context import TaskContext
from agenticflow.errors import CommandRefused, WorkflowExecutionError
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.state import WorkflowStatus
from agenticflow.storage.commits import Commit
from agenticflow.testing.fakes import FlakyStore
from tests.unit.runtime.engine import in_virtual_time, running

KEYS: list[str] = []


@worker("page")
async def page(cursor: int, context: TaskContext) -> dict[str, int | None]:
    KEYS.append(context.effect_key)
    return {"next": cursor + 1 if cursor < 5 else None}


PAGES = WorkflowDefinition(
    [
        TaskDefinition("page", "page", params={"cursor": "${cursor}"}),
        TaskDefinition(
            "again", continue_with={"cursor": "${page.next}"}, dependencies={"page"}, when="${page.next} != null"
        ),
    ],
    name="pages",
    context={"cursor": 0, "kept": "default"},
    output={"at": "${cursor}", "kept": "${kept}"},
)


@in_virtual_time
async def test_who_waits_for_the_first_run_gets_the_result_of_the_last() -> None:
    KEYS.clear()
    async with running(page) as orchestrator:
        handle = await orchestrator.start_workflow(PAGES, workflow_id="p")
        assert await handle.result() == {"at": 5, "kept": "default"}
        assert len(set(KEYS)) == 6, "each run's work is other work"
        last = await orchestrator.get_execution("p")
        assert (last.run_no, last.status) == (6, WorkflowStatus.COMPLETED)
        first = await orchestrator.get_execution("p", 1)
        assert first.status is WorkflowStatus.CONTINUED
        again = await orchestrator.start_workflow(PAGES, workflow_id="p")
        assert again.run_no == 6, "the same start is the same chain"


@in_virtual_time
async def test_a_sub_workflow_may_continue_as_new() -> None:
    async with running(page) as orchestrator:
        parent = WorkflowDefinition([TaskDefinition("child", workflow=PAGES, params={"cursor": 3})])
        handle = await orchestrator.start_workflow(parent, workflow_id="p")
        assert await handle.result() == {"child": {"at": 5, "kept": "default"}}
        assert (await orchestrator.get_execution("p~child")).run_no == 3


@in_virtual_time
async def test_signals_nobody_took_are_there_in_the_next_run() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition.choice("first", {"again": "${n} == 0", "call": None}),
            TaskDefinition("again", continue_with={"n": 1}, dependencies={"first", "pause"}),
            TaskDefinition.timer("pause", 5),
            TaskDefinition.wait_for("call", "ring", {"first"}),
        ],
        context={"n": 0},
        output="${call}",
    )
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="p")
        await orchestrator.signal("p", "ring", "early")
        assert await handle.result() == "early"


@in_virtual_time
async def test_a_signal_that_comes_between_two_runs_is_taken_by_the_next() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition.wait_for("said", "say"),
            TaskDefinition(
                "again",
                continue_with={"heard": ["${heard}", "${said}"]},
                dependencies={"said"},
                when="${said} != 'end'",
            ),
        ],
        context={"heard": None},
        output=["${heard}", "${said}"],
    )
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="talk")
        for number, words in enumerate(("a", "b", "c", "end", "too late")):
            if words == "too late":
                await handle.result()
                with pytest.raises(CommandRefused, match="is COMPLETED and takes no signal"):
                    await handle.signal("say", words)
            else:
                await handle.signal("say", words, signal_id=str(number))
        assert await handle.result() == [[[[None, "a"], "b"], "c"], "end"]
        assert (await orchestrator.get_execution("talk")).run_no == 4


@in_virtual_time
async def test_an_abort_that_comes_between_two_runs_ends_the_chain() -> None:
    definition = WorkflowDefinition(
        [
            TaskDefinition.wait_for("said", "say"),
            TaskDefinition("again", continue_with={}, dependencies={"said"}),
        ]
    )
    async with running() as orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="talk")
        await handle.signal("say")
        await handle.abort("enough")
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        assert (await orchestrator.get_execution("talk")).status is WorkflowStatus.CANCELLED


@in_virtual_time
async def test_what_comes_between_two_runs_waits_ten_seconds_for_a_next_that_cannot_begin() -> None:
    definition = WorkflowDefinition(
        [TaskDefinition.wait_for("said", "say"), TaskDefinition("again", continue_with={}, dependencies={"said"})]
    )
    store = FlakyStore()
    store.fail("commit", times=1_000_000, only=lambda one: isinstance(one, Commit) and one.stream_id.endswith("/2"))
    async with running(store=store) as orchestrator:
        handle = await orchestrator.start_workflow(definition, workflow_id="talk")
        await handle.signal("say")
        loop = asyncio.get_running_loop()
        began = loop.time()
        with pytest.raises(CommandRefused, match="takes no signal"):
            await handle.signal("say")
        assert 10 <= loop.time() - began < 11
