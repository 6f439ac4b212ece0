"""A request that has failed, with plans that were given up, is resumed: it goes on where it stands, and repeats nothing."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.errors import WorkflowExecutionError
from tests.unit.app.supervisor.office import Office, planned, task
from tests.unit.runtime.engine import in_virtual_time

QUERY = "Load the sales, then mail them"
FIRST = planned(
    task("rows", "load", "sql", table="sales"),
    task("more", "load", "sql", table="costs"),
    task("send", "send", "mail", "rows", to="ada", text="the rows"),
    task("text", "run", "writing", "send", "more", query="done"),
)
SECOND = planned(
    task("old", "load", "sql", table="archive"),
    task("mail", "send", "mail", "old", to="ada", text="the old"),
    reason="the archive has them",
)


@in_virtual_time
async def test_what_was_given_up_is_not_taken_up_again() -> None:
    """The first plan failed and was replaced. Were it tried again, its letter would be sent beside that of the plan that came after."""
    office = Office(FIRST, SECOND, at_most_once=["send"], max_replans=1)
    office.broken |= {"sales", "costs", "archive"}
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="archive"):
            await supervisor.handle_user_query(QUERY, workflow_id="w")
        office.broken -= {"sales", "archive"}
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert (output["output"], output["plans"]) == ("sent to ada", 2)
        assert office.calls["send ada"] == 1
        assert office.calls["load sales"] == 1, "nobody asks for it any more"
        assert office.model.asked == 2


@in_virtual_time
async def test_the_first_plan_is_tried_again_when_somebody_says_so() -> None:
    office = Office(FIRST, SECOND, FIRST, at_most_once=["send"], max_replans=1)
    office.broken |= {"sales", "archive"}
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="archive"):
            await supervisor.handle_user_query(QUERY, workflow_id="w")
        office.broken.clear()
        output: Any = await (await supervisor.orchestrator.resume_workflow("w", "run-1")).result()
        assert (output["plans"], office.calls["send ada"], office.model.asked) == (1, 1, 2)


@in_virtual_time
async def test_a_plan_that_nobody_has_given_up_goes_on() -> None:
    office = Office(FIRST, at_most_once=["send"], max_replans=0)
    office.broken.add("costs")
    async with office as supervisor:
        with pytest.raises(WorkflowExecutionError, match="costs"):
            await supervisor.handle_user_query(QUERY, workflow_id="w")
        office.broken.clear()
        output: Any = await (await supervisor.orchestrator.resume_workflow("w")).result()
        assert (output["output"], output["plans"], office.calls["send ada"]) == (
            "<done\nsend: sent to ada\nmore: [1, 2, 5]>",
            1,
            1,
        )
