"""Errors as they are recorded, and the result users hold."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow.core.results import (
    MAX_MESSAGE_CHARS,
    MAX_TRACE_CHARS,
    ErrorInfo,
    TaskResult,
    describe_error,
)
from agenticflow.errors import InvalidInput, PermanentError, StoreUnavailable, TemporaryError


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_exception_becomes_data() -> None:
    info = describe_error(ZeroDivisionError("by zero"), trace="…line 1")
    assert info == ErrorInfo(
        type="ZeroDivisionError",
        message="by zero",
        kinds=("ZeroDivisionError", "ArithmeticError", "Exception"),
        trace="…line 1",
    )
    assert str(info) == "ZeroDivisionError: by zero"
    assert str(describe_error(KeyError())) == "KeyError"


@pytest.mark.parametrize(
    ("error", "code", "is_permanent"),
    [
        (StoreUnavailable("closed"), "store_unavailable", False),
        (TemporaryError("busy"), "temporary", False),
        (PermanentError("gone"), "permanent", True),
        (InvalidInput("wrong"), "invalid_input", True),
        (OSError("disk"), "", False),
    ],
)
def test_ours_say_whether_another_try_is_worth_it(error: Exception, code: str, is_permanent: bool) -> None:
    info = describe_error(error)
    assert (info.code, info.is_permanent) == (code, is_permanent)


def test_long_texts_keep_the_head_of_the_message_and_the_tail_of_the_trace() -> None:
    info = describe_error(ValueError("a" * 10_000), trace="first" + "b" * 10_000 + "last")
    assert info.message == "a" * MAX_MESSAGE_CHARS
    assert len(info.trace) == MAX_TRACE_CHARS
    assert info.trace.endswith("last")


def test_whatever_an_exception_says_can_be_recorded() -> None:
    strange = describe_error(ValueError("caf\udce9.txt"), trace="at caf\udce9")
    assert strange.message == "caf\\udce9.txt"
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(strange), type=ErrorInfo) == strange
    assert describe_error(Speechless()).message == ""


def test_a_result_is_a_value_or_an_error() -> None:
    success = TaskResult.success(3)
    assert success.is_success()
    assert success.unwrap() == 3
    assert success.error is None
    assert repr(success) == "TaskResult.success(3)"
    nothing = TaskResult.success(None)
    assert nothing.is_success()
    assert nothing.unwrap() is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (ValueError("no such row"), "ValueError: no such row"),
        ("no such row", "Failure: no such row"),
        (ErrorInfo("ValueError", "no such row"), "ValueError: no such row"),
    ],
)
def test_a_failure_raises_its_words(given: BaseException | ErrorInfo | str, words: str) -> None:
    failure: TaskResult[int] = TaskResult.failure(given)
    assert not failure.is_success()
    assert str(failure.error) == words
    with pytest.raises(PermanentError, match=f"the task failed: {words}"):
        failure.unwrap()
    assert repr(failure) == f"TaskResult.failure({words!r})"


def test_a_failure_needs_an_error() -> None:
    nonsense: Any = 7
    with pytest.raises(InvalidInput, match="7 is not an error"):
        TaskResult.failure(nonsense)


def test_equal_results_are_equal_and_hash_alike() -> None:
    one, same = TaskResult.success([1]), TaskResult.success([1])
    assert one == same
    assert hash(one) == hash(same)
    assert one != TaskResult.success([2])
    assert TaskResult.failure("a") != TaskResult.failure("b")
    assert one != [1]
