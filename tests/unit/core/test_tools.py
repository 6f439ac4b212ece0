"""Calls of tools as data: what is asked, by whom, what came of it, and whose move it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow.core.tools import (
    LOCAL_OWNER,
    Caller,
    Move,
    ToolCall,
    ToolFailure,
    ToolResult,
    call_of,
    tool_effect_key,
)
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    BudgetExceeded,
    CircuitOpen,
    InvalidInput,
    NotSerializable,
    OutcomeUnknown,
    PermanentError,
    SecurityError,
    TemporaryError,
    ToolExecutionError,
    ToolExecutionTimeoutError,
    ToolNotFoundError,
)


@pytest.mark.parametrize(
    ("granted", "required", "lacking"),
    [
        ({"file:read"}, ["file:read"], ()),
        ({"file:read"}, ["file:write"], ("file:write",)),
        ({"file:*"}, ["file:write", "file:read"], ()),
        ({"file:*"}, ["files:read"], ("files:read",)),
        ({"*"}, ["anything", "at:all"], ()),
        (set(), [], ()),
        ({"file"}, ["file:read"], ("file:read",)),
    ],
)
def test_what_was_granted_is_all_a_caller_may(granted: set[str], required: list[str], lacking: tuple[str, ...]) -> None:
    assert Caller(principal="ada", permissions=frozenset(granted)).lacks(required) == lacking


def test_the_local_owner_may_do_everything() -> None:
    assert LOCAL_OWNER.lacks(["file:write", "sql:write"]) == ()


@pytest.mark.parametrize(
    ("error", "code", "move"),
    [
        (InvalidInput("x"), "invalid_input", Move.CALLER),
        (PermanentError("gone"), "permanent", Move.CALLER),
        (SecurityError("no"), "security", Move.OPERATOR),
        (OutcomeUnknown("?"), "outcome_unknown", Move.OPERATOR),
        (BudgetExceeded("gone"), "budget_exceeded", Move.OPERATOR),
        (TemporaryError("busy"), "temporary", Move.WORLD),
        (ToolExecutionTimeoutError("slow"), "tool_timeout", Move.WORLD),
        (ValueError("odd"), "tool_failed", Move.WORLD),
    ],
)
def test_an_error_says_whose_move_it_is(error: Exception, code: str, move: Move) -> None:
    failure = ToolFailure.of(error)
    assert (failure.code, failure.move) == (code, move)
    assert failure.is_temporary == (move is Move.WORLD)
    assert failure.error is not None
    assert failure.error.type == type(error).__name__


def test_a_failure_keeps_hint_and_time_to_wait_and_no_secret() -> None:
    failure = ToolFailure.of(CircuitOpen("it is open", hint="wait", retry_after_seconds=3.0))
    assert (failure.hint, failure.retry_after_seconds) == ("wait", 3.0)
    assert str(failure) == "it is open (wait)"
    assert "hunter2" not in ToolFailure.of(ValueError("cannot log in with password=hunter2")).message
    assert str(ToolFailure("c", "m", Move.CALLER, problems=("a", "b"))) == "m\n- a\n- b"


def test_a_result_is_a_value_or_a_failure() -> None:
    good = ToolResult.success({"city": "Oslo"})
    assert good.is_success()
    assert good.unwrap() == {"city": "Oslo"}
    bad = ToolResult.failure("there is no such city")
    assert not bad.is_success()
    assert bad.error == ToolFailure("tool_failed", "there is no such city", Move.CALLER)
    failure = ToolFailure("mine", "no", Move.WORLD)
    assert ToolResult.failure(failure).error is failure
    told = ToolResult.failure(InvalidInput("x")).error
    assert told is not None
    assert told.code == "invalid_input"
    nothing: Any = 7
    with pytest.raises(InvalidInput, match="7 is no failure"):
        ToolResult.failure(nothing)


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ToolFailure("tool_not_found", "x", Move.CALLER), ToolNotFoundError),
        (ToolFailure("tool_timeout", "x", Move.WORLD), ToolExecutionTimeoutError),
        (ToolFailure("invalid_input", "x", Move.CALLER), InvalidInput),
        (ToolFailure("security", "x", Move.OPERATOR), SecurityError),
        (ToolFailure("bound_exceeded", "x", Move.CALLER), BoundExceeded),
        (ToolFailure("tool_failed", "x", Move.WORLD), TemporaryError),
        (ToolFailure("anything", "x", Move.AUTHOR), ToolExecutionError),
    ],
)
def test_unwrapping_a_failure_raises_what_it_stands_for(failure: ToolFailure, kind: type[AgenticFlowError]) -> None:
    with pytest.raises(kind) as raised:
        ToolResult(error=failure, tool="weather").unwrap()
    assert type(raised.value) is kind
    assert raised.value.message == "'weather': x"


def test_every_mistake_is_in_the_words_of_the_error() -> None:
    with pytest.raises(InvalidInput, match="two mistakes; a; b"):
        ToolResult.failure(ToolFailure("invalid_input", "two mistakes", Move.CALLER, problems=("a", "b"))).unwrap()


def test_a_model_is_shown_text_as_it_is_and_the_rest_as_json() -> None:
    assert ToolResult.success("plain").text() == "plain"
    assert ToolResult.success({"n": [1, None]}).text() == '{"n":[1,null]}'
    failure = ToolFailure("c", "m", Move.CALLER, "h", ("p",), 2.5)
    assert ToolResult.failure(failure).text() == (
        '{"error":"c","message":"m","hint":"h","problems":["p"],"retry_after_seconds":2.5}'
    )
    assert ToolResult.failure("m").text() == '{"error":"tool_failed","message":"m"}'


def test_results_go_over_the_wire_and_back() -> None:
    result = ToolResult.failure(ToolFailure("c", "m", Move.WORLD, "h", ("p",), 2.5))
    assert msgspec.json.decode(msgspec.json.encode(result), type=ToolResult) == result


def test_the_effect_key_follows_from_what_is_asked() -> None:
    key = tool_effect_key("task", "pay", {"a": 1, "b": 2})
    assert len(key) == 32
    assert key == tool_effect_key("task", "pay", {"b": 2, "a": 1}), "the order of keys is no difference"
    others = [
        tool_effect_key("other", "pay", {"a": 1, "b": 2}),
        tool_effect_key("task", "refund", {"a": 1, "b": 2}),
        tool_effect_key("task", "pay", {"a": 2, "b": 2}),
        tool_effect_key("task", "pay", {"a": 1, "b": 2}, "second"),
    ]
    assert len({key, *others}) == 5
    assert tool_effect_key("task", "pay", {"a": 1}, "k") == tool_effect_key("task", "pay", {"a": 2}, "k")
    with pytest.raises(NotSerializable):
        tool_effect_key("task", "pay", {"a": object()})


def test_a_call_may_be_written_in_three_ways() -> None:
    call = ToolCall("weather", {"city": "Oslo"})
    assert call_of(call) is call
    assert call_of(("weather", {"city": "Oslo"})) == call
    assert call_of({"name": "weather", "params": {"city": "Oslo"}}) == call


@pytest.mark.parametrize("given", [{"params": {}}, ("weather",), ("weather", 3), (3, {}), "weather"])
def test_what_is_no_call_is_said_to_be_none(given: Any) -> None:
    with pytest.raises(InvalidInput, match="is no call of a tool") as refusal:
        call_of(given)
    assert "ToolCall(" in refusal.value.hint
