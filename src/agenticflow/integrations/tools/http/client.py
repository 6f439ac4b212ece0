"""One way out to the web: each request, and each redirect, to hosts that the program allows, to public addresses, within bounds.

Scheme, host, port, and the address that is then connected to are checked each time. Nothing is taken from the environment (no proxy, no
netrc), nothing is kept between calls, compressed answers are not asked for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final, NoReturn, TypedDict

import msgspec

from agenticflow.core.clocks import ambient
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
from agenticflow.integrations.tools.http.addresses import PORTS, AllowedHosts

try:
    import httpx2
except ImportError as error:  # the core does without
    raise ConfigurationError(
        "HTTP tools need the library httpx2, which is not installed",
        hint="install httpx2, or this package with its extra `http`",
    ) from error

__all__ = [
    "FOR_PROGRAMS_ONLY",
    "MAX_RESPONSE_BYTES",
    "NOTHING",
    "TIMEOUT_SECONDS",
    "Client",
    "Credentials",
    "Origin",
    "Response",
    "later",
    "told",
    "url_of",
]

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
FOR_PROGRAMS_ONLY: Final = frozenset(
    {
        *("host", "authorization", "proxy-authorization", "cookie", "connection", "transfer-encoding", "content-length", "te"),
        *("upgrade", "expect", "keep-alive", "trailer", "proxy-connection", "accept-encoding", "forwarded", "via"),
    }
)  # fmt: skip
"""Headers that a model does not write: they say who asks, or how bytes are cut."""
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_WAITING: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class Response(TypedDict):
    """What came back."""

    status: int
    url: str
    headers: dict[str, str]
    text: str
    """Empty where the content is JSON."""
    json: Any


Origin = tuple[str, str, int]
"""Scheme, host and port."""


class Credentials(msgspec.Struct, frozen=True):
    """What goes along to one origin and is shown to nobody: it leaves by no redirect, and is taken out of what comes back."""

    origin: Origin
    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    secrets: tuple[str, ...] = ()
    """The texts that are hidden in answers."""

    def __repr__(self) -> str:
        return f"Credentials(for {self.origin[1]!r})"

    def sent_to(self, url: httpx2.URL) -> bool:
        """Whether they may go to ``url``."""
        return self.origin == (url.scheme, url.host, url.port or PORTS[url.scheme])

    def hidden_in(self, data: bytes) -> bytes:
        """Return ``data`` without what a server repeats of them."""
        for secret in self.secrets:
            data = data.replace(secret.encode(), b"***")
        return data


NOTHING: Final = Credentials(("", "", 0))


class _NotConnected(TemporaryError):
    """Nothing was sent."""


class Client:
    """Asks hosts that are allowed; ``own_headers`` go to the host that they are of."""

    def __init__(
        self, hosts: AllowedHosts, own_headers: dict[str, dict[str, str]], max_bytes: int, timeout: float, verify: Any
    ) -> None:
        self._hosts = hosts
        self._own_headers = own_headers
        self._max_bytes = max_bytes
        self._timeout = timeout
        self._verify = verify

    async def request(
        self,
        method: str,
        address: str,
        headers: Mapping[str, str],
        body: object,
        key: str,
        *,
        credentials: Credentials = NOTHING,
        may_repeat: bool | None = None,
    ) -> Response:
        """Return what came back: of a GET what it leads to, of others the first answer.

        Raises ``OutcomeUnknown`` when a server that was sent something does not answer, ``TemporaryError`` where sending it again changes
        nothing: when it ``may_repeat``, by default a GET.
        """
        url = url_of(address)
        repeats = method == "GET" if may_repeat is None else may_repeat
        sent = _checked_headers(headers)
        content = _content_of(body, sent)
        if key:
            sent["idempotency-key"] = key  # whatever a model makes up
        if self._verify is None:
            self._verify = httpx2.create_ssl_context()  # some 20 ms: once is enough
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._single(method, url, sent, content, credentials, repeats)
            where = response["headers"].get("location")
            if method != "GET":
                return response  # what must not happen twice is not sent again, wherever that would lead
            if response["status"] not in _REDIRECTS or not where:
                return _judged(response)
            url = url_of(str(url.join(where)))
        raise PermanentError(f"{address!r:.200} leads on more than {MAX_REDIRECTS} times")

    async def _single(
        self,
        method: str,
        url: httpx2.URL,
        headers: Mapping[str, str],
        content: bytes | None,
        credentials: Credentials,
        repeats: bool,
    ) -> Response:
        host = url.raw_host.decode("ascii")
        *others, last = await self._hosts.addresses_of(url.scheme, host, url.port)
        for target in others:
            try:
                return await self._asked(method, url, target, headers, content, credentials, repeats)
            except _NotConnected:
                continue  # nothing was sent: the next one may be reached
        return await self._asked(method, url, last, headers, content, credentials, repeats)

    async def _asked(
        self,
        method: str,
        url: httpx2.URL,
        target: str,
        headers: Mapping[str, str],
        content: bytes | None,
        credentials: Credentials,
        repeats: bool,
    ) -> Response:
        host = url.raw_host.decode("ascii")
        own = self._own_headers.get(host, {})
        goes_to = url.copy_with(host=target)
        if credentials.sent_to(url):
            own = {**own, **credentials.headers}
            goes_to = goes_to.copy_merge_params(dict(credentials.query)) if credentials.query else goes_to
        # connected to is the address that was judged; the name stays in the Host header and in what the certificate must say
        request = httpx2.Request(
            method,
            goes_to,
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
            if not repeats:
                raise OutcomeUnknown(
                    words, hint="it may have done what was sent: find out before it is sent again"
                ) from error
            raise TemporaryError(words) from error
        return _response(answer, url, credentials.hidden_in(data))

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


def url_of(address: str) -> httpx2.URL:
    """Return an address of the web. Raises ``InvalidInput``."""
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
        if name.lower() in FOR_PROGRAMS_ONLY:
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


def told(response: Response) -> str:
    """Return the words of what came back, JSON as it is written."""
    return response["text"] if response["json"] is None else json.dumps(response["json"], ensure_ascii=False)


def _judged(response: Response) -> Response:
    """Return what came back, unless it says that the same request may be well later."""
    if response["status"] in _WAITING:
        later(response)
    return response


def later(response: Response) -> NoReturn:
    """Raise what says that the same request may be well later, and when, where the server said so."""
    words = f"the server answered {response['status']}: {told(response)[:200]!r}"
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
