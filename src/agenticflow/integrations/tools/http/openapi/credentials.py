"""What a call proves who it is with: secrets by reference, put where the document wants them, and shown to nobody.

A reference is the name of an environment variable, or a function that returns the secret: it is looked up for each call, so a secret that
was changed is the new one from then on, and none stands in a definition, a schema, an event or an error.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from agenticflow.errors import ConfigurationError, SecurityError
from agenticflow.integrations.tools.http.client import NOTHING, Credentials, Origin
from agenticflow.integrations.tools.http.openapi.schemas import resolved

__all__ = ["Scheme", "Secret", "credentials_for", "schemes_in", "way_in"]

Secret = str | Callable[[], str]
"""``"SHOP_TOKEN"``, the name of an environment variable, or a function that returns the secret."""
MIN_HIDDEN_CHARS: Final = 6
"""Shorter ones are not looked for in answers: they would be found everywhere."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}")


class Scheme(msgspec.Struct, frozen=True):
    """One way to prove who asks, as the document has it, with the secret that the program refers to."""

    name: str
    place: str
    """``header`` or ``query``."""
    key: str
    """Of the header or the query."""
    prefix: str
    """What stands before the secret: ``Bearer``, ``Basic``."""
    secret: Secret
    """For basic authentication ``user:password``."""

    def value(self) -> tuple[str, tuple[str, ...]]:
        """Return what is sent, and the texts that it is known by. Raises ``SecurityError`` when there is none, which does not say more."""
        secret = _looked_up(self.secret)
        if not secret or not secret.isprintable() or not secret.isascii():
            raise SecurityError(
                f"the credential {self.name!r} is not there, or cannot be sent", hint="the program has to provide it"
            )
        if self.prefix != "Basic":
            return (f"{self.prefix} {secret}" if self.prefix else secret), (secret,)
        encoded = base64.b64encode(secret.encode()).decode()
        return f"Basic {encoded}", (secret, encoded)


def _looked_up(secret: Secret) -> str:
    return (os.environ.get(secret, "") if isinstance(secret, str) else str(secret())).strip()


def schemes_in(document: Mapping[str, Any], secrets: Mapping[str, Secret]) -> dict[str, Scheme]:
    """Return the schemes of the document for which there are ``secrets``. Raises ``ConfigurationError`` for one that does not fit."""
    components = document.get("components")
    listed = components.get("securitySchemes") if isinstance(components, Mapping) else None
    known: Mapping[str, Any] = listed if isinstance(listed, Mapping) else {}
    found: dict[str, Scheme] = {}
    for name, secret in secrets.items():
        if name not in known:
            there = ", ".join(map(str, known)) or "none"
            raise ConfigurationError(f"the document has no security scheme {name!r:.80}", hint=f"there are: {there}")
        _check_reference(name, secret)
        found[name] = _scheme(name, resolved(known[name], document), secret)
    return found


def _check_reference(name: str, secret: object) -> None:
    if callable(secret):
        return
    if not isinstance(secret, str) or not _VARIABLE.fullmatch(secret) or not os.environ.get(secret, "").strip():
        # what was written may be the secret itself: it is not repeated
        raise ConfigurationError(
            f"the credential {name!r} refers to no environment variable that is set",
            hint='name one: credentials={"…": "SHOP_TOKEN"}, or give a function that returns the secret',
        )


def _scheme(name: str, given: Mapping[str, Any], secret: Secret) -> Scheme:
    kind = str(given.get("type", "")).lower()
    if kind == "apikey" and given.get("in") in ("header", "query") and isinstance(given.get("name"), str):
        return Scheme(name, given["in"], given["name"], "", secret)
    if kind in ("oauth2", "openidconnect"):
        return Scheme(name, "header", "Authorization", "Bearer", secret)
    if kind == "http" and str(given.get("scheme", "")).lower() in ("bearer", "basic"):
        return Scheme(name, "header", "Authorization", str(given["scheme"]).capitalize(), secret)
    raise ConfigurationError(
        f"the security scheme {name!r} is of a kind that is not done here: {kind or 'none'!r:.40}",
        hint="API keys in headers and queries, bearer tokens and basic authentication are",
    )


def way_in(security: tuple[tuple[str, ...], ...], schemes: Mapping[str, Scheme]) -> tuple[Scheme, ...] | None:
    """Return the schemes to use of the ways there are, the first that is complete; ``None`` when a credential is needed and missing."""
    for way in sorted(security, key=lambda one: not one):  # one without any comes last
        if all(name in schemes for name in way):
            return tuple(schemes[name] for name in way)
    return () if not security else None


def credentials_for(origin: Origin, schemes: tuple[Scheme, ...]) -> Credentials:
    """Look the secrets up for one call. Raises ``SecurityError``."""
    if not schemes:
        return NOTHING
    headers: dict[str, str] = {}
    query: dict[str, str] = {}
    hidden: list[str] = []
    for scheme in schemes:
        value, secrets = scheme.value()
        (headers if scheme.place == "header" else query)[scheme.key] = value
        hidden += [secret for secret in secrets if len(secret) >= MIN_HIDDEN_CHARS]
    return Credentials(origin, headers, query, tuple(hidden))
