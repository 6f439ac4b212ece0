"""What a handler may know: results, input, ids, limits, and whether it should stop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.context import CancelReason, TaskContext, effect_key
from agenticflow.core.engine import Execution
from agenticflow.core.tools import CallGiven, ToolCall, ToolResult
from agenticflow.errors import DefinitionError, InvalidInput, TaskCancelled


def context(given: object = None, results: dict[str, object] | None = None, **changed: Any) -> TaskContext:
    arguments: dict[str, Any] = {
        "workflow_id": "w1",
        "run_no": 1,
        "task_id": "charge",
        "task_key": "charge[2]",
        "agent_id": "clerk",
        "attempt": 1,
        "generation": 0,
        "deadline": None,
        "params": {"amount": 5},
        "results": results or {},
        "encoded_input": codec.encode(given),
    }
    return TaskContext(**{**arguments, **changed})


def test_results_come_before_keys_of_the_input() -> None:
    found = context({"customer": "Ann", "load": "shadowed"}, {"load": [1, 2]})
    assert found["load"] == [1, 2]
    assert found["customer"] == "Ann"
    assert list(found) == ["load", "customer"]
    assert len(found) == 2
    assert found.get("nothing") is None
    assert dict(found) == {"load": [1, 2], "customer": "Ann"}


def test_input_data_is_the_whole_input_unless_a_key_has_that_name() -> None:
    assert context({"customer": "Ann"})["input_data"] == {"customer": "Ann"}
    assert context({"input_data": 7})["input_data"] == 7
    assert context([1, 2])["input_data"] == [1, 2]
    assert "input_data" not in list(context([1, 2]))
    assert len(context([1, 2])) == 0


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(
        KeyError, match=r"'rows' is neither a dependency of 'charge\[2\]' nor a key .* there is 'load', 'x'"
    ):
        context({"x": 1}, {"load": 1})["rows"]
    with pytest.raises(KeyError, match="there is nothing"):
        context()["rows"]


def test_the_input_is_decoded_once_and_private() -> None:
    one = context({"rows": [1]})
    rows: Any = one["rows"]
    rows.append(2)
    assert one["rows"] == [1, 2]
    assert context({"rows": [1]})["rows"] == [1]
    assert one.input is one.input


def test_the_effect_key_is_equal_for_all_attempts_and_runs() -> None:
    first = context(attempt=1, run_no=1)
    assert first.effect_key == context(attempt=7, run_no=3).effect_key == effect_key("w1", "charge[2]", 0)
    assert first.effect_key == "902e6ddf598ddb93eb0096f7715b0405", "stable across releases"


@pytest.mark.parametrize("other", [{"workflow_id": "w2"}, {"task_key": "charge[3]"}, {"generation": 1}])
def test_the_effect_key_tells_workflows_tasks_and_generations_apart(other: dict[str, Any]) -> None:
    assert context().effect_key != context(**other).effect_key


def test_parts_of_the_effect_key_do_not_run_into_each_other() -> None:
    assert effect_key("a", "b0", 1) != effect_key("a", "b", 1)
    assert effect_key("ab", "c", 0) != effect_key("a", "bc", 0)


def test_being_told_to_stop() -> None:
    told = context()
    told.raise_if_cancelled()
    told.is_cancelled = True
    with pytest.raises(TaskCancelled, match=r"'charge\[2\]' of workflow 'w1' was told to stop$"):
        told.raise_if_cancelled()
    told.cancel_reason = CancelReason.STALLED
    with pytest.raises(TaskCancelled, match=r"was told to stop: stalled$"):
        told.raise_if_cancelled()


def test_the_logger_says_whose_record_it_is(caplog: pytest.LogCaptureFixture) -> None:
    logger = context(attempt=2).logger
    with caplog.at_level(logging.INFO, "agenticflow.task"):
        logger.info("charged")
    record: Any = caplog.records[0]
    assert (record.workflow_id, record.run_no, record.task_key, record.attempt) == ("w1", 1, "charge[2]", 2)
    one = context()
    assert one.logger is one.logger
    assert repr(one) == "TaskContext('w1', 'charge[2]', attempt=1)"


def test_a_record_keeps_the_fields_that_the_call_gives(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "agenticflow.task"):
        context().logger.info("loaded", extra={"rows": 7, "attempt": 99})
    record: Any = caplog.records[0]
    assert (record.rows, record.task_key, record.attempt) == (7, "charge[2]", 1)


def test_an_execution_knows_its_stream() -> None:
    assert Execution("workflow", "w1").stream_id == "workflow-w1/1"
    assert Execution("countdown", "a", 3, parent=("workflow-w1/1", "charge", 4)).stream_id == "countdown-a/3"


class NotedTools:
    """Tools that note what they are asked."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []

    async def invoke(self, call: ToolCall) -> ToolResult:
        self.calls.append(call)
        return ToolResult.success(call.name)

    async def invoke_parallel(self, calls: Sequence[CallGiven], *, max_concurrent: int) -> list[ToolResult]:
        assert max_concurrent == 10
        return [await self.invoke(call) for call in calls if isinstance(call, ToolCall)]


def test_tools_are_called_with_a_key_that_follows_from_the_task() -> None:
    given = context()
    given.tools = tools = NotedTools()
    assert asyncio.run(given.invoke_tool("add", {"a": 1})).value == "add"
    asyncio.run(given.invoke_tool("add", key="mine"))
    given_call = ToolCall("add", {"a": 1}, effect_key="own", deadline=5)
    assert len(asyncio.run(given.invoke_tool_parallel([("add", {"a": 1}), given_call]))) == 2
    first, keyed, same, own = tools.calls
    assert (first.name, first.params, first.deadline) == ("add", {"a": 1}, None)
    assert first.effect_key == same.effect_key != keyed.effect_key
    assert (own.effect_key, own.deadline) == ("own", 5)
    with pytest.raises(InvalidInput):
        asyncio.run(given.invoke_tool_parallel(["add"]))  # type: ignore[list-item]  # that is the mistake


def test_without_tools_it_says_how_to_get_some() -> None:
    with pytest.raises(DefinitionError, match="has no tools"):
        asyncio.run(context().invoke_tool("add"))
