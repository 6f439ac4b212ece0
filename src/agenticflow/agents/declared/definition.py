"""An agent as a description: what it is for, how it is instructed, what it may use, what guards it and what it answers with."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from agenticflow.agents.context import AgentContext, format_schema_for_prompt
from agenticflow.agents.declared.checking import in_lists, in_terms, in_what_is_listed, in_words
from agenticflow.agents.declared.instructing import instructed, instructed_in_time
from agenticflow.agents.declared.templates import InstructionTemplate
from agenticflow.agents.guardrails import Guardrail, Guardrails
from agenticflow.agents.guardrails.names import GuardrailNames, get_guardrail_names
from agenticflow.agents.loop.policy import USUAL_POLICY, LoopPolicy
from agenticflow.errors import AgenticFlowError, BoundExceeded, DefinitionError, InvalidInput, TemporaryError

__all__ = ["AgentDefinition", "Instructions"]

MAX_INSTRUCTIONS_CHARS: Final = 1_000_000
_UNSAID: Final = object()

Made = str | Awaitable[str]
Instructions = str | InstructionTemplate | Callable[[Any, "AgentDefinition"], Made] | Callable[[Any], Made]


@dataclass(frozen=True, init=False)
class AgentDefinition:
    """``AgentDefinition("analyst", "answers questions about sales", "Be brief.", tools=["query"])``.

    ``instructions`` are a text, a template (``instructions_file("analyst.md")``), or ``f(context) -> str``, plain or async, which may take
    the definition as well: ``f(context, agent_definition)``. ``tools`` are names or tools; ``guardrails`` names (``register_guardrail``),
    ``Guardrail``s or functions. ``output_type`` is what the answer is made into; ``output_dataclass=`` says the same. With
    ``requires_schema_injection`` the tables of the run's context follow the instructions. ``handoffs`` are agents, definitions or names of
    definitions that it may pass the conversation on to, or functions that return one of these (for agents that hand off to each other);
    ``loop`` says on what terms it works, ``budget`` what it may spend. ``tool_choice`` is ``auto``, ``none``, ``required``, or the name of
    the tool (``transfer_to_NAME`` of a handoff) that it has to call before anything else.
    """

    name: str
    description: str
    instructions: Instructions
    tools: tuple[Any, ...]
    guardrails: tuple[Any, ...]
    model: Any
    output_type: Any
    requires_schema_injection: bool
    handoffs: tuple[Any, ...]
    budget: Any
    loop: LoopPolicy
    tool_choice: str

    def __init__(
        self,
        name: str,
        description: str,
        instructions: Instructions,
        tools: Sequence[Any] = (),
        guardrails: Sequence[Any] = (),
        model: Any = None,
        output_type: Any = _UNSAID,
        requires_schema_injection: bool = False,
        *,
        output_dataclass: Any = _UNSAID,
        handoffs: Sequence[Any] = (),
        budget: Any = None,
        loop: LoopPolicy = USUAL_POLICY,
        tool_choice: str = "auto",
    ) -> None:
        """Raises ``DefinitionError`` with every mistake found."""
        problems = [
            *in_words(name, description, instructions),
            *in_lists({"tools": tools, "guardrails": guardrails, "handoffs": handoffs}),
            *in_terms(loop, budget),
        ]
        if output_type is not _UNSAID and output_dataclass is not _UNSAID and output_type is not output_dataclass:
            problems.append("output_type and output_dataclass say two things")
        if not problems:
            problems += in_what_is_listed(tools, guardrails, handoffs, tool_choice)
        if problems:
            raise DefinitionError(
                f"the agent {name!r:.60} is described wrongly: {problems[0]}",
                hint='AgentDefinition("analyst", "what it is for", "how it works", tools=["query"])',
                problems=problems,
            )
        chosen = output_dataclass if output_type is _UNSAID else output_type
        for field, value in (
            ("name", name),
            ("description", description),
            ("instructions", instructions),
            ("tools", tuple(tools)),
            ("guardrails", tuple(guardrails)),
            ("model", model),
            ("output_type", None if chosen is _UNSAID else chosen),
            ("requires_schema_injection", bool(requires_schema_injection)),
            ("handoffs", tuple(handoffs)),
            ("budget", budget),
            ("loop", loop),
            ("tool_choice", str(tool_choice)),
        ):
            object.__setattr__(self, field, value)

    def render_instructions(self, context: Any = None, **variables: Any) -> str:
        """Return the instructions for a run with this context. In a template, ``${context.filters}`` are fields of the context,
        ``${agent.name}`` and ``${agent.description}`` this agent's, and ``variables`` whatever else it names.

        Raises ``InvalidInput`` when a template names what is not known, a function returns no text or is async (``instruct`` waits for
        those), or the schema is missing; ``TemporaryError`` for what a function fails with, ``BoundExceeded`` above a million characters.
        """
        made = self._made(context, variables)
        if inspect.iscoroutine(made):
            made.close()
        return self._whole(made, context)

    async def instruct(self, context: Any = None, **variables: Any) -> str:
        """The same, within ``loop.instructions_timeout_seconds``: an async function is awaited, a plain one called in a thread.

        Raises what ``render_instructions`` raises, and ``TemporaryError`` when the time has passed.
        """
        if isinstance(self.instructions, (str, InstructionTemplate)):
            return self._whole(self._made(context, variables), context)
        return self._whole(await self._in_time(self.instructions, context), context)

    def _made(self, context: Any, variables: dict[str, Any]) -> object:
        match self.instructions:
            case str():
                return self.instructions
            case InstructionTemplate():
                about = {"agent": {"name": self.name, "description": self.description}}
                return self.instructions.render({**about, "context": {} if context is None else context, **variables})
            case function:
                try:
                    return instructed(function, context, self)
                except AgenticFlowError:
                    raise  # it says itself whose move it is
                except Exception as error:
                    raise self._failed(error) from error

    async def _in_time(self, function: Callable[..., object], context: Any) -> object:
        seconds = self.loop.instructions_timeout_seconds
        limit = asyncio.timeout(seconds)
        try:
            return await instructed_in_time(function, context, self, limit)
        except AgenticFlowError:
            raise
        except Exception as error:
            if limit.expired():
                raise TemporaryError(
                    f"the instructions of {self.name!r} were not there after {seconds:g} s",
                    hint="make the function faster, or give loop=LoopPolicy(instructions_timeout_seconds=…)",
                ) from error
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> TemporaryError:
        return TemporaryError(
            f"the instructions of {self.name!r} could not be made: {type(error).__name__}: {error}",
            hint="mend the function that makes them, or what it asks",
        )

    def _whole(self, made: object, context: Any) -> str:
        if not isinstance(made, str):
            raise InvalidInput(
                f"the instructions of {self.name!r} are a function that returned a {type(made).__name__}, not a text",
                hint="it is f(context) -> str or f(context, agent_definition) -> str; an async one is waited for by instruct()",
            )
        text = made if not self.requires_schema_injection else self._with_schema(made, context)
        if len(text) > MAX_INSTRUCTIONS_CHARS:
            raise BoundExceeded(
                f"the instructions of {self.name!r} have {len(text):,} characters, and may have {MAX_INSTRUCTIONS_CHARS:,}",
                hint="give the model a tool that finds what it needs",
            )
        return text

    def _with_schema(self, text: str, context: Any) -> str:
        schema = context.schema if isinstance(context, AgentContext) else None
        if not schema:
            raise InvalidInput(
                f"the agent {self.name!r} needs a schema, and the context has none",
                hint="give AgentContext(schema={…}), or leave requires_schema_injection out",
            )
        return f"{text.rstrip()}\n\nThe database has these tables:\n{format_schema_for_prompt(schema)}"

    def resolve_guardrails(self, names: GuardrailNames | None = None) -> Guardrails:
        """Return its guardrails, names looked up. Raises ``DefinitionError`` for an unknown name, with the one that was meant."""
        known = names or get_guardrail_names()
        found: list[Guardrail] = []
        for one in self.guardrails:
            if isinstance(one, str):
                try:
                    found.append(known.get(one))
                except DefinitionError as error:
                    raise DefinitionError(f"the agent {self.name!r}: {error.message}", hint=error.hint) from None
            else:
                found.append(one if isinstance(one, Guardrail) else Guardrail(one))
        return Guardrails(found)

    def unknown_tools(self, known: Collection[str]) -> list[str]:
        """Return in words which of its tools, given by name, are not among ``known``, with what was probably meant."""
        problems: list[str] = []
        for one in self.tools:
            if isinstance(one, str) and one not in known:
                close = get_close_matches(one, known, n=1)
                problems.append(
                    f"the agent {self.name!r} has no tool {one!r}{f', did you mean {close[0]!r}?' if close else ''}"
                )
        return problems
