"""``verify_store``: what is derived must follow from the events."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from agenticflow.agents import Agent
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.upkeep.verification import verify_store
from agenticflow.errors import WorkflowExecutionError
from agenticflow.orchestration import Approval, TaskDefinition, WorkflowDefinition
from agenticflow.resilience import RetryPolicy
from agenticflow.storage import Commit, NewEvent, RunRow
from agenticflow.storage.memory import MemoryStore

hand = Agent("hand", {"work"})


@hand.task("big")
async def big() -> str:
    return "x" * 100_000


@hand.task("break")
async def fail(data: str) -> None:
    raise ValueError(len(data))


DONE = WorkflowDefinition([TaskDefinition("big", "hand", "big")], name="done")
FAILED = WorkflowDefinition(
    [
        TaskDefinition("big", "hand", "big"),
        TaskDefinition("bad", "hand", "break", {"data": "${big}"}, {"big"}, retry_policy=RetryPolicy(max_attempts=1)),
    ],
    name="failed",
)
OPEN = WorkflowDefinition([TaskDefinition.wait_for("answer", "decision")], name="open")


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    """A store with a completed, a failed, a resumed and an open run, and a value too large to stand in an event."""
    opened = MemoryStore()
    async with Orchestrator(store=opened) as orchestrator:
        orchestrator.register_agent(hand)
        await orchestrator.execute_workflow(DONE, workflow_id="done")
        with pytest.raises(WorkflowExecutionError):
            await orchestrator.execute_workflow(FAILED, workflow_id="failed")
        with pytest.raises(WorkflowExecutionError):
            await (await orchestrator.resume_workflow("failed")).result()
        await orchestrator.start_workflow(OPEN, workflow_id="open")
    yield opened
    await opened.close()


async def replace_row(store: MemoryStore, stream_id: str, **changes: object) -> None:
    row = next(row for row in await store.list_runs() if row.stream_id == stream_id)
    await store.commit(Commit(stream_id=stream_id, rows=[msgspec.structs.replace(row, **changes)]))


async def test_a_sound_store(store: MemoryStore) -> None:
    told: list[int] = []
    found = await verify_store(store, told.append)
    assert found.is_sound, found.problems
    assert (found.runs, found.blobs, told) == (4, 1, [1, 2, 3, 4])
    assert found.events == sum([len(await store.read_page(row.stream_id, 0, 1_000)) for row in await store.list_runs()])


@pytest.mark.parametrize(
    ("stream_id", "changes", "words"),
    [
        ("workflow-done/1", {"status": "FAILED"}, "the index says status 'FAILED', its events say 'COMPLETED'"),
        ("workflow-open/1", {"is_open": False}, "the index says is_open False, its events say True"),
        ("workflow-open/1", {"next_due": 5}, "the index says next_due 5, its events say None"),
        ("workflow-failed/2", {"fingerprint": "x"}, "the index says fingerprint 'x'"),
        ("workflow-done/1", {"version": 99}, "the index knows version 99"),
    ],
)
async def test_a_row_that_does_not_follow_from_the_events(
    store: MemoryStore, stream_id: str, changes: dict[str, object], words: str
) -> None:
    await replace_row(store, stream_id, **changes)
    [problem] = (await verify_store(store)).problems
    assert stream_id in problem
    assert words in problem


async def test_a_row_without_a_run(store: MemoryStore) -> None:
    row = RunRow(
        stream_id="workflow-ghost/1",
        kind="workflow",
        execution_id="ghost",
        run_no=1,
        name="g",
        status="RUNNING",
        is_open=True,
    )
    await store.commit(Commit(stream_id=row.stream_id, rows=[row]))
    assert (await verify_store(store)).problems == ["the index has 'workflow-ghost/1', which has no events"]


async def test_a_run_without_a_row(store: MemoryStore) -> None:
    for stored in await store.read_page("workflow-open/1", 0, 100):
        event = NewEvent(stored.event_type, stored.data, stored.timestamp, stored.metadata, stored.schema_version)
        await store.commit(Commit(stream_id="workflow-open/2", events=[event]))
    assert (await verify_store(store)).problems == ["run 'workflow-open/2' is not in the index"]


async def test_a_value_that_is_gone_and_one_that_changed(store: MemoryStore) -> None:
    [name] = store._blobs
    kept = store._blobs.pop(name)
    problems = (await verify_store(store)).problems
    assert problems
    assert all(f"the value {name}" in problem for problem in problems)
    store._blobs[name] = kept + b"x"
    assert all("does not hash to its name" in problem for problem in (await verify_store(store)).problems)


async def test_a_damaged_event_is_a_problem_like_any_other(store: MemoryStore) -> None:
    event = NewEvent("task_completed", b"\xc1", 1)
    await store.commit(Commit(stream_id="workflow-open/1", events=[event]))
    [problem] = (await verify_store(store)).problems
    assert problem.startswith("run 'workflow-open/1' cannot be folded: ")


async def test_the_inbox_follows_from_the_open_requests(store: MemoryStore) -> None:
    asks = Approval("Go?", assignees=["ada"])
    async with Orchestrator(store=store) as orchestrator:
        for name in ("lost", "changed", "fine"):
            await orchestrator.start_workflow(
                WorkflowDefinition([TaskDefinition.ask("may", asks)], name=name), workflow_id=name
            )
    assert (await verify_store(store)).is_sound
    entries = {entry.key.split("/")[1]: entry.key for entry in await store.list_values("approvals", now=1)}
    await store.delete_value("approvals", entries["lost"])
    await store.put_value("approvals", entries["changed"], b"something else", now=1)
    for stale in ("fine/1/may@99", "gone/1/may@3", "open/1/answer@2", "nonsense"):
        await store.put_value("approvals", f"{0:020}/{stale}", b"", now=1)
    problems = (await verify_store(store)).problems
    assert problems == [
        f"the inbox (approvals) lacks {entries['lost'].partition('/')[2]!r}, which is open",
        f"the inbox (approvals) has otherwise {entries['changed'].partition('/')[2]!r}, which is open",
        "the inbox (approvals) has 'fine/1/may@99', which is not open",
        "the inbox (approvals) has 'gone/1/may@3', which is not open",
        "the inbox (approvals) has 'nonsense', which is not open",
        "the inbox (approvals) has 'open/1/answer@2', which is not open",
    ]
