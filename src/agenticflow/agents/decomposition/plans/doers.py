"""Who could do a task: an agent as a planner sees it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import msgspec

from agenticflow.agents.capabilities import Candidate
from agenticflow.core.binding import Handler

__all__ = ["ANY_TASK", "Doer", "word_parameter"]

ANY_TASK: Final = "run"
"""The type of the handler that takes a request in words, whatever it is about."""


class Doer(msgspec.Struct, frozen=True):
    """An agent with what it has handlers for."""

    candidate: Candidate
    handlers: Mapping[str, Handler]
    role: str = ""

    @property
    def agent_id(self) -> str:
        """Its id."""
        return self.candidate.agent_id

    @property
    def capabilities(self) -> frozenset[str]:
        """What it can do."""
        return self.candidate.capabilities

    def handler_type(self, task_type: str, capabilities: Collection[str]) -> str | None:
        """Return the type of the handler that does a task of ``task_type``: that itself, one called like a capability of the task, the
        one for any task, the only one."""
        for wanted in (task_type, *capabilities, ANY_TASK):
            if wanted in self.handlers:
                return wanted
        return next(iter(self.handlers)) if len(self.handlers) == 1 else None

    def described(self) -> dict[str, object]:
        """Return what a model is told about it: not its id, which is no business of a plan."""
        told: dict[str, object] = {"capabilities": sorted(self.capabilities), "task_types": {}}
        if self.role:
            told["role"] = self.role
        told["task_types"] = {name: _taken(name, handler) for name, handler in sorted(self.handlers.items())}
        return told


def _taken(name: str, handler: Handler) -> dict[str, object]:
    needed = sorted(handler.unfilled(("query",)))
    if name == ANY_TASK and (words := word_parameter(handler)) is not None:
        return {"parameters": "any", "needed": [one for one in needed if one != words]}
    return {"parameters": sorted(handler.parameter_names), "needed": needed}


def word_parameter(handler: Handler) -> str | None:
    """Return the parameter by which a handler for any task takes a request in words; ``None`` when it takes none."""
    named = next((name for name in ("query", "prompt") if name in handler.parameter_names), None)
    return named if named is not None or handler.misfits({}, ("prompt",)) else "prompt"
