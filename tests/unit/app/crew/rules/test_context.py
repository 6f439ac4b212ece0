"""What of a context goes into a step and comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.app.crew import QueryContext
from agenticflow.app.crew.rules.context import Baseline, context_of, put_changes, put_findings
from agenticflow.errors import InvalidInput, NotSerializable


@dataclass(kw_only=True)
class SalesContext(QueryContext):
    region: str = "north"


def test_data_fill_the_fields_of_their_names_and_the_others_stand_in_data() -> None:
    given = {"customer": "c-1", "filters": {"year": 2026}, "query_results": [1]}
    context = context_of(given)
    assert (context.data, context.filters, context.query_results) == ({"customer": "c-1"}, {"year": 2026}, [1])
    context.add_query_result(2)
    assert given["query_results"] == [1], "the next context is made of the same data"


@pytest.mark.parametrize("data", [{"filters": 5}, {"query_results": {}}, {"discovered_items": []}, {"data": "x"}])
def test_a_field_of_another_form_is_told(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="of the context is"):
        context_of(data)


def test_only_what_has_changed_goes_into_a_step() -> None:
    context = SalesContext(database_connector=object(), data={"customer": "c"})
    baseline = Baseline(context)
    assert baseline.changes(context) == {}
    context.region = "south"
    context.add_discovered_item("order", 7)
    assert baseline.changes(context) == {"region": "south", "discovered_items": {"order": [7]}}
    other = SalesContext()
    put_changes(other, baseline.changes(context))
    assert (other.region, other.discovered_items) == ("south", {"order": [7]})


def test_what_was_found_comes_back_as_what_was_added() -> None:
    context = SalesContext(query_results=["old"], discovered_items={"order": [1]})
    baseline = Baseline(context)
    context.add_query_result("new")
    context.add_discovered_item("order", 2)
    context.add_discovered_item("person", "Ada")
    context.region = "east"
    found = baseline.findings(context)
    assert found == {"results": ["new"], "items": {"order": [2], "person": ["Ada"]}, "set": {"region": "east"}}
    meanwhile = SalesContext(query_results=["old", "other"], discovered_items={"order": [1, 2, 3]})
    put_findings(meanwhile, found)
    assert meanwhile.query_results == ["old", "other", "new"]
    assert meanwhile.discovered_items == {"order": [1, 2, 3], "person": ["Ada"]}, "each item stands there once"
    assert meanwhile.region == "east"


def test_what_was_taken_away_comes_back_as_a_whole() -> None:
    context = SalesContext(query_results=["old", "older"], discovered_items={"order": [1, 2]})
    baseline = Baseline(context)
    context.query_results[:] = ["older"]
    del context.discovered_items["order"][0]
    assert baseline.findings(context) == {"set": {"query_results": ["older"], "discovered_items": {"order": [2]}}}


def test_nothing_found_is_nothing_to_tell() -> None:
    context = SalesContext()
    assert Baseline(context).findings(context) == {}


def test_a_new_value_without_a_form_is_told_with_its_field() -> None:
    context = SalesContext()
    baseline = Baseline(context)
    context.database_connector = object()
    with pytest.raises(NotSerializable, match="the field 'database_connector' of the context holds a object"):
        baseline.changes(context)


def test_a_field_that_is_not_there_any_more_is_told() -> None:
    with pytest.raises(InvalidInput, match="a QueryContext has no field 'region'"):
        put_changes(QueryContext(), {"region": "south"})
