"""Tools by name: registering, finding, sets of agents, and the tools of other frameworks among them."""

from __future__ import annotations

import json
import sys
import types
from dataclasses import dataclass, field
from typing import Any

import pydantic
import pytest

from agenticflow.core.tools import LOCAL_OWNER, ToolCall, ToolResult
from agenticflow.errors import DefinitionError, ToolNotFoundError
from agenticflow.resilience import BreakerPolicy, Rate, RetryPolicy
from agenticflow.tools import Tool, ToolContext, ToolRegistry, get_tool_registry, register_tool, tool
from agenticflow.tools.foreign import ForeignTool


@tool
def search(text: str) -> list[str]:
    """Search."""
    return [text]


def plain(a: int) -> int:
    """Do it plainly."""
    return a


@dataclass
class SdkTool:
    """As the function tools of the OpenAI Agents SDK look: its fields, and a context that must have these attributes."""

    name: str = "sdk_weather"
    description: str = "Tell the weather."
    params_json_schema: dict[str, Any] = field(
        default_factory=lambda: {
            "type": "object",
            "title": "weather_args",
            "properties": {
                "city": {"type": "string", "pattern": "^[A-Z]", "title": "City"},
                "days": {"type": "integer"},
            },
            "required": ["city"],
            "additionalProperties": False,
            "unevaluatedProperties": False,
        }
    )
    strict_json_schema: bool = True
    seen: list[Any] = field(default_factory=list)

    async def on_invoke_tool(self, context: Any, arguments: str) -> str:
        assert context.run_config is None
        self.seen.append((context.tool_name, context.tool_call_id, context.context))
        return f"{json.loads(arguments)['city']} is fine"


class ChainArgs(pydantic.BaseModel):
    query: str
    limit: int = 3


class ChainTool:
    """As the tools of LangChain look."""

    name = "chain_search"
    description = "Search the chain."
    args_schema: Any = ChainArgs

    async def ainvoke(self, params: dict[str, Any]) -> list[str]:
        return [params["query"]] * params.get("limit", 3)


async def called(made: Tool, **params: object) -> object:
    caller = LOCAL_OWNER
    result = made.perform(
        made.bind(params), ToolContext(made.definition, ToolCall(made.name, params, "call-7"), caller)
    )
    found = await result  # type: ignore[misc]  # a foreign tool is async
    assert isinstance(found, ToolResult)
    return found.value


def test_what_is_registered_is_found_by_name() -> None:
    registry = ToolRegistry()
    assert registry.register(search) is search
    assert registry.register(search) is search, "the same one again changes nothing"
    made = registry.register(plain)
    assert registry.get("plain") is made
    assert registry.names() == ("plain", "search")
    assert (len(registry), "plain" in registry, "other" in registry, 3 in registry) == (2, True, False, False)
    assert repr(registry) == "ToolRegistry(plain, search)"
    assert registry.find("nothing") is None


def test_an_unknown_name_suggests_a_known_one() -> None:
    registry = ToolRegistry()
    with pytest.raises(ToolNotFoundError) as refusal:
        registry.get("search")
    assert refusal.value.hint == "none is registered here"
    registry.register(search)
    with pytest.raises(ToolNotFoundError, match="there is no tool 'serch'") as refusal:
        registry.get("serch")
    assert refusal.value.hint == "did you mean 'search'?"
    with pytest.raises(ToolNotFoundError) as refusal:
        registry.get("zzz")
    assert refusal.value.hint == "there are search"


def test_two_tools_of_one_name_are_refused_with_both_places() -> None:
    registry = ToolRegistry()
    registry.register(search)

    @tool(name="search")
    def other(a: int) -> int:
        """Do something else."""
        return a

    with pytest.raises(DefinitionError) as refusal:
        registry.register(other)
    assert f"{__name__}.search, and now {__name__}.test_two_tools" in refusal.value.message
    registry.unregister("search")
    assert registry.register(other) is other
    with pytest.raises(ToolNotFoundError):
        registry.unregister("search2")


@pytest.mark.parametrize("thing", [7, "search", None, Tool, type("Sub", (Tool,), {}), type("T", (), {"name": "x"})()])
def test_what_is_no_tool_is_said_to_be_none(thing: Any) -> None:
    with pytest.raises(DefinitionError):
        ToolRegistry().register(thing)


def test_a_decorated_function_stays_as_it_is() -> None:
    registry = ToolRegistry()

    @register_tool(
        "lookup",
        "Look it up.",
        "data",
        parameters_description={"key": "what for"},
        returns_description="what was found",
        registry=registry,
        effect="pure",
    )
    def look(key: str) -> str:
        return key.upper()

    assert look("x") == "X"
    definition = registry.get("lookup").definition
    assert (definition.description, definition.category, definition.effect) == ("Look it up.", "data", "pure")
    assert definition.input_schema["properties"] == {"key": {"type": "string", "description": "what for"}}
    assert definition.returns == "what was found"
    assert registry.get_tool_functions(["lookup"]) == [look]
    assert registry.categories() == ("data",)
    assert [one.name for one in registry.definitions("data")] == ["lookup"]
    assert registry.definitions("money") == []


