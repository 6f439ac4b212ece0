"""A tiny real MCP server: a program of its own, over its input and output, or on a port of this machine."""

from __future__ import annotations

import asyncio
import os
import sys
import warnings
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

from mcp.server.mcpserver import Image, MCPServer  # noqa: E402
from mcp.server.mcpserver.exceptions import ToolError  # noqa: E402
from mcp_types import ToolAnnotations  # noqa: E402

server = MCPServer("tiny")
notes = Path(sys.argv[1])


def note(words: str) -> None:
    """Write down what happened, for the test to read."""
    with notes.open("a", encoding="utf-8") as file:
        file.write(f"{words}\n")


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def add(a: int, b: int = 2) -> dict[str, int]:
    """Add two numbers."""
    return {"sum": a + b}


@server.tool(name="say.it", annotations=ToolAnnotations(idempotent_hint=True), structured_output=False)
def say(words: str) -> str:
    """Say something."""
    note(f"said {words}")
    return words


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("it does not work today")


@server.tool()
def picture() -> Image:
    """Show a picture."""
    return Image(data=b"not really", format="png")


@server.tool(structured_output=False)
async def sleep(seconds: float) -> str:
    """Sleep."""
    note("sleeps")
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:
        note("cancelled")
        raise
    return "slept"


@server.tool(structured_output=False)
def die() -> str:
    """End the process in the middle of a call."""
    os._exit(1)


@server.tool(structured_output=False)
def environment(variable: str) -> str:
    """Tell a variable of the environment."""
    return os.environ.get(variable, "")


if __name__ == "__main__":
    options: dict[str, Any] = {}
    if len(sys.argv) > 2:
        server.run("streamable-http", port=int(sys.argv[2]))
    else:
        server.run("stdio")
