"""Values by key: what is current and may be forgotten, beside the events, which are neither.

Working memory, registries and positions live here. A value is bytes under a namespace and a key, with a version that fences
concurrent writers and, when wanted, a moment at which it expires. The caller brings the time: nothing here looks at a clock. What a run
decides on belongs into events, not here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

import msgspec

from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import BoundExceeded, ConcurrencyConflict, InvalidInput

__all__ = [
    "MAX_KEY_CHARS",
    "MAX_PAGE_BYTES",
    "MAX_PAGE_VALUES",
    "MAX_VALUE_BYTES",
    "KeyValue",
    "KeyValues",
    "check_name",
    "check_page",
    "check_value",
    "check_version",
    "end_of_prefix",
]

MAX_KEY_CHARS: Final = 512
MAX_VALUE_BYTES: Final = 1024 * 1024
MAX_PAGE_VALUES: Final = 1_000
MAX_PAGE_BYTES: Final = 16 * 1024 * 1024
MAX_MOMENT: Final = 2**63 - 1
_LAST_BEFORE_SURROGATES: Final = 0xD7FF
_FIRST_AFTER_SURROGATES: Final = 0xE000
_LAST_CHARACTER: Final = 0x10FFFF


class KeyValue(msgspec.Struct, frozen=True):
    """A value as it stands. Times in nanoseconds since the epoch."""

    namespace: str
    key: str
    value: bytes
    version: int
    """1 for a key that was not there, one more with each write."""
    updated_at: int
    expires_at: int | None
    """From this moment on it is not there any more."""


class KeyValues(Protocol):
    """Keeps values by namespace and key.

    Promises, each proven by ``agenticflow.testing.event_store_kit``:

    * A write that was answered survives what a commit survives, and every later read shows it.
    * Of several writers that expect one version, one wins.
    * An expired value is invisible at once, to reads and to expectations; its bytes are removed later, a bounded number with each
      write, the rest by ``compact``. ``now`` never goes back: what is expired for one caller may be gone for all.
    * A key that was deleted, or has expired, begins again at version 1.
    * Namespaces and keys are any Unicode text of 1 to 512 characters, also with NUL, and are compared as they are.
    """

    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        """Return the value, ``None`` when there is none or it has expired at ``now``."""

    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        now: int,
        expires_at: int | None = None,
        expected_version: int = ANY_VERSION,
    ) -> int:
        """Write the value; return its new version. ``expires_at`` replaces the one before, ``None`` is never.

        ``expected_version`` is the version it must have: left out means any, 0 that it is not there.

        Raises:
            ConcurrencyConflict: the value is not at ``expected_version``; nothing was written.
            BoundExceeded: the value is over 1 MiB; nothing was written.
            InvalidInput: a name or a moment that no store takes; nothing was written.
            StoreUnavailable: closed, or no space; nothing was written.
            OutcomeUnknown: the disk failed in the middle and nobody can look: read the value again.
        """

    async def delete_value(self, namespace: str, key: str, *, expected_version: int = ANY_VERSION) -> bool:
        """Remove the value; return whether it was there. One that has expired may or may not count as there.

        Raises like ``put_value``.
        """

    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        """Return up to ``limit`` (at most 1,000) values whose keys begin with ``prefix``, in the order of their code points, from
        the first key above ``after`` on.

        A page ends before 16 MiB of values, so it may be shorter than ``limit``; it is empty only at the end.
        """


def check_name(namespace: str, key: str) -> None:
    """Refuse a namespace or key that no store takes. Raises ``InvalidInput``."""
    for what, name in (("namespace", namespace), ("key", key)):
        if not isinstance(name, str):
            raise InvalidInput(f"a {what} is a text, not {name!r:.80}")
        if not name or len(name) > MAX_KEY_CHARS:
            raise InvalidInput(f"a {what} has 1 to {MAX_KEY_CHARS} characters, not {len(name)}")
        _check_text(what, name)


def check_value(namespace: str, key: str, value: bytes, now: int, expires_at: int | None) -> None:
    """Refuse what no store takes, before anything is written. Raises ``BoundExceeded`` or ``InvalidInput``."""
    check_name(namespace, key)
    if not isinstance(value, bytes):
        raise InvalidInput(
            f"the value of {key!r} in {namespace!r} is a {type(value).__name__}, not bytes", hint="encode it first"
        )
    if len(value) > MAX_VALUE_BYTES:
        raise BoundExceeded(
            f"the value of {key!r} in {namespace!r} has {len(value):,} bytes, the limit is {MAX_VALUE_BYTES:,}",
            hint="split it, or keep it elsewhere and store where it is",
        )
    for moment in (now, expires_at or 0):
        if not -MAX_MOMENT <= moment <= MAX_MOMENT:
            raise InvalidInput(
                f"the moment {moment} of {key!r} in {namespace!r} is out of range",
                hint="it is in nanoseconds since 1970, in 64 bits",
            )


def check_version(namespace: str, key: str, expected: int, actual: int) -> None:
    """Refuse a write that expects another version than the ``actual`` one, 0 when there is no value.

    Raises ``ConcurrencyConflict``.
    """
    if isinstance(expected, bool) or not isinstance(expected, int) or expected < ANY_VERSION:
        raise InvalidInput(
            f"expected version {expected!r:.80} makes no sense", hint="give 0 for a new value, or leave it out"
        )
    if expected not in (ANY_VERSION, actual):
        conflict = ConcurrencyConflict(f"{namespace}/{key}", expected, actual)
        conflict.message = (
            f"the value {key!r} of {namespace!r} is at version {actual}, not at the expected version {expected}"
        )
        conflict.hint = "somebody wrote it first; read it again and decide again"
        raise conflict


def check_page(namespace: str, prefix: str, after: str | None, limit: int) -> None:
    """Refuse a page that no store gives. Raises ``BoundExceeded`` or ``InvalidInput``."""
    check_name(namespace, "any" if prefix == "" else prefix)
    if after is not None and not isinstance(after, str):
        raise InvalidInput(f"a page begins after a key, not {after!r:.80}", hint="give the last key of the page before")
    if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
        raise InvalidInput(f"a page has at least one value, not {limit!r:.80}")
    if limit > MAX_PAGE_VALUES:
        raise BoundExceeded(
            f"a page of {limit:,} values passes the limit of {MAX_PAGE_VALUES:,}",
            hint="read page by page, with after= the last key of the page before",
        )


def end_of_prefix(prefix: str) -> str | None:
    """Return the smallest text above everything that begins with ``prefix``; ``None`` when there is none."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1])
        if code < _LAST_CHARACTER:
            following = _FIRST_AFTER_SURROGATES if code == _LAST_BEFORE_SURROGATES else code + 1
            return prefix[: end - 1] + chr(following)
    return None


def _check_text(what: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"the {what} {text!r:.200} is not Unicode text: {error}") from error
