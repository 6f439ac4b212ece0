"""An agent as it speaks in a loop: its model, tools, handoffs, guardrails and the form of its answer at hand, looked up once."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from agenticflow.agents.agent import Agent
from agenticflow.agents.asked.agent_tool import handoff_name_of
from agenticflow.agents.asked.doors import AskedAgent
from agenticflow.agents.declared.choosing import choice_problem
from agenticflow.agents.declared.definition import AgentDefinition
from agenticflow.agents.declared.definitions import get_agent_registry
from agenticflow.agents.guardrails import GuardrailKind
from agenticflow.agents.model.outputs import Expected
from agenticflow.agents.model.port import Model
from agenticflow.agents.model.requests import ToolSpec
from agenticflow.app.models.choosing import model_from
from agenticflow.errors import DefinitionError
from agenticflow.tools.registry import ToolRegistry

__all__ = ["Speaker", "Speakers"]

MAX_KNOWN: Final = 1_000
"""Agents that are kept ready: programs may make one for each question."""
_NO_PARAMS: Final[dict[str, object]] = {"type": "object", "properties": {}, "additionalProperties": False}


class Speaker:
    """One agent, ready to be asked."""

    __slots__ = ("agent", "definition", "expected", "handoffs", "model", "rails", "specs", "tools")

    def __init__(self, agent: Agent, definition: AgentDefinition, model: Model, handoffs: Mapping[str, Agent]) -> None:
        self.agent = agent
        self.definition = definition
        self.model = model
        self.tools = agent.tools if agent.has_tools else ToolRegistry()
        self.handoffs = handoffs
        """By the name of the tool that a model sees."""
        self.rails = definition.resolve_guardrails()
        form = definition.output_type
        self.expected: Expected[Any] | None = None if form is None or form is str else Expected(form)
        self.specs = self._specs()
        self.check_choice(definition.tool_choice)

    @property
    def name(self) -> str:
        """The agent's id."""
        return self.agent.agent_id

    def has_rails(self, kind: GuardrailKind) -> bool:
        """Whether anybody looks at values of this kind."""
        return any(kind in one.kinds for one in self.rails.guardrails)

    def check_choice(self, choice: str) -> None:
        """Raise ``DefinitionError`` for a choice of tools that is none for this agent; an empty one leaves it to the agent."""
        problem = choice_problem(choice, [*self.tools.names(), *self.handoffs]) if choice else ""
        if problem:
            raise DefinitionError(
                f"agent {self.name!r}: {problem}", hint="mend tool_choice, or give the agent the tool that it names"
            )

    async def instructions(self, context: Any) -> str:
        """Return what the model is told first. Raises what ``AgentDefinition.instruct`` raises."""
        said = await self.definition.instruct(context)
        expected = self.expected
        if expected is None or self.model.abilities.has_output_schemas:
            return said
        form = msgspec.json.encode(expected.spec.schema).decode()
        return f"{said}\n\nWhen you have your answer, give it as JSON only, which fits this JSON Schema: {form}"

    def _specs(self) -> tuple[ToolSpec, ...]:
        specs = [ToolSpec(one.name, one.words, dict(one.input_schema)) for one in self.tools.definitions()]
        for name, agent in self.handoffs.items():
            if name in self.tools:
                raise DefinitionError(
                    f"agent {self.name!r} has a tool {name!r}, which is how it hands off to {agent.agent_id!r}",
                    hint="give the tool another name",
                )
            what = f": {agent.role}" if agent.role else ""
            specs.append(ToolSpec(name, f"Pass the conversation on to {agent.agent_id}{what}", _NO_PARAMS))
        return tuple(specs)


class Speakers:
    """All of one orchestrator, each made once, and again when many others were made meanwhile."""

    def __init__(self) -> None:
        self._known: OrderedDict[Agent, Speaker] = OrderedDict()
        self._described: dict[str, Agent] = {}
        self._models: dict[str, Model] = {}

    def of(self, agent: AskedAgent) -> Speaker:
        """Return the agent as it speaks. Raises ``DefinitionError`` for one that asks no model, ``ConfigurationError`` for its model."""
        known = cast("Agent", agent)
        found = self._known.get(known)
        if found is None or found.definition is not known.definition:
            found = self._known[known] = self._made(known)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    def _made(self, agent: Agent) -> Speaker:
        definition = agent.definition
        if not isinstance(definition, AgentDefinition) or definition.model is None:
            raise DefinitionError(
                f"agent {agent.agent_id!r} asks no model",
                hint='give it model="openai:gpt-5", or a Model: ScriptedModel from agenticflow.testing needs no key',
            )
        return Speaker(agent, definition, self._model(definition.model), self._handoffs(agent, definition))

    def _model(self, given: object) -> Model:
        if isinstance(given, Model):
            return given
        name = str(given)
        if name not in self._models:
            self._models[name] = model_from(name)
        return self._models[name]

    def _handoffs(self, agent: Agent, definition: AgentDefinition) -> dict[str, Agent]:
        found: dict[str, Agent] = {}
        for one in definition.handoffs:
            other = self._agent(one, agent)
            name = handoff_name_of(other.agent_id)
            if found.setdefault(name, other) is not other:
                raise DefinitionError(
                    f"agent {agent.agent_id!r} would hand off to {found[name].agent_id!r} and to {other.agent_id!r} "
                    f"by the same name: {name}",
                    hint="give one of them another id",
                )
        return found

    def _agent(self, given: object, asked_by: Agent) -> Agent:
        if callable(given):
            given = given()
        if isinstance(given, Agent):
            return given
        definition = get_agent_registry().get(given) if isinstance(given, str) else given
        if not isinstance(definition, AgentDefinition):
            raise DefinitionError(
                f"agent {asked_by.agent_id!r} hands off to {given!r:.60}",
                hint="give an Agent, a function that returns one, an AgentDefinition, or the name of one",
            )
        known = self._described.get(definition.name)
        if known is None or known.definition is not definition:
            known = self._described[definition.name] = Agent.of(definition)
        return known

    def find(self, first: AskedAgent, name: str) -> Speaker:
        """Return the agent called ``name`` among those that ``first`` reaches by handoffs, itself included.

        Raises ``DefinitionError`` when there is none: the program has changed since the conversation was passed on.
        """
        seen: set[str] = set()
        todo = [cast("Agent", first)]
        while todo:
            agent = todo.pop()
            if agent.agent_id in seen:
                continue
            seen.add(agent.agent_id)
            if agent.agent_id == name:
                return self.of(agent)
            if isinstance(agent.definition, AgentDefinition):
                todo += self._handoffs(agent, agent.definition).values()
        raise DefinitionError(
            f"the conversation was passed on to agent {name!r}, and {first.agent_id!r} hands off to "
            f"{', '.join(sorted(seen - {first.agent_id})) or 'nobody'} now",
            hint="let it hand off to that agent again, or start anew",
        )

    async def close(self) -> None:
        """Let go of the models that were opened here."""
        models, self._models = self._models, {}
        self._known.clear()
        for model in models.values():
            await model.close()
