"""Where a tool may connect to: host names that the program allows, and of the addresses behind them only public ones.

A name is looked up once, every address is judged, and the connection goes to an address that was judged: a name server that gives another
answer a moment later changes nothing. Addresses that stand for IPv4 inside IPv6 are judged as what they stand for.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import msgspec

from agenticflow.errors import ConfigurationError, SecurityError, TemporaryError

__all__ = ["AllowedHosts", "Resolver", "is_public", "look_up"]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolver = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host and port, as text. Raises ``OSError``."""
PORTS: Final = {"http": 80, "https": 443}
MAX_HOSTS: Final = 1_000
MAX_ADDRESSES: Final = 4
"""Of one host that are tried."""
LOOK_UP_SECONDS: Final = 10.0
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")


class _Host(msgspec.Struct, frozen=True):
    name: str
    port: int | None
    """``None`` is the usual one of the scheme."""
    is_any_below: bool
    """Whether names below it are meant."""
    may_be_private: bool

    def takes(self, name: str, port: int, scheme: str) -> bool:
        if port != (self.port if self.port is not None else PORTS[scheme]):
            return False
        return name.endswith(f".{self.name}") if self.is_any_below else name == self.name


class AllowedHosts:
    """Hosts as a program writes them: ``api.example.com``, ``*.example.com`` (names below it), ``api.example.com:8443``.

    ``private`` ones may have private addresses too: loopback, link-local, those of a local network.
    """

    def __init__(self, public: Iterable[str], private: Iterable[str] = (), *, resolver: Resolver | None = None) -> None:
        self._hosts = [*(_host(one, may_be_private=False) for one in _listed(public))]
        self._hosts += [_host(one, may_be_private=True) for one in _listed(private)]
        if not self._hosts:
            raise ConfigurationError("no host is allowed", hint='name them: http_tools(["api.example.com"])')
        if len(self._hosts) > MAX_HOSTS:
            raise ConfigurationError(f"{len(self._hosts):,} hosts are allowed", hint=f"name at most {MAX_HOSTS:,}")
        self._resolver = resolver or look_up

    async def addresses_of(self, scheme: str, host: str, port: int | None) -> list[str]:
        """Return the addresses to connect to, the first to be tried first.

        Raises ``SecurityError`` for a host or an address that is not allowed, ``TemporaryError`` when the name cannot be looked up.
        """
        name = host.rstrip(".").lower()
        number = port if port is not None else PORTS[scheme]
        matching = [one for one in self._hosts if one.takes(name, number, scheme)]
        if not matching:
            raise SecurityError(
                f"the host {f'{name}:{number}' if port else name!r} is not allowed", hint=f"allowed are {self}"
            )
        try:
            async with asyncio.timeout(LOOK_UP_SECONDS):
                found = await self._resolver(name, number)
        except (OSError, UnicodeError) as error:  # a time limit is an OSError
            raise TemporaryError(
                f"the host {name!r} cannot be looked up: {str(error) or 'it took too long'}"
            ) from error
        if not found:
            raise TemporaryError(f"the host {name!r} has no address")
        if not any(one.may_be_private for one in matching):
            for address in found:
                if not is_public(address):
                    raise SecurityError(
                        f"the host {name!r} has the address {address}, which is not public",
                        hint="the program names it in private_hosts when that is meant",
                    )
        return found[:MAX_ADDRESSES]

    def __str__(self) -> str:
        names = [
            f"{'*.' if one.is_any_below else ''}{one.name}{f':{one.port}' if one.port else ''}" for one in self._hosts
        ]
        return ", ".join(names[:20]) + (" …" if len(names) > 20 else "")


def is_public(address: str) -> bool:
    """Whether ``address`` is one of the open internet."""
    try:
        found: Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    return all(one.is_global and not one.is_multicast for one in _meant(found)) and "%" not in address


def _meant(address: Address) -> list[Address]:
    """Return the address itself and the IPv4 addresses that it leads to."""
    meant: list[Address] = [address]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return [address.ipv4_mapped]
        if address.sixtofour is not None:
            meant.append(address.sixtofour)
        if address.teredo is not None:
            meant.extend(address.teredo)
        if address in _NAT64 or address in _NAT64_LOCAL:
            return [ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)]
        if int(address) >> 32 == 0:  # the old form ::1.2.3.4
            meant.append(ipaddress.IPv4Address(int(address)))
    return meant


async def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of ``host`` as the machine knows them."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _listed(hosts: Iterable[str]) -> list[str]:
    if isinstance(hosts, str):
        raise ConfigurationError(f"hosts are the text {hosts!r:.80}", hint=f"give a list: [{hosts!r:.80}]")
    return list(hosts)


def _host(written: str, *, may_be_private: bool) -> _Host:
    if not isinstance(written, str) or "/" in written or "@" in written or not written.strip():
        raise ConfigurationError(
            f"{written!r:.80} is no host", hint="write api.example.com, *.example.com or api.example.com:8443"
        )
    name, _, port = written.strip().lower().rpartition(":") if _has_port(written) else (written.strip().lower(), "", "")
    number = int(port) if port else None
    if number is not None and not 1 <= number <= 65_535:
        raise ConfigurationError(f"the port of {written!r:.80} is {number}", hint="give 1 to 65535")
    is_any_below = name.startswith("*.")
    name = name.removeprefix("*.").strip("[]").rstrip(".")
    if not name or "*" in name:
        raise ConfigurationError(f"{written!r:.80} is no host", hint="a star stands alone and first: *.example.com")
    return _Host(name, number, is_any_below, may_be_private)


def _has_port(written: str) -> bool:
    head, colon, port = written.strip().rpartition(":")
    return bool(colon) and port.isascii() and port.isdigit() and (":" not in head or head.endswith("]"))
