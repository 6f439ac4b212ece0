"""The operations of an OpenAPI document as tools. They go out by the way of ``http_get`` and ``http_send``, to hosts that are allowed."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final, cast

from agenticflow.core.engine import EffectClass
from agenticflow.core.tools import ToolResult
from agenticflow.core.types import MAX_BLOB_BYTES
from agenticflow.errors import (
    AgenticFlowError,
    ConfigurationError,
    DefinitionError,
    OutcomeUnknown,
    PermanentError,
    SecurityError,
)
from agenticflow.integrations.tools.http.addresses import PORTS, AllowedHosts, Resolver
from agenticflow.integrations.tools.http.client import (
    MAX_RESPONSE_BYTES,
    TIMEOUT_SECONDS,
    Client,
    Origin,
    Response,
    later,
    told,
    url_of,
)
from agenticflow.integrations.tools.http.openapi.composing import composed
from agenticflow.integrations.tools.http.openapi.credentials import (
    Scheme,
    Secret,
    credentials_for,
    schemes_in,
    way_in,
)
from agenticflow.integrations.tools.http.openapi.operations import LeftOut, Operation, operations_in, servers_in
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolOptions, define
from agenticflow.tools.tool import Tool

__all__ = ["OpenApiTool", "fetch_openapi", "tools_from_openapi"]

log = logging.getLogger("agenticflow.tools")

MAX_TOOLS: Final = 200
"""Made of one document: no model is told of more."""
MAX_DOCUMENT_BYTES: Final = 16 * 1024 * 1024
MAX_PREFIX_CHARS: Final = 30
SHOWN_CHARS: Final = 500
SHOWN_NAMES: Final = 20
_NOT_JSON: Final = frozenset({"tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool"})
_EFFECTS: Final = {
    "GET": EffectClass.PURE,
    "PUT": EffectClass.IDEMPOTENT,
    "DELETE": EffectClass.IDEMPOTENT,
    "POST": EffectClass.AT_MOST_ONCE,
    "PATCH": EffectClass.AT_MOST_ONCE,
}
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_REFUSED_UNDONE: Final = frozenset({425, 429})
"""With these a server says that it has not begun."""


class OpenApiTool(Tool):
    """One operation. Made by ``tools_from_openapi``."""

    def __init__(
        self,
        operation: Operation,
        name: str,
        base: str,
        client: Client,
        schemes: tuple[Scheme, ...],
        options: ToolOptions,
    ) -> None:
        """Raises ``DefinitionError`` for terms that contradict each other."""
        self.operation = operation
        self._definition = define(name, operation.description, operation.schema, options, category="web")
        self.name = name
        self.description = operation.description
        self.category = "web"
        self._base = base
        self._client = client
        self._schemes = schemes

    def get_schema(self) -> Mapping[str, Any]:
        return self.operation.schema

    def get_required_permissions(self) -> Collection[str]:
        return self.definition.permissions

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Ask the server and return what it answers: JSON as data, else its text. Raises what its status means."""
        operation, effect = self.operation, self.definition.effect
        sent = composed(operation, self._base, params)
        response = await self._client.request(
            operation.method,
            sent.address,
            sent.headers,
            sent.body,
            "" if effect is EffectClass.PURE else context.effect_key,
            credentials=credentials_for(origin_of(self._base), self._schemes),
            may_repeat=effect is not EffectClass.AT_MOST_ONCE,
        )
        return ToolResult.success(_value(response, effect))


