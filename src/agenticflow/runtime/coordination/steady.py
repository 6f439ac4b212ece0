"""Asking a store that is away: who works on an attempt waits for it, which delays the attempt and is no outcome of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from agenticflow.errors import AgenticFlowError, ConcurrencyConflict, OutcomeUnknown, StoreUnavailable
from agenticflow.runtime.host import Host

__all__ = ["asked_until_there"]

log = logging.getLogger("agenticflow.engine")

T = TypeVar("T")
RETRY_SECONDS: Final = 0.2


async def asked_until_there(
    ask: Callable[[], Awaitable[T]], host: Host, what: str, doubt: Callable[[AgenticFlowError], None] | None = None
) -> T:
    """Ask every 0.2 seconds while the store is away, and return the answer; ``doubt`` hears of each time that there was none.

    It has no limit of its own: that of the attempt ends it. ``ask`` may be asked twice. Raises what the store fails with when the engine
    stops, and at once whatever else ``ask`` does.
    """
    while True:
        try:
            return await ask()
        except (ConcurrencyConflict, OutcomeUnknown, StoreUnavailable) as error:
            if host.is_closing:
                raise
            if doubt is not None:
                doubt(error)
            log.warning("%s cannot be reached, trying again: %s", what, error)
        await asyncio.sleep(RETRY_SECONDS)
