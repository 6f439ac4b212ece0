"""MCP servers: processes of this machine, or addresses; their tools as ours.

What a server says of its tools are words of a stranger: names are made such as models take, schemas are checked before a call, and its
hints about effects count only where the program says so.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, Self, cast

from agenticflow.core.engine import EffectClass
from agenticflow.core.json_schema import JsonSchema, understood_part
from agenticflow.core.tools import Move, ToolResult
from agenticflow.errors import ConfigurationError, DefinitionError
from agenticflow.integrations.tools.mcp.connection import Connection, Opens
from agenticflow.integrations.tools.mcp.library import (
    CallToolResult,
    Client,
    Offered,
    StdioServerParameters,
    TextContent,
    httpx2,
    streamable_http_client,
)
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolOptions, define
from agenticflow.tools.tool import Tool

__all__ = ["McpServer", "McpTool"]

MAX_TOOLS: Final = 200
MAX_PAGES: Final = 100
MAX_DESCRIPTION_CHARS: Final = 4_000
READ_SECONDS: Final = 300.0
Headers = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Sent with every request: as they are, or by a function that is asked for each connection, so that a secret stands nowhere."""


class McpTool(Tool):
    """One tool of a server. Made by ``McpServer.tools``."""

    def __init__(self, connection: Connection, offered: Offered, name: str, options: ToolOptions) -> None:
        """Raises ``DefinitionError`` when no model can be told of it."""
        description = (offered.description or offered.title or offered.name)[:MAX_DESCRIPTION_CHARS]
        schema = {"properties": {}, **understood_part(offered.input_schema), "type": "object"}
        self._definition = define(name, description, schema, options, category="mcp")
        self._connection = connection
        self._offered = offered.name
        self.name = name
        self.description = description
        self.category = "mcp"

    def get_schema(self) -> JsonSchema:
        return self.definition.input_schema

    def get_required_permissions(self) -> Collection[str]:
        return self.definition.permissions

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Ask the server: its structured content, its text, or a list of what else it sent. What it calls an error is a failure."""
        answer = await self._connection.ask(
            lambda client: client.call_tool(self._offered, dict(params)),
            may_repeat=self.definition.effect is not EffectClass.AT_MOST_ONCE,
        )
        if answer.is_error:
            return ToolResult.failure(_text_of(answer) or "the server says that it failed", move=Move.CALLER)
        return ToolResult.success(_value_of(answer))


class McpServer:
    """``async with McpServer.process("python", ["server.py"]) as server: Agent("a", tools=await server.tools())``.

    Connected when it is first asked, and again after the connection was lost. Leaving the block ends the process, or the connection.
    """

    def __init__(self, name: str, opens: Opens) -> None:
        """``McpServer.process`` and ``McpServer.http`` make one."""
        self._connection = Connection(name, opens)

    @classmethod
    def process(
        cls,
        command: str,
        arguments: Sequence[str] = (),
        *,
        environment: Mapping[str, str] | None = None,
        folder: str | None = None,
    ) -> Self:
        """Return a server that is a process of its own, spoken to over its input and output. It inherits nothing of the environment but
        what a program needs to start; ``environment`` is added."""
        parameters = StdioServerParameters(
            command=command,
            args=list(arguments),
            env=None if environment is None else dict(environment),
            cwd=folder,
        )
        return cls(command, lambda: Client(parameters))

    @classmethod
    def http(cls, url: str, *, headers: Headers | None = None) -> Self:
        """Return a server at ``url``, spoken to over streamable HTTP. Nothing is taken from the environment (no proxy, no netrc)."""
        if not url.startswith(("https://", "http://")):
            raise ConfigurationError(f"{url!r:.200} is no address", hint="give one that begins with https://")
        given: Headers = headers or {}

        @asynccontextmanager
        async def opened() -> AsyncGenerator[Client, None]:
            own = given() if callable(given) else given
            async with (
                httpx2.AsyncClient(
                    headers=dict(own), trust_env=False, timeout=httpx2.Timeout(30.0, read=READ_SECONDS)
                ) as http,
                Client(streamable_http_client(url, http_client=http)) as client,
            ):
                yield client

        return cls(url.partition("?")[0], opened)

    async def tools(
        self,
        *,
        only: Collection[str] = (),
        prefix: str = "",
        trusts_hints: bool = False,
        options: Mapping[str, ToolOptions] | None = None,
    ) -> tuple[Tool, ...]:
        """Return the server's tools, or ``only`` those named.

        Each must not happen twice, unless ``options`` says otherwise by name, or the program ``trusts_hints`` of the server: read-only is
        pure then, idempotent idempotent. They need the permission ``mcp:call``.

        Raises ``ConfigurationError`` for names that are not there, ``DefinitionError`` for a tool that cannot be told to a model, and
        ``TemporaryError`` without a connection.
        """
        offered = await self._listed()
        names = {one.name for one in offered}
        terms = options or {}
        if unknown := sorted((set(only) | set(terms)) - names):
            raise ConfigurationError(
                f"{self._connection.name!r} has no tool {unknown[0]!r:.80}",
                hint=f"it has {', '.join(sorted(names)[:30]) or 'none'}",
            )
        chosen = [one for one in offered if not only or one.name in only]
        if len(chosen) > MAX_TOOLS:
            raise ConfigurationError(
                f"{self._connection.name!r} has {len(chosen)} tools, above the limit of {MAX_TOOLS}",
                hint="choose with only=",
            )
        made = []
        taken: set[str] = set()
        for one in chosen:
            name = _name_of(f"{prefix}{one.name}")
            if name in taken:
                raise DefinitionError(
                    f"two tools of {self._connection.name!r} would be called {name!r}", hint="choose with only="
                )
            taken.add(name)
            own: dict[str, Any] = {"effect": _effect_of(one, trusts_hints), "permissions": ["mcp:call"]}
            made.append(McpTool(self._connection, one, name, cast("ToolOptions", {**own, **terms.get(one.name, {})})))
        return tuple(made)

    async def _listed(self) -> list[Offered]:
        found: list[Offered] = []
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            ask = partial(Client.list_tools, cursor=cursor, cache_mode="refresh")
            page = await self._connection.ask(ask, may_repeat=True)
            found += page.tools
            cursor = page.next_cursor
            if not cursor:
                return found
        raise DefinitionError(f"{self._connection.name!r} lists its tools on more than {MAX_PAGES} pages")

    async def close(self) -> None:
        """End the process, or the connection. Calls of its tools fail after it."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"McpServer({self._connection.name!r})"


def _effect_of(offered: Offered, trusts_hints: bool) -> EffectClass:
    hints = offered.annotations
    if trusts_hints and hints is not None:
        if hints.read_only_hint:
            return EffectClass.PURE
        if hints.idempotent_hint:
            return EffectClass.IDEMPOTENT
    return EffectClass.AT_MOST_ONCE


def _name_of(name: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name) or "_"
    return plain if plain[0].isalpha() or plain[0] == "_" else f"_{plain}"


def _text_of(answer: CallToolResult) -> str:
    return "\n".join(one.text for one in answer.content if isinstance(one, TextContent))


def _value_of(answer: CallToolResult) -> object:
    if answer.structured_content is not None:
        return answer.structured_content
    if all(isinstance(one, TextContent) for one in answer.content):
        return _text_of(answer)
    return [one.model_dump(mode="json", by_alias=True, exclude_none=True) for one in answer.content]
