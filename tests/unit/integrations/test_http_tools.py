"""HTTP tools against real servers on this machine: what comes back, and everything that must not happen."""

from __future__ import annotations

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from agenticflow.core.tools import Caller, Move, ToolCall, ToolFailure, ToolResult
from agenticflow.errors import ConfigurationError
from agenticflow.integrations.tools.http import http_tools
from agenticflow.tools import ToolPipeline, ToolRegistry
from tests.contracts.house import plain_environment
from tests.listening import listening

Answer = Callable[[str, bytes], bytes | Awaitable[bytes]]


class Server:
    """Answers with what ``paths`` says, and notes what it was asked."""

    def __init__(self) -> None:
        self.paths: dict[str, bytes] = {}
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self.is_silent = False
        self.hangs_until: asyncio.Event | None = None
        self._open = AsyncExitStack()

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self.port = await self._open.enter_async_context(listening(self._serve, context))

    async def stop(self) -> None:
        await self._open.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        length = next(
            (int(line.split(":")[1]) for line in head.lower().splitlines() if line.startswith("content-length:")), 0
        )
        self.bodies.append(await reader.readexactly(length))
        if self.hangs_until is not None:
            await self.hangs_until.wait()
        if not self.is_silent:
            writer.write(self.paths.get(head.split()[1], response(b"nothing here", status="404 Not Found")))
            await writer.drain()


def response(body: bytes, *headers: str, status: str = "200 OK", kind: str = "text/plain") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def redirect(where: str, status: str = "302 Found") -> bytes:
    return response(b"", f"location: {where}", status=status)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    await found.start()
    yield found
    await found.stop()


@pytest.fixture
async def other() -> AsyncIterator[Server]:
    found = Server()
    await found.start()
    yield found
    await found.stop()


LOOKED_UP: list[str] = []


async def resolve(host: str, port: int) -> list[str]:
    """Say that names ending in ``.test`` are here; ``public.test`` leads to where cloud machines keep their secrets."""
    LOOKED_UP.append(host)
    if host == "two.test":
        return ["127.0.0.2", "127.0.0.1"]
    return ["169.254.169.254"] if host == "public.test" else ["127.0.0.1"]


async def call(
    name: str, *private: str, public: tuple[str, ...] = (), caller: Caller | None = None, **given: Any
) -> ToolResult:
    options = {key: given.pop(key) for key in ("max_bytes", "timeout", "verify") if key in given}
    own = given.pop("own", None)
    tools = ToolRegistry.of(http_tools(public, private_hosts=private, headers=own, resolver=resolve, **options))
    asked = ToolCall(name, given, effect_key="the-key")
    if caller is None:
        return await ToolPipeline().invoke(asked, tools=tools)
    return await ToolPipeline().invoke(asked, caller, tools)


def failure(result: ToolResult) -> ToolFailure:
    assert result.error is not None, result
    return result.error


async def test_a_page_is_fetched(server: Server) -> None:
    server.paths["/hello?x=1"] = response(
        "grüß dich".encode("latin-1"), "x-secret: 1", kind="text/plain; charset=latin-1"
    )
    url = f"http://web.test:{server.port}/hello?x=1"
    result = await call("http_get", f"web.test:{server.port}", url=url, headers={"Accept": "text/plain"})
    assert result.value == {
        "status": 200,
        "url": url,
        "headers": {"content-type": "text/plain; charset=latin-1", "content-length": "9"},
        "text": "grüß dich",
        "json": None,
    }
    head = server.heads[0].lower()
    assert f"host: web.test:{server.port}\r\n" in head
    assert "accept: text/plain\r\n" in head
    assert "accept-encoding: identity\r\n" in head


async def test_an_address_that_cannot_be_reached_is_no_reason_not_to_try_the_next(server: Server) -> None:
    server.paths["/"] = response(b"here")
    host = f"two.test:{server.port}"
    for name in ("http_get", "http_send"):
        found: Any = (await call(name, host, url=f"http://{host}/")).value
        assert found["text"] == "here"
    assert len(server.heads) == 2
    await server.stop()
    assert "no connection to 'two.test'" in failure(await call("http_send", host, url=f"http://{host}/")).message


async def test_json_is_decoded(server: Server) -> None:
    server.paths["/a"] = response(b'{"n": [1]}', kind="application/problem+json")
    server.paths["/b"] = response(b"{not json", kind="application/json")
    server.paths["/c"] = response(b"\xff", kind="text/plain; charset=unheard-of")
    host = f"web.test:{server.port}"
    found: Any = (await call("http_get", host, url=f"http://{host}/a")).value
    assert (found["json"], found["text"]) == ({"n": [1]}, "")
    found = (await call("http_get", host, url=f"http://{host}/b")).value
    assert (found["json"], found["text"]) == (None, "{not json")
    found = (await call("http_get", host, url=f"http://{host}/c")).value
    assert found["text"] == "\ufffd"


