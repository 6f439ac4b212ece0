"""What a tool is, as a function and as a class, and what is wrong with one when it is defined."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from agenticflow.core.engine import EffectClass
from agenticflow.core.tools import LOCAL_OWNER, ToolCall, ToolResult
from agenticflow.errors import DefinitionError, PermanentError
from agenticflow.resilience import BreakerPolicy, Rate, RetryPolicy
from agenticflow.runtime.resources import resource_bounded, retry
from agenticflow.tools import FunctionTool, Tool, ToolContext, ToolDefinition, tool
from agenticflow.tools.schemas.hints import BadParams


@tool
async def weather(city: str, days: int = 1) -> str:
    """Tell the weather.

    Args:
        city: Where.

    Returns:
        The forecast.
    """
    return f"{city}: {days} days of rain"


def context_of(given: Tool, **params: object) -> ToolContext:
    return ToolContext(given.definition, ToolCall(given.name, params, "call-1"), LOCAL_OWNER)


async def test_a_function_stays_a_function() -> None:
    assert isinstance(weather, FunctionTool)
    assert await weather("Oslo", days=2) == "Oslo: 2 days of rain"
    assert repr(weather) == "FunctionTool('weather')"


def test_a_definition_without_options_has_quiet_terms() -> None:
    definition = weather.definition
    assert (definition.name, definition.description, definition.category) == ("weather", "Tell the weather.", "general")
    assert definition.effect is EffectClass.IDEMPOTENT
    assert (definition.needs_approval, definition.retry, definition.compensate) == (False, None, "")
    assert (definition.timeout_seconds, definition.max_result_bytes) == (60.0, 1024 * 1024)
    assert definition.returns == "The forecast."
    assert definition.output_schema == {"type": "string"}
    assert weather.get_schema() == definition.input_schema
    assert weather.get_required_permissions() == ()
    assert definition.as_function() == {
        "name": "weather",
        "description": "Tell the weather.\n\nReturns: The forecast.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string", "description": "Where."},
                "days": {"type": "integer", "default": 1},
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


def test_terms_are_written_as_people_write_them() -> None:
    @tool(
        name="pay",
        description="Pay somebody.",
        category="money",
        parameters_description={"cents": "how much"},
        returns_description="the receipt",
        effect="at_most_once",
        needs_approval=True,
        timeout="2m",
        compensate="refund",
        permissions=["money:send", "money:read", "money:send"],
        rate_limit=Rate(5, 60),
        circuit_breaker=BreakerPolicy(failure_threshold=2),
        max_result_bytes="10kB",
    )
    def transfer(cents: int, ctx: ToolContext) -> dict[str, int]:
        return {"cents": cents}

    definition = transfer.definition
    assert isinstance(definition, ToolDefinition)
    assert (definition.name, definition.category, definition.returns) == ("pay", "money", "the receipt")
    assert definition.effect is EffectClass.AT_MOST_ONCE
    assert definition.needs_approval
    assert (definition.timeout_seconds, definition.max_result_bytes) == (120.0, 10_000)
    assert (definition.compensate, definition.permissions) == ("refund", ("money:read", "money:send"))
    assert (definition.rate_limit, definition.circuit_breaker) == (Rate(5, 60), BreakerPolicy(failure_threshold=2))
    assert list(definition.input_schema["properties"]) == ["cents"], "the context is nothing that a caller gives"
    assert not transfer.is_async
    assert weather.is_async


def test_retries_are_a_number_or_a_policy() -> None:
    def ask(q: str) -> str:
        """Ask."""
        return q

    policy = RetryPolicy(max_attempts=3, initial_delay_seconds=0.1)
    assert tool(retries=policy)(ask).definition.retry == policy
    counted = tool(retries=2, timeout=timedelta(seconds=1.5))(ask).definition
    assert counted.retry is not None
    assert (counted.retry.max_attempts, counted.timeout_seconds) == (3, 1.5)
    assert tool(retries=RetryPolicy(max_attempts=1))(ask).definition.retry is None
    assert tool(compensate=weather)(ask).definition.compensate == "weather"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"effect": "twice"}, "effect='twice' of tool 'f' is unknown"),
        ({"needs_approval": "yes"}, "needs_approval of tool 'f' is 'yes'"),
        ({"timeout": "soon"}, "timeout of tool 'f' is 'soon'"),
        ({"timeout": 0}, "timeout of tool 'f' is 0"),
        ({"retries": -1}, "retries of tool 'f' is -1"),
        ({"retries": True}, "retries of tool 'f' is True"),
        ({"retries": 20}, "tool 'f' would be tried 21 times"),
        ({"retries": 1, "effect": "at_most_once"}, "tool 'f' must not happen twice, and has retries"),
        ({"compensate": 7}, "compensate of tool 'f' is 7"),
        ({"permissions": "file:read"}, "permissions of tool 'f' are 'file:read'"),
        ({"permissions": ["no spaces"]}, "tool 'f' needs the permission 'no spaces'"),
        ({"rate_limit": 5}, "rate_limit of tool 'f' is 5"),
        ({"circuit_breaker": 5}, "circuit_breaker of tool 'f' is 5"),
        ({"max_result_bytes": "1GB"}, "max_result_bytes of tool 'f' is 1,000,000,000"),
        ({"timeoutt": 3}, "tool 'f' is given 'timeoutt', which is no option"),
        ({"name": "two words"}, "'two words' is no name of a tool"),
        ({"name": "x" * 65}, "is no name of a tool"),
        ({"description": " "}, "the description of tool 'f' is no short text"),
        ({"description": ""}, "tool 'f' has no description"),
        ({"category": ""}, "the category of tool 'f' is ''"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:

        @tool(**options)
        def f(a: int) -> int:
            """Do it."""
            return a

    assert words in str(refusal.value)
    assert refusal.value.hint


def test_what_is_no_function_makes_no_tool() -> None:
    wrong: Any = tool
    with pytest.raises(DefinitionError, match="@tool got 'weather', not a function"):
        wrong("weather")
    with pytest.raises(DefinitionError, match="a tool is made of a function, not of <class 'int'>"):
        wrong(int)
    with pytest.raises(DefinitionError, match="is a generator"):

        @tool
        def several(a: int) -> Any:
            """Yield."""
            yield a

    with pytest.raises(DefinitionError, match="has no description"):

        @tool
        def silent(a: int) -> int:
            return a


def test_a_decorator_that_would_repeat_it_is_refused() -> None:
    with pytest.raises(DefinitionError) as refusal:

        @tool
        @retry(max_attempts=3)
        async def often(a: int) -> int:
            """Do it."""
            return a

    assert "@tool(retries=" in refusal.value.hint


def test_a_function_with_bounds_is_a_tool() -> None:
    @tool
    @resource_bounded(timeout="5s", max_concurrent=2)
    async def bounded(a: int) -> int:
        """Do it."""
        return a

    assert bounded.is_async
    assert bounded.bind({"a": 3}) == {"a": 3}


async def test_executing_a_function_tool_calls_it_without_terms() -> None:
    assert await weather.execute({"city": "Oslo"}, context_of(weather)) == ToolResult.success("Oslo: 1 days of rain")
    failed = await weather.execute({}, context_of(weather))
    assert failed.error is not None
    assert failed.error.code == "invalid_input"

    @tool
    def plain(a: int, ctx: ToolContext) -> str:
        """Do it."""
        return f"{ctx.tool_name} {a}"

    assert (await plain.execute({"a": 3}, context_of(plain))).value == "plain 3"


async def test_a_function_that_is_bound_in_part_or_called_as_an_object() -> None:
    class Adder:
        """Add one."""

        async def __call__(self, a: int) -> int:
            return a + 1

    made = tool(name="adder")(Adder())
    assert made.is_async
    assert made.definition.description == "Add one."
    assert (await made.execute({"a": 1}, context_of(made))).value == 2

    def add(a: int, b: int) -> int:
        """Add."""
        return a + b

    part = tool(name="add_two", description="Add two.")(functools.partial(add, b=2))
    assert (await part.execute({"a": 1}, context_of(part))).value == 3


class Lookup(Tool):
    """Look something up."""

    name = "lookup"
    category = "data"
    options = {"effect": "pure", "permissions": ["data:read"]}
    output_schema: ClassVar[Mapping[str, object] | None] = {"type": "integer"}

    def get_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}

    async def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
        return ToolResult.success(len(params["key"]))


def test_a_tool_as_a_class_says_what_it_is_in_attributes() -> None:
    lookup = Lookup()
    definition = lookup.definition
    assert definition is lookup.definition
    assert (definition.name, definition.description, definition.category) == ("lookup", "Look something up.", "data")
    assert (definition.effect, definition.permissions) == (EffectClass.PURE, ("data:read",))
    assert lookup.is_async
    assert lookup.bind({"key": "x"}) == {"key": "x"}
    with pytest.raises(BadParams) as refusal:
        lookup.bind({"key": 3})
    assert refusal.value.problems == ("'key' is 3, not string",)
    with pytest.raises(BadParams, match="have 2 mistakes"):
        Two().bind({})
    assert lookup.misfit(3) is None
    assert lookup.misfit("x") == "the result is 'x', not integer"


class Two(Lookup):
    def get_schema(self) -> dict[str, Any]:
        return {"type": "object", "required": ["a", "b"]}

    def get_required_permissions(self) -> list[str]:
        return ["other:read"]


class Mute(Tool):
    name = "mute"
    description = "Does nothing."


def test_permissions_may_be_worked_out() -> None:
    assert Two().definition.permissions == ("other:read",)
    assert Mute().get_schema()["properties"] == {}
    assert Mute().get_required_permissions() == ()


def test_a_class_that_does_nothing_is_said_to() -> None:
    with pytest.raises(DefinitionError, match="the tool Mute does not say what it does"):
        Mute().definition  # noqa: B018 - asking is the test
    with pytest.raises(DefinitionError, match="Mute does not say what it does"):
        Mute().execute({}, context_of(weather))

    class Wrong(Lookup):
        def get_schema(self) -> dict[str, Any]:
            return {"type": "string"}

    with pytest.raises(DefinitionError, match="the schema of tool 'lookup' is wrong: its type is 'string'") as refusal:
        Wrong().definition  # noqa: B018 - asking is the test
    assert refusal.value.problems == ("tool 'lookup': its type is 'string', not 'object': params have names",)


def test_whoever_raises_in_a_class_raises() -> None:
    class Broken(Tool):
        name = "broken"
        description = "Breaks."

        def execute(self, params: Mapping[str, Any], context: ToolContext) -> ToolResult:
            raise PermanentError("there is nothing")

    assert not Broken().is_async
    with pytest.raises(PermanentError):
        Broken().perform({}, context_of(weather))
