"""Tools: classes with ``execute``, and functions that ``@tool`` makes into one. What is wrong with one is said when it is defined.

Nothing here runs a tool under its terms: that is the business of ``tools.execution.pipeline``, which asks a tool to bind the params, to
perform, and whether what came is what it promises.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, ClassVar, Final, Generic, ParamSpec, TypeVar, Unpack, overload

from agenticflow.core.binding import rule_of
from agenticflow.core.json_schema import CompiledSchema, JsonSchema, compile_schema
from agenticflow.core.plain import is_async
from agenticflow.core.tools import ToolResult
from agenticflow.errors import DefinitionError
from agenticflow.tools.context import ToolContext
from agenticflow.tools.definition import ToolDefinition, ToolOptions, define
from agenticflow.tools.schemas.docstrings import read_docstring
from agenticflow.tools.schemas.hints import BadParams, Parameters, Returned, read_parameters, read_return

__all__ = ["FunctionTool", "Tool", "function_tool_of", "is_context", "tool"]

P = ParamSpec("P")
R = TypeVar("R")
_NO_PARAMS: Final[JsonSchema] = {"type": "object", "properties": {}, "additionalProperties": False}


def is_context(name: str, hint: object) -> bool:
    """Whether a parameter is the context: by the name ``ctx``, or by its hint."""
    return name == "ctx" or hint is ToolContext


class Tool:
    """A tool as a class. A subclass says its ``name``, ``description`` and terms as attributes and what it does in ``execute``.

    ``execute`` is async, or plain and then runs in a thread. Its params have been checked against ``get_schema()``.
    """

    name: str = ""
    description: str = ""
    category: str = "general"
    options: ClassVar[ToolOptions] = {}
    """Its terms, as for ``@tool``."""
    output_schema: ClassVar[JsonSchema | None] = None
    _definition: ToolDefinition | None = None
    _input: CompiledSchema | None = None
    _output: CompiledSchema | None = None

    def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult | Awaitable[ToolResult]:
        """Answer a call. A failure that is the world's may be raised: ``TemporaryError``, ``PermanentError``."""
        raise DefinitionError(
            f"{type(self).__name__} does not say what it does",
            hint="write async def execute(self, params, context) -> ToolResult",
        )

    def get_schema(self) -> JsonSchema:
        """Return the JSON Schema of the params: an object. Without one there are no params."""
        return _NO_PARAMS

    def get_required_permissions(self) -> Collection[str]:
        """Return what the caller must have been granted."""
        return self.options.get("permissions", ())

    @property
    def definition(self) -> ToolDefinition:
        """The tool as data, worked out once. Raises ``DefinitionError``."""
        if self._definition is None:
            if self.output_schema is not None:
                self._output = compile_schema(self.output_schema)
            options: ToolOptions = {**self.options, "permissions": self.get_required_permissions()}
            if type(self).execute is Tool.execute:
                raise DefinitionError(
                    f"the tool {type(self).__name__} does not say what it does",
                    hint="write async def execute(self, params, context) -> ToolResult",
                )
            self._definition = define(
                self.name,
                self.description or _docstring_of(type(self)),
                self.get_schema(),
                options,
                category=self.category,
                output_schema=self.output_schema,
            )
        return self._definition

    # --- what the pipeline uses -------------------------------------------------------------------------------------

    @property
    def is_async(self) -> bool:
        """Whether it runs on the event loop, not in a thread."""
        return inspect.iscoroutinefunction(self.execute)

    def bind(self, params: Mapping[str, object]) -> Mapping[str, Any]:
        """Return what ``perform`` is given for ``params``. Raises ``BadParams`` with every mistake."""
        if self._input is None:
            self._input = compile_schema(self.definition.input_schema)
        problems = self._input.problems(params)
        if problems:
            count = f"{len(problems)} mistakes" if len(problems) > 1 else "a mistake"
            raise BadParams(f"the params of {self.definition.name!r} have {count}", problems)
        return params

    def perform(self, bound: Mapping[str, Any], context: ToolContext) -> object:
        """Do it: return the value, a ``ToolResult``, or an awaitable of either."""
        return self.execute(bound, context)

    def misfit(self, value: object) -> str | None:
        """Return, in words, why the decoded ``value`` is not what was promised; ``None`` when it is."""
        schema = self.definition.output_schema
        if schema is None:
            return None
        if self._output is None:
            self._output = compile_schema(schema)
        return next(iter(self._output.problems(value, "the result")), None)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.definition.name!r})"


