"""Tools of MCP servers. Needs the library mcp, the extra ``mcp``; without it the import says so."""

from agenticflow.integrations.tools.mcp.server import McpServer

__all__ = ["McpServer"]
