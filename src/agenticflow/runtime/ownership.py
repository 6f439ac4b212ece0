"""Who owns a store file, and how other processes reach the owner.

The owner holds an exclusive ``flock`` on ``<file>.lock``; the kernel releases it when the process ends, however it ends, so a lock cannot
be stale. Who it is stands in the lock file as JSON, for messages only. Commands from other processes come in on a Unix socket with mode
0600, as length-prefixed msgpack frames; every frame, wait and number of connections is bounded.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import socket
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self

import msgspec

from agenticflow import errors
from agenticflow.core import codec
from agenticflow.errors import (
    AgenticFlowError,
    ConfigurationError,
    InvalidInput,
    PermanentError,
    StoreOwned,
    StoreUnavailable,
)

__all__ = ["CommandHandler", "CommandServer", "Ownership", "owner_of", "send_command"]

log = logging.getLogger("agenticflow.engine")

CommandHandler = Callable[[str, dict[str, object]], Awaitable[object]]
MAX_FRAME_BYTES: Final = 1024 * 1024
MAX_CONNECTIONS: Final = 32
IO_SECONDS: Final = 10.0
MAX_SOCKET_PATH: Final = 100
"""The kernel takes 107 bytes."""
_LENGTH: Final = struct.Struct(">I")


class _Request(msgspec.Struct):
    op: str
    arguments: dict[str, object]


class _Reply(msgspec.Struct):
    is_ok: bool
    value: object = None
    code: str = ""
    message: str = ""
    hint: str = ""


class Ownership:
    """The lock on one store file, held until ``release`` or the end of the process."""

    def __init__(self, file: Path, descriptor: int) -> None:
        self.file = file
        self._descriptor: int | None = descriptor

    @classmethod
    def take(cls, file: Path) -> Self:
        """Take the lock of ``file``. Raises ``StoreOwned`` when a living process has it, ``ConfigurationError`` when there can be none."""
        path = _lock_path(file)
        try:
            # Opened close-on-exec, as Python does: a spawned child must not keep the lock when its parent is gone.
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigurationError(
                f"the lock {str(path)!r} cannot be made: {error}", hint="check the folder's rights"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise ConfigurationError(
                    f"{str(path)!r} cannot be locked: {error}", hint="use a local file system"
                ) from error
            pid = owner_of(file)
            raise StoreOwned(
                f"the store {str(file)!r} is owned by another process" + (f" (pid {pid})" if pid else ""),
                hint="stop it, or use `agenticflow runs …`, which talks to it",
                owner_pid=pid,
            ) from error
        ownership = cls(file, descriptor)
        ownership._describe({"pid": os.getpid(), "socket": str(_socket_path(file))})
        return ownership

    @property
    def socket_path(self) -> Path:
        """Where the owner's socket is."""
        return _socket_path(self.file)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        if self._descriptor is not None:
            self._describe({})
            os.close(self._descriptor)
            self._descriptor = None

    def _describe(self, content: dict[str, object]) -> None:
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(content).encode(), 0)


def owner_of(file: Path) -> int | None:
    """Return the pid that the lock file names, ``None`` when it names none. Only for messages: the lock itself is the truth."""
    try:
        content = json.loads(_lock_path(file).read_text("utf-8") or "{}")
    except (OSError, ValueError):
        return None
    pid = content.get("pid") if isinstance(content, dict) else None
    return pid if isinstance(pid, int) else None


def _lock_path(file: Path) -> Path:
    return file.with_name(file.name + ".lock")


def _socket_path(file: Path) -> Path:
    beside = file.absolute().with_name(file.name + ".sock")
    if len(os.fsencode(beside)) <= MAX_SOCKET_PATH:
        return beside
    name = hashlib.blake2b(os.fsencode(file.absolute()), digest_size=12).hexdigest()
    return Path(tempfile.gettempdir()) / f"agenticflow-{os.getuid()}" / f"{name}.sock"


