"""URL to backend. The only module that names an integration, and it imports one only when it is chosen."""

from __future__ import annotations

import os
import typing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import msgspec

from agenticflow.communication.bus import Broker
from agenticflow.communication.memory import MemoryBroker
from agenticflow.config import load_settings
from agenticflow.core.schemas import SchemaRegistry
from agenticflow.errors import ConfigurationError
from agenticflow.runtime.ownership import Ownership
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.store import Store

if typing.TYPE_CHECKING:
    from agenticflow.agents.memory import Embedder
    from agenticflow.agents.model.port import Model

__all__ = [
    "ModelChoice",
    "back_up_file",
    "open_broker",
    "open_embedder",
    "open_model",
    "open_store",
    "restored_file",
    "sqlite_path",
    "store_url",
]

_KNOWN: Final = "memory: and sqlite:///path/to/file.db (a fourth slash for an absolute path)"


def store_url(url: str | None = None) -> str:
    """Return the store to use: the one asked for, else what the settings say (``AGENTICFLOW_STORE`` among them)."""
    return url or load_settings().settings.store_url


def sqlite_path(url: str) -> tuple[Path, dict[str, str]]:
    """Return the file and the options in a ``sqlite:`` URL. Raises ``ConfigurationError``."""
    rest = url.removeprefix("sqlite:")
    place, _, query = rest.partition("?")
    if not place.startswith("///") or place == "///":
        raise ConfigurationError(
            f"{url!r} names no file", hint="write sqlite:///state.db, or sqlite:////var/lib/app/state.db"
        )
    options: dict[str, str] = {}
    for pair in filter(None, query.split("&")):
        key, _, value = pair.partition("=")
        # vfs names a file system layer that the process has registered: how a test puts a faulty disk beneath
        if key == "blobs":
            if not value:
                raise ConfigurationError(
                    f"{url!r} names no folder for large values", hint="write blobs=./values, or leave it out"
                )
            value = unquote(value)
        elif not (key == "durability" and value in ("full", "normal")) and not (key == "vfs" and value):
            raise ConfigurationError(
                f"{url!r} has the unknown option {pair!r}",
                hint="there are durability=full, durability=normal and blobs=FOLDER",
            )
        options[key] = value
    return Path(unquote(place[3:])), options


async def open_store(
    url: str | None = None, *, schemas: SchemaRegistry | None = None, read_only: bool = False
) -> Store:
    """Open the store at ``url``: ``memory:`` or ``sqlite:///path[?durability=normal]``.

    Raises ``ConfigurationError`` for a URL that names none, ``StoreOwned`` when another process owns the file, ``CorruptStore`` when the
    file is damaged or not ours.
    """
    chosen = store_url(url)
    if not isinstance(chosen, str):
        raise ConfigurationError(f"a store is opened by URL, not by {chosen!r:.60}", hint=f"there are {_KNOWN}")
    if chosen in ("memory:", "memory", "memory://"):
        return MemoryStore(schemas)
    if chosen.startswith("sqlite:"):
        from agenticflow.integrations.stores.sqlite import SQLiteStore  # loads a driver: only when chosen

        path, options = sqlite_path(chosen)
        arguments: dict[str, Any] = dict(options)
        return await SQLiteStore.open(path, schemas=schemas, read_only=read_only, **arguments)
    raise ConfigurationError(f"no store is known for {chosen!r}", hint=f"there are {_KNOWN}")


def back_up_file(url: str | None, target: Path, *, force: bool, progress: Callable[[int, int], None]) -> int:
    """Copy the store's file, beside its owner; see ``agenticflow.app.upkeep.backups``. Blocks."""
    from agenticflow.integrations.stores.sqlite.upkeep import backup  # loads a driver: only when chosen

    return backup.back_up(_file_of(url), target, force=force, progress=progress, blobs=_folder_of(url))


@asynccontextmanager
async def restored_file(
    url: str | None, source: Path, *, progress: Callable[[int, int], None], in_thread: Callable[..., Awaitable[Any]]
) -> AsyncIterator[tuple[Store, Callable[[], Awaitable[Path | None]]]]:
    """Own the place of the store meanwhile, have a copy of the backup beside it, and yield that copy, open for reading, with a function
    that puts it in place once it is closed; see ``agenticflow.app.upkeep.backups``. ``in_thread`` calls what blocks."""
    from agenticflow.integrations.stores.sqlite import SQLiteStore  # loads a driver: only when chosen
    from agenticflow.integrations.stores.sqlite.upkeep import backup

    backup.demand_store(source)
    file = _place_of(url)
    ownership = Ownership.take(file)
    try:
        part = await in_thread(backup.prepare, source, file, progress, blobs=_folder_of(url))
        try:
            yield await SQLiteStore.open(part, read_only=True), lambda: in_thread(backup.put_in_place, part, file)
        finally:
            backup.discard(part)
    finally:
        ownership.release()


