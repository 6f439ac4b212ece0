"""How much a request asks for, by its words alone: one thing for one agent, or several that have to be put together. Pure.

A guess, and a cheap one: who takes it for simple wrongly asks one agent too much, who takes it for complex wrongly asks a model once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from agenticflow.errors import DefinitionError

__all__ = ["Complexity", "QueryAnalysis", "Words", "analyse"]

Words = Mapping[str, Collection[str]]
"""Other words for a capability: ``{"billing": ["invoice", "refund"]}``."""
LONG_CHARS: Final = 400
MANY_SENTENCES: Final = 3
_WORD: Final = re.compile(r"\w+")
_SENTENCE: Final = re.compile(r"[^.!?\n]*\w[^.!?\n]*")
_STEPS: Final = re.compile(
    r"\b(?:then|afterwards|after that|next|finally|lastly|secondly|thirdly|in parallel|at the same time|meanwhile|for each)\b"
    r"|;|^\s*(?:\d+[.)]|[-*])\s",
    re.IGNORECASE | re.MULTILINE,
)


class Complexity(enum.StrEnum):
    """What a request needs."""

    SIMPLE = "simple"
    """One agent."""
    COMPLEX = "complex"
    """A workflow."""


class QueryAnalysis(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a request before anybody is asked about it."""

    query: str
    complexity: Complexity
    capabilities: tuple[str, ...] = ()
    """Those it names, in the order in which it does."""
    reasons: tuple[str, ...] = ()
    """Why it is not simple."""
    context_keys: tuple[str, ...] = ()
    """Names of the data that came with it."""

    @property
    def words(self) -> frozenset[str]:
        """The words of the request, folded."""
        return frozenset(_WORD.findall(self.query.casefold()))


def analyse(
    query: str, capabilities: Collection[str], *, words: Words | None = None, context_keys: Sequence[str] = ()
) -> QueryAnalysis:
    """Return what ``query`` asks for. It is complex when it names several capabilities, puts steps in order, or is long.

    A capability is named when all words of it (``data_analysis`` has two) stand in the query, or one of its ``words``. Raises
    ``DefinitionError`` for words that are none.
    """
    named = _named(query, capabilities, words or {})
    reasons: list[str] = []
    if len(named) > 1:
        reasons.append(f"it names {len(named)} capabilities: {', '.join(named[:10])}")
    if steps := _STEPS.findall(query):
        reasons.append(f"it puts things in order: {', '.join(repr(' '.join(step.split())) for step in steps[:3])}")
    if (sentences := len(_SENTENCE.findall(query))) >= MANY_SENTENCES:
        reasons.append(f"it has {sentences} sentences")
    if len(query) > LONG_CHARS:
        reasons.append(f"it has {len(query):,} characters")
    complexity = Complexity.COMPLEX if reasons else Complexity.SIMPLE
    return QueryAnalysis(query, complexity, tuple(named), tuple(reasons), tuple(sorted(context_keys)))


def _named(query: str, capabilities: Collection[str], words: Words) -> list[str]:
    said = _WORD.findall(query.casefold())
    places: list[tuple[int, str]] = []
    for capability in sorted(set(capabilities)):
        ways = [_WORD.findall(capability.casefold().replace("_", " "))]
        ways += [_WORD.findall(one.casefold()) for one in _others(capability, words)]
        found = [min(said.index(word) for word in way) for way in ways if way and set(way) <= set(said)]
        if found:
            places.append((min(found), capability))
    return [capability for _, capability in sorted(places)]


def _others(capability: str, words: Words) -> Collection[str]:
    given = words.get(capability, ())
    if isinstance(given, str) or not all(isinstance(word, str) and _WORD.search(word) for word in given):
        raise DefinitionError(
            f"the words of capability {capability!r} are {given!r:.60}",
            hint='give a list of texts: {"billing": ["invoice", "refund"]}',
        )
    return given