class CommandServer:
    """Answers commands of other processes of the same user. Only the holder of the lock may start one."""

    def __init__(self, ownership: Ownership, handler: CommandHandler) -> None:
        self._path = ownership.socket_path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen. Raises ``ConfigurationError`` when the socket cannot be made."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.parent.stat().st_uid != os.getuid():
                raise ConfigurationError(f"{str(self._path.parent)!r} belongs to another user")
            self._path.unlink(missing_ok=True)  # left behind by a killed owner: we hold the lock, so it is nobody's
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            before = os.umask(0o177)
            try:
                listening.bind(os.fspath(self._path))
            finally:
                os.umask(before)
            self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=MAX_FRAME_BYTES)
        except OSError as error:
            raise ConfigurationError(f"the command socket {str(self._path)!r} cannot be made: {error}") from error

    async def stop(self) -> None:
        """Listen no more; commands being answered are finished, within a limit."""
        if self._server is None:
            return
        self._server.close()
        if self._connections:
            _, late = await asyncio.wait(set(self._connections), timeout=IO_SECONDS)
            for task in late:
                task.cancel()
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= MAX_CONNECTIONS or not _is_same_user(writer):
            writer.close()
            return
        self._connections.add(task)
        try:
            async with asyncio.timeout(IO_SECONDS):
                request = await _read_frame(reader)
            reply = await self._answer(request)
            async with asyncio.timeout(IO_SECONDS):
                await _write_frame(writer, codec.encode(reply))
        except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError, AgenticFlowError) as error:
            log.info("a command connection ended early: %s", error)
        finally:
            self._connections.discard(task)
            writer.close()

    async def _answer(self, frame: bytes) -> _Reply:
        try:
            request = msgspec.msgpack.decode(frame, type=_Request)
            return _Reply(True, await self._handler(request.op, request.arguments))
        except msgspec.DecodeError as error:
            return _Reply(False, None, InvalidInput.code, f"the command was not understood: {error}")
        except AgenticFlowError as error:
            return _Reply(False, None, error.code, error.message, error.hint)


async def send_command(file: Path, op: str, arguments: dict[str, object], *, timeout_seconds: float = 30.0) -> object:
    """Have the owner of ``file`` carry out ``op`` and return its answer.

    Raises ``StoreUnavailable`` when nobody listens or the owner does not answer in time (the outcome is then unknown), and the owner's
    refusal as the error it was.
    """
    path = _socket_path(file)
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_unix_connection(os.fspath(path), limit=MAX_FRAME_BYTES)
            try:
                await _write_frame(writer, codec.encode(_Request(op, arguments)))
                reply = msgspec.msgpack.decode(await _read_frame(reader), type=_Reply)
            finally:
                writer.close()
                with contextlib.suppress(OSError):  # the answer is here; how the connection ends does not matter
                    await writer.wait_closed()
    except TimeoutError as error:
        raise StoreUnavailable(
            f"the owner of {str(file)!r} did not answer within {timeout_seconds:g} s", hint="ask again"
        ) from error
    except (OSError, EOFError, msgspec.DecodeError) as error:
        raise StoreUnavailable(
            f"the owner of {str(file)!r} cannot be reached: {error}", hint="is it running?"
        ) from error
    if reply.is_ok:
        return reply.value
    raise _error(reply)


_BY_CODE: Final = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AgenticFlowError) and "__init__" not in vars(kind)
}


def _error(reply: _Reply) -> AgenticFlowError:
    return _BY_CODE.get(reply.code, PermanentError)(reply.message, hint=reply.hint)


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MAX_FRAME_BYTES:
        raise InvalidInput(f"a frame of {length:,} bytes passes the limit of {MAX_FRAME_BYTES:,}")
    return await reader.readexactly(length)


async def _write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    if len(data) > MAX_FRAME_BYTES:
        raise InvalidInput(f"a frame of {len(data):,} bytes passes the limit of {MAX_FRAME_BYTES:,}")
    writer.write(_LENGTH.pack(len(data)) + data)
    await writer.drain()


def _is_same_user(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode is the protection
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid in (os.getuid(), 0))
