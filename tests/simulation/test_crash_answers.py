"""A caller who does not know what became of a command asks again with the same id, and is answered: whatever happened since."""

from __future__ import annotations

import pytest

from agenticflow import CommandRefused, Orchestrator, TaskDefinition, WorkflowDefinition
from agenticflow.storage.memory import MemoryStore

pytestmark = pytest.mark.proof

WAIT = WorkflowDefinition([TaskDefinition.wait_for("go", "go")], output="${go}")


async def test_a_signal_sent_again_after_the_end_of_the_run_is_answered() -> None:
    """It was accepted once; only its acknowledgement got lost in the crash."""
    store = MemoryStore()
    async with Orchestrator(store=store) as first:
        handle = await first.start_workflow(WAIT, workflow_id="w")
        await handle.signal("go", 1, signal_id="a")
        assert await handle.result() == 1
    async with Orchestrator(store=store) as second:
        await second.signal("w", "go", 1, signal_id="a")
        with pytest.raises(CommandRefused):
            await second.signal("w", "go", 1, signal_id="b")
        with pytest.raises(CommandRefused):
            await second.signal("w", "go", 1)
