"""What agents can do, by name, and who is best for a piece of work. Pure: the load and the health of everybody come in.

A capability may have a more general one above it: ``sql`` below ``databases``. Who can do the special thing can do the general one:
asked for ``databases``, an agent with ``sql`` is found. The reverse does not hold: an agent that says ``databases`` has not said which.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from typing import Final, Protocol

import msgspec

from agenticflow.agents.health import AgentHealth
from agenticflow.core.assignment import Load
from agenticflow.errors import AgentNotFoundError, DefinitionError, InvalidInput, NoHealthyAgentError

__all__ = ["Candidate", "CapabilityMatch", "CapabilityMatcher", "CapabilityRegistry", "MatchWeights", "Roster"]

LISTED: Final = 10
_NO_LOAD: Final[Load] = {}
_HEALTH: Final = {AgentHealth.HEALTHY: 1.0, AgentHealth.DEGRADED: 0.5, AgentHealth.UNHEALTHY: 0.0}


class CapabilityRegistry:
    """The vocabulary of capabilities: ``define("sql", "reads and writes relational databases", parent="databases")``.

    Needed only where names have descriptions or parents, or where a misspelt one shall be an error: an ``AgentRegistry`` that is given
    one refuses agents with capabilities it does not know.
    """

    __slots__ = ("_descriptions", "_parents")

    def __init__(self) -> None:
        self._descriptions: dict[str, str] = {}
        self._parents: dict[str, str] = {}

    def define(self, name: str, description: str = "", *, parent: str | None = None) -> None:
        """Make ``name`` known. Raises ``DefinitionError`` for no name, an unknown parent, or a name defined otherwise before."""
        if not isinstance(name, str) or not name or name != name.strip() or not name.isprintable():
            raise DefinitionError(f"{name!r:.60} is no capability", hint='write define("sql")')
        if parent is not None:
            self.check([parent])
        if name in self._descriptions and self._parents.get(name) != parent:
            raise DefinitionError(
                f"capability {name!r} is defined already, below {self._parents.get(name)!r}",
                hint="a capability has one place; give this one another name",
            )
        # A parent is there before its children, so there are no cycles.
        self._descriptions[name] = description or self._descriptions.get(name, "")
        if parent is not None:
            self._parents[name] = parent

    def check(self, capabilities: Iterable[str]) -> None:
        """Raise ``DefinitionError`` when one of them is not defined."""
        unknown = sorted(set(capabilities) - self._descriptions.keys())
        if unknown:
            close = get_close_matches(unknown[0], self._descriptions, n=1)
            raise DefinitionError(
                f"nobody has defined the capability {', '.join(map(repr, unknown))}",
                hint=f"did you mean {close[0]!r}?" if close else f"there are {_listed(self._descriptions)}",
                problems=[f"unknown capability {name!r}" for name in unknown],
            )

    def describe(self, name: str) -> str:
        """Return the description of ``name``. Raises ``DefinitionError``."""
        self.check([name])
        return self._descriptions[name]

    def names(self) -> list[str]:
        """Return every defined capability, sorted."""
        return sorted(self._descriptions)

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Return what lies above ``name``, the nearest first; nothing for a name that is not defined."""
        found: list[str] = []
        parent = self._parents.get(name)
        while parent is not None:
            found.append(parent)
            parent = self._parents.get(parent)
        return tuple(found)

    def expand(self, held: Collection[str]) -> frozenset[str]:
        """Return ``held`` and everything more general that comes with it."""
        if not self._parents:
            return frozenset(held)
        return frozenset(held).union(*(self.ancestors(name) for name in held))

    def covers(self, held: Collection[str], wanted: str) -> bool:
        """Whether who has ``held`` can do ``wanted``."""
        return wanted in held or wanted in self.expand(held)


class MatchWeights(msgspec.Struct, frozen=True, kw_only=True):
    """How much each part of a score counts. Parts lie between 0 and 1, and so does the score."""

    coverage: float = 0.4
    load: float = 0.3
    health: float = 0.2
    cost: float = 0.1

    def __post_init__(self) -> None:
        if min(self.coverage, self.load, self.health, self.cost) < 0 or not self.total > 0:
            raise DefinitionError("weights are not negative, and not all of them zero", hint="MatchWeights(load=1.0)")

    @property
    def total(self) -> float:
        return self.coverage + self.load + self.health + self.cost


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """One agent as the matcher sees it."""

    agent_id: str
    capabilities: frozenset[str]
    health: AgentHealth = AgentHealth.HEALTHY
    is_available: bool = True
    """Whether it takes work at all: neither stopped nor suspended."""
    in_work: int = 0
    queued: int = 0
    concurrency: int = 1
    cost: float = 1.0
    """What its work costs beside an ordinary agent's, which is 1."""


class CapabilityMatch(msgspec.Struct, frozen=True):
    """A candidate with its score, and where the score comes from."""

    agent_id: str
    score: float
    """Between 0 and 1."""
    parts: Mapping[str, float]
    """``coverage``, ``load``, ``health`` and ``cost``, each between 0 and 1, before weighing."""
    missing: frozenset[str] = frozenset()
    """Required capabilities that it does not have."""

    def explain(self) -> str:
        """Return the score in words."""
        parts = ", ".join(f"{name} {value:.2f}" for name, value in self.parts.items())
        lacks = f", lacks {_listed(self.missing)}" if self.missing else ""
        return f"{self.agent_id!r} scores {self.score:.3f}: {parts}{lacks}"


