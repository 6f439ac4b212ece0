"""The content pipeline: three checkpoints, an hour each, in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow import Orchestrator, WorkflowExecutionError
from agenticflow.testing.virtual_time import VirtualLoop, run_virtual
from examples.content_pipeline import HOUR, asked, keep, main, outline, publish, workflow, write


def test_nobody_releases_it_within_the_hour_and_it_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_virtual(main())
    assert isinstance(result, dict)
    assert result["headline"] == "What the moon does"
    assert [one["by"] for one in result["edited_by"]] == ["eve", "carl"]
    assert result["release"] == {"approved": False, "comment": "kept for later"}
    shown = capsys.readouterr().out
    assert "release asks dora, the chief" in shown
    assert "after 30 minutes the chief is asked as well" in shown
    assert "after 60 minutes: " in shown


def test_the_chief_may_release_it_after_half_an_hour() -> None:
    result = run_virtual(main(is_released=True))
    assert isinstance(result, dict)
    assert result["release"]["by"] == "the chief"


def test_nobody_looks_at_all_and_each_checkpoint_is_decided_after_its_hour() -> None:
    async def alone() -> tuple[float, str]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with Orchestrator(store="memory:", clock=loop.clock) as orchestrator:
            for one in (outline, write, publish, keep):
                orchestrator.register_worker(one)
            run = await orchestrator.start_workflow(workflow, workflow_id="w")
            assert (await asked(orchestrator, "w")).startswith("w/1/plan@")
            try:
                await run.result()
            except WorkflowExecutionError as error:
                return loop.time(), error.failed["edit"]
            raise AssertionError("nobody found it fit to print")

    seconds, why = run_virtual(alone())
    assert why == "ApprovalRejected: engine rejected it: nobody answered within 3600 s"
    assert 3 * HOUR <= seconds <= 3 * HOUR + 60
