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
import stat
import struct
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Self
from weakref import WeakSet

import msgspec

from agenticflow import errors
from agenticflow.core import codec
from agenticflow.errors import (
    AgenticFlowError,
    BoundExceeded,
    ConfigurationError,
    InvalidInput,
    InvariantError,
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
        path = _beside(file, ".lock")
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
            if pid == os.getpid():
                raise StoreOwned(
                    f"the store {str(file)!r} is open in this process (pid {pid}) already",
                    hint="close it first, or share the one that is open",
                    owner_pid=pid,
                ) from error
            raise StoreOwned(
                f"the store {str(file)!r} is owned by another process" + (f" (pid {pid})" if pid else ""),
                hint="stop it, or use `agenticflow runs …`, which talks to it",
                owner_pid=pid,
            ) from error
        ownership = cls(file, descriptor)
        ownership._describe({"pid": os.getpid(), "socket": str(ownership.socket_path)})
        _held.add(ownership)
        return ownership

    @property
    def socket_path(self) -> Path:
        """Where the owner's socket is."""
        return _socket_path(self.file)

    def release(self) -> None:
        """Give the lock back; a second call does nothing."""
        self._describe({})
        self.forget()

    def forget(self) -> None:
        """Close this process's handle on the lock; in a forked child, so that it does not keep the lock of a dead parent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _describe(self, content: dict[str, object]) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):  # a full disk: who it is matters for messages only
                os.ftruncate(self._descriptor, 0)
                os.pwrite(self._descriptor, json.dumps(content).encode(), 0)


_held: WeakSet[Ownership] = WeakSet()


def _forget_locks() -> None:
    for ownership in _held:
        ownership.forget()


os.register_at_fork(after_in_child=_forget_locks)


def owner_of(file: Path) -> int | None:
    """Return the pid that the lock file names, ``None`` when it names none. Only for messages: the lock itself is the truth."""
    pid = _described(file).get("pid")
    return pid if isinstance(pid, int) else None


def _described(file: Path) -> dict[str, object]:
    try:
        content = json.loads(_beside(file, ".lock").read_bytes() or b"{}")
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _beside(file: Path, suffix: str) -> Path:
    """One file has one lock and one socket, by whatever name it is called."""
    return Path(os.path.realpath(file) + suffix)


def _socket_path(file: Path) -> Path:
    beside = _beside(file, ".sock")
    if len(os.fsencode(beside)) <= MAX_SOCKET_PATH:
        return beside
    name = hashlib.blake2b(os.fsencode(beside), digest_size=12).hexdigest()
    return _private_folder() / f"{name}.sock"


def _private_folder() -> Path:
    """For sockets whose path would be too long for the kernel."""
    return Path(tempfile.gettempdir()) / f"agenticflow-{os.getuid()}"


class CommandServer:
    """Answers commands of other processes of the same user. Only the holder of the lock may start one."""

    def __init__(self, ownership: Ownership, handler: CommandHandler) -> None:
        self._path = ownership.socket_path
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._asking: set[asyncio.Task[None]] = set()
        """Those whose command has not come in whole."""

    async def start(self) -> None:
        """Listen. Raises ``ConfigurationError`` when the socket cannot be made."""
        try:
            if self._path.parent == _private_folder():
                _make_private(self._path.parent)
            self._path.unlink(missing_ok=True)  # left behind by a killed owner: we hold the lock, so it is nobody's
            listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            # Linux makes the file with the rights of the socket; a umask would be that of every thread.
            with contextlib.suppress(OSError):
                os.fchmod(listening.fileno(), 0o600)
            try:
                listening.bind(os.fspath(self._path))
                self._path.chmod(0o600)
            except OSError:
                listening.close()
                raise
            self._server = await asyncio.start_unix_server(self._accept, sock=listening, limit=MAX_FRAME_BYTES)
        except OSError as error:
            raise ConfigurationError(f"the command socket {str(self._path)!r} cannot be made: {error}") from error

    async def stop(self) -> None:
        """Listen no more; commands being answered are finished, within a limit; a command that is not there yet is not waited for."""
        if self._server is None:
            return
        self._server.close()
        for task in self._asking:
            task.cancel()
        if self._connections:
            _, late = await asyncio.wait(set(self._connections), timeout=IO_SECONDS)
            for task in late:
                task.cancel()
        self._server = None
        self._path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or not _is_same_user(writer):
            writer.close()
            return
        self._connections.add(task)
        try:
            try:
                frame = await self._command(reader, task)
            except AgenticFlowError as refusal:
                reply = _refusal(refusal)
            else:
                reply = await self._answer(frame)
            async with asyncio.timeout(IO_SECONDS):
                await _write_frame(writer, reply)
        except (OSError, EOFError, TimeoutError) as error:
            log.info("a command connection ended early: %r", error)
        except asyncio.CancelledError:
            log.info("a command connection was ended: the owner stops")
        finally:
            self._connections.discard(task)
            self._asking.discard(task)
            writer.close()

    async def _command(self, reader: asyncio.StreamReader, task: asyncio.Task[None]) -> bytes:
        if len(self._connections) > MAX_CONNECTIONS:
            raise StoreUnavailable(f"the owner is answering {MAX_CONNECTIONS} commands already", hint="ask again")
        self._asking.add(task)
        async with asyncio.timeout(IO_SECONDS):
            frame = await _read_frame(reader)
        self._asking.discard(task)
        return frame

    async def _answer(self, frame: bytes) -> bytes:
        """Return the encoded reply; a refusal is a reply, too."""
        try:
            request = msgspec.msgpack.decode(frame, type=_Request)
        except (msgspec.DecodeError, RecursionError) as error:
            return _refusal(InvalidInput(f"the command was not understood: {error}"))
        try:
            reply = codec.encode(_Reply(True, await self._handler(request.op, request.arguments)))
            _check_frame(len(reply))
        except AgenticFlowError as error:
            return _refusal(error)
        except Exception as error:
            log.exception("a command of another process failed")
            return _refusal(InvariantError(f"the command failed in the owner: {error!r}", hint="see the owner's log"))
        return reply


async def send_command(file: Path, op: str, arguments: dict[str, object], *, timeout_seconds: float = 30.0) -> object:
    """Have the owner of ``file`` carry out ``op`` and return its answer.

    Raises ``StoreUnavailable`` when nobody listens or the owner does not answer in time (the outcome is then unknown), and the owner's
    refusal as the error it was.
    """
    # The owner's temporary folder may be another one than ours: where it listens is in the lock.
    path = _described(file).get("socket") or _socket_path(file)
    try:
        async with asyncio.timeout(timeout_seconds):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=MAX_FRAME_BYTES)
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
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, AgenticFlowError)
}


def _refusal(error: AgenticFlowError) -> bytes:
    fields = {name: value for name, value in vars(error).items() if name not in ("message", "hint")}
    try:
        frame = codec.encode(_Reply(False, fields, error.code, error.message, error.hint))
        _check_frame(len(frame))
    except AgenticFlowError:
        return codec.encode(_Reply(False, None, error.code, error.message[:1_000], error.hint[:1_000]))
    return frame


def _error(reply: _Reply) -> AgenticFlowError:
    """Return the refusal as the error it was, with its fields; the constructors differ, so none is called."""
    kind = _BY_CODE.get(reply.code, PermanentError)
    error = kind.__new__(kind, reply.message)
    AgenticFlowError.__init__(error, reply.message, hint=reply.hint)
    if isinstance(reply.value, dict):
        for name, value in reply.value.items():
            setattr(error, str(name), tuple(value) if isinstance(value, list) else value)
    return error


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise ConfigurationError(
            f"{str(folder)!r} is not a folder of this user alone", hint="remove it, or set TMPDIR to another place"
        )


async def _read_frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    _check_frame(length)
    return await reader.readexactly(length)


def _check_frame(size: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise BoundExceeded(
            f"a message of {size:,} bytes between processes passes the limit of {MAX_FRAME_BYTES:,}",
            hint="pass large content by file, or ask for less at once",
        )


async def _write_frame(writer: asyncio.StreamWriter, data: bytes) -> None:
    _check_frame(len(data))
    writer.write(_LENGTH.pack(len(data)) + data)
    await writer.drain()


def _is_same_user(writer: asyncio.StreamWriter) -> bool:
    peer = writer.get_extra_info("socket")
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # the socket's mode is the protection
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return bool(uid in (os.getuid(), 0))