def test_registering_a_tool_again_under_another_name_keeps_its_terms() -> None:
    registry = ToolRegistry()

    @register_tool("find", registry=registry, timeout=5)
    @tool(
        timeout=9,
        effect="pure",
        retries=RetryPolicy(max_attempts=2),
        rate_limit=Rate(3),
        circuit_breaker=BreakerPolicy(),
        permissions=["a:b"],
    )
    def original(text: str) -> str:
        """Find it."""
        return text

    definition = registry.get("find").definition
    assert original.definition.name == "original"
    assert (definition.description, definition.timeout_seconds) == ("Find it.", 5)
    for name in ("effect", "retry", "rate_limit", "circuit_breaker", "permissions"):
        assert getattr(definition, name) == getattr(original.definition, name)


def test_what_cannot_be_registered_by_decorator() -> None:
    wrong: Any = register_tool
    with pytest.raises(DefinitionError, match="@register_tool got 'plain', not a name"):
        wrong(plain)
    with pytest.raises(DefinitionError, match="got 7, not a function"):
        wrong("seven", registry=ToolRegistry())(7)

    class Own(Tool):
        name = "own"
        description = "Mine."

        def execute(self, params: Any, context: ToolContext) -> ToolResult:
            return ToolResult.success(1)

    with pytest.raises(DefinitionError) as refusal:
        wrong("other", registry=ToolRegistry())(Own())
    assert refusal.value.hint == "get_tool_registry().register(tool) registers it as it is"


async def test_a_function_tool_of_the_agents_sdk_stays_its_own_object() -> None:
    registry = ToolRegistry()
    theirs = SdkTool()
    assert (
        register_tool("weather", "Say it.", "data", registry=registry, parameters_description={"city": "where"})(theirs)
        is theirs
    )
    made = registry.get("weather")
    assert isinstance(made, ForeignTool)
    assert registry.get_tool_functions(["weather"]) == [theirs]
    assert (made.definition.description, made.definition.category) == ("Say it.", "data")
    assert made.definition.input_schema["properties"]["city"] == {
        "type": "string",
        "pattern": "^[A-Z]",
        "title": "City",
        "description": "where",
    }
    assert "unevaluatedProperties" not in made.get_schema(), "what only the SDK checks is left to it"
    assert await called(made, city="Oslo") == "Oslo is fine"
    assert theirs.seen == [("weather", "call-7", None)]
    with pytest.raises(DefinitionError, match="for the parameter 'town', which it has not"):
        register_tool("w2", registry=registry, parameters_description={"town": "where"})(SdkTool())


async def test_a_tool_of_langchain_is_called_with_its_params() -> None:
    made = ToolRegistry().register(ChainTool())
    assert made.definition.input_schema["required"] == ["query"]
    assert await called(made, query="x", limit=2) == ["x", "x"]

    class WithPlainSchema(ChainTool):
        args_schema = {"properties": {"query": {"type": "string"}}}

    assert ToolRegistry().register(WithPlainSchema()).definition.input_schema["type"] == "object"

    class WithoutSchema(ChainTool):
        args_schema = 7

    with pytest.raises(DefinitionError):
        ToolRegistry().register(WithoutSchema())


def test_a_set_borrows_what_it_names() -> None:
    lender = ToolRegistry()
    borrowed = ToolRegistry.of([plain, "search"], lender)
    assert borrowed.names() == ("plain", "search")
    with pytest.raises(ToolNotFoundError) as refusal:
        borrowed.get("search")
    assert refusal.value.hint == "it was named, and is not registered: import the module that defines it"
    lender.register(search)
    assert borrowed.get("search") is search
    assert borrowed.find("unknown") is None
    assert borrowed.get_tool_functions(["search", "plain"]) == [search, plain]
    borrowed.unregister("search")
    assert borrowed.names() == ("plain",)
    assert ToolRegistry.of([])._lender is get_tool_registry()


@pytest.mark.parametrize(
    ("tools", "words"),
    [
        ("search", "tools are 'search'"),
        (7, "tools are 7"),
        (["search", "search"], "the tool 'search' is there twice"),
        ([search, "search"], "the tool 'search' is there twice"),
        (["search", search], "there is a tool 'search' already"),
    ],
)
def test_a_set_that_cannot_be_meant_is_refused(tools: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        ToolRegistry.of(tools, ToolRegistry())


def test_what_undoes_a_tool_is_found_by_its_name() -> None:
    registry = ToolRegistry()

    @tool(compensate="refund")
    def pay(cents: int) -> int:
        """Pay."""
        return cents

    registry.register(pay)
    with pytest.raises(ToolNotFoundError):
        registry.compensation_of("pay")
    refund = registry.register(tool(name="refund", description="Give back.")(plain))
    assert registry.compensation_of("pay") is refund
    assert registry.compensation_of("refund") is None


async def test_where_the_sdk_is_loaded_its_own_context_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    class Own:
        run_config = None

        def __init__(self, context: object, *, tool_name: str, tool_call_id: str, tool_arguments: str) -> None:
            self.context, self.tool_name, self.tool_call_id = context, tool_name, f"own {tool_call_id}"

    loaded = types.ModuleType("agents.tool_context")
    vars(loaded)["ToolContext"] = Own
    monkeypatch.setitem(sys.modules, "agents.tool_context", loaded)
    theirs = SdkTool()
    assert await called(ToolRegistry().register(theirs), city="Oslo") == "Oslo is fine"
    assert theirs.seen == [("sdk_weather", "own call-7", None)]