def _docstring_of(kind: type) -> str:
    """Return the words of a class or of one it is made of, below ``Tool``."""
    own = kind.__mro__[: kind.__mro__.index(Tool)]
    return next((inspect.cleandoc(one.__doc__) for one in own if one.__doc__), "")


class FunctionTool(Tool, Generic[P, R]):
    """A function as a tool. Calling it calls the function, without any of its terms."""

    def __init__(
        self, function: Callable[P, R], definition: ToolDefinition, parameters: Parameters, returned: Returned | None
    ) -> None:
        self.function = function
        self._definition = definition
        self._parameters = parameters
        self._returned = returned
        self._is_async = is_async(function)
        self.name = definition.name
        self.description = definition.description
        self.category = definition.category

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def get_schema(self) -> JsonSchema:
        return self.definition.input_schema

    def get_required_permissions(self) -> Collection[str]:
        return self.definition.permissions

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        """Call the function right here, without any of its terms; errors are failures of the result."""
        try:
            value = self.perform(self.bind(params), context)
            return ToolResult.success(await value if inspect.isawaitable(value) else value)
        except Exception as error:  # noqa: BLE001 - whatever it raises is its result
            return ToolResult.failure(error)

    @property
    def is_async(self) -> bool:
        return self._is_async

    def bind(self, params: Mapping[str, object]) -> Mapping[str, Any]:
        return self._parameters.arguments(params)

    def perform(self, bound: Mapping[str, Any], context: ToolContext) -> object:
        function: Callable[..., object] = self.function
        if self._parameters.context_name:
            return function(**bound, **{self._parameters.context_name: context})
        return function(**bound)

    def misfit(self, value: object) -> str | None:
        return None if self._returned is None else self._returned.check(value)


def function_tool_of(
    function: Callable[P, R],
    options: ToolOptions,
    *,
    name: str | None = None,
    description: str | None = None,
    category: str = "general",
    parameters_description: Mapping[str, str] | None = None,
    returns_description: str | None = None,
) -> FunctionTool[P, R]:
    """Return ``function`` as a tool. Raises ``DefinitionError``: see ``tool``."""
    called = name if name is not None else getattr(function, "__name__", type(function).__name__)
    if not callable(function) or isinstance(function, type):
        raise DefinitionError(
            f"a tool is made of a function, not of {function!r:.80}", hint="write @tool above a function"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(f"the function of tool {called!r} is a generator", hint="return a list of what it yields")
    rule = rule_of(function)
    if rule.refusal:
        raise DefinitionError(f"the tool {called!r} {rule.refusal}", hint="say it in @tool(retries=…, timeout=…)")
    words = read_docstring(inspect.getdoc(function))
    parameters = read_parameters(function, called, is_context, parameters_description)
    returned = read_return(function, called)
    definition = define(
        called,
        description if description is not None else words.description,
        parameters.schema,
        options,
        category=category,
        output_schema=None if returned is None else returned.schema,
        returns=returns_description if returns_description is not None else words.returns,
    )
    return FunctionTool(function, definition, parameters, returned)


@overload
def tool(function: Callable[P, R], /) -> FunctionTool[P, R]: ...


@overload
def tool(
    *,
    name: str | None = None,
    description: str | None = None,
    category: str = "general",
    parameters_description: Mapping[str, str] | None = None,
    returns_description: str | None = None,
    **options: Unpack[ToolOptions],
) -> Callable[[Callable[P, R]], FunctionTool[P, R]]: ...


def tool(
    function: Callable[P, R] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
    category: str = "general",
    parameters_description: Mapping[str, str] | None = None,
    returns_description: str | None = None,
    **options: Unpack[ToolOptions],
) -> FunctionTool[P, R] | Callable[[Callable[P, R]], FunctionTool[P, R]]:
    """Make a tool of the decorated function, async or plain: ``@tool``, or ``@tool(effect="at_most_once", timeout="10s", …)``.

    The schema is made of its type hints and defaults, the words of its docstring. A parameter annotated ``ToolContext``, or called
    ``ctx``, is given the context. The tool is registered nowhere: give it to an agent, or use ``@register_tool``.

    Raises ``DefinitionError`` for what no model can be told of: a parameter without a hint, ``*args``, a type without a JSON form, a tool
    without a description; and for terms that contradict each other.
    """
    if function is not None and not callable(function):
        raise DefinitionError(
            f"@tool got {function!r:.80}, not a function", hint='write @tool(name="weather") above a function'
        )

    def make(function: Callable[P, R]) -> FunctionTool[P, R]:
        return function_tool_of(
            function,
            options,
            name=name,
            description=description,
            category=category,
            parameters_description=parameters_description,
            returns_description=returns_description,
        )

    return make if function is None else make(function)
