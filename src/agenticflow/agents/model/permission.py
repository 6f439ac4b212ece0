"""Whether real models may be asked: the switch that keeps tests from spending money. Pure, and of this process.

Adapters ask before they send. A test server is let through by its address, everything else is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agenticflow.errors import ModelCallsForbidden

__all__ = ["Permission", "permission"]


class Permission:
    """Forbids calls of real models, except to some addresses. Mutable; there is one, ``permission``."""

    __slots__ = ("_allowed", "is_forbidden")

    def __init__(self) -> None:
        self.is_forbidden = False
        self._allowed: list[str] = []

    @contextmanager
    def except_at(self, address: str) -> Iterator[None]:
        """Let calls to URLs that begin with ``address`` through meanwhile."""
        self._allowed.append(address)
        try:
            yield
        finally:
            self._allowed.remove(address)

    @contextmanager
    def only_at(self, address: str) -> Iterator[None]:
        """Let no calls through meanwhile but those to URLs that begin with ``address``."""
        before, self._allowed = self._allowed, [address]
        try:
            yield
        finally:
            self._allowed = before

    def demand(self, model: str, url: str) -> None:
        """Raise ``ModelCallsForbidden`` when ``model`` may not be asked at ``url``."""
        if self.is_forbidden and not any(url.startswith(address) for address in self._allowed):
            raise ModelCallsForbidden(
                f"the real model {model!r} would have been asked, and that is forbidden here",
                hint="give a ScriptedModel from agenticflow.testing, or call allow_model_calls()",
            )


permission: Final = Permission()
"""That of this process."""
