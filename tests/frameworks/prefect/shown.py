"""What Prefect's server says. It hears of task runs a moment late, so whoever asks waits for what is expected."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterTags

SECONDS = 20.0


async def flow_runs(*tags: str) -> list[Any]:
    async with get_client() as client:
        chosen = FlowRunFilter(tags=FlowRunFilterTags(all_=list(tags)))
        return list(await client.read_flow_runs(flow_run_filter=chosen))


async def flow_run_of(flow_name: str, state: str) -> Any:
    """Wait for the newest run of a flow to be in ``state``."""
    async with asyncio.timeout(SECONDS), get_client() as client:
        while True:
            for run in await client.read_flow_runs(limit=200):
                flow = await client.read_flow(run.flow_id)
                if flow.name == flow_name and run.state_name == state:
                    return run
            await asyncio.sleep(0.05)


async def task_runs(flow_run_id: UUID, expected: dict[str, str]) -> dict[str, Any]:
    """Return the task runs of a flow run by name, once they are in the states that are expected."""
    seen: dict[str, Any] = {}
    try:
        async with asyncio.timeout(SECONDS), get_client() as client:
            while {name: run.state_name for name, run in seen.items()} != expected:
                found = await client.read_task_runs(
                    flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[flow_run_id]))
                )
                seen = {run.name: run for run in found}
                await asyncio.sleep(0.05)
    except TimeoutError:
        pytest.fail(f"{ {name: run.state_name for name, run in seen.items()} }, and not {expected}")
    return seen
