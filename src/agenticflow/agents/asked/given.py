"""What an agent is made with and run with, looked at before anything comes of it: every refusal says what to write instead. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from typing import Any, Final

from agenticflow.agents.asked.doors import RunOptions
from agenticflow.agents.memory.store import MemoryStore
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.resilience.breaker import BreakerPolicy

__all__ = ["check_id", "check_lists", "check_options", "check_parts", "checked_capabilities"]

MAX_ID_CHARS: Final = 200
_RIGHT_CALL: Final = 'write Agent("analyst", {"data_analysis"})'
_OPTIONS: Final = frozenset(RunOptions.__annotations__)


def check_id(agent_id: object) -> None:
    """Raise ``DefinitionError`` for what is no id of an agent."""
    if not isinstance(agent_id, str) or not 1 <= len(agent_id) <= MAX_ID_CHARS or "/" in agent_id:
        raise DefinitionError(f"{agent_id!r:.60} is no agent id", hint=_RIGHT_CALL)


def checked_capabilities(agent_id: str, given: Collection[str]) -> frozenset[str]:
    """Return what an agent can do. Raises ``DefinitionError`` for a text, and for what are no texts."""
    if isinstance(given, str):
        raise DefinitionError(
            f"capabilities of agent {agent_id!r} are the text {given!r}",
            hint=f"write {{{given!r}}} for one capability, or role={given!r} to describe the agent",
        )
    found = given if type(given) is frozenset else frozenset(given)
    if not all(isinstance(one, str) and one for one in found):
        raise DefinitionError(f"capabilities of agent {agent_id!r} are texts, not {found!r:.80}", hint=_RIGHT_CALL)
    return found


def check_lists(agent_id: str, **lists: object) -> None:
    """Raise ``DefinitionError`` for a text where a list is meant."""
    for what, given in lists.items():
        if isinstance(given, (str, bytes)):
            raise DefinitionError(
                f"{what} of agent {agent_id!r} is {given!r:.60}", hint=f"write {what}=[{given!r:.60}]"
            )


def check_parts(agent_id: str, *, concurrency: object, memory: object, breaker: object) -> None:
    """Raise ``DefinitionError`` for parts that are of another kind. No memory and no breaker is fine."""
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or concurrency < 1:
        raise DefinitionError(
            f"concurrency of agent {agent_id!r} is {concurrency!r}", hint="give a whole number of at least 1"
        )
    if memory is not None and not isinstance(memory, MemoryStore):
        raise DefinitionError(
            f"the memory of agent {agent_id!r} is a {type(memory).__name__}", hint="give memory=MemoryStore()"
        )
    if breaker is not None and not isinstance(breaker, BreakerPolicy):
        raise DefinitionError(
            f"the breaker of agent {agent_id!r} is a {type(breaker).__name__}",
            hint="give breaker=BreakerPolicy(failure_threshold=5)",
        )


def check_options(options: Mapping[str, Any]) -> None:
    """Raise ``InvalidInput`` for an option that no run has, with the one that was meant."""
    for name in sorted(options.keys() - _OPTIONS):
        close = get_close_matches(name, sorted(_OPTIONS), n=1)
        raise InvalidInput(
            f"a run of an agent has no option {name!r}",
            hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(_OPTIONS))}",
        )
