"""Tools by name: those of the process, which modules register when they are imported, and the sets that agents are given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Final, Protocol, TypeVar, Unpack

from agenticflow.errors import BoundExceeded, DefinitionError, ToolNotFoundError
from agenticflow.tools.definition import ToolDefinition, ToolOptions
from agenticflow.tools.foreign import ForeignTool, foreign_tool_of
from agenticflow.tools.tool import FunctionTool, Tool, function_tool_of

__all__ = ["ToolLike", "ToolRegistry", "as_tool", "get_tool_registry", "register_tool"]

F = TypeVar("F")


class NamedTool(Protocol):
    """A function tool of another framework, as far as every one of them looks like this."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> str: ...


ToolLike = Tool | Callable[..., Any] | str | NamedTool
"""A tool, a function to make one of, the name of a registered one, or a function tool of another framework."""
MAX_TOOLS: Final = 10_000
"""Of one registry."""


class ToolRegistry:
    """Tools by name. Plain state, without threads; registering happens when modules are imported."""

    __slots__ = ("_borrowed", "_givens", "_lender", "_tools")

    def __init__(self, lender: ToolRegistry | None = None) -> None:
        self._tools: dict[str, Tool] = {}
        self._givens: dict[str, object] = {}
        """What each was made of, as its author wrote it."""
        self._lender = lender
        self._borrowed: list[str] = []

    @classmethod
    def of(cls, tools: Iterable[ToolLike], lender: ToolRegistry | None = None) -> ToolRegistry:
        """Return a set of ``tools``; names among them are those of ``lender`` (the registry of the process), when they are called.

        Raises ``DefinitionError`` for what is no tool, and for two of one name.
        """
        if isinstance(tools, (str, Mapping)) or not isinstance(tools, Iterable):
            raise DefinitionError(f"tools are {tools!r:.80}", hint='give a list: tools=[search, "file_read"]')
        found = cls(lender if lender is not None else _REGISTRY)
        for one in tools:
            if isinstance(one, str):
                if one in found.names():
                    raise DefinitionError(f"the tool {one!r} is there twice", hint="leave one of them out")
                found._borrowed.append(one)
            else:
                found.register(one)
        return found

    def register(self, given: ToolLike) -> Tool:
        """Add a tool, or what one is made of, and return it; the same one again changes nothing. Raises ``DefinitionError``."""
        return self._add(as_tool(given), given)

    def _add(self, made: Tool, given: object) -> Tool:
        name = made.definition.name
        known = self._givens.get(name)
        if known is given and known is not None:
            return self._tools[name]
        if known is not None or name in self._borrowed:
            raise DefinitionError(
                f"there is a tool {name!r} already: {_where(known)}, and now {_where(given)}",
                hint="give one of them another name, or unregister the first",
            )
        if len(self._tools) >= MAX_TOOLS:
            raise BoundExceeded(f"there are {MAX_TOOLS:,} tools already", hint="make a registry for each purpose")
        self._tools[name] = made
        self._givens[name] = given
        return made

    def unregister(self, name: str) -> None:
        """Take a tool out. Raises ``ToolNotFoundError``."""
        self.get(name)
        self._tools.pop(name, None)
        self._givens.pop(name, None)
        if name in self._borrowed:
            self._borrowed.remove(name)

    def find(self, name: str) -> Tool | None:
        """Return the tool of that name, ``None`` when there is none."""
        found = self._tools.get(name)
        if found is None and self._lender is not None and name in self._borrowed:
            return self._lender.find(name)
        return found

    def get(self, name: str) -> Tool:
        """Return the tool of that name. Raises ``ToolNotFoundError`` that suggests one with a similar name."""
        found = self.find(name)
        if found is None:
            names = self.names()
            close = get_close_matches(str(name), names, n=1)
            known = ", ".join(names[:20]) + (" …" if len(names) > 20 else "")
            hint = (
                f"did you mean {close[0]!r}?" if close else f"there are {known}" if names else "none is registered here"
            )
            if name in self._borrowed:
                hint = "it was named, and is not registered: import the module that defines it"
            raise ToolNotFoundError(f"there is no tool {name!r:.80}", hint=hint)
        return found

    def names(self) -> tuple[str, ...]:
        """Return the names of all tools, in order."""
        return tuple(sorted({*self._tools, *self._borrowed}))

    def definitions(self, category: str | None = None) -> list[ToolDefinition]:
        """Return all tools as data, of one ``category`` or of all, in order of name."""
        found = [self.get(name).definition for name in self.names()]
        return [one for one in found if category is None or one.category == category]

    def categories(self) -> tuple[str, ...]:
        """Return the categories that tools are of, in order."""
        return tuple(sorted({one.category for one in self.definitions()}))

    def get_tool_functions(self, names: Iterable[str]) -> list[object]:
        """Return the tools of ``names`` as their authors wrote them: functions, or the objects of another framework, which that takes.

        Raises ``ToolNotFoundError``.
        """
        functions: list[object] = []
        for name in names:
            found = self.get(name)
            functions.append(found.original if isinstance(found, ForeignTool) else self._given(name, found))
        return functions

    def _given(self, name: str, found: Tool) -> object:
        if name in self._givens:
            return self._givens[name]
        return self._lender._given(name, found) if self._lender is not None else found

    def compensation_of(self, name: str) -> Tool | None:
        """Return the tool that undoes the tool ``name``, ``None`` when nothing does. Raises ``ToolNotFoundError``."""
        undoes = self.get(name).definition.compensate
        return self.get(undoes) if undoes else None

    def __len__(self) -> int:
        return len(self.names())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.find(name) is not None

    def __repr__(self) -> str:
        return f"ToolRegistry({', '.join(self.names())})"