async def test_a_status_that_is_an_answer_is_one_and_one_that_means_later_is_the_worlds_move(server: Server) -> None:
    host = f"web.test:{server.port}"
    found: Any = (await call("http_get", host, url=f"http://{host}/missing")).value
    assert found["status"] == 404
    server.paths["/busy"] = response(b"", "retry-after: 7", status="429 Too Many Requests")
    server.paths["/down"] = response(
        b"", "retry-after: Wed, 21 Oct 2015 07:28:00 GMT", status="503 Service Unavailable"
    )
    server.paths["/odd"] = response(b"", "retry-after: soon", status="502 Bad Gateway")
    for path, seconds in (("busy", 7.0), ("down", 0.0), ("odd", None)):
        failed = failure(await call("http_get", host, url=f"http://{host}/{path}"))
        assert (failed.move, failed.retry_after_seconds) == (Move.WORLD, seconds)


async def test_something_is_sent_once_with_its_effect_key(server: Server, other: Server) -> None:
    host = f"web.test:{server.port}"
    server.paths["/orders"] = response(b"made", status="201 Created")
    found: Any = (await call("http_send", host, url=f"http://{host}/orders", body={"name": "ñ"})).value
    assert (found["status"], found["text"]) == (201, "made")
    assert json.loads(server.bodies[0]) == {"name": "ñ"}
    assert "idempotency-key: the-key\r\n" in server.heads[0].lower()
    assert "content-type: application/json\r\n" in server.heads[0].lower()
    made_up = {"Idempotency-Key": "another"}
    await call("http_send", host, url=f"http://{host}/orders", body="text", method="PUT", headers=made_up)
    assert "idempotency-key: the-key\r\n" in server.heads[1].lower()
    assert server.bodies[1] == b"text"
    await call("http_send", host, url=f"http://{host}/orders", method="DELETE")
    server.paths["/moved"] = redirect(f"http://{host}/orders", "307 Temporary Redirect")
    found = (await call("http_send", host, url=f"http://{host}/moved", body={})).value
    assert (found["status"], len(server.heads)) == (307, 4), "what must not happen twice is not sent again"
    server.paths["/later"] = response(b"", status="503 Service Unavailable")
    found = (await call("http_send", host, url=f"http://{host}/later")).value
    assert found["status"] == 503


async def test_nobody_knows_what_was_sent_to_a_server_that_does_not_answer(server: Server) -> None:
    host = f"web.test:{server.port}"
    server.is_silent = True
    failed = failure(await call("http_send", host, url=f"http://{host}/orders", body={}))
    assert (failed.code, failed.move) == ("outcome_unknown", Move.OPERATOR)
    assert failure(await call("http_get", host, url=f"http://{host}/orders")).move is Move.WORLD
    await server.stop()
    assert failure(await call("http_send", host, url=f"http://{host}/orders", body={})).code == "temporary", (
        "nothing was sent"
    )


async def test_redirects_are_followed_where_they_may_lead(server: Server, other: Server) -> None:
    here, there = f"web.test:{server.port}", f"next.test:{other.port}"
    server.paths["/a"] = redirect("/b")
    server.paths["/b"] = redirect(f"http://{there}/c", "308 Permanent Redirect")
    other.paths["/c"] = response(b"there")
    LOOKED_UP.clear()
    own = {here.partition(":")[0]: {"Authorization": "Bearer secret"}}
    found: Any = (await call("http_get", here, there, url=f"http://{here}/a", own=own)).value
    assert (found["text"], found["url"]) == ("there", f"http://{there}/c")
    assert LOOKED_UP == ["web.test", "web.test", "next.test"], "once for each request: what was judged is what is asked"
    assert all("authorization: bearer secret" in head.lower() for head in server.heads)
    assert "secret" not in other.heads[0], "what is for one host leaves it by no redirect"


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [
        ("http://elsewhere.test/", "security", "the host 'elsewhere.test' is not allowed"),
        ("http://public.test/latest/meta-data/", "security", "has the address 169.254.169.254, which is not public"),
        ("http://127.0.0.1/", "security", "the host '127.0.0.1' is not allowed"),
        ("http://[::1]/", "security", "the host '::1' is not allowed"),
        ("http://0x7f.1/", "security", "is not allowed"),
        ("//elsewhere.test/x", "security", "is not allowed"),
        ("https://web.test/", "security", "is not allowed"),
        ("file:///etc/passwd", "invalid_input", "is no address of the web"),
        ("ftp://web.test/", "invalid_input", "is no address of the web"),
        ("http://user:password@web.test/", "invalid_input", "the address has a user in it"),
        ("http://web.test:99999/", "security", "is not allowed"),
    ],
)
@pytest.mark.parametrize("is_redirect", [True, False])
async def test_nothing_leads_to_where_it_may_not(
    server: Server, where: str, code: str, words: str, is_redirect: bool
) -> None:
    host = f"web.test:{server.port}"
    server.paths["/go"] = redirect(where)
    url = f"http://{host}/go" if is_redirect else where if "://" in where else f"http:{where}"
    failed = failure(await call("http_get", host, public=("public.test",), url=url))
    assert failed.code == code
    assert words in failed.message
    assert "password" not in failed.message or code != "invalid_input"


