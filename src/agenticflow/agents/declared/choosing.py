"""Whether an agent calls tools, in one word: what it may be, told before anything is asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any, Final

from agenticflow.agents.asked.agent_tool import HANDOFF, handoff_name_of
from agenticflow.agents.model.requests import ToolChoice, tool_choice_of
from agenticflow.tools.registry import as_tool

__all__ = ["choice_problem", "problem_of_definition"]

SHOWN: Final = 20


def choice_problem(choice: object, names: Collection[str]) -> str:
    """Return what is wrong with ``choice`` for an agent with tools of these ``names``, handoffs included; empty when nothing is."""
    if not isinstance(choice, str) or not choice:
        return f'tool_choice is {choice!r:.60}: give "auto", "none", "required" or the name of a tool'
    word, name = tool_choice_of(choice)
    known = sorted(names)
    if word is ToolChoice.REQUIRED and not known:
        return f"tool_choice is {choice!r:.60}, and there is no tool to call"
    if not name or name in known:
        return ""
    close = get_close_matches(name, [*known, ToolChoice.AUTO, ToolChoice.NONE, ToolChoice.REQUIRED], n=1)
    meant = f"did you mean {str(close[0])!r}?" if close else f"there are {', '.join(known[:SHOWN])}"
    return f"tool_choice is {choice!r:.60}, which is no tool of the agent: {meant}"


def problem_of_definition(choice: object, tools: Sequence[Any], handoffs: Sequence[Any]) -> str:
    """Return the same for what a definition lists. An agent that a function returns is known later: its handoff is looked at then.

    Raises ``DefinitionError`` for what is no tool.
    """
    if choice == ToolChoice.AUTO:
        return ""
    if choice == ToolChoice.NONE and handoffs:
        return "tool_choice is 'none', and an agent that calls nothing hands off to nobody: leave out one of them"
    names = [one if isinstance(one, str) else as_tool(one).definition.name for one in tools]
    to = [_handoff_of(one) for one in handoffs]
    is_open = HANDOFF in to and isinstance(choice, str) and choice.startswith(HANDOFF)
    return "" if is_open else choice_problem(choice, [*names, *to])


def _handoff_of(given: Any) -> str:
    named = given if isinstance(given, str) else getattr(given, "agent_id", getattr(given, "name", None))
    return handoff_name_of(named) if isinstance(named, str) else HANDOFF
