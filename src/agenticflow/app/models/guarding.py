"""A model that is asked again when that helps, within time limits, behind the breaker and the rate of its provider.

The rules are those of ``resilience``; the figures are shared by everybody in the process who asks the same provider. An answer that breaks
off is asked for again from its beginning, and a ``ResponseRestarted`` tells whoever has read half of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec

from agenticflow.agents.model.deltas import (
    MAX_RESPONSE_CHARS,
    Delta,
    ResponseBegan,
    ResponseFold,
    ResponseRestarted,
    UsageTold,
)
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ModelRequest
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.results import describe_error
from agenticflow.errors import DefinitionError, ModelRateLimited, ModelTimeout, ModelUnavailable
from agenticflow.resilience.breaker import BreakerPolicy
from agenticflow.resilience.limiter import Rate
from agenticflow.resilience.retry import RetryPolicy
from agenticflow.runtime.clock import new_seed
from agenticflow.runtime.resources import CircuitBreaker, RateLimiter

__all__ = ["GuardedModel", "ModelGuards"]

log = logging.getLogger("agenticflow.models")


class ModelGuards(msgspec.Struct, frozen=True, kw_only=True):
    """What stands between a program and a model."""

    retry: RetryPolicy = RetryPolicy(max_attempts=4, initial_delay_seconds=1.0, max_delay_seconds=30.0)
    max_retry_after_seconds: float = 60.0
    """A provider that wants to be left alone for longer is not waited for: its error is raised at once, with the time in it."""
    first_token_seconds: float = 120.0
    """From asking to the first word, reasoning or tool call."""
    total_seconds: float = 600.0
    """From the call to the end of the answer, with all attempts and all waiting."""
    max_response_chars: int = MAX_RESPONSE_CHARS
    rate: Rate | None = None
    """Of this provider, for the whole process."""
    breaker: BreakerPolicy = BreakerPolicy(ignored_errors=("ModelRateLimited",))
    """Of this provider, for the whole process. One that is asked too often works."""

    def __post_init__(self) -> None:
        for name in ("max_retry_after_seconds", "first_token_seconds", "total_seconds"):
            seconds = getattr(self, name)
            if not 0 < seconds <= 86_400:
                raise DefinitionError(f"{name} of a model is {seconds!r}", hint="give seconds above 0, at most a day")
        if not 1 <= self.max_response_chars <= MAX_RESPONSE_CHARS:
            raise DefinitionError(
                f"max_response_chars of a model is {self.max_response_chars!r}",
                hint=f"give a number from 1 to {MAX_RESPONSE_CHARS:,}",
            )


USUAL_GUARDS: Final = ModelGuards()
NANOSECONDS: Final = 1_000_000_000
MAX_LEFT_ALONE_SECONDS: Final = 3_600.0
"""A provider that says next year is asked after an hour all the same: a wrong header must not end its use for good."""
_LEFT_ALONE: Final[dict[str, int]] = {}
"""By place: until when its provider wants to be left alone. As many as there are breakers, whose number is bounded."""


class GuardedModel(Model):
    """``model`` behind ``guards``. ``place`` names what breaker and rate are shared by; that is the provider unless told otherwise.

    ``clock`` is for tests, and that of the first to name the place.
    """

    def __init__(
        self, model: Model, guards: ModelGuards = USUAL_GUARDS, *, place: str = "", clock: Clock | None = None
    ) -> None:
        self.model = model
        self.guards = guards
        self.provider = model.provider
        self.name = model.name
        self.abilities = model.abilities
        shared = self._place = f"model {place or model.provider}"
        self._clock = clock
        policy = guards.breaker
        self.breaker = CircuitBreaker(
            shared,
            policy.failure_threshold,
            policy.recovery_seconds,
            window_seconds=policy.window_seconds,
            max_probes=policy.max_probes,
            counted_errors=policy.counted_errors,
            ignored_errors=policy.ignored_errors,
            clock=clock,
        )
        rate = guards.rate
        self.limiter = None if rate is None else RateLimiter(shared, rate.rate, rate.per_seconds, clock=clock)

    async def stream(self, request: ModelRequest) -> AsyncGenerator[Delta, None]:
        """Ask as ``Model.stream`` says. Raises ``CircuitOpen`` and ``ResourceExhausted`` too; nothing was asked then."""
        request.check(self.abilities)
        deadline = asyncio.get_running_loop().time() + self.guards.total_seconds
        seed = new_seed()
        attempt = 1
        while True:
            try:
                async with aclosing(self._attempt(request, deadline)) as deltas:
                    async for delta in deltas:
                        yield delta
                return
            except ModelUnavailable as error:
                self._note_wish(error)
                delay = self._delay(attempt, error, seed, deadline)
                if delay is None:
                    raise
                log.info("%s failed at attempt %d, again in %.3g s: %s", self.identity, attempt, delay, error)
                reason = error.code
            yield ResponseRestarted(reason)
            await asyncio.sleep(delay)
            attempt += 1

    def _delay(self, attempt: int, error: ModelUnavailable, seed: str, deadline: float) -> float | None:
        """Return how long to wait before the next attempt, ``None`` when there is none: never sooner than the provider said."""
        guards = self.guards
        delay = guards.retry.delay_after(attempt, describe_error(error), seed=seed, task_key=self.identity)
        if delay is None:
            return None
        wished = error.retry_after_seconds or 0.0
        if wished > guards.max_retry_after_seconds:
            return None
        delay = max(delay, wished)
        return delay if asyncio.get_running_loop().time() + delay < deadline else None

    def _note_wish(self, error: ModelUnavailable) -> None:
        """Remember for all who ask this provider when it wants to be asked again."""
        if isinstance(error, ModelRateLimited) and error.retry_after_seconds:
            seconds = min(error.retry_after_seconds, MAX_LEFT_ALONE_SECONDS)
            until = self._now() + int(seconds * NANOSECONDS)
            _LEFT_ALONE[self._place] = max(until, _LEFT_ALONE.get(self._place, 0))

    async def _leave_alone(self, deadline: float) -> None:
        """Wait until the provider wants to be asked again. Raises ``ModelRateLimited`` when that is too long; nothing was asked."""
        seconds = (_LEFT_ALONE.get(self._place, 0) - self._now()) / NANOSECONDS
        if seconds <= 0:
            return
        is_long = seconds > self.guards.max_retry_after_seconds
        if is_long or asyncio.get_running_loop().time() + seconds >= deadline:
            shown = f"{seconds:.3g}" if seconds < 100 else f"{seconds:,.0f}"
            raise ModelRateLimited(
                f"the provider of {self.identity!r} wants to be left alone for {shown} s more; it was not asked",
                hint="ask again then, or ask less often with ModelGuards(rate=…)",
                retry_after_seconds=seconds,
            )
        await asyncio.sleep(seconds)

    def _now(self) -> int:
        return (self._clock or ambient.clock).now_ns()

    async def _attempt(self, request: ModelRequest, deadline: float) -> AsyncGenerator[Delta, None]:
        loop = asyncio.get_running_loop()
        await self._leave_alone(deadline)
        if self.limiter is not None:
            await self.limiter.acquire(deadline - loop.time())
        ticket = self.breaker.enter()
        ended: BaseException | None = None
        try:
            async with aclosing(self.model.stream(request)) as deltas:
                async for delta in self._in_time(deltas, deadline):
                    yield delta
        except BaseException as error:
            ended = error
            raise
        finally:
            self.breaker.leave(ticket, ended)

    async def _in_time(self, deltas: AsyncGenerator[Delta, None], deadline: float) -> AsyncGenerator[Delta, None]:
        """Yield what comes before its time is over, and see to it that it makes a whole answer."""
        folded = ResponseFold(max_chars=self.guards.max_response_chars)
        first_limit = asyncio.get_running_loop().time() + self.guards.first_token_seconds
        has_spoken = False
        while True:
            limit = deadline if has_spoken else min(deadline, first_limit)
            try:
                async with asyncio.timeout_at(limit):
                    delta = await anext(deltas, None)
            except TimeoutError as error:
                raise self._too_late(has_spoken=has_spoken, is_over=limit >= deadline) from error
            if delta is None:
                folded.response()
                return
            folded.add(delta)
            has_spoken = has_spoken or not isinstance(delta, ResponseBegan | UsageTold)
            yield delta

    def _too_late(self, *, has_spoken: bool, is_over: bool) -> ModelTimeout:
        if is_over:
            words = "did not end its answer" if has_spoken else "said nothing"
            return ModelTimeout(
                f"{self.identity!r} {words} within {self.guards.total_seconds:g} s, all attempts together",
                hint="ask for less, or raise total_seconds",
            )
        return ModelTimeout(
            f"{self.identity!r} said nothing within {self.guards.first_token_seconds:g} s",
            hint="ask again later, or raise first_token_seconds",
        )

    async def close(self) -> None:
        await self.model.close()
