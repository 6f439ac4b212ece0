"""The tables of settings and of metrics are those of the code."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agenticflow.config.profiles import PROFILES
from agenticflow.config.settings import fields
from agenticflow.config.sources import NO_SETTINGS
from agenticflow.core.measures import Measures, ResourceMeasures, ToolMeasures
from agenticflow.observability import Metrics
from tests.docs.pages import ROOT
from tests.docs.test_reference import code, page, rows_under


def shown(value: object) -> str:
    if value == "":
        return "none"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def test_every_setting_is_on_the_page_as_it_is_in_the_code() -> None:
    heads = ("setting", "in the environment", "default", "accepts", "meaning")
    assert rows_under(page("settings.md"), *heads) == [
        (f"`{field.key}`", f"`{field.variable}`", shown(field.default), field.accepts, field.meaning)
        for field in fields().values()
    ]


def test_every_profile_is_on_the_page() -> None:
    assert rows_under(page("settings.md"), "profile", "setting", "value") == [
        (f"`{profile}`", f"`{key}`", shown(value))
        for profile, values in PROFILES.items()
        for key, value in values.items()
    ]


def test_every_variable_that_is_no_setting_is_on_the_page() -> None:
    assert {code(row[0]) for row in rows_under(page("settings.md"), "variable", "meaning")} == NO_SETTINGS


@pytest.mark.parametrize(
    ("measures", "name", "head"),
    [
        (Measures, "metrics-and-logs.md", "metric"),
        (ToolMeasures, "metrics-and-logs.md", "metric of tools"),
        (ResourceMeasures, "breakers-and-pools.md", "metric"),
    ],
    ids=["engine", "tools", "resources"],
)
def test_every_metric_is_on_its_page(measures: Callable[[Metrics], object], name: str, head: str) -> None:
    metrics = Metrics()
    measures(metrics)
    text = (ROOT / "docs" / "how-to" / name).read_text(encoding="utf-8")
    rows = sorted(
        (row[:3] for row in rows_under(text, head, "kind", "labels", "tells")), key=lambda row: row[0].strip("`")
    )
    assert rows == [
        (f"`{family.name}`", family.kind, ", ".join(f"`{label}`" for label in family.labels) or "none")
        for family in metrics.look()
    ]
