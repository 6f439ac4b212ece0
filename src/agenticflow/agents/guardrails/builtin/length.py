"""How long a text may be. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agenticflow.agents.guardrails.builtin.texts import texts_in
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.errors import DefinitionError

__all__ = ["length"]


def length(
    max_chars: int = 10_000, *, min_chars: int = 0, kinds: Iterable[GuardrailKind | str] = (GuardrailKind.INPUT,)
) -> Guardrail:
    """Let pass what has ``min_chars`` to ``max_chars`` characters, all its texts together."""
    if isinstance(max_chars, bool) or not isinstance(max_chars, int) or not 0 <= min_chars <= max_chars:
        raise DefinitionError(f"length({max_chars!r}, min_chars={min_chars!r}) lets nothing pass", hint="length(4_000)")

    def check(ctx: Any, value: Any) -> Verdict:
        count = sum(map(len, texts_in(value)))
        if count > max_chars:
            return False, f"{count:,} characters, at most {max_chars:,} may pass"
        if count < min_chars:
            return False, f"{count:,} characters, at least {min_chars:,} are needed"
        return True, ""

    return Guardrail(check, name="length", kinds=kinds, is_quick=True)
