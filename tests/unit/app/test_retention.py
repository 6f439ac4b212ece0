"""What a user still has of a workflow that was archived, and of one that was deleted."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from agenticflow.app.commands.door import carry_out
from agenticflow.app.commands.operations import Compact
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.errors import InvalidInput, WorkflowExecutionError, WorkflowNotFoundError
from agenticflow.orchestration import WorkflowStatus
from agenticflow.storage import RetentionPolicy
from agenticflow.storage.memory import MemoryStore
from tests.unit.app.test_verification import DONE, FAILED, hand, replace_row

ARCHIVE = RetentionPolicy(archive_after_days=0)
DELETE = RetentionPolicy(delete_after_days=0)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    opened = MemoryStore()
    yield opened
    await opened.close()


@pytest.fixture
async def orchestrator(store: MemoryStore) -> AsyncIterator[Orchestrator]:
    async with Orchestrator(store=store) as started:
        started.register_agent(hand)
        await started.execute_workflow(DONE, workflow_id="done")
        with pytest.raises(WorkflowExecutionError):
            await started.execute_workflow(FAILED, workflow_id="failed")
        yield started


async def test_an_archived_workflow_is_looked_at_as_before(orchestrator: Orchestrator, store: MemoryStore) -> None:
    before = await orchestrator.get_execution("done")
    assert (await orchestrator.compact(ARCHIVE)).archived_runs == 2
    after = await orchestrator.get_execution("done")
    assert (after.status, after.task_results) == (before.status, before.task_results)
    assert after.completed_at == before.completed_at
    # What agents say about themselves is written a moment later than what they did.
    assert [event async for event in store.read_all() if not event.stream_id.startswith("agent-")] == []
    assert (await (await orchestrator.start_workflow(DONE, workflow_id="done")).result()) is not None


async def test_an_archived_workflow_is_resumed_from_what_it_had(orchestrator: Orchestrator, store: MemoryStore) -> None:
    await orchestrator.compact(ARCHIVE)
    handle = await orchestrator.resume_workflow("failed")
    with pytest.raises(WorkflowExecutionError):
        await handle.result()
    assert handle.run_no == 2
    types = [event.event_type async for event in store.read_stream("workflow-failed/2")]
    assert types.count("task_completed") == 0, "what the archived run had completed does not run again"
    await orchestrator.compact(ARCHIVE)
    assert (await verify_store(store)).problems == []


async def test_an_archived_workflow_is_verified_like_any_other(orchestrator: Orchestrator, store: MemoryStore) -> None:
    await orchestrator.compact(ARCHIVE)
    told: list[int] = []
    found = await verify_store(store, told.append)
    assert (found.problems, found.runs, told) == ([], 2, [1, 2])
    await replace_row(store, "workflow-done/1", status="FAILED")
    [problem] = (await verify_store(store)).problems
    assert "its events say 'COMPLETED'" in problem


async def test_a_deleted_workflow_is_not_found_and_its_id_is_free(
    orchestrator: Orchestrator, store: MemoryStore
) -> None:
    assert (await orchestrator.compact(DELETE)).deleted_runs == 2
    for look in (orchestrator.get_execution, orchestrator.resume_workflow, orchestrator.get_workflow_state):
        with pytest.raises(WorkflowNotFoundError):
            await look("done")
    assert await orchestrator.list_workflows() == []
    await orchestrator.execute_workflow(DONE, workflow_id="done")
    assert (await orchestrator.get_execution("done")).status is WorkflowStatus.COMPLETED
    assert (await verify_store(store)).problems == []


async def test_another_process_asks_for_it_by_name(orchestrator: Orchestrator) -> None:
    answer = await carry_out(orchestrator, Compact.name, {"policy": {"archive_after_days": 0, "keep_last": 1}})
    assert answer["archived_runs"] == 0, "there is one of each name"
    assert (await carry_out(orchestrator, "compact", {}))["archived_runs"] == 0
    for wrong in ({"policy": {"forever": True}}, {"policy": {"keep_last": -1}}, {"days": 1}):
        with pytest.raises(InvalidInput):
            await carry_out(orchestrator, "compact", wrong)
