"""A TCP server on this machine for tests, that leaves no connection behind when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from asyncio import StreamReader, StreamReaderProtocol, StreamWriter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def listening(
    talk: Callable[[StreamReader, StreamWriter], Awaitable[None]], context: ssl.SSLContext | None = None
) -> AsyncIterator[int]:
    """Let ``talk`` speak to whoever comes to the port that is yielded; leaving the block breaks off what still goes on.

    asyncio's own server drops those who come while it closes, and the collector finds their sockets in the middle of another test.
    """
    loop = asyncio.get_running_loop()
    talks: dict[asyncio.Task[None], socket.socket] = {}
    failures: list[Exception] = []

    async def one(connection: socket.socket) -> None:
        reader = StreamReader()
        protocol = StreamReaderProtocol(reader)
        transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        writer = StreamWriter(transport, protocol, reader, loop)
        try:
            await talk(reader, writer)
        except BaseException:
            transport.abort()
            raise
        finally:
            writer.close()
            await writer.wait_closed()

    def accept() -> None:
        with contextlib.suppress(BlockingIOError):
            connection, _ = door.accept()
            connection.setblocking(False)
            task = asyncio.ensure_future(one(connection))
            talks[task] = connection
            task.add_done_callback(leave)

    def leave(task: asyncio.Task[None]) -> None:
        talks.pop(task).close()
        problem = None if task.cancelled() else task.exception()
        if isinstance(problem, Exception) and not isinstance(problem, OSError | EOFError):  # the other side may go away
            failures.append(problem)

    with socket.create_server(("127.0.0.1", 0)) as door:
        door.setblocking(False)
        loop.add_reader(door, accept)
        try:
            yield door.getsockname()[1]
        finally:
            loop.remove_reader(door)
            left = list(talks)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
            if failures:
                raise ExceptionGroup("what was said to the server went wrong", failures)