class Roster(Protocol):
    """Who there is. ``AgentRegistry`` is one."""

    def candidates(self, load: Load) -> Iterable[Candidate]:
        """Return everybody, as they stand now."""


class CapabilityMatcher:
    """``CapabilityMatcher(registry).find_best_agent({"sql", "charts"})``.

    The same question over the same agents has the same answer; equal scores go to the smaller id. Each part of a score falls, or stays,
    when the agent gets worse in it, and no agent's score depends on who else is there.
    """

    __slots__ = ("_capabilities", "_roster", "_weights")

    def __init__(
        self,
        agents: Roster | Iterable[Candidate],
        *,
        capabilities: CapabilityRegistry | None = None,
        weights: MatchWeights | None = None,
    ) -> None:
        self._roster: Roster | tuple[Candidate, ...] = tuple(agents) if isinstance(agents, Iterable) else agents
        self._capabilities = capabilities or CapabilityRegistry()
        self._weights = weights or MatchWeights()

    def find_best_agent(
        self,
        required_capabilities: Collection[str],
        *,
        load: Load = _NO_LOAD,
        minimum_coverage: float = 1.0,
        exclude: Collection[str] = (),
    ) -> CapabilityMatch:
        """Return the best agent that takes work and has the required capabilities (at least ``minimum_coverage`` of them).

        ``load`` is what a roster's agents have in hand, by id; left out, it knows only what they have in work. Candidates that were
        given as such carry their own. ``exclude`` names agents that are not to be chosen.

        Raises:
            AgentNotFoundError: nobody has them; the hint names who comes closest.
            NoHealthyAgentError: somebody has them, but is unhealthy, stopped or suspended.
            InvalidInput: no capability is required, or a text was given for a set of texts.
        """
        required = _required(required_capabilities)
        everybody = self._everybody(load)
        best = self._ranked(required, everybody, minimum_coverage, exclude)
        if best:
            return best[0]
        fit = [c.agent_id for c in everybody if self._coverage(required, c)[0] >= minimum_coverage]
        wanted = _listed(required)
        if fit:
            raise NoHealthyAgentError(
                f"no agent with {wanted} is healthy and in service; there would be {_listed(fit)}",
                hint="restart or mend one of them, or register another",
                agent_ids=sorted(fit),
            )
        nearest = min(everybody, key=lambda c: (-self._coverage(required, c)[0], c.agent_id), default=None)
        raise AgentNotFoundError(
            f"no agent has {wanted}",
            hint="register one"
            if nearest is None
            else f"{nearest.agent_id!r} comes closest and lacks {_listed(self._coverage(required, nearest)[1])}",
        )

    def rank(
        self,
        required_capabilities: Collection[str],
        *,
        load: Load = _NO_LOAD,
        minimum_coverage: float = 1.0,
        exclude: Collection[str] = (),
    ) -> list[CapabilityMatch]:
        """Return everybody who is fit, the best first; empty when nobody is. Raises ``InvalidInput``."""
        return self._ranked(_required(required_capabilities), self._everybody(load), minimum_coverage, exclude)

    def _everybody(self, load: Load) -> list[Candidate]:
        return list(self._roster if isinstance(self._roster, tuple) else self._roster.candidates(load))

    def _ranked(
        self, required: frozenset[str], everybody: list[Candidate], minimum: float, exclude: Collection[str]
    ) -> list[CapabilityMatch]:
        matches: list[CapabilityMatch] = []
        for candidate in everybody:
            if (
                candidate.is_available
                and candidate.health is not AgentHealth.UNHEALTHY
                and candidate.agent_id not in exclude
            ):
                match = self._score(required, candidate)
                if match.parts["coverage"] >= minimum:
                    matches.append(match)
        matches.sort(key=lambda match: (-match.score, match.agent_id))
        return matches

    def _coverage(self, required: frozenset[str], candidate: Candidate) -> tuple[float, frozenset[str]]:
        missing = required - candidate.capabilities
        if missing:
            missing -= self._capabilities.expand(candidate.capabilities)
        return 1 - len(missing) / len(required), missing

    def _score(self, required: frozenset[str], candidate: Candidate) -> CapabilityMatch:
        weights = self._weights
        coverage, missing = self._coverage(required, candidate)
        waiting = candidate.in_work + candidate.queued
        parts = {
            "coverage": coverage,
            "load": 1 / (1 + waiting / max(candidate.concurrency, 1)),
            "health": _HEALTH[candidate.health],
            "cost": 1 / (1 + max(candidate.cost, 0.0)),
        }
        weighed = (
            weights.coverage * parts["coverage"]
            + weights.load * parts["load"]
            + weights.health * parts["health"]
            + weights.cost * parts["cost"]
        )
        return CapabilityMatch(candidate.agent_id, weighed / weights.total, parts, missing)


def _required(capabilities: Collection[str]) -> frozenset[str]:
    if isinstance(capabilities, str):
        raise InvalidInput(
            f"the required capabilities are the text {capabilities!r}", hint=f"write {{{capabilities!r}}}"
        )
    required = frozenset(capabilities)
    if not required:
        raise InvalidInput("no capability is required, so everybody would do", hint="say what the work needs")
    return required


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return ", ".join(map(repr, ordered[:LISTED])) + more if ordered else "none"
