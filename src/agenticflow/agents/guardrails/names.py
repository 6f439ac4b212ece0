"""Guardrails by name: what agent definitions and files refer to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, Final

from agenticflow.agents.guardrails.builtin import destructive_sql, length, prompt_injection, secrets
from agenticflow.agents.guardrails.guardrail import Guardrail
from agenticflow.errors import DefinitionError

__all__ = ["GuardrailNames", "get_guardrail_names", "register_guardrail"]

MAX_NAMES: Final = 1_000


class GuardrailNames:
    """Guardrails by name; those that come with the package and need no arguments are there from the beginning."""

    def __init__(self) -> None:
        self._named: dict[str, Guardrail] = {}
        for one in (destructive_sql(), destructive_sql(read_only=True), secrets(), prompt_injection(), length()):
            self._named[one.name] = one

    def register(self, name: str, check: Guardrail | Callable[[Any, Any], Any]) -> Guardrail:
        """Make the guardrail, or the function as one of the input, known by ``name``.

        Raises ``DefinitionError`` for a name that is taken by another one, or beyond a thousand.
        """
        kinds: dict[str, Any] = {}
        if isinstance(check, Guardrail):
            kinds = {
                "kinds": check.kinds,
                "timeout_seconds": check.timeout_seconds,
                "is_blocking": check.is_blocking,
                "is_quick": check.is_quick,
            }
        made = Guardrail(check.check if isinstance(check, Guardrail) else check, name=name, **kinds)
        known = self._named.get(name)
        if known is not None and known.check is not made.check:
            raise DefinitionError(f"there is another guardrail {name!r} already", hint="give it another name")
        if known is None and len(self._named) >= MAX_NAMES:
            raise DefinitionError(f"{MAX_NAMES:,} guardrails have names, and no more", hint="register each once")
        self._named[name] = made
        return made

    def get(self, name: str) -> Guardrail:
        """Return the guardrail. Raises ``DefinitionError`` that says which names are near."""
        found = self._named.get(name)
        if found is None:
            close = get_close_matches(str(name), self._named, n=1)
            raise DefinitionError(
                f"there is no guardrail {name!r}",
                hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(self._named))}",
            )
        return found

    @property
    def named(self) -> Mapping[str, Guardrail]:
        """All of them by name, as a copy."""
        return dict(self._named)


_names: Final = GuardrailNames()


def get_guardrail_names() -> GuardrailNames:
    """Return the names of this process."""
    return _names


def register_guardrail(name: str, check: Guardrail | Callable[[Any, Any], Any]) -> Guardrail:
    """Make a guardrail known by ``name`` in this process; see ``GuardrailNames.register``."""
    return _names.register(name, check)