def _file_of(url: str | None) -> Path:
    chosen = store_url(url)
    if not chosen.startswith("sqlite:"):
        raise ConfigurationError(f"the store {chosen!r} is no file", hint="only SQLite files are copied and put back")
    return sqlite_path(chosen)[0]


def _folder_of(url: str | None) -> str | None:
    """Return where large values are, when the URL says so."""
    return sqlite_path(store_url(url))[1].get("blobs")


def _place_of(url: str | None) -> Path:
    """Return where the store of ``url`` goes, in a folder that is there."""
    file = Path(os.path.realpath(_file_of(url)))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"the folder {str(file.parent)!r} cannot be made: {error}") from error
    return file


def open_broker(backend: str) -> Broker:
    """Return what carries ephemeral events: ``memory``. Raises ``ConfigurationError`` for a name or URL that means none."""
    if backend in ("memory", "memory:", "memory://"):
        return MemoryBroker()
    raise ConfigurationError(f"no event bus is known for {backend!r}", hint='this release has EventBus("memory")')


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Which model of which provider, and how it is reached; made by ``agenticflow.app.models.model_from``."""

    provider: str
    name: str
    wire: str
    """The wire format: ``chat`` or ``messages``; or ``pydantic-ai``, which speaks many."""
    base_url: str
    api_key: str
    is_streaming: bool = True
    limit_field: str = "max_tokens"
    cannot: frozenset[str] = frozenset()
    """Abilities that the model does not have: ``tools`` …"""

    def __repr__(self) -> str:
        return f"ModelChoice({self.provider}:{self.name})"  # the key is nobody's to see


def open_model(choice: ModelChoice) -> Model:
    """Return the chosen model, unguarded. Raises ``ConfigurationError`` that names the extra when it is not installed."""
    from agenticflow.agents.model.requests import ModelAbilities  # a store is opened more often than a model

    abilities = ModelAbilities(**{f"has_{name}": False for name in choice.cannot})
    try:
        if choice.wire == "messages":
            from agenticflow.integrations.models.anthropic import AnthropicModel  # loads a client: only when chosen

            return AnthropicModel(
                choice.name,
                base_url=choice.base_url,
                api_key=choice.api_key,
                is_streaming=choice.is_streaming,
                abilities=abilities,
            )
        if choice.wire == "pydantic-ai":
            from agenticflow.integrations.models.pydantic_ai import PydanticAIModel  # loads a client: only when chosen

            known = abilities if choice.cannot else None
            return PydanticAIModel(choice.name, is_streaming=choice.is_streaming, abilities=known)
        from agenticflow.integrations.models.openai import ChatCompletionsModel  # loads a client: only when chosen

        return ChatCompletionsModel(
            choice.provider,
            choice.name,
            base_url=choice.base_url,
            api_key=choice.api_key,
            is_streaming=choice.is_streaming,
            limit_field=choice.limit_field,
            abilities=abilities,
        )
    except ImportError as error:
        raise ConfigurationError(
            f"the model {choice.provider}:{choice.name} needs the extra {choice.provider!r}, which is not installed: {error}",
            hint=f"install agenticflow[{choice.provider}] from where you have it",
        ) from error


def open_embedder(choice: ModelChoice, dimension: int, *, shortens: bool) -> Embedder:
    """Return the chosen embedding model. Raises ``ConfigurationError`` that names the extra when it is not installed."""
    try:
        from agenticflow.integrations.models.openai import EmbeddingsModel  # loads a client: only when chosen
    except ImportError as error:
        raise ConfigurationError(
            f"the embedder {choice.provider}:{choice.name} needs the extra {choice.provider!r}, which is not installed: {error}",
            hint=f"install agenticflow[{choice.provider}] from where you have it",
        ) from error
    return EmbeddingsModel(
        choice.provider, choice.name, dimension, base_url=choice.base_url, api_key=choice.api_key, shortens=shortens
    )
