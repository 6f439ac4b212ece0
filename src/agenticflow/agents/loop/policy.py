"""On what terms an agent works: how often it may ask its model, how it is asked, when its conversation is summarized. Data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from agenticflow.agents.model.requests import MAX_TEMPERATURE, ReasoningEffort
from agenticflow.errors import DefinitionError

__all__ = ["USUAL_POLICY", "LoopPolicy"]

MAX_TURNS: Final = 10_000
MAX_PARALLEL: Final = 100
MAX_INSTRUCTIONS_SECONDS: Final = 3_600.0
_OPTIONAL: Final = ("max_output_tokens", "compact_after_tokens")


class LoopPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``Agent("researcher", …, loop=LoopPolicy(max_turns=30, temperature=0.2))``."""

    max_turns: int = 10
    """Answers of models in one run, handoffs included."""
    max_repairs: int = 2
    """How often in a row an answer that does not have its form is given back."""
    max_equal_calls: int = 4
    """How often in a row exactly the same calls are made; then the model is told, and then it ends."""
    max_parallel_calls: int = 10
    """Of the tools that one answer asks for."""
    temperature: float | None = None
    """``None`` leaves it to the provider, like the others."""
    max_output_tokens: int | None = None
    seed: int | None = None
    reasoning_effort: ReasoningEffort = ""
    instructions_timeout_seconds: float = 30.0
    """Limit of a function that makes the instructions, plain or async."""
    compact_after_tokens: int | None = None
    """Estimated tokens of a conversation above which its oldest part is summarized; ``None``: only when the model takes no more."""

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> LoopPolicy:
        """Return the policy in ``data``, by the names of its fields. Raises ``DefinitionError``."""
        unknown = sorted(str(name) for name in set(data) - set(cls.__struct_fields__))
        if unknown:
            raise DefinitionError(
                f"a LoopPolicy has no {', '.join(map(repr, unknown))}",
                hint=f"there are {', '.join(cls.__struct_fields__)}",
            )
        given: dict[str, Any] = dict(data)
        return cls(**given)

    def __post_init__(self) -> None:
        problems = [
            f"{name} is {value!r}: give {least} to {most:,}"
            for name, least, most in (
                ("max_turns", 1, MAX_TURNS),
                ("max_repairs", 0, 10),
                ("max_equal_calls", 1, 100),
                ("max_parallel_calls", 1, MAX_PARALLEL),
                ("max_output_tokens", 1, 10_000_000),
                ("compact_after_tokens", 100, 100_000_000),
            )
            if not _is_within(value := getattr(self, name), least, most, may_be_none=name in _OPTIONAL)
        ]
        heat: object = self.temperature
        if heat is not None and not (_is_number(heat) and 0 <= cast("float", heat) <= MAX_TEMPERATURE):
            problems.append(f"temperature is {heat!r}: give 0 to {MAX_TEMPERATURE:g}")
        limit: object = self.instructions_timeout_seconds
        if not _is_number(limit) or not 0 < cast("float", limit) <= MAX_INSTRUCTIONS_SECONDS:
            problems.append(
                f"instructions_timeout_seconds is {limit!r}: give up to {MAX_INSTRUCTIONS_SECONDS:,.0f} seconds"
            )
        seed: object = self.seed
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            problems.append(f"seed is {seed!r}: give a whole number")
        if self.reasoning_effort not in ("", "low", "medium", "high"):
            problems.append(f"reasoning_effort is {self.reasoning_effort!r}: give low, medium or high")
        if problems:
            raise DefinitionError(f"this is no LoopPolicy: {problems[0]}", problems=problems)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_within(value: object, least: int, most: int, *, may_be_none: bool) -> bool:
    if value is None:
        return may_be_none
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


USUAL_POLICY: Final = LoopPolicy()
