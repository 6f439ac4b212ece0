"""A circuit breaker as state: whether a call may go through, and what its end means for the calls after it. Pure: moments come in.

Closed, it lets everything through and counts failures in a sliding window; so many within it open the breaker. Open, it lets nothing
through until the recovery time has passed; then it is half open, and a bounded number of probes decide: all of them well close it, one
failure opens it again. Whoever is let through holds a ticket, and only tickets of the present stretch count: a call that began before the
breaker opened says nothing about the service of now.

Which errors count: those that waiting may mend. What the caller did wrong and what is permanent counts neither way, as for
``RetryPolicy``; neither does a cancelled call.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Collection, Iterable
from typing import Final

import msgspec

from agenticflow.errors import CircuitOpen, DefinitionError, PermanentError, UsageError

__all__ = ["Breaker", "BreakerPolicy", "BreakerState", "BreakerStatus"]

NANOSECONDS: Final = 1_000_000_000
MAX_SECONDS: Final = 86_400.0
MAX_FAILURES: Final = 10_000
"""Failures that a breaker may be told to wait for; so many moments it remembers."""
MAX_PROBES: Final = 1_000


class BreakerState(enum.StrEnum):
    """Whether calls go through."""

    CLOSED = "CLOSED"
    """All of them."""
    OPEN = "OPEN"
    """None."""
    HALF_OPEN = "HALF_OPEN"
    """A few, to see whether it works again."""


class BreakerPolicy(msgspec.Struct, frozen=True, omit_defaults=True):
    """Opens at ``failure_threshold`` failures within ``window_seconds``; ``recovery_seconds`` later up to ``max_probes`` calls at once are
    let through, and when so many of them were well in a row it closes.

    ``counted_errors`` names exception classes (or their bases) that count as failures, empty means all that are not permanent;
    ``ignored_errors`` never count.
    """

    failure_threshold: int = 5
    window_seconds: float = 30.0
    recovery_seconds: float = 30.0
    max_probes: int = 1
    counted_errors: tuple[str, ...] = ()
    ignored_errors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, most in (("failure_threshold", MAX_FAILURES), ("max_probes", MAX_PROBES)):
            number = getattr(self, name)
            if isinstance(number, bool) or not isinstance(number, int) or not 1 <= number <= most:
                raise DefinitionError(
                    f"{name} of a circuit breaker is {number!r}", hint=f"give a whole number from 1 to {most:,}"
                )
        for name in ("window_seconds", "recovery_seconds"):
            seconds = getattr(self, name)
            if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_SECONDS:
                raise DefinitionError(
                    f"{name} of a circuit breaker is {seconds!r}",
                    hint=f"give seconds above 0, at most {MAX_SECONDS:,.0f}",
                )
        for name in ("counted_errors", "ignored_errors"):
            msgspec.structs.force_setattr(self, name, _names(name, getattr(self, name)))

    def counts(self, error: BaseException) -> bool:
        """Whether ``error`` says that what stands behind the breaker does not work."""
        if not isinstance(error, Exception) or isinstance(error, CircuitOpen):
            return False  # the caller went away, or nothing was asked
        is_permanent = isinstance(error, (UsageError, PermanentError))
        if not self.ignored_errors and not self.counted_errors:
            return not is_permanent
        return self.counts_kinds({kind.__name__ for kind in type(error).__mro__}, is_permanent=is_permanent)

    def counts_kinds(self, kinds: Collection[str], *, is_permanent: bool) -> bool:
        """The same of an error that is data: ``kinds`` are the names of its class and its bases."""
        if CircuitOpen.__name__ in kinds or any(name in kinds for name in self.ignored_errors):
            return False
        if self.counted_errors:
            return any(name in kinds for name in self.counted_errors)
        return not is_permanent


def _names(field: str, given: object) -> tuple[str, ...]:
    if isinstance(given, (str, type)):
        given = (given,)
    names: list[str] = []
    for item in given if isinstance(given, Iterable) else (given,):
        name = item.__name__ if isinstance(item, type) else item
        if not isinstance(name, str) or not name:
            raise DefinitionError(f"{field} of a circuit breaker are exception classes or their names, not {given!r}")
        names.append(name)
    return tuple(names)


class BreakerStatus(msgspec.Struct, frozen=True):
    """How a breaker stands, as data."""

    name: str
    state: BreakerState
    since: int
    """When it came into this state, in nanoseconds since the epoch; 0 when it never left the first."""
    is_held: bool
    """Whether a person opened it: then only a person closes it."""
    recent_failures: int
    """That count towards opening it."""
    probes: int
    """Calls that are being tried out now."""
    succeeded: int
    failed: int
    ignored: int
    """Calls whose end counted neither way."""
    refused: int
    """Calls that were not let through."""
    opened: int
    """How often it opened."""
    resets: int
    """How often somebody let it count from nothing."""
    last_error: str
    last_failed_at: int | None


class Breaker:
    """The breaker ``name`` under ``policy``. Mutable and private to whoever holds it."""

    __slots__ = (
        "_failures",
        "_passed",
        "_probes",
        "_tickets",
        "failed_calls",
        "free_ticket",
        "ignored_calls",
        "is_held",
        "last_error",
        "last_failed_at",
        "name",
        "opened",
        "policy",
        "refused_calls",
        "resets",
        "since",
        "state",
        "succeeded_calls",
    )

    def __init__(self, name: str, policy: BreakerPolicy) -> None:
        self.name = name
        self.policy = policy
        self.state = BreakerState.CLOSED
        self.since = 0
        self.is_held = False
        self._failures: deque[int] = deque(maxlen=policy.failure_threshold)
        self._probes: dict[int, int] = {}
        """Of each call that is tried out: its ticket, and when it began."""
        self._passed = 0
        """Probes that were well since it is half open."""
        self.free_ticket: int | None = 0
        """While it is closed: of every call, to be had without asking. Never that of a call that is tried out."""
        self._tickets = 0
        self.resets = 0
        self._start_counting()

    def _start_counting(self) -> None:
        self.succeeded_calls = self.failed_calls = self.ignored_calls = self.refused_calls = self.opened = 0
        self.last_error = ""
        self.last_failed_at: int | None = None

    # --- calls ------------------------------------------------------------------------------------------------------

    def admit(self, now: int) -> int | None:
        """Return a ticket for a call that begins now, ``None`` when it may not. The ticket goes to one of the three below."""
        if self.free_ticket is not None:
            return self.free_ticket
        if self.wait_seconds(now) != 0:
            self.refused_calls += 1
            return None
        if self.state is BreakerState.OPEN:
            self._enter(BreakerState.HALF_OPEN, now)
        self._forget_lost_probes(now)
        self._tickets += 1
        self._probes[self._tickets] = now
        return self._tickets

    def succeeded(self, ticket: int, now: int) -> None:
        """The call was well."""
        self.succeeded_calls += 1
        if self._probes and self._probes.pop(ticket, None) is not None:
            self._passed += 1
            if self._passed >= self.policy.max_probes:
                self._enter(BreakerState.CLOSED, now)

    def failed(self, ticket: int, now: int, words: str = "") -> None:
        """The call failed with an error that ``policy.counts``."""
        self.failed_calls += 1
        self.last_error, self.last_failed_at = words, now
        if ticket in self._probes:
            self._enter(BreakerState.OPEN, now)
        elif ticket == self.free_ticket:
            failures = self._failures
            failures.append(now)
            if len(failures) == self.policy.failure_threshold and now - failures[0] <= self._window:
                self._enter(BreakerState.OPEN, now)

    def released(self, ticket: int) -> None:
        """The call ended in a way that says nothing: cancelled, or refused for what the caller did."""
        self.ignored_calls += 1
        self._probes.pop(ticket, None)

    def wait_seconds(self, now: int) -> float | None:
        """Return how long a call has to wait at least before it may go through; ``None``: until a person lets it."""
        if self.state is BreakerState.CLOSED:
            return 0.0
        if self.is_held:
            return None
        if self.state is BreakerState.OPEN:
            free_at = self.since + self._recovery
        elif len(self._probes) < self.policy.max_probes:
            return 0.0
        else:
            free_at = next(iter(self._probes.values())) + self._recovery
        return max(0.0, (free_at - now) / NANOSECONDS)

    # --- people -----------------------------------------------------------------------------------------------------

    def open(self, now: int) -> None:
        """Let nothing through until ``close`` or ``reset``."""
        self._enter(BreakerState.OPEN, now)
        self.is_held = True

    def close(self, now: int) -> None:
        """Let everything through again; earlier failures are forgotten."""
        self._enter(BreakerState.CLOSED, now)

    def reset(self, now: int) -> None:
        """Close it, and count from nothing."""
        self._enter(BreakerState.CLOSED, now)
        self.resets += 1
        self._start_counting()

    def status(self, now: int) -> BreakerStatus:
        """Return how it stands."""
        return BreakerStatus(
            name=self.name,
            state=self.state,
            since=self.since,
            is_held=self.is_held,
            recent_failures=sum(now - at <= self._window for at in self._failures),
            probes=len(self._probes),
            succeeded=self.succeeded_calls,
            failed=self.failed_calls,
            ignored=self.ignored_calls,
            refused=self.refused_calls,
            opened=self.opened,
            resets=self.resets,
            last_error=self.last_error,
            last_failed_at=self.last_failed_at,
        )

    # --- inside -----------------------------------------------------------------------------------------------------

    @property
    def _window(self) -> int:
        return int(self.policy.window_seconds * NANOSECONDS)

    @property
    def _recovery(self) -> int:
        return int(self.policy.recovery_seconds * NANOSECONDS)

    def _enter(self, state: BreakerState, now: int) -> None:
        self.state, self.since, self.is_held = state, now, False
        self._failures.clear()
        self._probes.clear()
        self._passed = 0
        self._tickets += 1
        self.free_ticket = self._tickets if state is BreakerState.CLOSED else None
        if state is BreakerState.OPEN:
            self.opened += 1

    def _forget_lost_probes(self, now: int) -> None:
        """A probe that has not come back within the recovery time must not keep the breaker half open for ever."""
        lost = [ticket for ticket, began in self._probes.items() if began + self._recovery <= now]
        for ticket in lost:
            del self._probes[ticket]
