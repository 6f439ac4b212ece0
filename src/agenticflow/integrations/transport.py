"""What adapters that speak HTTP share: a bound on what a server may send, and the certificates of the machine, read once.

The official clients read a body, or a line of a stream, for as long as it lasts. The bound is put on by hooks of theirs, so that proxies
and connections stay as they know them. Compressed answers are not asked for: it counts what comes over the wire.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import cache
from typing import Any, Final, cast

import httpx2

from agenticflow.errors import BoundExceeded

__all__ = ["bound_in", "bounding_hooks", "certificates"]

MAX_BODY_BYTES: Final = 128 * 1024 * 1024
MAX_CAUSES: Final = 10


def bounding_hooks(max_body_bytes: int = MAX_BODY_BYTES) -> dict[str, list[Callable[[Any], Awaitable[None]]]]:
    """Return ``event_hooks`` for a client of ``httpx2``: an answer of more than ``max_body_bytes`` ends with ``BoundExceeded``."""

    async def ask_plainly(request: httpx2.Request) -> None:
        request.headers["accept-encoding"] = "identity"

    async def bound(response: httpx2.Response) -> None:
        body = cast("httpx2.AsyncByteStream", response.stream)
        response.stream = _BoundedBody(body, response.request.url.host, max_body_bytes)

    return {"request": [ask_plainly], "response": [bound]}


@cache
def certificates() -> ssl.SSLContext:
    """Return whom clients trust: what ``httpx2`` would make for each of them, which takes a tenth of a second."""
    return httpx2.create_ssl_context()


class _BoundedBody(httpx2.AsyncByteStream):
    def __init__(self, body: httpx2.AsyncByteStream, host: str, max_bytes: int) -> None:
        self._body = body
        self._host = host
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = self._max_bytes
        async for piece in self._body:
            left -= len(piece)
            if left < 0:
                raise BoundExceeded(
                    f"an answer of {self._host!r} has more than {self._max_bytes:,} bytes", hint="ask for less at once"
                )
            yield piece

    async def aclose(self) -> None:
        await self._body.aclose()


def bound_in(error: BaseException) -> BoundExceeded | None:
    """Return the bound that was passed when that is why ``error`` was raised: clients wrap what comes from below."""
    cause: BaseException | None = error
    for _ in range(MAX_CAUSES):
        if cause is None or isinstance(cause, BoundExceeded):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None