def tools_from_openapi(
    document: Mapping[str, Any] | str | Path,
    *,
    hosts: Sequence[str] = (),
    private_hosts: Sequence[str] = (),
    base_url: str = "",
    only: Collection[str] = (),
    prefix: str = "",
    credentials: Mapping[str, Secret] | None = None,
    options: Mapping[str, ToolOptions] | None = None,
    max_bytes: int = MAX_RESPONSE_BYTES,
    timeout: float = TIMEOUT_SECONDS,
    resolver: Resolver | None = None,
    verify: Any = None,
) -> tuple[Tool, ...]:
    """Return a tool for each operation of an OpenAPI ``document`` (3.0 to 3.2): data, its text as JSON, or a ``Path`` to JSON or YAML.

    ``hosts`` and ``private_hosts`` are those of ``http_tools``: a document says where it is served, and the program whether to go there.
    ``base_url`` is another place where it is served. ``only`` names operations or tags. ``credentials`` refers to a secret by the name of
    a security scheme: ``{"token": "SHOP_TOKEN"}`` is the environment variable, looked up for each call and shown to nobody. A GET is pure,
    PUT and DELETE are idempotent, POST and PATCH must not happen twice; ``options`` says otherwise, by the name of the operation.

    What cannot be told to a model is left out, and named in the log; with ``only`` it is an error. Raises ``DefinitionError`` for what is
    no such document, ``ConfigurationError`` for what the program says of it.
    """
    data = _data_of(document)
    offered = list(operations_in(data))
    chosen = _chosen(offered, only)
    named = {one.name for one in chosen}
    terms = options or {}
    if unknown := sorted(set(terms) - named):
        raise ConfigurationError(
            f"options are given for {unknown[0]!r}, which is no tool of these",
            hint=f"there are {', '.join(sorted(named)[:20])}",
        )
    schemes = schemes_in(data, credentials or {})
    client = Client(AllowedHosts(hosts, private_hosts, resolver=resolver), {}, max_bytes, timeout, verify)
    if len(prefix) > MAX_PREFIX_CHARS:
        raise ConfigurationError(
            f"the prefix {prefix!r:.60} has {len(prefix)} characters", hint=f"{MAX_PREFIX_CHARS} do"
        )
    made: list[Tool] = []
    without: list[str] = []
    for operation in chosen:
        base = _base_of(base_url or operation.server or servers_in(data), operation.name)
        ways = way_in(operation.security, schemes)
        if ways is None:
            without.append(operation.name)
        if ways and base.startswith("http://") and not _is_named(base, private_hosts):
            raise ConfigurationError(
                f"the credential {ways[0].name!r} would go to {base!r:.200} in the clear",
                hint="give base_url= with https://, or name the host in private_hosts when that is meant",
            )
        name = f"{prefix}{operation.name}"
        own = _terms(operation, terms, max_bytes, timeout)
        made.append(OpenApiTool(operation, name, base, client, ways or (), own))
    if without:
        log.warning("no credentials are given for %d tools that want some: %s", len(without), _listed(without))
    return tuple(made)


async def fetch_openapi(
    url: str,
    *,
    hosts: Sequence[str] = (),
    private_hosts: Sequence[str] = (),
    max_bytes: int = MAX_DOCUMENT_BYTES,
    timeout: float = TIMEOUT_SECONDS,
    resolver: Resolver | None = None,
    verify: Any = None,
) -> Mapping[str, Any]:
    """Return the document at ``url``, JSON or YAML, from a host that is allowed. Raises as ``http_get`` fails, and ``DefinitionError``."""
    client = Client(AllowedHosts(hosts, private_hosts, resolver=resolver), {}, max_bytes, timeout, verify)
    response = await client.request("GET", url, {"accept": "application/json, application/yaml"}, None, "")
    if response["status"] != 200:
        raise PermanentError(f"{url!r:.200} answered {response['status']}, and no document")
    data = response["json"]
    return _checked(_read_text(response["text"], url) if data is None else data, url)


def origin_of(base: str) -> Origin:
    """Return where credentials may go."""
    url = url_of(base)
    return (url.scheme, url.host, url.port or PORTS[url.scheme])


def _is_named(base: str, hosts: Sequence[str]) -> bool:
    _, host, port = origin_of(base)
    return bool({host, f"{host}:{port}"} & {one.strip().lower() for one in hosts})


# --- the document -----------------------------------------------------------------------------------------------------


def _data_of(document: object) -> Mapping[str, Any]:
    if isinstance(document, Path):
        try:
            if document.stat().st_size > MAX_DOCUMENT_BYTES:
                raise DefinitionError(f"{document} has more than {MAX_DOCUMENT_BYTES:,} bytes")
            text = document.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DefinitionError(f"{document} cannot be read: {error}") from error
        return _checked(_read_text(text, str(document)), str(document))
    if isinstance(document, str):
        if document.lstrip().startswith(("http://", "https://")):
            raise DefinitionError(
                "the document is an address", hint="document = await fetch_openapi(url, hosts=[…]), then give that"
            )
        return _checked(_read_text(document, "the text"), "the text")
    return _checked(document, "the document")


