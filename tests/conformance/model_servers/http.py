"""A provider on this machine: speaks HTTP/1.1 over a real socket, and answers what it was told to, also half of it, or nothing.

Written on the bare socket, so that connections end exactly where a test wants them to.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agenticflow.agents.model import Model, ModelResponse
from agenticflow.testing import allow_model_calls
from agenticflow.testing.model_kit import BreaksOff, Garbles, HoldsBack, ProviderAnswer, Refuses, Says, Seen
from tests.listening import listening


class WireServer(ABC):
    """Answers one request after the other; a subclass knows the wire format."""

    def __init__(self, answers: Sequence[ProviderAnswer]) -> None:
        self.answers = list(answers)
        self.seen: list[Seen] = []
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.port = 0
        self._came = asyncio.Event()
        self._held: set[asyncio.Task[None]] = set()

    # --- the wire format ------------------------------------------------------------------------------------------------

    @abstractmethod
    def pieces(self, response: ModelResponse) -> list[bytes]:
        """Return a streamed answer as server-sent events."""

    @abstractmethod
    def whole(self, response: ModelResponse) -> dict[str, Any]:
        """Return an answer in one piece."""

    @abstractmethod
    def garbled_piece(self, data: bytes) -> bytes:
        """Return an event with ``data`` where a piece of an answer should be."""

    @abstractmethod
    def refusal(self, refusal: Refuses) -> dict[str, Any]:
        """Return the body of an error."""

    @abstractmethod
    def read(self, body: dict[str, Any]) -> Seen:
        """Return the request in ``body``, as this format means it."""

    def answer_to(self, seen: Seen) -> ProviderAnswer:
        """Return what is answered: one after the other, and the last one again and again."""
        return self.answers[min(len(self.seen), len(self.answers) - 1)]

    # --- the server -----------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with listening(self._talk) as self.port:
            with allow_model_calls(self.url):
                yield

    async def asked(self) -> None:
        await self._came.wait()

    async def let_go(self) -> None:
        if self._held:
            await asyncio.wait(self._held)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await self._serve(reader, writer):
            continue

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection goes on."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:]) if name}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        seen = self.read(body)
        answer = self.answer_to(seen)
        self.headers.append(headers)
        self.bodies.append(body)
        self.seen.append(seen)
        self._came.set()
        if isinstance(answer, Refuses):
            more = f"retry-after: {answer.retry_after}\r\n" if answer.retry_after else ""
            await self._send_whole(writer, answer.status, json.dumps(self.refusal(answer)).encode(), more)
            return True
        if body.get("stream"):
            return await self._stream(answer, reader, writer)
        return await self._answer_whole(answer, reader, writer)

    async def _answer_whole(
        self, answer: ProviderAnswer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        match answer:
            case Says(response):
                await self._send_whole(writer, 200, json.dumps(self.whole(response)).encode())
                return True
            case Garbles(data):
                await self._send_whole(writer, 200, data)
                return True
            case BreaksOff(response, after):
                data = json.dumps(self.whole(response)).encode()
                writer.write(
                    f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n\r\n".encode()
                )
                writer.write(data[: after * len(data) // 10])
                await writer.drain()
                return False
            case _:
                await self._hold(reader)
                return False

    async def _send_whole(self, writer: asyncio.StreamWriter, status: int, data: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {len(data)}\r\n\r\n"
        writer.write(head.encode() + data)
        await writer.drain()

    async def _stream(self, answer: ProviderAnswer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        match answer:
            case Refuses():
                raise AssertionError("a refusal is no stream")
            case Says(response):
                await self._send(writer, self.pieces(response))
            case Garbles(data):
                await self._send(writer, [self.garbled_piece(data)])
            case BreaksOff(response, after, is_polite):
                await self._send(writer, self.pieces(response)[:after])
                if not is_polite:
                    return False
            case HoldsBack(response, after):
                await self._send(writer, self.pieces(response)[:after])
                await self._hold(reader)
                return False
        writer.write(b"0\r\n\r\n")
        await writer.drain()
        return True

    async def _send(self, writer: asyncio.StreamWriter, pieces: Sequence[bytes]) -> None:
        for piece in pieces:
            writer.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
            await writer.drain()

    async def _hold(self, reader: asyncio.StreamReader) -> None:
        """Say nothing more until the other side goes away."""
        gone = asyncio.ensure_future(self._until_gone(reader))
        self._held.add(gone)
        await gone

    async def _until_gone(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1_000):
                continue


class ServedModel:
    """A running server with a model that asks it."""

    def __init__(self, server: WireServer, model: Model) -> None:
        self.server = server
        self.model = model

    @property
    def seen(self) -> Sequence[Seen]:
        return self.server.seen

    async def asked(self) -> None:
        await self.server.asked()

    async def let_go(self) -> None:
        await self.server.let_go()


def pieces_of(text: str, chars: int = 4) -> list[str]:
    """Cut ``text`` as providers do: a few characters at a time."""
    return [text[start : start + chars] for start in range(0, len(text), chars)]


def sse(data: object, event: str = "") -> bytes:
    """Return one server-sent event."""
    written = data if isinstance(data, bytes) else json.dumps(data).encode()
    return (f"event: {event}\n".encode() if event else b"") + b"data: " + written + b"\n\n"
