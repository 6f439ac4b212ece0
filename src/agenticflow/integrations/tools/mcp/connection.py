"""A connection to an MCP server, made when it is needed and made again when it was lost.

The library wants a connection to be left by the task that entered it, so each is held by a task of its own; calls come from anywhere.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, TypeVar

from agenticflow.errors import OutcomeUnknown, PermanentError, TemporaryError
from agenticflow.integrations.tools.mcp.library import (
    CONNECTION_CLOSED,
    REQUEST_TIMEOUT,
    Client,
    MCPError,
    anyio,
    httpx2,
)

__all__ = ["Connection", "Opens"]

log = logging.getLogger("agenticflow.tools")

T = TypeVar("T")
CONNECT_SECONDS: Final = 30.0
CLOSE_SECONDS: Final = 10.0
"""A process that serves is told to stop, and killed, within it."""
Opens = Callable[[], AbstractAsyncContextManager[Client]]
_GONE: Final = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, httpx2.TransportError, OSError)


class Connection:
    """At most one live connection to ``name``. ``opens`` makes one."""

    def __init__(self, name: str, opens: Opens) -> None:
        self.name = name
        self._opens = opens
        self._client: Client | None = None
        self._leaving: asyncio.Event | None = None
        self._holder: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self.is_closed = False
        self.opened = 0
        """How often it was made."""

    async def ask(self, ask: Callable[[Client], Awaitable[T]], *, may_repeat: bool) -> T:
        """Return what ``ask`` gets of the server.

        Raises ``TemporaryError`` when there is no connection, or it was lost and asking again changes nothing; ``OutcomeUnknown`` when
        it was lost and that is not so; ``PermanentError`` for what the server refuses.
        """
        client = await self._connected()
        try:
            return await ask(client)
        except MCPError as error:
            if error.code not in (CONNECTION_CLOSED, REQUEST_TIMEOUT):
                raise PermanentError(f"{self.name!r} refuses: {error.message}") from error
            self._let_go(client)
            raise self._lost(error, may_repeat) from error
        except _GONE as error:
            self._let_go(client)
            raise self._lost(error, may_repeat) from error

    def _lost(self, error: Exception, may_repeat: bool) -> TemporaryError | OutcomeUnknown:
        words = f"the connection to {self.name!r} was lost: {str(error) or type(error).__name__}"
        if may_repeat:
            return TemporaryError(words, hint="the next call makes another one")
        return OutcomeUnknown(words, hint="it may have done what was asked: find out before it is asked again")

    async def _connected(self) -> Client:
        async with self._opening:
            if self.is_closed:
                raise TemporaryError(f"the connection to {self.name!r} is closed", hint="open the server again")
            if self._client is None:
                await self._end()
                self._client = await self._open()
            return self._client

    async def _open(self) -> Client:
        ready: asyncio.Future[Client] = asyncio.get_running_loop().create_future()
        leaving = asyncio.Event()
        holder = asyncio.create_task(self._hold(ready, leaving))
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                client = await asyncio.shield(ready)
        except TimeoutError as error:
            await _ended(holder)
            raise TemporaryError(f"{self.name!r} did not answer within {CONNECT_SECONDS:g} s") from error
        except BaseException:
            await _ended(holder)
            raise
        self._holder, self._leaving = holder, leaving
        self.opened += 1
        return client

    async def _hold(self, ready: asyncio.Future[Client], leaving: asyncio.Event) -> None:
        """Keep the connection until it is let go of."""
        try:
            async with self._opens() as client:
                if not ready.done():
                    ready.set_result(client)
                await leaving.wait()
        except Exception as error:  # noqa: BLE001 - whatever the library and the server come up with
            why = _innermost(error)
            if ready.done():
                log.info("the connection to %r ended with %r", self.name, why)
                return
            failed = TemporaryError(f"no connection to {self.name!r}: {str(why) or type(why).__name__}")
            failed.__cause__ = why
            ready.set_exception(failed)

    def _let_go(self, client: Client) -> None:
        """Have the next call make another connection."""
        if self._client is client:
            self._client = None
            if self._leaving is not None:
                self._leaving.set()

    async def _end(self) -> None:
        holder, self._holder = self._holder, None
        if holder is None:
            return
        assert self._leaving is not None, "whoever holds a connection can be told to leave it"
        self._leaving.set()
        await asyncio.wait([holder], timeout=CLOSE_SECONDS)
        await _ended(holder)

    async def close(self) -> None:
        """Let go of the connection; calls after it fail."""
        self.is_closed = True
        async with self._opening:
            self._client = None
            await self._end()


async def _ended(holder: asyncio.Task[None]) -> None:
    """End a task that holds a connection, and wait until it has."""
    holder.cancel()
    await asyncio.wait([holder], timeout=CLOSE_SECONDS)


def _innermost(error: BaseException) -> BaseException:
    """Return what is in groups of one."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    return error
