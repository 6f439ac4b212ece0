"""How a command reaches a store: reading beside whoever owns it, commanding through the owner, or alone when there is none.

Reading opens the file read-only, in short transactions, and takes no lock. A command goes to the owner's socket; when nobody listens there,
this process takes the lock, commits the command, starts no activity, and gives the lock back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from agenticflow.app.commands.door import carry_out
from agenticflow.app.commands.operation import Operation
from agenticflow.app.orchestrator import Orchestrator
from agenticflow.app.wiring import open_store, sqlite_path, store_url
from agenticflow.cli.exits import NotThere
from agenticflow.errors import StoreOwned, StoreUnavailable
from agenticflow.runtime.ownership import send_command
from agenticflow.storage.store import Store

__all__ = ["Delivered", "ask_owner", "deliver", "reading", "store_file"]

OWNER_SECONDS: Final = 15.0
"""How long to go on when somebody has the lock and does not listen: it is starting, or finishing its work."""
ANSWER_SECONDS: Final = 30.0
LOOK_AGAIN_SECONDS: Final = 0.05


class Delivered(msgspec.Struct, frozen=True):
    """A command that is durable now."""

    answer: dict[str, Any]
    by_owner: bool
    """Whether a running process took it, and acts on it; else the next owner of the store will."""


def store_file(url: str) -> Path | None:
    """Return the file behind ``url``, ``None`` when it is not a file."""
    return sqlite_path(url)[0].absolute() if url.startswith("sqlite:") else None


@asynccontextmanager
async def reading(url: str | None) -> AsyncIterator[tuple[Orchestrator, Store]]:
    """Open the store for reading. Raises ``NotThere`` when there is none."""
    url = store_url(url)
    _demand_file(url)
    store = await open_store(url, read_only=True)
    orchestrator = Orchestrator(store=store, performs=False)
    try:
        yield orchestrator, store
    finally:
        await orchestrator.stop()
        await store.close()


async def deliver(
    url: str | None, operation: Operation, *, makes_store: bool = False, timeout_seconds: float = ANSWER_SECONDS
) -> Delivered:
    """Have ``operation`` recorded, by the owner of the store or, when there is none, here.

    Raises what it is refused with, ``NotThere`` when there is no store (unless ``makes_store``), ``StoreOwned`` when the owner neither
    listens nor ends.
    """
    url = store_url(url)
    if not makes_store:
        _demand_file(url)
    loop = asyncio.get_running_loop()
    ends = loop.time() + OWNER_SECONDS
    while True:
        answer = await _ask(url, operation, timeout_seconds=timeout_seconds)
        if answer is not None:
            return Delivered(answer, by_owner=True)
        try:
            async with Orchestrator(store=url, performs=False) as orchestrator:
                return Delivered(await carry_out(orchestrator, operation.name, _arguments(operation)), by_owner=False)
        except StoreOwned:
            if loop.time() > ends:
                raise
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


async def ask_owner(url: str | None, operation: Operation, *, timeout_seconds: float = 5.0) -> dict[str, Any] | None:
    """Return the running owner's answer, ``None`` when nobody listens."""
    return await _ask(store_url(url), operation, timeout_seconds=timeout_seconds)


async def _ask(url: str, operation: Operation, *, timeout_seconds: float = ANSWER_SECONDS) -> dict[str, Any] | None:
    file = store_file(url)
    if file is None:
        return None
    try:
        answer = await send_command(file, operation.name, _arguments(operation), timeout_seconds=timeout_seconds)
    except StoreUnavailable as error:
        if isinstance(error.__cause__, (FileNotFoundError, ConnectionRefusedError)):
            return None
        raise
    return msgspec.convert(answer, dict[str, Any])


def _arguments(operation: Operation) -> dict[str, object]:
    """Return the fields as plain data; what the codec has its own form for stays as it is, so that hashes agree."""
    plain: dict[str, object] = msgspec.to_builtins(
        operation, builtin_types=(bytes, date, datetime, time, Decimal, UUID)
    )
    return plain


def _demand_file(url: str) -> None:
    file = store_file(url)
    if file is not None and not file.exists():
        raise NotThere(
            f"there is no store at {url!r}", hint="`agenticflow demo` makes one; name another with --store URL"
        )
