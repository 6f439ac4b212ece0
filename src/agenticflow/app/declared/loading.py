"""One agent out of a file: ``agents.yaml``, ``team.py`` or a module's dotted name, with ``:name`` behind it to choose one of several."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from agenticflow.agents.agent import Agent
from agenticflow.app.declared.agents import load_agent_definitions
from agenticflow.app.definitions.modules import import_file, import_named, performers_in
from agenticflow.errors import DefinitionError

__all__ = ["load_agent"]

SUFFIXES: Final = (".yaml", ".yml", ".json")


def load_agent(target: str, *, imports: Iterable[str] = ()) -> Agent:
    """Return the agent that ``target`` names. ``imports`` are modules that register the tools which a file names.

    In a module it is an ``Agent`` with a model; of a file what it describes. Raises ``DefinitionError`` that says what there is.
    """
    for module in imports:
        import_named(module, Path.cwd())
    place, name = _split(target)
    path = Path(place)
    if path.suffix in SUFFIXES:
        agents = {one.name: Agent.of(one) for one in load_agent_definitions(path)}
    elif path.suffix == ".py":
        if not path.is_file():
            raise DefinitionError(f"there is no file {place!r}", hint="check the spelling of the path")
        agents = _asking(performers_in(import_file(path)))
    elif re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", place) and not path.exists():
        agents = _asking(performers_in(import_named(place, Path.cwd())))
    else:
        raise DefinitionError(
            f"{place!r} is no file with agents", hint="give a .yaml, .json or .py file, or the dotted name of a module"
        )
    return _chosen(agents, name, place)


def _split(target: str) -> tuple[str, str | None]:
    place, colon, name = target.rpartition(":")
    if not colon or Path(target).is_file():
        return target, None
    if not name or not place:
        raise DefinitionError(f"{target!r} names no agent", hint="write FILE, or FILE:name")
    return place, name


def _asking(performers: Iterable[object]) -> dict[str, Agent]:
    return {one.agent_id: one for one in performers if isinstance(one, Agent) and one.definition is not None}


def _chosen(agents: Mapping[str, Agent], name: str | None, place: str) -> Agent:
    if not agents:
        raise DefinitionError(
            f"{place!r} has no agent that asks a model", hint='write Agent("guide", model="openai:gpt-5", …) in it'
        )
    known = ", ".join(map(repr, agents))
    if name is None:
        if len(agents) > 1:
            raise DefinitionError(
                f"{place!r} has several agents: {known}", hint=f"choose one: {place}:{next(iter(agents))}"
            )
        return next(iter(agents.values()))
    if name not in agents:
        near = get_close_matches(name, agents, n=1)
        raise DefinitionError(
            f"{place!r} has no agent {name!r}",
            hint=f"did you mean {near[0]!r}?" if near else f"there are {known}",
        )
    return agents[name]
