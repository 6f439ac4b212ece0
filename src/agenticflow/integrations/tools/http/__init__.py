"""HTTP as tools. Needs httpx2, the extra ``http``; without it the import says so."""

from agenticflow.integrations.tools.http.openapi.tools import fetch_openapi, tools_from_openapi
from agenticflow.integrations.tools.http.requests import http_tools

__all__ = ["fetch_openapi", "http_tools", "tools_from_openapi"]
