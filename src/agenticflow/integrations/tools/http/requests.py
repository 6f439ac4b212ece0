"""HTTP as tools: requests to hosts that the program allows, to public addresses, within bounds of time and size.

Each request and each redirect goes through the same checks: scheme, host, port, and the address that is then connected to. Nothing is
taken from the environment (no proxy, no netrc), nothing is kept between calls, compressed answers are not asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Annotated, Any, Final, Literal, NoReturn, TypedDict

from agenticflow.core.clocks import ambient
from agenticflow.core.types import MAX_BLOB_BYTES
from agenticflow.errors import (
    BoundExceeded,
    ConfigurationError,
    InvalidInput,
    OutcomeUnknown,
    PermanentError,
    ResourceExhausted,
    SecurityError,
    TemporaryError,
)
from agenticflow.integrations.tools.http.addresses import AllowedHosts, Resolver
from agenticflow.tools.context import ToolContext
from agenticflow.tools.tool import Tool, tool

try:
    import httpx2
except ImportError as error:  # the core does without
    raise ConfigurationError(
        "HTTP tools need the library httpx2, which is not installed",
        hint="install httpx2, or this package with its extra `http`",
    ) from error

__all__ = ["http_tools"]

MAX_RESPONSE_BYTES: Final = 1024 * 1024
MAX_URL_CHARS: Final = 4_000
MAX_REDIRECTS: Final = 5
MAX_HEADERS: Final = 50
TIMEOUT_SECONDS: Final = 30.0
NANOSECONDS: Final = 1_000_000_000
_SHOWN_HEADERS: Final = (
    "content-type",
    "content-length",
    "date",
    "etag",
    "last-modified",
    "link",
    "location",
    "retry-after",
)
_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_OURS: Final = frozenset(
    {
        *("host", "authorization", "proxy-authorization", "cookie", "connection", "transfer-encoding", "content-length", "te"),
        *("upgrade", "expect", "keep-alive", "trailer", "proxy-connection", "accept-encoding", "forwarded", "via"),
    }
)  # fmt: skip
"""Headers that a model does not write: they say who asks, or how bytes are cut."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WAITING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})

Url = Annotated[str, "the whole address, like https://api.example.com/v1/items?page=2"]
Headers = Annotated[dict[str, str] | None, "more headers, like Accept"]


