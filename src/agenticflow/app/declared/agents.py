"""Files that describe agents: YAML or JSON with one agent, or a list under ``agents``, and every mistake told with its line.

Instructions stand in the file or in a Markdown file beside it. What is named as ``package.module:name`` is imported, which runs that
module; nothing else is executed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, Final, TypeVar

from agenticflow.agents.declared import AgentDefinition, instructions_file, register_agent
from agenticflow.agents.guardrails import (
    Guardrail,
    GuardrailNames,
    destructive_sql,
    get_guardrail_names,
    json_schema,
    length,
    prompt_injection,
    secrets,
)
from agenticflow.agents.loop.policy import USUAL_POLICY, LoopPolicy
from agenticflow.app.definitions.documents import Document, Way
from agenticflow.app.definitions.modules import import_named
from agenticflow.app.definitions.reading import read_document
from agenticflow.errors import AgenticFlowError, DefinitionError
from agenticflow.resilience.budgets import Budget

__all__ = ["load_agent_definitions"]

T = TypeVar("T")
SUFFIXES: Final = (".yaml", ".yml", ".json")
KEYS: Final = (
    "name",
    "description",
    "instructions",
    "instructions_file",
    "tools",
    "guardrails",
    "model",
    "output_type",
    "requires_schema_injection",
    "handoffs",
    "budget",
    "loop",
    "tool_choice",
)
MEANT: Final = {
    "id": "name",
    "agent": "name",
    "prompt": "instructions",
    "system_prompt": "instructions",
    "system": "instructions",
    "instruction": "instructions",
    "prompt_file": "instructions_file",
    "template": "instructions_file",
    "functions": "tools",
    "output_dataclass": "output_type",
    "output_schema": "output_type",
    "response_format": "output_type",
    "llm": "model",
    "guards": "guardrails",
    "requires_schema": "requires_schema_injection",
    "function_call": "tool_choice",
    "tool_use": "tool_choice",
    "max_turns": "loop",
    "temperature": "loop",
}
"""What people write who come from elsewhere."""
MAKERS: Final[Mapping[str, Callable[..., Guardrail]]] = {
    "destructive_sql": destructive_sql,
    "json_schema": json_schema,
    "length": length,
    "prompt_injection": prompt_injection,
    "secrets": secrets,
}
"""Guardrails that take arguments in a file: ``length: {max_chars: 400}``."""


def load_agent_definitions(
    path: str | PathLike[str], *, registers: bool = True, guardrails: GuardrailNames | None = None
) -> tuple[AgentDefinition, ...]:
    """Return the agents that the file describes, and make them known by name unless told otherwise (``get_agent_registry``).

    Raises ``DefinitionError`` with every mistake found: each with its line, and with what was probably meant. Then none becomes known.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES or not file.is_file():
        raise DefinitionError(
            f"there is no file {str(path)!r} that describes agents", hint="give a .yaml or .json file"
        )
    reader = _AgentReader(read_document(file), guardrails or get_guardrail_names())
    found = reader.read()
    if reader.problems:
        raise DefinitionError(
            f"{file.name} describes no agents: {reader.problems[0]}"
            + (f", and {len(reader.problems) - 1} more mistakes" if len(reader.problems) > 1 else ""),
            hint="mend what is listed in `problems`",
            problems=reader.problems,
        )
    return tuple(register_agent(definition) if registers else definition for definition in found)


