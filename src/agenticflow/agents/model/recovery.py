"""What a refusal of a provider means, and what helps: one table for all wire formats. Pure.

============================  ===================  =============  ==========================================
the provider says             error                whose move     what helps
============================  ===================  =============  ==========================================
429                           ModelRateLimited     the world's    again, not before ``retry_after_seconds``
408, 409, 5xx, no connection  ModelUnavailable     the world's    again
nothing in time               ModelTimeout         the world's    again
half an answer                ModelStreamCut       the world's    again, from the beginning
no answer in its protocol     ModelAnswerGarbled   the world's    again
JSON of another form          ModelOutputInvalid   the model's    tell it what is wrong
too many tokens               ContextTooLong       yours          shorten the conversation
400, 404, 422                 ModelRequestRefused  yours          mend the request
401, 402, 403                 ModelAccessDenied    yours          mend the key
its filter                    ContentRefused       the world's    nothing
============================  ===================  =============  ==========================================
"""

from __future__ import annotations

import enum
import math
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Final

from agenticflow.core.redaction import redact_text
from agenticflow.errors import (
    AgenticFlowError,
    ContentRefused,
    ContextTooLong,
    ModelAccessDenied,
    ModelOutputInvalid,
    ModelRateLimited,
    ModelRequestRefused,
    ModelUnavailable,
    PermanentError,
    UsageError,
)

__all__ = ["Recovery", "recovery_of", "refusal", "retry_after"]

NANOSECONDS: Final = 1_000_000_000
MAX_WORDS: Final = 500
"""Characters of a provider's own words that an error shows."""


class Recovery(enum.StrEnum):
    """What helps after an error of a model."""

    RETRY = "retry"
    """The same request again, later."""
    REPAIR = "repair"
    """The same conversation, and what was wrong."""
    SHORTEN = "shorten"
    """The same conversation with less of it."""
    GIVE_UP = "give_up"
    """Nothing that a program can do by itself."""


def recovery_of(error: BaseException) -> Recovery:
    """Return what helps after ``error``."""
    if isinstance(error, ContextTooLong):
        return Recovery.SHORTEN
    if isinstance(error, ModelOutputInvalid):
        return Recovery.REPAIR
    if isinstance(error, (UsageError, PermanentError)) or not isinstance(error, Exception):
        return Recovery.GIVE_UP
    return Recovery.RETRY


_TOO_LONG: Final = re.compile(
    r"context[_ ](length|window)|maximum context|prompt is too long|too many (input )?tokens|input (is )?too long"
    r"|exceeds? the (available )?context|request_too_large|maximum (allowed )?number of (input )?tokens",
    re.IGNORECASE,
)
_FILTERED: Final = re.compile(
    r"content[_ ](filter|policy)|content management policy|safety (system|policy)|invalid_prompt", re.IGNORECASE
)
_QUOTA: Final = re.compile(r"insufficient_quota|billing|credit balance", re.IGNORECASE)


def refusal(
    model: str, status: int, *, code: str = "", words: str = "", retry_after_seconds: float | None = None
) -> AgenticFlowError:
    """Return the error that a provider's refusal means. ``status`` is that of HTTP, ``code`` the provider's own, ``words`` its text."""
    said = redact_text(" ".join(words.split())[:MAX_WORDS])
    told = f"{code} {words}"
    at = f"{model!r} ({status}{f', {code}' if code else ''})"
    if status in (401, 402, 403):
        # not the provider's words: they quote the key
        return ModelAccessDenied(
            f"the provider of {at} denies access",
            hint="look at the key: whether it is the right one, may use this model, and has credit",
        )
    if status == 413 or (status in (400, 422) and _TOO_LONG.search(told)):
        return ContextTooLong(
            f"{at} does not read that much: {said}", hint="shorten the conversation, or take another model"
        )
    if status in (400, 422) and _FILTERED.search(told):
        return ContentRefused(f"the provider of {at} will not answer this: {said}", text=said)
    if status == 429:
        if _QUOTA.search(told):
            return ModelAccessDenied(f"the provider of {at} has no credit for this key", hint="pay, or use another key")
        return ModelRateLimited(
            f"{at} was asked too often: {said}",
            hint="ask again later, or less often",
            retry_after_seconds=retry_after_seconds,
        )
    if status in (408, 409) or status >= 500:
        return ModelUnavailable(
            f"{at} does not work now: {said}", hint="ask again later", retry_after_seconds=retry_after_seconds
        )
    return ModelRequestRefused(f"{at} does not take the request: {said}", hint="mend the request")


def retry_after(headers: Mapping[str, str], now_ns: int) -> float | None:
    """Return the seconds after which a provider wants to be asked again; ``None`` when it does not say, or says nonsense.

    Source: RFC 9110, section 10.2.3 (seconds or a date), and ``retry-after-ms``, which some send because it is finer. Names of headers
    are in lower case.
    """
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        written = headers.get(name)
        if written is None:
            continue
        try:
            seconds = float(written) * scale
        except ValueError:
            try:
                seconds = parsedate_to_datetime(written).timestamp() - now_ns / NANOSECONDS
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
