"""Which durable run this is: where model, tools and sessions of the SDK find the journal that they are written in."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from agents import Agent

from agenticflow.integrations.loops import ForeignLoop

__all__ = ["DurableRun", "current", "entered"]


class DurableRun:
    """One run of an agent, with everything that it leads to. ``clones`` are the agents that take the place of the user's, by identity."""

    __slots__ = ("at_most_once", "clones", "task")

    def __init__(self, task: Any, at_most_once: Collection[str]) -> None:
        self.task = task
        self.at_most_once = frozenset(at_most_once)
        self.clones: dict[int, tuple[Agent[Any], Agent[Any]]] = {}
        """By the ``id`` of an original: itself, so that the id stays its own, and what takes its place."""


class _Place:
    __slots__ = ("_is_new", "loop", "run")

    def __init__(self, run: DurableRun, loop: ForeignLoop, *, is_new: bool) -> None:
        self.run = run
        self.loop = loop
        self._is_new = is_new

    def begin(self, name: str) -> ForeignLoop:
        """Return the loop of the agent ``name`` that begins to run here: the one that was meant for it, and one inside it for any other."""
        if self._is_new:
            self._is_new = False
            return self.loop
        return self.loop.inside(name)


_place: ContextVar[_Place | None] = ContextVar("agenticflow_openai_agents", default=None)


def current() -> _Place | None:
    """Return the durable run that this is called in, and its innermost loop; ``None`` outside of any."""
    return _place.get()


@contextmanager
def entered(run: DurableRun, loop: ForeignLoop, *, is_taken: bool = False) -> Iterator[None]:
    """Be in ``loop`` inside the block. The first agent that begins to run there has it, unless it ``is_taken``."""
    token = _place.set(_Place(run, loop, is_new=not is_taken))
    try:
        yield
    finally:
        _place.reset(token)