async def test_a_circle_of_redirects_ends(server: Server) -> None:
    host = f"web.test:{server.port}"
    server.paths["/a"] = redirect("/a")
    assert "leads on more than 5 times" in failure(await call("http_get", host, url=f"http://{host}/a")).message
    assert len(server.heads) == 6


async def test_answers_are_bounded_in_size_and_never_unpacked(server: Server) -> None:
    host = f"web.test:{server.port}"
    server.paths["/large"] = response(b"x" * 2_000)
    server.paths["/packed"] = response(b"\x1f\x8b", "content-encoding: gzip")
    failed = failure(await call("http_get", host, url=f"http://{host}/large", max_bytes=1_000))
    assert (failed.code, failed.move) == ("bound_exceeded", Move.CALLER)
    assert "compressed content" in failure(await call("http_get", host, url=f"http://{host}/packed")).message


async def test_an_answer_that_does_not_come_is_not_waited_for(server: Server) -> None:
    server.hangs_until = asyncio.Event()
    host = f"web.test:{server.port}"
    failed = failure(await call("http_get", host, url=f"http://{host}/", timeout=0.2))
    assert failed.move is Move.WORLD
    server.hangs_until.set()


@pytest.mark.parametrize("name", ["Host", "authorization", "Cookie", "Content-Length", "accept-encoding"])
async def test_a_model_does_not_say_who_asks(name: str) -> None:
    assert failure(await call("http_get", "web.test", url="http://web.test/", headers={name: "x"})).code == "security"


@pytest.mark.parametrize(
    "headers", [{"a b": "x"}, {"x": "a\r\nHost: evil"}, {"x": "ñ"}, {f"h{n}": "x" for n in range(60)}]
)
async def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    assert failure(await call("http_get", "web.test", url="http://web.test/", headers=headers)).code == "invalid_input"
    assert failure(await call("http_get", "web.test", url="http://web.test/" + "x" * 5_000)).code == "invalid_input"


async def test_reading_and_sending_are_permissions_of_their_own() -> None:
    reader = Caller(principal="eve", permissions=frozenset({"http:get"}))
    assert failure(await call("http_send", "web.test", url="http://web.test/", caller=reader)).message.endswith(
        "lacks http:send"
    )


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for ``web.test`` that nobody else knows."""
    folder = tmp_path_factory.mktemp("certificate")
    key, file = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
            ),
            *("-subj", "/CN=web.test", "-addext", "subjectAltName=DNS:web.test", "-keyout", key, "-out", file),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    return file, key


async def test_the_certificate_must_be_that_of_the_name_though_an_address_is_asked(
    certificate: tuple[Path, Path],
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server = Server()
    await server.start(context)
    server.paths["/"] = response(b"secure")
    trusting = ssl.create_default_context(cafile=str(certificate[0]))
    here, wrong = f"web.test:{server.port}", f"other.test:{server.port}"
    found: Any = (await call("http_get", here, url=f"https://{here}/", verify=trusting)).value
    assert found["text"] == "secure"
    for host, verify in ((wrong, trusting), (here, None)):
        failed = failure(await call("http_get", host, url=f"https://{host}/", verify=verify))
        assert "certificate verify failed" in failed.message
    await server.stop()


def test_without_the_library_the_import_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['httpx2'] = None\n"
        "from agenticflow.errors import ConfigurationError\n"
        "try:\n    import agenticflow.integrations.tools.http\n"
        "except ConfigurationError as error:\n    print(error)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env=plain_environment(), capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.strip() == (
        "HTTP tools need the library httpx2, which is not installed (install httpx2, or this package with its extra `http`)"
    )


def test_hosts_that_cannot_be_meant_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError):
        http_tools([])
