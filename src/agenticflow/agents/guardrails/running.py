"""Guardrails at work: all checks of a value at once, each with its own time limit, and beside the work they guard."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any, Final, TypeVar

from agenticflow.agents.guardrails.guardrail import (
    MAX_MESSAGE_CHARS,
    Guardrail,
    GuardrailKind,
    GuardrailReport,
    GuardrailResult,
    verdict_in,
)
from agenticflow.core.plain import called, is_async
from agenticflow.errors import DefinitionError, InvalidInput

__all__ = ["Guardrails"]

T = TypeVar("T")
MAX_GUARDRAILS: Final = 100
MAX_REPORTED: Final = 1_000
STOP_SECONDS: Final = 10.0
"""How long work that was told to stop is waited for."""


class Guardrails:
    """The guardrails of an agent or a tool: ``await Guardrails([check]).check("output", ctx, answer)``.

    Functions are taken as input guardrails. ``report`` has what came of the last thousand checks.
    """

    def __init__(self, guardrails: Iterable[Guardrail | Callable[[Any, Any], Any]] = ()) -> None:
        """Raises ``DefinitionError`` for two with one name and one kind, or more than a hundred."""
        self.guardrails = tuple(one if isinstance(one, Guardrail) else Guardrail(one) for one in guardrails)
        if len(self.guardrails) > MAX_GUARDRAILS:
            raise DefinitionError(
                f"{len(self.guardrails)} guardrails are more than {MAX_GUARDRAILS}",
                hint="let one function check several things",
            )
        seen: set[tuple[str, GuardrailKind]] = set()
        for one in self.guardrails:
            for kind in sorted(one.kinds):
                if (one.name, kind) in seen:
                    raise DefinitionError(
                        f"two guardrails of the {kind.value.replace('_', ' ')} are named {one.name!r}",
                        hint='give one of them another name: Guardrail(f, name="…")',
                    )
                seen.add((one.name, kind))
        self._results: deque[GuardrailResult] = deque(maxlen=MAX_REPORTED)

    @property
    def report(self) -> GuardrailReport:
        """What came of the checks so far, the oldest first."""
        return GuardrailReport(tuple(self._results))

    async def examine(self, kind: GuardrailKind | str, ctx: Any, value: Any) -> GuardrailReport:
        """Run every guardrail of ``kind`` on ``value`` and return what they say, without raising. With the first no the others are
        stopped."""
        wanted = _kind(kind)
        return await self._examine([one for one in self.guardrails if wanted in one.kinds], wanted, ctx, value)

    async def check(self, kind: GuardrailKind | str, ctx: Any, value: Any) -> GuardrailReport:
        """As ``examine``; raises ``GuardrailTripwireTriggered`` with the first no."""
        report = await self.examine(kind, ctx, value)
        report.demand()
        return report

    async def around(self, ctx: Any, value: Any, work: Callable[[], Awaitable[T]]) -> T:
        """Check the input and do the work: blocking guardrails first, the others beside the work. Return what the work returned, when
        everything has passed.

        A no stops the work (it is cancelled, and waited for) and raises ``GuardrailTripwireTriggered``; nothing that the work has done
        until then is undone, so what must not begin needs ``is_blocking``. The output is not checked here: its checks need it whole.
        """
        kind = GuardrailKind.INPUT
        first = [one for one in self.guardrails if kind in one.kinds and one.is_blocking]
        beside = [one for one in self.guardrails if kind in one.kinds and not one.is_blocking]
        if first:
            (await self._examine(first, kind, ctx, value)).demand()
        if not beside:
            return await work()
        checking = asyncio.ensure_future(self._examine(beside, kind, ctx, value))
        working = asyncio.ensure_future(_awaited(work))
        try:
            await asyncio.wait({checking, working}, return_when=asyncio.FIRST_COMPLETED)
            # What the work raises is told only when the input was fine: otherwise the no is the reason.
            (await checking).demand()
            return await working
        finally:
            await _stop({checking, working})

    async def _examine(self, guardrails: list[Guardrail], kind: GuardrailKind, ctx: Any, value: Any) -> GuardrailReport:
        if not guardrails:
            return GuardrailReport()
        tasks = [asyncio.ensure_future(_result_of(one, kind, ctx, value)) for one in guardrails]
        waiting = set(tasks)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if any(not task.result().is_ok for task in done):
                    break
        finally:
            await _stop(waiting)
        results = tuple(task.result() for task in tasks if task.done() and not task.cancelled())
        self._results.extend(results)
        return GuardrailReport(results)


async def _result_of(guardrail: Guardrail, kind: GuardrailKind, ctx: Any, value: Any) -> GuardrailResult:
    """Return what one check says; whatever goes wrong in it is a no."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    is_ok, message, is_failure = False, "", False
    limit = asyncio.timeout(guardrail.timeout_seconds)
    try:
        async with limit:
            is_ok, message = verdict_in(await _answer(guardrail, ctx, value))
    except Exception as error:  # noqa: BLE001 a guardrail that fails must not let pass what it guards
        is_failure, message = True, f"{type(error).__name__}: {error}"[:MAX_MESSAGE_CHARS]
        if limit.expired():
            message = f"it took longer than {guardrail.timeout_seconds:g} s"
    return GuardrailResult(
        guardrail=guardrail.name,
        kind=kind.value,
        is_ok=is_ok,
        message=message,
        is_failure=is_failure,
        seconds=loop.time() - started,
    )


async def _answer(guardrail: Guardrail, ctx: Any, value: Any) -> object:
    check = guardrail.check
    if guardrail.is_quick or is_async(check):
        answer = check(ctx, value)
    else:
        answer = await asyncio.to_thread(called, check, ctx, value)
    return await answer if inspect.isawaitable(answer) else answer


async def _stop(tasks: Collection[asyncio.Future[Any]]) -> None:
    """Cancel what still runs and wait for it, as long as is decent."""
    running = {task for task in tasks if not task.done()}
    for task in running:
        task.cancel()
    if running:
        await asyncio.wait(running, timeout=STOP_SECONDS)
    for task in tasks:
        if task.done() and not task.cancelled():
            task.exception()  # seen, so that nobody is warned about it


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()


def _kind(kind: GuardrailKind | str) -> GuardrailKind:
    try:
        return GuardrailKind(kind)
    except ValueError:
        known = ", ".join(repr(one.value) for one in GuardrailKind)
        raise InvalidInput(f"{kind!r:.60} is no kind of guardrail", hint=f"choose from {known}") from None
