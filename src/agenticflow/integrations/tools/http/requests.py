"""HTTP as tools: requests to hosts that the program allows, to public addresses, within bounds of time and size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from agenticflow.core.types import MAX_BLOB_BYTES
from agenticflow.integrations.tools.http.addresses import AllowedHosts, Resolver
from agenticflow.integrations.tools.http.client import MAX_RESPONSE_BYTES, TIMEOUT_SECONDS, Client, Response
from agenticflow.tools.context import ToolContext
from agenticflow.tools.tool import Tool, tool

__all__ = ["http_tools"]

Url = Annotated[str, "the whole address, like https://api.example.com/v1/items?page=2"]
Headers = Annotated[dict[str, str] | None, "more headers, like Accept"]


def http_tools(
    hosts: Sequence[str],
    *,
    private_hosts: Sequence[str] = (),
    headers: Mapping[str, Mapping[str, str]] | None = None,
    max_bytes: int = MAX_RESPONSE_BYTES,
    timeout: float = TIMEOUT_SECONDS,
    resolver: Resolver | None = None,
    verify: Any = None,
) -> tuple[Tool, ...]:
    """Return ``http_get`` and ``http_send`` for ``hosts``: ``["api.example.com", "*.example.org", "api.example.com:8443"]``.

    Only ``private_hosts`` may have private, loopback or link-local addresses. ``headers`` are added to requests to a host
    (``Authorization`` and the like), and leave it by no redirect. ``http_get`` needs the permission ``http:get``; ``http_send`` needs
    ``http:send``, and must not happen twice: it sends its effect key as ``Idempotency-Key``. ``verify`` is an ``ssl.SSLContext`` of one's
    own.

    Raises ``ConfigurationError`` for hosts that cannot be meant.
    """
    client = Client(
        AllowedHosts(hosts, private_hosts, resolver=resolver),
        {host.lower(): dict(own) for host, own in (headers or {}).items()},
        max_bytes,
        timeout,
        verify,
    )

    result_bytes = min(8 * max_bytes + 65_536, MAX_BLOB_BYTES)  # JSON may take more room decoded than written

    @tool(
        category="web",
        effect="pure",
        timeout=timeout,
        permissions=["http:get"],
        max_result_bytes=result_bytes,
    )
    async def http_get(url: Url, headers: Headers = None) -> Response:
        """Fetch an address of the web and return status, headers and text."""
        return await client.request("GET", url, headers or {}, None, "")

    @tool(
        category="web",
        effect="at_most_once",
        timeout=timeout,
        permissions=["http:send"],
        max_result_bytes=result_bytes,
    )
    async def http_send(
        url: Url,
        ctx: ToolContext,
        method: Literal["POST", "PUT", "PATCH", "DELETE"] = "POST",
        body: Annotated[Any, "sent as JSON; a text as it is"] = None,
        headers: Headers = None,
    ) -> Response:
        """Send something to an address of the web and return status, headers and text."""
        return await client.request(method, url, headers or {}, body, ctx.effect_key)

    return (http_get, http_send)
