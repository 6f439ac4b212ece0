"""A tool with bounds on memory runs in a process of its own, and what it takes too much of is its failure."""

from __future__ import annotations

import sys

import pytest

from agenticflow.core.tools import Move, ToolCall
from agenticflow.tools import ToolPipeline, ToolRegistry
from tests.unit.runtime.resources.bounded_tasks import MANY_BYTES, take


@pytest.mark.skipif(sys.platform != "linux", reason="bounds on memory need Linux")
async def test_memory_is_bounded_by_the_kernel() -> None:
    tools, pipeline = ToolRegistry.of([take]), ToolPipeline()
    assert (await pipeline.invoke(ToolCall("take", {"size": 1_000}), tools=tools)).value == 1_000
    failed = await pipeline.invoke(ToolCall("take", {"size": MANY_BYTES}), tools=tools)
    assert failed.error is not None
    assert (failed.error.code, failed.error.move) == ("resource_limit_exceeded", Move.CALLER)
    assert pipeline.abandoned == 0
