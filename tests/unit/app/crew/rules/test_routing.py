"""Who comes next: rules over what the last agent answered."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents.context import AgentContext
from agenticflow.app.crew import QueryContext, Route, RoutingHelper
from agenticflow.errors import DefinitionError, InvalidInput

TABLE = RoutingHelper(
    [
        Route("billing", when="${output.topic} == 'invoice'", after="triage"),
        Route("chief", when="${output.topic} == 'anger' or ${context.data.is_vip} == true", after=["triage"]),
        Route(None, when=lambda context, output: output == "done"),
        Route("triage", when="${output} == 'unclear'", after=["billing", "chief"]),
    ],
    first="triage",
    default="closing",
)


@pytest.mark.parametrize(
    ("last_agent", "output", "is_vip", "following"),
    [
        ("triage", {"topic": "invoice"}, False, "billing"),
        ("triage", {"topic": "invoice"}, True, "billing"),
        ("triage", {"topic": "anger"}, False, "chief"),
        ("triage", {"topic": "weather"}, True, "chief"),
        ("triage", {"topic": "weather"}, False, "closing"),
        ("billing", "unclear", False, "triage"),
        ("billing", "done", False, None),
        ("closing", "unclear", False, "closing"),
    ],
)
def test_the_first_rule_that_holds_says_who_comes_next(
    last_agent: str, output: Any, is_vip: bool, following: str | None
) -> None:
    context = QueryContext(data={"is_vip": is_vip}, last_agent=last_agent)
    assert TABLE.get_next_agent(context, output) == following


def test_without_rules_nobody_comes_next() -> None:
    assert RoutingHelper().get_next_agent(AgentContext(), "anything") is None


def test_the_names_of_a_table_stand_in_it_once() -> None:
    assert TABLE.names == ["triage", "closing", "billing", "chief"]


def test_a_context_that_does_not_say_who_answered_meets_rules_about_everybody_only() -> None:
    routing = RoutingHelper([Route("a", after="triage"), Route("b")])
    assert routing.get_next_agent(AgentContext(), "x") == "b"


def test_an_answer_may_name_the_next_agent_itself() -> None:
    routing = RoutingHelper([Route("b")], field="next")
    context = QueryContext()
    assert routing.get_next_agent(context, {"next": "c"}) == "c"
    assert routing.get_next_agent(context, {"next": None}) is None
    assert routing.get_next_agent(context, {"other": "c"}) == "b"
    assert routing.get_next_agent(context, "text") == "b"
    with pytest.raises(InvalidInput, match="the answer names 5 as the next agent"):
        routing.get_next_agent(context, {"next": 5})


def test_a_condition_reads_answers_as_they_are_recorded_and_nothing_that_has_no_form() -> None:
    routing = RoutingHelper(
        [
            Route("broken", when="${context.database_connector} != null"),
            Route("found", when="${context.discovered_items.order[0].id} == 7 and 2 in ${output}"),
        ]
    )
    context = QueryContext(database_connector=object())
    context.add_discovered_item("order", {"id": 7})
    assert routing.get_next_agent(context, (1, 2)) == "found"


def test_a_condition_that_cannot_be_decided_says_how_to_mend_the_route() -> None:
    routing = RoutingHelper([Route("b", when="${output.topic} == 'x'")])
    with pytest.raises(InvalidInput, match=r"the route .* cannot be decided: .*it has no 'topic' \(say with after="):
        routing.get_next_agent(QueryContext(), "plain text")


def test_every_wrong_rule_is_told_at_once() -> None:
    wrong: Any = "billing"
    with pytest.raises(DefinitionError, match="4 of the routes cannot be used") as caught:
        RoutingHelper(
            [Route("a", when="${output.x} ==="), wrong, Route(""), Route("b", when="${step} == 1"), Route("c")]
        )
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["route 1", "route 2", "route 3", "route 4"]
    assert "a route knows ${output}" in caught.value.problems[3]


def test_a_table_is_bounded() -> None:
    with pytest.raises(DefinitionError, match="1,001 routes are more than 1,000"):
        RoutingHelper([Route("a")] * 1_001)
