"""The retry policy: whether a failed attempt is tried again, and when. Pure: its jitter comes from the run's recorded seed.

Source of the delay: "Exponential Backoff and Jitter" (Brooker, AWS architecture blog, 2015), variant *full jitter*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from agenticflow.core.results import ErrorInfo
from agenticflow.errors import DefinitionError

__all__ = ["RetryPolicy"]

MAX_DELAY_SECONDS: Final = 1e9
_FIELDS: Final = (
    "max_attempts",
    "initial_delay_seconds",
    "multiplier",
    "max_delay_seconds",
    "jitter",
    "retryable_errors",
    "permanent_errors",
)


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """At most ``max_attempts`` attempts; before attempt *n* + 1 a delay of at most
    ``initial_delay_seconds * multiplier ** (n - 1)``, never above ``max_delay_seconds``.

    With ``jitter`` the delay is drawn evenly between zero and that; without, it is exactly that. ``retryable_errors`` names
    exception classes (or their bases) worth another try, empty means all; ``permanent_errors`` are never tried again.
    """

    max_attempts: int = 3
    initial_delay_seconds: float = 0.5
    multiplier: float = 2.0
    max_delay_seconds: float = 60.0
    jitter: bool = True
    retryable_errors: tuple[str, ...] = ()
    permanent_errors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("retryable_errors", "permanent_errors"):
            given = getattr(self, name)
            if isinstance(given, (str, type)):
                given = (given,)
            if not isinstance(given, Iterable):
                raise DefinitionError(f"{name} of a retry policy are exception classes or their names, not {given!r}")
            names = tuple(item.__name__ if isinstance(item, type) else item for item in given)
            if not all(isinstance(item, str) and item for item in names):
                raise DefinitionError(f"{name} of a retry policy are exception classes or their names, not {given!r}")
            msgspec.structs.force_setattr(self, name, names)
        if (
            isinstance(self.max_attempts, bool)
            or not isinstance(self.max_attempts, int)
            or not 1 <= self.max_attempts <= 1_000
        ):
            raise DefinitionError(f"max_attempts is {self.max_attempts!r}", hint="give a whole number from 1 to 1,000")
        for name in ("initial_delay_seconds", "max_delay_seconds"):
            delay = getattr(self, name)
            if not _is_number(delay) or not 0 <= delay < MAX_DELAY_SECONDS:
                raise DefinitionError(f"{name} of a retry policy is {delay!r}", hint="give seconds, 0 or more")
        if not _is_number(self.multiplier) or not 1 <= self.multiplier < math.inf:
            raise DefinitionError(
                f"multiplier is {self.multiplier!r}", hint="give 1 for a constant delay, 2 to double it"
            )

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> RetryPolicy:
        """Return the policy written in ``data`` with the names of the fields. Raises ``DefinitionError``."""
        if not isinstance(data, Mapping):
            raise DefinitionError(f"a retry policy is a mapping, not a {type(data).__name__}")
        unknown = sorted(map(str, set(data) - set(_FIELDS)))
        if unknown:
            raise DefinitionError(
                f"a retry policy has no {', '.join(map(repr, unknown))}", hint=f"it has {', '.join(_FIELDS)}"
            )
        try:
            return msgspec.convert(dict(data), cls)
        except msgspec.ValidationError as error:
            raise DefinitionError(f"a retry policy is wrong: {error}") from error

    @property
    def contradiction(self) -> str:
        """What makes no sense in it, in words; empty when all does. New work is refused with it, recorded policies go on as they are."""
        first, longest = self.initial_delay_seconds, self.max_delay_seconds
        if first <= longest:
            return ""
        return (
            f"initial_delay_seconds {first:g} is above max_delay_seconds {longest:g}, so no delay would be longer than that; "
            f"give max_delay_seconds too, {first:g} or more"
        )

    def delay_after(self, attempt: int, error: ErrorInfo, *, seed: str, task_key: str) -> float | None:
        """Return the seconds to wait after ``attempt`` (from 1) failed with ``error``; ``None`` means give up."""
        if attempt >= self.max_attempts or error.is_permanent:
            return None
        kinds = error.kinds or (error.type,)
        if any(kind in self.permanent_errors for kind in kinds):
            return None
        if self.retryable_errors and not any(kind in self.retryable_errors for kind in kinds):
            return None
        try:
            ceiling = min(self.max_delay_seconds, self.initial_delay_seconds * self.multiplier ** (attempt - 1))
        except OverflowError:
            ceiling = self.max_delay_seconds
        return ceiling * _uniform(seed, task_key, attempt) if self.jitter else ceiling


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _uniform(seed: str, task_key: str, attempt: int) -> float:
    """Return a number in [0, 1) that depends on nothing but the arguments."""
    digest = blake2b(f"{seed}\0{task_key}\0{attempt}".encode(), digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) / 2**53