class Response(TypedDict):
    """What came back."""

    status: int
    url: str
    headers: dict[str, str]
    text: str
    """Empty where the content is JSON."""
    json: Any


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
    client = _Client(
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


class _NotConnected(TemporaryError):
    """Nothing was sent."""


class _Client:
    def __init__(
        self, hosts: AllowedHosts, own_headers: dict[str, dict[str, str]], max_bytes: int, timeout: float, verify: Any
    ) -> None:
        self._hosts = hosts
        self._own_headers = own_headers
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._verify = verify

    async def request(self, method: str, address: str, headers: Mapping[str, str], body: object, key: str) -> Response:
        url = _url_of(address)
        sent = _checked_headers(headers)
        content = _content_of(body, sent)
        if key:
            sent["idempotency-key"] = key  # whatever a model makes up
        if self._verify is None:
            self._verify = httpx2.create_ssl_context()  # some 20 ms: once is enough
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._single(method, url, sent, content)
            where = response["headers"].get("location")
            if method != "GET":
                return response  # what must not happen twice is not sent again, wherever that would lead
            if response["status"] not in _REDIRECTS or not where:
                return _judged(response)
            url = _url_of(str(url.join(where)))
        raise PermanentError(f"{address!r:.200} leads on more than {MAX_REDIRECTS} times")

    async def _single(
        self, method: str, url: httpx2.URL, headers: Mapping[str, str], content: bytes | None
    ) -> Response:
        host = url.raw_host.decode("ascii")
        *others, last = await self._hosts.addresses_of(url.scheme, host, url.port)
        for target in others:
            try:
                return await self._asked(method, url, target, headers, content)
            except _NotConnected:
                continue  # nothing was sent: the next one may be reached
        return await self._asked(method, url, last, headers, content)

    async def _asked(
        self, method: str, url: httpx2.URL, target: str, headers: Mapping[str, str], content: bytes | None
    ) -> Response:
        host = url.raw_host.decode("ascii")
        own = self._own_headers.get(host, {})
        # connected to is the address that was judged; the name stays in the Host header and in what the certificate must say
        request = httpx2.Request(
            method,
            url.copy_with(host=target),
            headers={"accept-encoding": "identity", **headers, **own, "host": url.netloc.decode()},
            content=content,
            extensions={"sni_hostname": host, "timeout": httpx2.Timeout(self._timeout).as_dict()},
        )
        try:
            async with httpx2.AsyncClient(
                verify=self._verify, trust_env=False, follow_redirects=False, timeout=self._timeout
            ) as client:
                answer = await client.send(request, stream=True)
                try:
                    data = await self._body_of(answer, url)
                finally:
                    await answer.aclose()
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            raise _NotConnected(f"no connection to {host!r}: {str(error) or type(error).__name__}") from error
        except httpx2.TransportError as error:
            words = f"{host!r} did not answer: {str(error) or type(error).__name__}"
            if method != "GET":
                raise OutcomeUnknown(
                    words, hint="it may have done what was sent: find out before it is sent again"
                ) from error
            raise TemporaryError(words) from error
        return _response(answer, url, data)

    async def _body_of(self, answer: httpx2.Response, url: httpx2.URL) -> bytes:
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise PermanentError(f"{url.host!r} sends compressed content, which was not asked for and is not unpacked")
        data = bytearray()
        async for chunk in answer.aiter_raw():
            data += chunk
            if len(data) > self._max_bytes:
                raise BoundExceeded(
                    f"the answer of {url.host!r} has more than {self._max_bytes:,} bytes",
                    hint="ask for less, a page at a time",
                )
        return bytes(data)


def _url_of(address: str) -> httpx2.URL:
    if len(address) > MAX_URL_CHARS:
        raise InvalidInput(f"the address has {len(address):,} characters, above the limit of {MAX_URL_CHARS:,}")
    try:
        url = httpx2.URL(address)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise InvalidInput(f"{address!r:.200} is no address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise InvalidInput(
            f"{address!r:.200} is no address of the web", hint="it begins with https:// or http:// and a host"
        )
    if url.userinfo:
        raise InvalidInput("the address has a user in it", hint="leave out what stands before @")
    return url


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    if len(headers) > MAX_HEADERS:
        raise InvalidInput(f"there are {len(headers)} headers, above the limit of {MAX_HEADERS}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name) or not value.isprintable() or not value.isascii():
            raise InvalidInput(f"the header {name!r:.100} cannot be sent", hint="names and values are printable ASCII")
        if name.lower() in _OURS:
            raise SecurityError(
                f"the header {name!r} is not for the caller to write", hint="the program sets it, in headers="
            )
        checked[name.lower()] = value
    return checked


def _content_of(body: object, headers: dict[str, str]) -> bytes | None:
    if body is None:
        return None
    if isinstance(body, str):
        headers.setdefault("content-type", "text/plain; charset=utf-8")
        return body.encode()
    headers.setdefault("content-type", "application/json")
    return json.dumps(body, ensure_ascii=False).encode()


def _response(answer: httpx2.Response, url: httpx2.URL, data: bytes) -> Response:
    kind = answer.headers.get("content-type", "")
    try:
        text = data.decode(answer.charset_encoding or "utf-8", "replace")
    except LookupError:
        text = data.decode("utf-8", "replace")
    decoded = None
    if "json" in kind.lower():
        try:
            decoded = json.loads(text)
        except (ValueError, RecursionError):
            decoded = None  # it says so and is not
    shown = {name: answer.headers[name] for name in _SHOWN_HEADERS if name in answer.headers}
    return Response(
        status=answer.status_code, url=str(url), headers=shown, text=text if decoded is None else "", json=decoded
    )


def _judged(response: Response) -> Response:
    """Return what came back, unless it says that the same request may be well later."""
    if response["status"] in _WAITING:
        _raise_later(response)
    return response


def _raise_later(response: Response) -> NoReturn:
    words = f"the server answered {response['status']}: {response['text'][:200]!r}"
    raise ResourceExhausted(words, hint="try again later", retry_after_seconds=_retry_after(response["headers"]))


def _retry_after(headers: Mapping[str, str]) -> float | None:
    written = headers.get("retry-after", "").strip()
    if written.isascii() and written.isdigit():
        return float(written[:9])
    try:
        moment = parsedate_to_datetime(written)
        return max(0.0, moment.timestamp() - ambient.clock.now_ns() / NANOSECONDS)
    except (ValueError, TypeError, OverflowError):
        return None