def _where(thing: object) -> str:
    function = thing.function if isinstance(thing, FunctionTool) else thing
    module = getattr(function, "__module__", None) or type(function).__module__
    return f"{module}.{getattr(function, '__qualname__', type(function).__qualname__)}"


_REGISTRY: Final = ToolRegistry()


def get_tool_registry() -> ToolRegistry:
    """Return the registry of the process."""
    return _REGISTRY


def as_tool(given: ToolLike) -> Tool:
    """Return ``given`` as a tool: itself, a function, or a function tool of another framework. Raises ``DefinitionError``."""
    if isinstance(given, Tool):
        given.definition  # noqa: B018 - what is wrong with it is said now, not at its first call
        return given
    if isinstance(given, type) and issubclass(given, Tool):
        raise DefinitionError(f"{given.__name__} is a class of tools, not a tool", hint=f"give one: {given.__name__}()")
    foreign = foreign_tool_of(given, {})
    if foreign is not None:
        return foreign
    if isinstance(given, str) or not callable(given):
        raise DefinitionError(
            f"{given!r:.80} is no tool", hint="give a function, a Tool, or a function tool of the Agents SDK"
        )
    return function_tool_of(given, {})


def register_tool(
    name: str,
    description: str | None = None,
    category: str = "general",
    *,
    parameters_description: Mapping[str, str] | None = None,
    returns_description: str | None = None,
    registry: ToolRegistry | None = None,
    **options: Unpack[ToolOptions],
) -> Callable[[F], F]:
    """Register the decorated function, or a function tool of another framework, under ``name``; what is decorated stays as it is.

    Stacked over ``@function_tool`` of the OpenAI Agents SDK it registers that tool, and ``get_tool_functions`` gives the SDK's own object
    back. Stacked over ``@tool`` it registers a copy with this name and these words, on the terms given here or else there.

    Raises ``DefinitionError`` as ``tool`` does, and for a name that is taken.
    """
    if not isinstance(name, str):
        raise DefinitionError(
            f"@register_tool got {getattr(name, '__name__', name)!r:.80}, not a name",
            hint='write @register_tool("weather", "Tells the weather.", "data") above a function',
        )
    words: dict[str, Any] = {
        "name": name,
        "description": description,
        "category": category,
        "parameters_description": parameters_description,
        "returns_description": returns_description,
    }

    def register(given: F) -> F:
        target = registry if registry is not None else _REGISTRY
        target._add(_renamed(given, words, options), given)
        return given

    return register


def _renamed(given: object, words: dict[str, Any], options: ToolOptions) -> Tool:
    if isinstance(given, FunctionTool):
        own = given.definition
        kept: ToolOptions = {
            "effect": own.effect,
            "needs_approval": own.needs_approval,
            "timeout": own.timeout_seconds,
            "compensate": own.compensate,
            "permissions": own.permissions,
            "max_result_bytes": own.max_result_bytes,
        }
        if own.retry is not None:
            kept["retries"] = own.retry
        if own.rate_limit is not None:
            kept["rate_limit"] = own.rate_limit
        if own.circuit_breaker is not None:
            kept["circuit_breaker"] = own.circuit_breaker
        words = {**words, "description": words["description"] if words["description"] is not None else own.description}
        return function_tool_of(given.function, {**kept, **options}, **words)
    if isinstance(given, Tool):
        raise DefinitionError(
            f"@register_tool got the tool {given.definition.name!r}",
            hint="get_tool_registry().register(tool) registers it as it is",
        )
    foreign = foreign_tool_of(given, options, **words)
    if foreign is not None:
        return foreign
    if not callable(given):
        raise DefinitionError(f"@register_tool got {given!r:.80}, not a function", hint="write it above a function")
    return function_tool_of(given, options, **words)
