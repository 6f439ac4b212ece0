"""What a guardrail is: a check of what goes into an agent or a tool, or comes out of it, with what it said. Pure.

A check is ``f(ctx, value) -> (ok, message)``, plain or async. It fails closed: one that raises, takes too long or answers with something
else has not let the value pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from typing import Any, Final

import msgspec

from agenticflow.errors import DefinitionError, GuardrailTripwireTriggered

__all__ = [
    "Check",
    "Guardrail",
    "GuardrailKind",
    "GuardrailReport",
    "GuardrailResult",
    "Verdict",
    "guardrail",
    "verdict_in",
]

DEFAULT_SECONDS: Final = 10.0
MAX_SECONDS: Final = 600.0
MAX_NAME_CHARS: Final = 100
MAX_MESSAGE_CHARS: Final = 500

Verdict = tuple[bool, str]
"""Whether the value may pass, and why not. A check may leave the reason out and answer with a ``bool``."""
Check = Callable[[Any, Any], Verdict | bool | Awaitable[Verdict | bool]]


class GuardrailKind(StrEnum):
    """What a guardrail looks at."""

    INPUT = "input"
    """What is asked of an agent."""
    OUTPUT = "output"
    """What the agent answers."""
    TOOL_INPUT = "tool_input"
    """What a tool is called with."""
    TOOL_OUTPUT = "tool_output"
    """What a tool returns."""


class Guardrail:
    """A check with a name. ``guardrail`` makes one from a function.

    ``is_blocking`` has an input guardrail end before the work begins; others of the kind run beside it, and the work is stopped when
    one of them says no. A plain check runs in a thread, unless it ``is_quick``: then it must neither wait nor compute for long.
    """

    __slots__ = ("check", "is_blocking", "is_quick", "kinds", "name", "timeout_seconds")

    def __init__(
        self,
        check: Check,
        *,
        name: str = "",
        kinds: Iterable[GuardrailKind | str] = (GuardrailKind.INPUT,),
        timeout_seconds: float = DEFAULT_SECONDS,
        is_blocking: bool = False,
        is_quick: bool = False,
    ) -> None:
        """Raises ``DefinitionError`` for arguments that make no sense."""
        if not callable(check):
            raise DefinitionError(
                f"a guardrail is a function, not {check!r:.60}", hint='write def check(ctx, value): return True, ""'
            )
        name = name or getattr(check, "__name__", type(check).__name__)
        if not isinstance(name, str) or len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise DefinitionError(
                f"{name!r:.120} is no name of a guardrail", hint=f"use 1 to {MAX_NAME_CHARS} printable characters"
            )
        if isinstance(timeout_seconds, bool) or not 0 < timeout_seconds <= MAX_SECONDS:
            raise DefinitionError(
                f"timeout_seconds of the guardrail {name!r} is {timeout_seconds!r}",
                hint=f"give more than 0 and at most {MAX_SECONDS:g}",
            )
        self.check = check
        self.name = name
        self.kinds = _kinds(kinds, name)
        self.timeout_seconds = timeout_seconds
        self.is_blocking = is_blocking
        self.is_quick = is_quick

    def on(self, *kinds: GuardrailKind | str, is_blocking: bool | None = None) -> Guardrail:
        """Return the same guardrail for other kinds."""
        return Guardrail(
            self.check,
            name=self.name,
            kinds=kinds or self.kinds,
            timeout_seconds=self.timeout_seconds,
            is_blocking=self.is_blocking if is_blocking is None else is_blocking,
            is_quick=self.is_quick,
        )

    def __repr__(self) -> str:
        return f"Guardrail({self.name!r}, {', '.join(sorted(self.kinds))})"


def guardrail(
    *kinds: GuardrailKind | str,
    name: str = "",
    timeout_seconds: float = DEFAULT_SECONDS,
    is_blocking: bool = False,
) -> Callable[[Check], Guardrail]:
    """Make a guardrail of a function: ``@guardrail("output")``; without a kind it checks the input."""

    def make(check: Check) -> Guardrail:
        return Guardrail(
            check,
            name=name,
            kinds=kinds or (GuardrailKind.INPUT,),
            timeout_seconds=timeout_seconds,
            is_blocking=is_blocking,
        )

    return make


class GuardrailResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one check."""

    guardrail: str
    kind: str
    is_ok: bool
    message: str = ""
    is_failure: bool = False
    """Whether the guardrail itself failed: it raised, took too long, or gave no verdict."""
    seconds: float = 0.0


class GuardrailReport(msgspec.Struct, frozen=True):
    """What came of the checks of one value, in the order of the guardrails. Those that were stopped by another's no are missing."""

    results: tuple[GuardrailResult, ...] = ()

    @property
    def is_ok(self) -> bool:
        """Whether the value may pass."""
        return all(result.is_ok for result in self.results)

    @property
    def refusal(self) -> GuardrailResult | None:
        """The first no, in the order of the guardrails."""
        return next((result for result in self.results if not result.is_ok), None)

    def demand(self) -> None:
        """Raise ``GuardrailTripwireTriggered`` when the value may not pass."""
        refusal = self.refusal
        if refusal is None:
            return
        what = "could not check" if refusal.is_failure else "refused"
        raise GuardrailTripwireTriggered(
            f"the guardrail {refusal.guardrail!r} {what} the {refusal.kind.replace('_', ' ')}: {refusal.message or 'no reason given'}",
            hint="mend the guardrail: what cannot be checked does not pass"
            if refusal.is_failure
            else "change what is asked or answered, or the guardrail",
            guardrail=refusal.guardrail,
            kind=refusal.kind,
            reason=refusal.message,
        )


def verdict_in(answer: object) -> Verdict:
    """Return what a check answered: ``(ok, message)``, or ``ok`` alone. Raises ``TypeError`` for anything else."""
    if isinstance(answer, bool):
        return answer, ""
    if isinstance(answer, (tuple, list)) and len(answer) == 2:
        ok, message = answer
        if isinstance(ok, bool) and (message is None or isinstance(message, str)):
            return ok, (message or "")[:MAX_MESSAGE_CHARS]
    raise TypeError(f"it returned {answer!r:.80}, not (ok, message)")


def _kinds(kinds: Iterable[GuardrailKind | str], name: str) -> frozenset[GuardrailKind]:
    known = ", ".join(repr(kind.value) for kind in GuardrailKind)
    given = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not given:
        raise DefinitionError(f"the guardrail {name!r} checks nothing", hint=f"give it kinds: {known}")
    try:
        return frozenset(GuardrailKind(kind) for kind in given)
    except ValueError as error:
        raise DefinitionError(
            f"the guardrail {name!r} has an unknown kind: {error}", hint=f"choose from {known}"
        ) from None
