"""Who answers a query, in which order: by the capabilities that it names, or by whatever plans for you."""

from __future__ import annotations

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Final

from agenticflow.agents.capabilities import Candidate, CapabilityMatcher
from agenticflow.errors import AgentNotFoundError, DefinitionError, InvalidInput

__all__ = ["Planner", "PlanningService"]

MAX_AGENTS: Final = 100
_WORD: Final = re.compile(r"\w+")

Planner = Callable[[str, Sequence[Candidate]], Sequence[str] | Awaitable[Sequence[str]]]
"""Takes the query and who there is, returns names of agents in order. Plain or async; asked in a step, once."""


class PlanningService:
    """``PlanningService(words={"billing": ["invoice", "refund"]})``.

    A capability is wanted when all words of its name (``data_analysis`` has two) stand in the query, or one of its ``words``; case does
    not matter. The agents come in the order in which the query names what they can do; of several that can the matcher takes the best.
    """

    def __init__(self, planner: Planner | None = None, *, words: Mapping[str, Collection[str]] | None = None) -> None:
        """Raises ``DefinitionError`` for a planner that is no function, and for words that are none."""
        if planner is not None and not callable(planner):
            raise DefinitionError(
                f"the planner is a {type(planner).__name__}, not a function",
                hint='give it def plan(query, agents): return ["researcher", "writer"]',
            )
        self._planner = planner
        self._words: dict[str, list[str]] = {}
        for capability, given in (words or {}).items():
            if isinstance(given, str) or not all(isinstance(word, str) and _WORD.search(word) for word in given):
                raise DefinitionError(
                    f"the words of capability {capability!r} are {given!r:.60}",
                    hint='give a list of texts: {"billing": ["invoice", "refund"]}',
                )
            self._words[capability] = [word.casefold() for word in given]

    async def plan(self, query: str, agents: Sequence[Candidate]) -> list[str]:
        """Return the names of the agents for ``query``, in order, each once.

        Raises:
            InvalidInput: the query names nothing that anybody can do, or the planner gave no list of names.
            AgentNotFoundError: the planner named somebody who is not there.
            NoHealthyAgentError: whoever could do it is not in service.
        """
        names = self._by_capability(query, agents) if self._planner is None else await self._asked(query, agents)
        if len(names) > MAX_AGENTS:
            raise InvalidInput(f"a plan of {len(names):,} agents is longer than {MAX_AGENTS}", hint="plan in parts")
        return names

    def wanted(self, query: str, capabilities: Collection[str]) -> list[str]:
        """Return which of ``capabilities`` the query names, in the order in which it does."""
        said = _WORD.findall(query.casefold())
        places: list[tuple[int, str]] = []
        for capability in sorted(set(capabilities)):
            ways = [_WORD.findall(capability.casefold().replace("_", " "))]
            ways += [_WORD.findall(words) for words in self._words.get(capability, ())]
            found = [min(said.index(word) for word in way) for way in ways if way and set(way) <= set(said)]
            if found:
                places.append((min(found), capability))
        return [capability for _, capability in sorted(places)]

    def _by_capability(self, query: str, agents: Sequence[Candidate]) -> list[str]:
        if not agents:
            raise InvalidInput(
                "there are no agents",
                hint="give some: AgentOrchestrator([Agent(…)]), or describe some that have a model",
            )
        if len(agents) == 1:
            return [agents[0].agent_id]
        known = sorted({capability for agent in agents for capability in agent.capabilities})
        matcher = CapabilityMatcher(agents)
        names = [matcher.find_best_agent({capability}).agent_id for capability in self.wanted(query, known)]
        if not names:
            raise InvalidInput(
                f"the query {query!r:.80} names nothing that an agent can do",
                hint=f"the agents can {', '.join(known) or 'nothing'}: give PlanningService(words=…), a planner, or routes",
            )
        return list(dict.fromkeys(names))

    async def _asked(self, query: str, agents: Sequence[Candidate]) -> list[str]:
        assert self._planner is not None
        answer = self._planner(query, agents)
        names = await answer if inspect.isawaitable(answer) else answer
        if isinstance(names, str) or not isinstance(names, Sequence) or not names:
            raise InvalidInput(f"the planner gave {names!r:.80}", hint='it returns names in order: ["researcher"]')
        known = {agent.agent_id for agent in agents}
        for name in names:
            if name not in known:
                close = get_close_matches(str(name), known, n=1)
                raise AgentNotFoundError(
                    f"the planner named {name!r:.60}, who is not there",
                    hint=f"did you mean {close[0]!r}?" if close else f"there are {', '.join(sorted(known))}",
                )
        return list(dict.fromkeys(names))