class _AgentReader:
    """Turns a document into definitions, collecting what is wrong with it."""

    def __init__(self, document: Document, names: GuardrailNames) -> None:
        self._document = document
        self._names = names
        self.problems: list[str] = []

    def read(self) -> list[AgentDefinition]:
        data = self._document.data
        way: Way = ()
        agents: object = [data]
        if isinstance(data, dict) and "agents" in data:
            for key in data:
                if key != "agents":
                    self._tell((key,), f"{key!r} is not known beside `agents`")
            agents, way = data["agents"], ("agents",)
        if not isinstance(agents, list) or not agents:
            self._tell(way, "`agents` is a list of agents, each with name, description and instructions")
            return []
        found: list[AgentDefinition] = []
        first_at: dict[str, Way] = {}
        for index, agent in enumerate(agents):
            here: Way = (*way, index) if way else ()
            definition = self._agent(agent, here)
            if definition is None:
                continue
            if definition.name in first_at:
                before = self._document.place(*first_at[definition.name])
                self._tell((*here, "name"), f"the agent {definition.name!r} is described at {before} already")
                continue
            first_at[definition.name] = (*here, "name")
            found.append(definition)
        return found

    def _agent(self, data: object, way: Way) -> AgentDefinition | None:
        if not isinstance(data, dict):
            self._tell(way, f"an agent is a mapping, not {data!r:.60}")
            return None
        count = len(self.problems)
        self._check_keys(data, way)
        instructions = self._instructions(data, way)
        tools = self._listed_names(data, "tools", way, "a tool", "its name")
        rails = [
            self._guardrail(one, (*way, "guardrails", at)) for at, one in enumerate(self._list(data, "guardrails", way))
        ]
        output_type = self._imported(data["output_type"], (*way, "output_type")) if "output_type" in data else None
        needs_schema = data.get("requires_schema_injection", False)
        if not isinstance(needs_schema, bool):
            self._tell(
                (*way, "requires_schema_injection"), f"requires_schema_injection is {needs_schema!r:.60}: true or false"
            )
        model = data.get("model")
        if not isinstance(model, (str, type(None))):
            self._tell((*way, "model"), f"the model is {model!r:.60}: give its name")
        handoffs = self._listed_names(data, "handoffs", way, "a handoff", "the name of an agent")
        budget = self._made(data, "budget", way, Budget.from_dict)
        loop = self._made(data, "loop", way, LoopPolicy.from_dict)
        if len(self.problems) > count:
            return None
        try:
            return AgentDefinition(
                data["name"],
                data["description"],
                instructions,
                tools=tools,
                guardrails=rails,
                model=model,
                output_type=output_type,
                requires_schema_injection=needs_schema,
                handoffs=handoffs,
                budget=budget,
                loop=loop or USUAL_POLICY,
                tool_choice=data.get("tool_choice", "auto"),
            )
        except DefinitionError as error:
            for problem in error.problems:
                self._tell(way, problem)
            return None

    def _check_keys(self, data: Mapping[str, Any], way: Way) -> None:
        for key in data:
            if key not in KEYS:
                near = [MEANT[key]] if key in MEANT else get_close_matches(key, KEYS, n=1)
                self._tell((*way, key), f"{key!r} is not known{f', did you mean {near[0]!r}?' if near else ''}")
        for key in ("name", "description"):
            if not isinstance(data.get(key), str):
                self._tell(
                    (*way, key), f"an agent needs a {key}, a text" if key not in data else f"the {key} is no text"
                )

    def _instructions(self, data: Mapping[str, Any], way: Way) -> Any:
        given = [key for key in ("instructions", "instructions_file") if key in data]
        if len(given) != 1:
            self._tell((*way, "instructions"), "an agent needs either `instructions` or `instructions_file`")
            return ""
        said = data[given[0]]
        if not isinstance(said, str):
            self._tell((*way, given[0]), f"{given[0]} is {said!r:.60}, not a text")
            return ""
        if given == ["instructions"]:
            return said
        try:
            return instructions_file(self._document.path.parent / said)
        except DefinitionError as error:
            self._tell((*way, "instructions_file"), error.message)
            return ""

    def _list(self, data: Mapping[str, Any], key: str, way: Way) -> list[Any]:
        said = data.get(key, [])
        if isinstance(said, list):
            return said
        self._tell((*way, key), f"{key} is {said!r:.60}: give a list")
        return []

    def _listed_names(self, data: Mapping[str, Any], key: str, way: Way, one: str, meant: str) -> list[Any]:
        """Return the list under ``key``, of names; ``one`` of them, in words, is told to be ``meant`` when it is something else."""
        said = self._list(data, key, way)
        for index, name in enumerate(said):
            if not isinstance(name, str):
                self._tell((*way, key, index), f"{one} is {name!r:.60}: give {meant}")
        return said

    def _made(self, data: Mapping[str, Any], key: str, way: Way, make: Callable[[Mapping[str, Any]], T]) -> T | None:
        """Return what a mapping stands for; ``None`` when there is none."""
        said = data.get(key)
        if said is None:
            return None
        try:
            if not isinstance(said, dict):
                raise DefinitionError(f"{key} is {said!r:.60}: give a mapping")
            return make(said)
        except DefinitionError as error:
            for problem in error.problems or (error.message,):
                self._tell((*way, key), problem)
            return None

    def _guardrail(self, said: object, way: Way) -> Any:
        """Return the guardrail: a known name, ``module:function``, or a built-in one with its arguments."""
        if isinstance(said, str) and ":" in said:
            return self._imported(said, way)
        try:
            if isinstance(said, str):
                return self._names.get(said)
            if isinstance(said, dict) and len(said) == 1:
                [(name, arguments)] = said.items()
                if name not in MAKERS:
                    near = get_close_matches(str(name), MAKERS, n=1)
                    meant = f"did you mean {near[0]!r}?" if near else f"choose from {', '.join(MAKERS)}"
                    self._tell(way, f"no guardrail {name!r} takes arguments here, {meant}")
                    return None
                if not isinstance(arguments, dict):
                    self._tell(way, f"the arguments of {name!r} are {arguments!r:.60}: give a mapping")
                    return None
                return MAKERS[name](**arguments)
        except TypeError as error:
            self._tell(way, f"the guardrail does not take that: {error}")
            return None
        except AgenticFlowError as error:
            self._tell(way, str(error))
            return None
        self._tell(way, f"a guardrail is {said!r:.60}: give a name, or a name with arguments")
        return None

    def _imported(self, said: object, way: Way) -> Any:
        """Return what ``package.module:name`` means."""
        module, colon, name = said.partition(":") if isinstance(said, str) else ("", "", "")
        if not (module and colon and name):
            self._tell(way, f"{said!r:.60} is no place in a module: write package.module:name")
            return None
        try:
            imported = import_named(module, self._document.path.parent)
        except DefinitionError as error:
            self._tell(way, str(error))
            return None
        found = getattr(imported, name, None)
        if found is None:
            near = get_close_matches(name, dir(imported), n=1)
            self._tell(way, f"the module {module!r} has no {name!r}{f', did you mean {near[0]!r}?' if near else ''}")
        return found

    def _tell(self, way: Way, problem: str) -> None:
        self.problems.append(f"{self._document.place(*way)}: {problem}")
