"""Operations of an OpenAPI document as tools, against a real server on this machine: what is sent, what comes back, what is hidden."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from agenticflow.core.tools import Move, ToolCall, ToolResult
from agenticflow.errors import ConfigurationError, DefinitionError, SecurityError
from agenticflow.integrations.tools.http import fetch_openapi, tools_from_openapi
from agenticflow.integrations.tools.http.openapi.composing import composed
from agenticflow.integrations.tools.http.openapi.operations import LeftOut, Operation, operations_in
from agenticflow.tools import Tool, ToolPipeline, ToolRegistry
from tests.unit.integrations.test_http_tools import Server, redirect, resolve, response

SHOP: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "1"},
    "servers": [{"url": "https://{where}.example.com/v1", "variables": {"where": {"default": "shop"}}}],
    "paths": {
        "/orders/{id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {"operationId": "getOrder", "summary": "Show an order.", "tags": ["orders"]},
            "delete": {"summary": "Cancel an order.", "tags": ["orders"]},
            "put": {
                "operationId": "put order!",
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}}},
            },
        },
        "/orders": {
            "get": {
                "operationId": "listOrders",
                "parameters": [
                    {"name": "state", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {
                        "name": "ids",
                        "in": "query",
                        "explode": False,
                        "schema": {"type": "array", "items": {"type": "integer"}},
                    },
                    {"name": "near", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "where", "in": "query", "content": {"application/json": {"schema": {"type": "object"}}}},
                    {
                        "name": "X-Page",
                        "in": "header",
                        "schema": {"type": "integer", "minimum": 0, "exclusiveMinimum": True},
                    },
                    {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
                    {"name": "trace", "in": "cookie", "schema": {"type": "string"}},
                ],
            },
            "post": {
                "operationId": "placeOrder",
                "description": "Place an order.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Order"}}},
                },
            },
        },
        "/login": {
            "post": {
                "operationId": "login",
                "requestBody": {
                    "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}},
                },
            },
        },
        "/files": {
            "post": {
                "operationId": "upload",
                "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": {"type": "object"}}}},
            },
        },
        "/elsewhere": {"get": {"operationId": "elsewhere", "parameters": [{"$ref": "other.json#/x"}]}},
    },
    "components": {
        "parameters": {
            "Id": {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "Of the order.",
                "schema": {"type": "string"},
            }
        },
        "schemas": {
            "Order": {
                "type": "object",
                "required": ["number", "sku"],
                "properties": {
                    "number": {"type": "integer", "readOnly": True},
                    "sku": {"type": "string", "pattern": "^[A-Z]+$", "description": "What is bought."},
                    "note": {"type": "string", "nullable": True},
                    "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Order"}},
                },
            }
        },
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "key": {"type": "apiKey", "in": "query", "name": "api_key"},
            "person": {"type": "http", "scheme": "basic"},
            "digest": {"type": "http", "scheme": "digest"},
        },
    },
}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    await found.start()
    yield found
    await found.stop()


def tools_at(server: Server, document: dict[str, Any] | None = None, **options: Any) -> ToolRegistry:
    host = f"shop.test:{server.port}"
    made = tools_from_openapi(
        document or SHOP, private_hosts=[host], base_url=f"http://{host}/v1/", resolver=resolve, **options
    )
    return ToolRegistry.of(made)


async def call(tools: ToolRegistry, name: str, **params: Any) -> ToolResult:
    return await ToolPipeline().invoke(ToolCall(name, params, effect_key="the-key"), tools=tools)


def with_security(*ways: dict[str, list[str]]) -> dict[str, Any]:
    return {**SHOP, "security": list(ways)}


def said(body: object, *headers: str, status: str = "200 OK") -> bytes:
    return response(json.dumps(body).encode(), *headers, status=status, kind="application/json")


def by_name(tools: tuple[Tool, ...]) -> dict[str, Tool]:
    return {tool.name: tool for tool in tools}


# --- what is offered --------------------------------------------------------------------------------------------------


def test_each_operation_is_a_tool_with_a_name_words_and_an_effect_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = tools_from_openapi(SHOP, hosts=["shop.example.com"])
    assert [(one.name, one.definition.effect.value, one.definition.permissions) for one in found] == [
        ("getOrder", "pure", ("http:get",)),
        ("put_order", "idempotent", ("http:send",)),
        ("delete_orders_id", "idempotent", ("http:send",)),
        ("listOrders", "pure", ("http:get",)),
        ("placeOrder", "at_most_once", ("http:send",)),
        ("login", "at_most_once", ("http:send",)),
    ]
    assert [one.description for one in found[:2]] == ["Show an order.", "PUT /orders/{id}"]
    assert "2 operations are no tools" in caplog.text
    assert "upload (it takes multipart/form-data, which is not sent here)" in caplog.text
    assert "elsewhere (the reference 'other.json#/x' leads outside the document)" in caplog.text


def test_schemas_are_whole_by_themselves() -> None:
    tool = by_name(tools_from_openapi(SHOP, hosts=["shop.example.com"]))["placeOrder"]
    assert tool.definition.input_schema == {
        "type": "object",
        "properties": {"body": {"$ref": "#/$defs/Order"}},
        "required": ["body"],
        "additionalProperties": False,
        "$defs": {
            "Order": {
                "type": "object",
                "required": ["sku"],
                "properties": {
                    "sku": {"type": "string", "pattern": "^[A-Z]+$", "description": "What is bought."},
                    "note": {"type": ["string", "null"]},
                    "parts": {"type": "array", "items": {"$ref": "#/$defs/Order"}},
                },
            }
        },
    }


def test_bounds_as_flags_are_bounds() -> None:
    tool = by_name(tools_from_openapi(SHOP, hosts=["shop.example.com"]))["listOrders"]
    properties = tool.definition.input_schema["properties"]
    assert properties["X-Page"] == {"type": "integer", "exclusiveMinimum": 0}
    assert "Authorization" not in properties
    assert "trace" not in properties


def test_what_may_be_null_and_is_an_enum_or_a_reference_may_be_null() -> None:
    document = _with_body(
        {
            "type": "object",
            "properties": {
                "size": {"type": "string", "enum": ["s", "m"], "nullable": True, "description": "Of it."},
                "order": {"$ref": "#/components/schemas/Order", "nullable": True, "description": "Before."},
            },
        }
    )
    properties = _operation(document).schema["properties"]["body"]["properties"]
    assert properties["size"] == {
        "anyOf": [{"type": "string", "enum": ["s", "m"]}, {"type": "null"}],
        "description": "Of it.",
    }
    assert properties["order"] == {
        "anyOf": [{"$ref": "#/$defs/Order"}, {"type": "null"}],
        "description": "Before.",
    }


def test_equal_names_get_numbers_and_params_of_one_name_their_places() -> None:
    get = {
        "operationId": "look",
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}},
            {"name": "id", "in": "query", "schema": {"type": "string"}},
            {"name": "body", "in": "query", "schema": {"type": "string"}},
        ],
        "requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}},
    }
    document = {**SHOP, "paths": {"/a/{id}": {"get": get}, "/b/{id}": {"get": get}}}
    first, second = (one for one in operations_in(document) if isinstance(one, Operation))
    assert (first.name, second.name) == ("look", "look_2")
    assert list(first.schema["properties"]) == ["id", "id_query", "body", "body_sent"]


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        ({"parameters": [{"name": "c", "in": "cookie", "required": True, "schema": {}}]}, "'c' goes into the cookie"),
        (
            {"parameters": [{"name": "Host", "in": "header", "required": True, "schema": {}}]},
            "'Host' goes into the header",
        ),
        ({"parameters": [{"name": "m", "in": "query", "style": "matrix", "schema": {}}]}, "has the style 'matrix'"),
        ({"parameters": [{"$ref": "#/components/none"}]}, "leads nowhere"),
        ({"parameters": [{"$ref": "#/components/x-circle"}]}, "lead in a circle"),
        ({"parameters": ["name"]}, "'name' stands where a part of the document should"),
        ({"parameters": [{"name": "f", "in": "query", "schema": {"type": "file"}}]}, "type is 'file'"),
        ({"parameters": [{"name": "f", "in": "query", "schema": 7}]}, "7 is no schema"),
        ({"parameters": [{"name": "f", "in": "query", "schema": {"enum": list(range(501))}}]}, "list 501 values"),
        ({"requestBody": {"required": True, "content": {}}}, "it takes nothing that is named"),
    ],
)
def test_what_cannot_be_told_to_a_model_is_left_out_with_the_reason(operation: dict[str, Any], reason: str) -> None:
    components = {**SHOP["components"], "x-circle": {"$ref": "#/components/x-circle"}}
    document = {**SHOP, "paths": {"/x": {"get": {"operationId": "x", **operation}}}, "components": components}
    (left_out,) = operations_in(document)
    assert isinstance(left_out, LeftOut)
    assert reason in left_out.reason
    with pytest.raises(DefinitionError, match="the operation 'x' is no tool"):
        tools_from_openapi(document, hosts=["shop.example.com"], only=["x"])


def test_a_path_that_nobody_explains_is_left_out() -> None:
    (left_out,) = operations_in({**SHOP, "paths": {"/x/{y}": {"get": {}}}})
    assert left_out == LeftOut("get_x_y", "nobody says what 'y' in its path is")


def test_a_path_that_leads_elsewhere_is_left_out() -> None:
    found = list(operations_in({**SHOP, "paths": {"/x": {"$ref": "other.json"}, "/y": {"get": {}}}}))
    assert found[0] == LeftOut("/x", "the reference 'other.json' leads outside the document")
    assert len(found) == 2


def test_schemas_without_end_are_left_out() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(60):
        schema = {"type": "array", "items": schema}
    (left_out,) = operations_in(_with_body(schema))
    assert isinstance(left_out, LeftOut)
    assert "lie too deep" in left_out.reason


def test_names_and_tags_choose(server: Server) -> None:
    chosen = tools_from_openapi(SHOP, hosts=["shop.example.com"], only=["orders", "login"], prefix="shop_")
    assert [one.name for one in chosen] == ["shop_getOrder", "shop_delete_orders_id", "shop_login"]
    with pytest.raises(ConfigurationError, match="no operation or tag 'order'"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], only=["order"])
    with pytest.raises(ConfigurationError, match="only is the text"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], only="orders")


def test_the_program_says_otherwise_by_name() -> None:
    found = tools_from_openapi(
        SHOP,
        hosts=["shop.example.com"],
        only=["placeOrder", "login"],
        options={"placeOrder": {"effect": "pure", "retries": 2}, "login": {"needs_approval": True}},
    )
    assert [(one.definition.effect, one.definition.permissions) for one in found] == [
        ("pure", ("http:get",)),
        ("at_most_once", ("http:send",)),
    ]
    assert found[1].definition.needs_approval
    with pytest.raises(ConfigurationError, match="options are given for 'placeorder'"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], options={"placeorder": {}})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"swagger": "2.0"}, "3.0 to 3.2 are understood"),
        ({"openapi": "3.1.0"}, "has no paths"),
        ({"openapi": "3.1.0", "paths": {}}, "no operation that can be a tool"),
        ("https://shop.example.com/openapi.json", "the document is an address"),
        ("{", "is no JSON"),
        ("a: [", "neither JSON nor YAML"),
        ("[1]", "is no OpenAPI document"),
        (Path("there-is-none.json"), "cannot be read"),
    ],
)
def test_what_is_no_document_is_said(document: Any, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        tools_from_openapi(document, hosts=["shop.example.com"])


def test_a_document_is_data_or_text_or_a_file(tmp_path: Path) -> None:
    written = "openapi: 3.1.0\nservers: [{url: 'https://a.example.com'}]\npaths: {/x: {get: {operationId: x}}}\n"
    (tmp_path / "api.yaml").write_text(written)
    for document in (written, tmp_path / "api.yaml", json.dumps(SHOP), SHOP):
        assert tools_from_openapi(document, hosts=["a.example.com"])


def test_words_of_yaml_are_those_of_json() -> None:
    written = """
        openapi: 3.1.0
        servers: [{url: 'https://a.example.com'}]
        paths: {/x: {get: {operationId: x, parameters: [{name: on, in: query, schema: {enum: [no, 2026-01-02, true, trueish, 3]}}]}}}
    """
    (tool,) = tools_from_openapi(written, hosts=["a.example.com"])
    assert tool.definition.input_schema["properties"] == {"on": {"enum": ["no", "2026-01-02", True, "trueish", 3]}}


def test_where_it_is_served_has_to_be_known() -> None:
    with pytest.raises(ConfigurationError, match="does not say where 'getOrder' is served: '/v1'"):
        tools_from_openapi({**SHOP, "servers": [{"url": "/v1"}]}, hosts=["shop.example.com"])
    with pytest.raises(ConfigurationError, match="is no address"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], base_url="https://ada:secret@shop.example.com")
    with pytest.raises(ConfigurationError, match="no host is allowed"):
        tools_from_openapi(SHOP)


def test_too_many_operations_have_to_be_chosen_from() -> None:
    paths: dict[str, Any] = {f"/x{number}": {"get": {}} for number in range(201)}
    with pytest.raises(ConfigurationError, match="201 operations"):
        tools_from_openapi({**SHOP, "paths": paths}, hosts=["shop.example.com"])


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_a_call_is_a_request_to_where_it_is_served(server: Server) -> None:
    server.paths["/v1/orders/a%2F..%20b"] = said({"sku": "X"})
    assert (await call(tools_at(server), "getOrder", id="a/.. b")).value == {"sku": "X"}
    assert "idempotency-key" not in server.heads[0].lower()


async def test_params_are_written_as_the_document_asks(server: Server) -> None:
    wanted = "/v1/orders?state=new&state=a%20b&ids=1%2C2&near%5Blat%5D=1.5&where=%7B%22a%22%3A%20true%7D"
    server.paths[wanted] = said([])
    params = {"state": ["new", "a b"], "ids": [1, 2], "near": {"lat": 1.5}, "where": {"a": True}, "X-Page": 3}
    assert (await call(tools_at(server), "listOrders", **params)).value == []
    assert "x-page: 3\r\n" in server.heads[0].lower()


async def test_a_body_is_json_or_a_form(server: Server) -> None:
    server.paths["/v1/orders"] = response(b"", "location: /v1/orders/7", status="201 Created")
    server.paths["/v1/login"] = response(b"")
    tools = tools_at(server)
    placed = await call(tools, "placeOrder", body={"sku": "X", "note": "Ü"})
    assert placed.value == {"status": 201, "location": "/v1/orders/7"}
    assert (await call(tools, "login", body={"name": "a&b", "roles": ["x", "y"]})).value == {"status": 200}
    assert server.bodies == ['{"sku": "X", "note": "Ü"}'.encode(), b"name=a%26b&roles=x&roles=y"]
    assert "content-type: application/json\r\n" in server.heads[0].lower()
    assert "idempotency-key: the-key\r\n" in server.heads[0].lower()
    assert "content-type: application/x-www-form-urlencoded\r\n" in server.heads[1].lower()


async def test_params_that_do_not_fit_are_not_sent(server: Server) -> None:
    result = await call(tools_at(server), "placeOrder", body={"sku": 3}, more=1)
    assert result.error is not None
    assert result.error.problems == ("'body.sku' is 3, not string", "'more' is not asked for; there are body")
    assert server.heads == []


@pytest.mark.parametrize("value", ["", ".", ".."])
async def test_no_param_leads_to_another_path(server: Server, value: str) -> None:
    result = await call(tools_at(server), "getOrder", id=value)
    assert result.error is not None
    assert result.error.code == "invalid_input"
    assert server.heads == []


def test_other_styles_are_written_too() -> None:
    parameters = [
        {"name": "list", "in": "path", "schema": {}},
        {"name": "pipes", "in": "query", "style": "pipeDelimited", "schema": {}},
        {"name": "object", "in": "query", "schema": {}},
        {"name": "flat", "in": "query", "explode": False, "schema": {}},
        {"name": "x-map", "in": "header", "explode": True, "schema": {}},
        {"name": "on", "in": "query", "schema": {}},
    ]
    document = {
        **SHOP,
        "paths": {"/x/{list}?v=1": {"post": {"parameters": parameters, "requestBody": _body("text/plain")}}},
    }
    params = {
        "list": [1, "b"],
        "pipes": ["a", "b"],
        "object": {"k": None},
        "flat": {"a": 1},
        "x-map": {"a": 1},
        "on": True,
        "body": "as it is",
    }
    sent = composed(_operation(document), "https://a.example.com/", params)
    assert sent.address == "https://a.example.com/x/1%2Cb?v=1&pipes=a%7Cb&k=null&flat=a%2C1&on=true"
    assert sent.headers == {"x-map": "a=1", "content-type": "text/plain"}
    assert sent.body == "as it is"


def _body(kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": {}}}}


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "status", "code", "move"),
    [
        ("getOrder", "404 Not Found", "permanent", Move.CALLER),
        ("getOrder", "401 Unauthorized", "security", Move.OPERATOR),
        ("getOrder", "503 Service Unavailable", "resource_exhausted", Move.WORLD),
        ("delete_orders_id", "503 Service Unavailable", "resource_exhausted", Move.WORLD),
        ("delete_orders_id", "302 Found", "permanent", Move.CALLER),
        ("placeOrder", "422 Unprocessable", "permanent", Move.CALLER),
        ("placeOrder", "429 Too Many Requests", "resource_exhausted", Move.WORLD),
        ("placeOrder", "500 Internal Server Error", "outcome_unknown", Move.OPERATOR),
        ("placeOrder", "507 Insufficient Storage", "outcome_unknown", Move.OPERATOR),
    ],
)
async def test_a_status_is_a_failure_of_the_right_kind(
    server: Server, name: str, status: str, code: str, move: Move
) -> None:
    answer = said({"detail": "the reason"}, "retry-after: 7", status=status)
    server.paths |= {"/v1/orders/7": answer, "/v1/orders": answer}
    params: dict[str, Any] = {"body": {"sku": "X"}} if name == "placeOrder" else {"id": "7"}
    error = (await call(tools_at(server), name, **params)).error
    assert error is not None
    assert (error.code, error.move) == (code, move)
    assert "the reason" in error.message
    assert error.retry_after_seconds == (7 if code == "resource_exhausted" else None)


async def test_a_server_that_hangs_up_is_another_matter_where_it_may_be_asked_again(server: Server) -> None:
    server.is_silent = True
    tools = tools_at(server)
    deleted = await call(tools, "delete_orders_id", id="7")
    placed = await call(tools, "placeOrder", body={"sku": "X"})
    assert deleted.error is not None
    assert placed.error is not None
    assert (deleted.error.code, placed.error.code) == ("temporary", "outcome_unknown")


async def test_an_answer_is_bounded(server: Server) -> None:
    server.paths["/v1/orders/7"] = response(b"x" * 2_000)
    result = await call(tools_at(server, max_bytes=1_000), "getOrder", id="7")
    assert result.error is not None
    assert result.error.code == "bound_exceeded"


async def test_where_a_document_says_it_is_served_is_not_allowed_by_that(server: Server) -> None:
    for url, words in (
        (f"http://shop.test:{server.port}", "is not allowed"),
        ("https://public.test", "which is not public"),
    ):
        document = {**SHOP, "servers": [{"url": url}]}
        tools = ToolRegistry.of(tools_from_openapi(document, hosts=["public.test"], resolver=resolve))
        error = (await call(tools, "getOrder", id="7")).error
        assert error is not None
        assert (error.code, words in error.message) == ("security", True)
    assert server.heads == []


# --- credentials ------------------------------------------------------------------------------------------------------


async def test_secrets_go_along_and_are_shown_to_nobody(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "first-secret")
    document = with_security({"token": [], "key": []})
    tools = tools_at(server, document, credentials={"token": "SHOP_TOKEN", "key": lambda: "second-secret"})
    server.paths["/v1/orders/7?api_key=second-secret"] = said({"you": ["first-secret", "second-secret"]})
    assert (await call(tools, "getOrder", id="7")).value == {"you": ["***", "***"]}
    assert "authorization: bearer first-secret\r\n" in server.heads[0].lower()
    monkeypatch.setenv("SHOP_TOKEN", "third-secret")
    server.paths["/v1/orders/8?api_key=second-secret"] = said("no third-secret", status="400 Bad Request")
    error = (await call(tools, "getOrder", id="8")).error
    assert "authorization: bearer third-secret\r\n" in server.heads[1].lower()
    told = repr([error, tools.definitions(), [vars(tools.get(name)) for name in tools.names()]])
    assert "-secret" not in told
    monkeypatch.delenv("SHOP_TOKEN")
    error = (await call(tools, "getOrder", id="7")).error
    assert error is not None
    assert (error.code, len(server.heads)) == ("security", 2)


async def test_secrets_leave_by_no_redirect(server: Server) -> None:
    other = Server()
    await other.start()
    server.paths["/v1/orders/7"] = redirect(f"http://other.test:{other.port}/take")
    other.paths["/take"] = said("thanks")
    host = f"shop.test:{server.port}"
    tools = ToolRegistry.of(
        tools_from_openapi(
            with_security({"token": []}),
            private_hosts=[host, f"other.test:{other.port}"],
            base_url=f"http://{host}/v1",
            credentials={"token": lambda: "the-secret"},
            resolver=resolve,
        )
    )
    assert (await call(tools, "getOrder", id="7")).value == "thanks"
    assert "the-secret" in server.heads[0]
    assert "the-secret" not in other.heads[0]
    await other.stop()


async def test_basic_authentication_is_encoded(server: Server) -> None:
    tools = tools_at(server, with_security({"person": []}), credentials={"person": lambda: "ada:lovelace"})
    server.paths["/v1/orders/7"] = said("YWRhOmxvdmVsYWNl")
    assert (await call(tools, "getOrder", id="7")).value == "***"
    assert "Basic YWRhOmxvdmVsYWNl" in server.heads[0]


async def test_of_several_ways_in_the_first_that_is_complete_is_taken(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    server.paths["/v1/orders/7"] = said("fine")
    document = with_security({}, {"token": []}, {"key": []})
    assert (await call(tools_at(server, document), "getOrder", id="7")).value == "fine"
    assert "no credentials" not in caplog.text
    tools = tools_at(server, document, credentials={"token": lambda: "the-secret"})
    await call(tools, "getOrder", id="7")
    assert ["the-secret" in head for head in server.heads] == [False, True]
    tools_at(server, with_security({"token": [], "key": []}), credentials={"token": lambda: "the-secret"})
    assert "no credentials are given for 6 tools that want some: getOrder" in caplog.text


def test_a_reference_to_a_secret_is_checked_and_never_repeated() -> None:
    references: tuple[Any, ...] = ("sk-this is the secret", "SHOP_TOKEN_THAT_IS_NOT_SET", 7)
    for given in references:
        with pytest.raises(ConfigurationError, match="'token' refers to no environment variable") as caught:
            tools_from_openapi(SHOP, hosts=["shop.example.com"], credentials={"token": given})
        assert str(given) not in str(caught.value)
    with pytest.raises(ConfigurationError, match="no security scheme 'tokn'"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], credentials={"tokn": lambda: ""})
    with pytest.raises(ConfigurationError, match="of a kind that is not done here"):
        tools_from_openapi(SHOP, hosts=["shop.example.com"], credentials={"digest": lambda: ""})


def test_a_secret_does_not_go_out_in_the_clear() -> None:
    with pytest.raises(ConfigurationError, match="in the clear"):
        tools_from_openapi(
            with_security({"token": []}),
            hosts=["shop.example.com"],
            base_url="http://shop.example.com",
            credentials={"token": lambda: "the-secret"},
        )


# --- documents from elsewhere -----------------------------------------------------------------------------------------


async def test_a_document_is_fetched_from_a_host_that_is_allowed(server: Server) -> None:
    host = f"shop.test:{server.port}"
    server.paths["/openapi.json"] = said(SHOP)
    server.paths["/openapi.yaml"] = response(b"openapi: 3.1.0\npaths: {}\n")
    server.paths["/list.json"] = said([1])
    for path, wanted in (("openapi.json", SHOP), ("openapi.yaml", {"openapi": "3.1.0", "paths": {}})):
        assert await fetch_openapi(f"http://{host}/{path}", private_hosts=[host], resolver=resolve) == wanted
    with pytest.raises(DefinitionError, match="is no OpenAPI document"):
        await fetch_openapi(f"http://{host}/list.json", private_hosts=[host], resolver=resolve)
    with pytest.raises(SecurityError):
        await fetch_openapi(f"http://{host}/openapi.json", hosts=["shop.test"], resolver=resolve)


def _with_body(schema: dict[str, Any]) -> dict[str, Any]:
    return {**SHOP, "paths": {"/x": {"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}}}}


def _operation(document: dict[str, Any]) -> Operation:
    (found,) = operations_in(document)
    assert isinstance(found, Operation), found
    return found
