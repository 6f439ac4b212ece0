"""What must not be shown: secrets in texts and under names that say so.

A value goes in, the same value with secrets replaced by ``[hidden]`` comes out. Rules of thumb, for logs and listings: they catch what
slips in by accident. What must never be seen is given by reference (``env:NAME``, ``file:/path``) and not written down at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

__all__ = ["HIDDEN", "is_secret_name", "redact", "redact_text"]

HIDDEN: Final = "[hidden]"
_DEPTH: Final = 20
"""Of nesting that is looked into; what lies deeper is not shown at all."""

_NAMES: Final = re.compile(
    r"passw(or)?d|passphrase|secret|credential|authori[sz]ation|cookie|(api|access|private|signing|encryption)[-_ ]?key"
    r"|(^|[-_ ])token$|(auth|access|refresh|bearer|id|session)[-_ ]?token",
    re.IGNORECASE,
)
_TEXTS: Final = (
    # user:password@ in an address
    (re.compile(r"(?<=://)([^\s:/?#@]*):([^\s/?#@]+)@"), rf"\1:{HIDDEN}@"),
    (re.compile(r"\b(bearer)\s+(?=\S*[0-9.])[A-Za-z0-9._~+/=-]{8,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"\b(authorization\W+basic)\s+[A-Za-z0-9+/=]+", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # keys that are known by their beginning
    (re.compile(r"\b(?:sk|pk|rk)-[A-Za-z0-9_-]{16,}|\b(?:gh[pousr]|xox[abprs])[_-][A-Za-z0-9_-]{10,}|\bAKIA[A-Z0-9]{16}\b"), HIDDEN),
    # password=… and the like, in a query or a message
    (
        re.compile(r"\b(passw(?:or)?d|secret|api[-_]?key|access[-_]?token|auth[-_]?token)(\s*[=:]\s*)[^\s&,;'\"]+", re.IGNORECASE),
        rf"\1\2{HIDDEN}",
    ),
)  # fmt: skip


def is_secret_name(name: str) -> bool:
    """Whether what stands under ``name`` is a secret by the look of it: ``password``, ``api_key``, ``Authorization``."""
    return _NAMES.search(name) is not None


def redact_text(text: str) -> str:
    """Return ``text`` without passwords in addresses, bearer tokens, keys that are known by their form, ``password=…``."""
    for pattern, replacement in _TEXTS:
        text = pattern.sub(replacement, text)
    return text


def redact(value: object, name: str = "", *, depth: int = 0) -> object:
    """Return ``value`` for showing: texts redacted, and texts and bytes under a secret's name hidden, also inside mappings and lists.

    Numbers stay: an attempt's ``token`` is no secret.
    """
    if isinstance(value, (str, bytes)):
        if name and is_secret_name(name):
            return HIDDEN
        return redact_text(value) if isinstance(value, str) else value
    if isinstance(value, (Mapping, list, tuple)):
        if depth >= _DEPTH:
            return HIDDEN
        if isinstance(value, Mapping):
            return {key: redact(item, str(key), depth=depth + 1) for key, item in value.items()}
        return [redact(item, name, depth=depth + 1) for item in value]
    return value
