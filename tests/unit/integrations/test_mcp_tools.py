"""Tools of a real MCP server, as a process and over HTTP: listed, called, cut off, killed and found again."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from agenticflow.core.tools import Move, ToolCall, ToolFailure, ToolResult
from agenticflow.errors import ConfigurationError, TemporaryError
from agenticflow.integrations.tools.mcp import McpServer
from agenticflow.tools import Tool, ToolPipeline, ToolRegistry

PROGRAM = str(Path(__file__).with_name("mcp_server.py"))
IDEMPOTENT: Any = {"effect": "idempotent"}


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    found = tmp_path / "notes"
    found.touch()
    return found


@pytest.fixture
async def server(notes: Path) -> AsyncIterator[McpServer]:
    async with McpServer.process(sys.executable, [PROGRAM, str(notes)]) as found:
        yield found


@pytest.fixture
def port(notes: Path) -> Iterator[int]:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        free = int(taken.getsockname()[1])
    process = subprocess.Popen([sys.executable, PROGRAM, str(notes), str(free)], stderr=subprocess.DEVNULL)
    yield free
    process.kill()
    process.wait()


async def call(tools: ToolRegistry, name: str, **params: Any) -> ToolResult:
    return await ToolPipeline().invoke(ToolCall(name, params), tools=tools)


def failure(result: ToolResult) -> ToolFailure:
    assert result.error is not None, result
    return result.error


async def test_its_tools_are_tools(server: McpServer) -> None:
    tools = await server.tools(only=["add", "say.it", "sleep"], prefix="tiny_")
    assert [(one.name, one.definition.effect.value, one.definition.permissions) for one in tools] == [
        ("tiny_add", "at_most_once", ("mcp:call",)),
        ("tiny_say_it", "at_most_once", ("mcp:call",)),
        ("tiny_sleep", "at_most_once", ("mcp:call",)),
    ]
    trusted = await server.tools(only=["add", "say.it", "sleep"], trusts_hints=True, options={"sleep": {"timeout": 5}})
    assert [(one.definition.effect.value, one.definition.timeout_seconds) for one in trusted] == [
        ("pure", 60),
        ("idempotent", 60),
        ("at_most_once", 5),
    ]
    assert tools[0].description == "Add two numbers."
    with pytest.raises(ConfigurationError, match="has no tool 'ad'"):
        await server.tools(only=["ad"])


async def test_calls_are_answered(server: McpServer) -> None:
    tools = ToolRegistry.of(await server.tools())
    assert (await call(tools, "add", a=1)).value == {"sum": 3}
    assert (await call(tools, "say_it", words="hello")).value == "hello"
    shown: Any = (await call(tools, "picture")).value
    assert [(one["type"], one["mimeType"]) for one in shown] == [("image", "image/png")]
    wrong = failure(await call(tools, "add", a="one"))
    assert (wrong.code, wrong.problems) == ("invalid_input", ("'a' is 'one', not integer",))
    failed = failure(await call(tools, "fail"))
    assert (failed.move, "it does not work today" in failed.message) == (Move.CALLER, True)


async def test_many_calls_share_one_connection(server: McpServer) -> None:
    tools = ToolRegistry.of(await server.tools())
    results = await asyncio.gather(*(call(tools, "add", a=number) for number in range(20)))
    assert [one.value for one in results] == [{"sum": number + 2} for number in range(20)]
    assert server._connection.opened == 1


async def test_a_call_that_takes_too_long_is_cancelled_there(server: McpServer, notes: Path) -> None:
    tools = ToolRegistry.of(await server.tools(options={"sleep": {"effect": "idempotent", "timeout": 1}}))
    assert failure(await call(tools, "sleep", seconds=60)).code == "tool_timeout"
    async with asyncio.timeout(10):
        while "cancelled" not in notes.read_text():
            await asyncio.sleep(0.02)
    assert (await call(tools, "add", a=1)).value == {"sum": 3}
    assert server._connection.opened == 1


async def test_a_server_that_dies_is_started_again(server: McpServer) -> None:
    doubtful = ToolRegistry.of(await server.tools())
    repeatable = ToolRegistry.of(await server.tools(options={"die": IDEMPOTENT}))
    assert failure(await call(doubtful, "die")).code == "outcome_unknown"
    assert (await call(doubtful, "add", a=1)).value == {"sum": 3}
    assert failure(await call(repeatable, "die")).code == "temporary"
    assert (await call(doubtful, "add", a=2)).value == {"sum": 4}
    assert server._connection.opened == 3


async def test_a_process_inherits_what_it_is_given(notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "the-secret")
    arguments = [PROGRAM, str(notes)]
    async with McpServer.process(sys.executable, arguments, environment={"GIVEN": "this"}) as server:
        tools = ToolRegistry.of(await server.tools())
        assert (await call(tools, "environment", variable="GIVEN")).value == "this"
        assert (await call(tools, "environment", variable="SHOP_TOKEN")).value == ""


async def test_after_the_end_there_is_no_connection(notes: Path) -> None:
    async with McpServer.process(sys.executable, [PROGRAM, str(notes)]) as server:
        tools = ToolRegistry.of(await server.tools())
    assert failure(await call(tools, "add", a=1)).code == "temporary"


async def test_what_cannot_be_started_or_reached_is_temporary() -> None:
    for server in (McpServer.process("/there/is/no/such/program"), McpServer.http("http://127.0.0.1:1/mcp")):
        with pytest.raises(TemporaryError, match="no connection to"):
            await server.tools()
        await server.close()
    with pytest.raises(ConfigurationError, match="is no address"):
        McpServer.http("shop.example.com")


async def once_it_serves(server: McpServer) -> tuple[Tool, ...]:
    async with asyncio.timeout(30):
        while True:
            try:
                return await server.tools()
            except TemporaryError:
                await asyncio.sleep(0.1)


async def test_over_http_it_is_the_same(port: int, notes: Path) -> None:
    secrets: list[str] = []

    def headers() -> dict[str, str]:
        secrets.append("asked")
        return {"Authorization": "Bearer the-secret"}

    async with McpServer.http(f"http://127.0.0.1:{port}/mcp", headers=headers) as server:
        tools = ToolRegistry.of(await once_it_serves(server))
        assert (await call(tools, "add", a=1)).value == {"sum": 3}
        assert "it does not work today" in failure(await call(tools, "fail")).message
        assert failure(await call(tools, "die")).code == "outcome_unknown"
        assert failure(await call(tools, "add", a=1)).code == "temporary"
        assert "the-secret" not in repr([server, tools.definitions()])
    assert secrets