def _read_text(text: str, where: str) -> object:
    if text.lstrip().startswith("{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise DefinitionError(f"{where:.200} is no JSON: {error}") from error
    import yaml  # late: only for those who have YAML

    class Loader(yaml.SafeLoader):
        """Takes what JSON has: no dates, and `on` and `no` are words."""

    Loader.yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in rules if tag not in _NOT_JSON]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(?:true|false)$"), list("tf"))
    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader, with less
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError(f"{where:.200} is neither JSON nor YAML: {str(error)[:300]}") from error


def _checked(data: object, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise DefinitionError(
            f"{where:.200} is no OpenAPI document", hint="give its data, its text, or a Path to its file"
        )
    return data


# --- choosing ---------------------------------------------------------------------------------------------------------


def _chosen(offered: Sequence[Operation | LeftOut], only: Collection[str]) -> list[Operation]:
    if isinstance(only, str):
        raise ConfigurationError(f"only is the text {only!r:.60}", hint=f"give a list: [{only!r:.60}]")
    operations = [one for one in offered if isinstance(one, Operation)]
    left_out = {one.name: one.reason for one in offered if isinstance(one, LeftOut)}
    if only:
        wanted = set(only)
        known = {one.name for one in operations} | {tag for one in operations for tag in one.tags}
        for name in sorted(wanted & set(left_out)):
            raise DefinitionError(f"the operation {name!r} is no tool: {left_out[name]}", hint="leave it out of only=")
        if unknown := sorted(wanted - known):
            raise ConfigurationError(
                f"the document has no operation or tag {unknown[0]!r:.80}",
                hint=f"there are {', '.join(sorted(known)[:30])}",
            )
        operations = [one for one in operations if one.name in wanted or wanted & set(one.tags)]
    if left_out and not only:
        reasons = _listed(f"{name} ({reason})" for name, reason in left_out.items())
        log.warning("%d operations are no tools: %s", len(left_out), reasons)
    if not operations:
        raise DefinitionError("the document has no operation that can be a tool")
    if len(operations) > MAX_TOOLS:
        raise ConfigurationError(
            f"the document has {len(operations):,} operations, above the limit of {MAX_TOOLS}",
            hint="choose with only=: names of operations, or tags",
        )
    return operations


def _listed(names: Iterable[str]) -> str:
    shown = list(islice(names, SHOWN_NAMES + 1))
    return ", ".join(shown[:SHOWN_NAMES]) + (" …" if len(shown) > SHOWN_NAMES else "")


def _base_of(written: str, name: str) -> str:
    if not written.startswith(("https://", "http://")):
        raise ConfigurationError(
            f"the document does not say where {name!r} is served: {written!r:.120}",
            hint='give base_url="https://api.example.com/v1"',
        )
    try:
        url_of(written)
    except AgenticFlowError as error:
        raise ConfigurationError(f"{written!r:.200} is no address: {error.message}", hint="give base_url=") from error
    return written.partition("#")[0].partition("?")[0]


def _terms(operation: Operation, given: Mapping[str, ToolOptions], max_bytes: int, timeout: float) -> ToolOptions:
    effect = _EFFECTS[operation.method]
    said = given.get(operation.name, {})
    is_pure = said.get("effect", effect) == EffectClass.PURE
    terms: dict[str, Any] = {
        "effect": effect,
        "timeout": timeout,
        "permissions": ["http:get" if is_pure else "http:send"],
        "max_result_bytes": min(8 * max_bytes + 65_536, MAX_BLOB_BYTES),
    }
    return cast("ToolOptions", {**terms, **said})


# --- answers ----------------------------------------------------------------------------------------------------------


def _value(response: Response, effect: EffectClass) -> object:
    status = response["status"]
    if 200 <= status < 300:
        if response["json"] is not None or response["text"]:
            return response["text"] if response["json"] is None else response["json"]
        where = response["headers"].get("location")
        return {"status": status, "location": where} if where else {"status": status}
    words = f"the server answered {status}: {told(response)[:SHOWN_CHARS] or 'nothing more'}"
    if status in _LATER:
        if effect is EffectClass.AT_MOST_ONCE and status not in _REFUSED_UNDONE:
            raise OutcomeUnknown(words, hint="it may have been done: find out before it is asked again")
        later(response)
    if status in (401, 403):
        raise SecurityError(words, hint="the program has to provide a credential that may do this")
    if 300 <= status < 400:
        raise PermanentError(words, hint="it leads elsewhere, which is not followed: give base_url=")
    if status >= 500 and effect is EffectClass.AT_MOST_ONCE:
        raise OutcomeUnknown(words, hint="it may have been done: find out before it is asked again")
    raise PermanentError(words)
