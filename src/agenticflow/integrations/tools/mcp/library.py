"""What is used of the library mcp, in one place; without it the import says so."""

from __future__ import annotations

from agenticflow.errors import ConfigurationError

try:
    import anyio
    import httpx2
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.streamable_http import streamable_http_client
    from mcp.types import CONNECTION_CLOSED, REQUEST_TIMEOUT, CallToolResult, TextContent
    from mcp.types import Tool as Offered
except ImportError as error:  # the core does without
    raise ConfigurationError(
        "tools of MCP servers need the library mcp, which is not installed",
        hint="install mcp, or this package with its extra `mcp`",
    ) from error

__all__ = [
    "CONNECTION_CLOSED",
    "REQUEST_TIMEOUT",
    "CallToolResult",
    "Client",
    "MCPError",
    "Offered",
    "StdioServerParameters",
    "TextContent",
    "anyio",
    "httpx2",
    "streamable_http_client",
]
