"""Which hosts a tool may ask, and which addresses behind them are public."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.errors import ConfigurationError, SecurityError, TemporaryError
from agenticflow.integrations.tools.http.addresses import AllowedHosts, is_public, look_up

PUBLIC = "93.184.215.14"


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8"])
def test_addresses_of_the_open_internet(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "169.254.169.254"),
        *("100.64.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd12:3456::1", "ff02::1", "2001:db8::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "64:ff9b::7f00:1", "64:ff9b::a00:1", "64:ff9b:1::1"),
        *("2002:7f00:1::", "2002:a00:1::1", "2001:0:4136:e378:8000:63bf:80ff:fffe", "::127.0.0.1", "::7f00:1"),
        *("localhost", "", "127.0.0.1.evil", "0x7f000001", "2130706433"),
    ],
)  # fmt: skip
def test_addresses_of_this_machine_and_its_networks(address: str) -> None:
    assert not is_public(address)


@given(st.ip_addresses(v=4))
def test_an_address_inside_another_is_judged_as_itself(address: Any) -> None:
    assert is_public(f"::ffff:{address}") == is_public(f"64:ff9b::{address}") == is_public(str(address))


def hosts(*public: str, private: tuple[str, ...] = (), found: list[str] | Exception | None = None) -> AllowedHosts:
    async def resolve(host: str, port: int) -> list[str]:
        if isinstance(found, Exception):
            raise found
        return [PUBLIC] if found is None else found

    return AllowedHosts(public, private, resolver=resolve)


@pytest.mark.parametrize(
    ("allowed", "scheme", "host", "port"),
    [
        ("api.example.com", "https", "api.example.com", None),
        ("api.example.com", "http", "API.Example.com.", None),
        ("api.example.com", "https", "api.example.com", 443),
        ("*.example.com", "https", "a.b.example.com", None),
        ("api.example.com:8443", "https", "api.example.com", 8443),
        ("93.184.215.14", "http", "93.184.215.14", None),
        ("[2606:4700:4700::1111]:8080", "http", "2606:4700:4700::1111", 8080),
        ("2606:4700:4700::1111", "http", "2606:4700:4700::1111", None),
    ],
)
async def test_what_is_named_is_allowed(allowed: str, scheme: str, host: str, port: int | None) -> None:
    assert await hosts(allowed).addresses_of(scheme, host, port) == [PUBLIC]


@pytest.mark.parametrize(
    ("allowed", "scheme", "host", "port"),
    [
        ("api.example.com", "https", "example.com", None),
        ("api.example.com", "https", "api.example.com.evil.test", None),
        ("api.example.com", "https", "api.example.com", 8443),
        ("api.example.com", "http", "api.example.com", 443),
        ("*.example.com", "https", "example.com", None),
        ("*.example.com", "https", "evilexample.com", None),
        ("api.example.com:8443", "https", "api.example.com", None),
        ("127.0.0.1", "http", "127.1", None),
    ],
)
async def test_what_is_not_named_is_not(allowed: str, scheme: str, host: str, port: int | None) -> None:
    with pytest.raises(SecurityError, match="is not allowed") as refusal:
        await hosts(allowed).addresses_of(scheme, host, port)
    assert refusal.value.hint == f"allowed are {allowed}"


@pytest.mark.parametrize("found", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"]])
async def test_one_private_address_is_enough_to_refuse(found: list[str]) -> None:
    with pytest.raises(SecurityError, match="which is not public"):
        await hosts("api.example.com", found=found).addresses_of("https", "api.example.com", None)
    private = hosts("other.example.com", private=("api.example.com",), found=found)
    assert await private.addresses_of("https", "api.example.com", None) == found


@pytest.mark.parametrize("found", [[], OSError("no such host"), TimeoutError(), UnicodeError("label too long")])
async def test_a_name_that_cannot_be_looked_up_is_the_worlds_move(found: Any) -> None:
    with pytest.raises(TemporaryError, match=r"'api\.example\.com'"):
        await hosts("api.example.com", found=found).addresses_of("https", "api.example.com", None)


@pytest.mark.parametrize(
    "written",
    [
        "https://api.example.com",
        "user@host",
        " ",
        "*",
        "a.*.com",
        "*.*.com",
        "api.example.com:0",
        "api.example.com:70000",
        7,
    ],
)
def test_what_is_no_host_is_refused(written: Any) -> None:
    with pytest.raises(ConfigurationError):
        AllowedHosts([written])


def test_some_host_is_named_and_not_too_many() -> None:
    wrong: Any = "api.example.com"
    with pytest.raises(ConfigurationError, match="no host is allowed"):
        AllowedHosts([])
    with pytest.raises(ConfigurationError, match="hosts are the text"):
        AllowedHosts(wrong)
    with pytest.raises(ConfigurationError, match="1,001 hosts are allowed"):
        AllowedHosts([f"h{n}.test" for n in range(1_001)])
    assert str(AllowedHosts([f"h{n}.test" for n in range(30)])).endswith("h19.test …")


async def test_this_machine_knows_its_own_name() -> None:
    async with asyncio.timeout(10):
        assert "127.0.0.1" in await look_up("127.0.0.1", 80)
