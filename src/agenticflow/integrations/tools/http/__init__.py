"""HTTP as tools. Needs httpx2, the extra ``http``; without it the import says so."""

from agenticflow.integrations.tools.http.requests import http_tools

__all__ = ["http_tools"]
