"""What may be wrong with the description of an agent, in words: every mistake at once, each by what was given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from agenticflow.agents.declared.choosing import problem_of_definition
from agenticflow.agents.declared.templates import InstructionTemplate
from agenticflow.agents.guardrails import Guardrail
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.resilience.budgets import Budget

__all__ = ["in_lists", "in_terms", "in_what_is_listed", "in_words"]

MAX_NAME_CHARS: Final = 200
MAX_LISTED: Final = 200


def in_words(name: object, description: object, instructions: object) -> Iterator[str]:
    """Tell what is wrong with what it is called, what it is for and how it is instructed."""
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME_CHARS or not name.isprintable() or "/" in name:
        yield f"{name!r:.60} is no name of an agent"
    if not isinstance(description, str):
        yield f"the description is {description!r:.60}, not a text"
    if not (isinstance(instructions, (str, InstructionTemplate)) or callable(instructions)):
        yield f"the instructions are {instructions!r:.60}: give a text, a template or a function"
    elif isinstance(instructions, str) and not instructions.strip():
        yield "there are no instructions"


def in_lists(lists: Mapping[str, object]) -> Iterator[str]:
    """Tell which of the lists, by what they list, is none or is too long."""
    for what, given in lists.items():
        if isinstance(given, (str, bytes)) or not isinstance(given, Sequence):
            yield f"{what} is {given!r:.60}: give a list"
        elif len(given) > MAX_LISTED:
            yield f"{len(given)} {what} are more than {MAX_LISTED}"


def in_terms(loop: object, budget: object) -> Iterator[str]:
    """Tell what is wrong with the terms on which it works."""
    if not isinstance(loop, LoopPolicy):
        yield f"loop is {loop!r:.60}: give a LoopPolicy"
    if not (budget is None or isinstance(budget, Budget) or (isinstance(budget, str) and budget)):
        yield f"the budget is {budget!r:.60}: give Budget(usd=0.5), or the id of one that is open"


def in_what_is_listed(
    tools: Sequence[Any], guardrails: Sequence[Any], handoffs: Sequence[Any], tool_choice: object
) -> Iterator[str]:
    """Tell what is wrong inside lists that are lists. Raises ``DefinitionError`` for what is no tool."""
    for what, given in (("tools", tools), ("guardrails", guardrails)):
        yield from (f"{name!r} stands twice among the {what}" for name in _twice(given))
    for one in guardrails:
        if not (isinstance(one, (str, Guardrail)) or callable(one)):
            yield f"a guardrail is {one!r:.60}: give a name, a Guardrail or a function"
    if problem := problem_of_definition(tool_choice, tools, handoffs):
        yield problem


def _twice(given: Sequence[Any]) -> list[str]:
    names = [one for one in given if isinstance(one, str)]
    return sorted({name for name in names if names.count(name) > 1})
