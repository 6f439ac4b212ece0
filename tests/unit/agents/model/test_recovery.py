"""What a provider's refusal means, whose move it is, and when to ask again."""

from __future__ import annotations

import asyncio

import pytest

from agenticflow.agents.model import Recovery, recovery_of
from agenticflow.agents.model.recovery import MAX_WORDS, refusal, retry_after
from agenticflow.errors import (
    CircuitOpen,
    ContentRefused,
    ContextTooLong,
    InvalidInput,
    InvariantError,
    ModelAccessDenied,
    ModelAnswerGarbled,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRequestRefused,
    ModelStreamCut,
    ModelTimeout,
    ModelUnavailable,
    PermanentError,
    TemporaryError,
    UsageError,
)

NOON_NS = 1_764_331_200_000_000_000
"""2025-11-28 12:00:00 UTC."""


@pytest.mark.parametrize(
    ("error", "recovery"),
    [
        (ModelRateLimited("x"), Recovery.RETRY),
        (ModelUnavailable("x"), Recovery.RETRY),
        (ModelTimeout("x"), Recovery.RETRY),
        (ModelStreamCut("x"), Recovery.RETRY),
        (ModelAnswerGarbled("x"), Recovery.RETRY),
        (CircuitOpen("x"), Recovery.RETRY),
        (RuntimeError("x"), Recovery.RETRY),
        (ModelOutputInvalid("x"), Recovery.REPAIR),
        (ContextTooLong("x"), Recovery.SHORTEN),
        (ModelRequestRefused("x"), Recovery.GIVE_UP),
        (ModelAccessDenied("x"), Recovery.GIVE_UP),
        (ContentRefused("x"), Recovery.GIVE_UP),
        (InvalidInput("x"), Recovery.GIVE_UP),
        (asyncio.CancelledError(), Recovery.GIVE_UP),
    ],
)
def test_what_helps(error: BaseException, recovery: Recovery) -> None:
    assert recovery_of(error) is recovery


def test_each_error_says_whose_move_it_is() -> None:
    yours = (ModelRequestRefused, ContextTooLong, ModelAccessDenied)
    temporary = (
        ModelRateLimited,
        ModelUnavailable,
        ModelTimeout,
        ModelStreamCut,
        ModelAnswerGarbled,
        ModelOutputInvalid,
    )
    assert all(issubclass(kind, UsageError) for kind in yours)
    assert all(issubclass(kind, TemporaryError) for kind in temporary)
    assert issubclass(ContentRefused, PermanentError)
    assert not any(issubclass(kind, InvariantError) for kind in (*yours, *temporary))


@pytest.mark.parametrize(
    ("status", "code", "words", "kind"),
    [
        (400, "", "no such parameter", ModelRequestRefused),
        (400, "context_length_exceeded", "no", ContextTooLong),
        (400, "", "prompt is too long: 3 > 2", ContextTooLong),
        (422, "", "Input is too long for this model", ContextTooLong),
        (413, "", "no", ContextTooLong),
        (400, "content_policy_violation", "no", ContentRefused),
        (400, "invalid_prompt", "no", ContentRefused),
        (401, "", "no", ModelAccessDenied),
        (402, "", "no", ModelAccessDenied),
        (403, "", "no", ModelAccessDenied),
        (404, "", "prompt is too long", ModelRequestRefused),
        (408, "", "no", ModelUnavailable),
        (409, "", "no", ModelUnavailable),
        (422, "", "no", ModelRequestRefused),
        (429, "", "slow down", ModelRateLimited),
        (429, "insufficient_quota", "you have no credit", ModelAccessDenied),
        (500, "", "no", ModelUnavailable),
        (529, "overloaded_error", "no", ModelUnavailable),
        (302, "", "elsewhere", ModelRequestRefused),
    ],
)
def test_a_refusal_is_one_of_ours(status: int, code: str, words: str, kind: type[Exception]) -> None:
    error = refusal("openai:gpt", status, code=code, words=words)
    assert type(error) is kind
    assert "'openai:gpt'" in error.message
    assert str(status) in error.message
    assert code in error.message or kind is ModelAccessDenied


def test_the_providers_words_are_short_and_hold_no_key() -> None:
    error = refusal("openai:gpt", 400, words="bad\n key sk-abcdefghijklmnopqrstuvwx " + "x" * 2_000)
    assert "sk-abc" not in str(error)
    assert len(error.message) < MAX_WORDS + 100
    assert "sk-abc" not in str(refusal("openai:gpt", 401, words="Incorrect key: sk-abc"))


def test_when_to_ask_again_goes_along() -> None:
    for status in (429, 503):
        error = refusal("openai:gpt", status, retry_after_seconds=7)
        assert isinstance(error, ModelUnavailable)
        assert error.retry_after_seconds == 7


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "12"}, 12.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-3"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "2"}, 2.0),
        ({"retry-after": "Fri, 28 Nov 2025 12:00:30 GMT"}, 30.0),
        ({"retry-after": "Fri, 28 Nov 2025 11:00:00 GMT"}, 0.0),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "Fri, 28 Nov 99999999999 11:00:00 GMT"}, None),
    ],
)
def test_when_a_provider_wants_to_be_asked_again(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOON_NS) == seconds
