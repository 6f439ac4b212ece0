"""Everything that is known of a setting follows from its field."""

from __future__ import annotations

import json

import msgspec
import pytest

from agenticflow.config.profiles import PROFILES
from agenticflow.config.settings import Settings, fields, json_schema


def test_every_setting_has_a_meaning_a_variable_and_says_what_it_accepts() -> None:
    for key, field in fields().items():
        assert field.key == key
        assert field.meaning, key
        assert field.accepts, key
    assert fields()["engine.max_threads"].variable == "AGENTICFLOW_ENGINE__MAX_THREADS"
    assert fields()["store"].variable == "AGENTICFLOW_STORE"
    assert len({field.variable for field in fields().values()}) == len(fields())


def test_every_default_is_accepted() -> None:
    for field in fields().values():
        assert msgspec.convert(field.default, field.type) == field.default


def test_every_profile_has_only_settings_that_are_accepted() -> None:
    assert tuple(PROFILES) == ("development", "testing", "staging", "production")
    for values in PROFILES.values():
        for key, value in values.items():
            assert msgspec.convert(value, fields()[key].type) == value


def test_what_a_value_must_be_in_words() -> None:
    accepts = {field.accepts for field in fields().values()}
    assert {
        "a text that is not empty",
        "a text",
        "true or false",
        "full or normal",
        "debug, info, warning, error or critical",
        "a whole number from 1 to 1,000",
        "a number from 0 to 86,400",
    } <= accepts


def test_the_schema_refuses_what_is_unknown_and_describes_what_is_not() -> None:
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    kinds = schema["$defs"]
    assert isinstance(kinds, dict)
    assert set(kinds) == {"EngineSettings", "LogSettings", "MetricsSettings", "ModelSettings", "Settings"}
    for kind in kinds.values():
        assert kind["additionalProperties"] is False
    threads = kinds["EngineSettings"]["properties"]["max_threads"]
    assert threads == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1_000,
        "default": 32,
        "description": fields()["engine.max_threads"].meaning,
    }


@pytest.mark.parametrize(
    ("store", "durability", "url"),
    [
        ("sqlite:///a.db", "full", "sqlite:///a.db"),
        ("sqlite:///a.db", "normal", "sqlite:///a.db?durability=normal"),
        ("sqlite:///a.db?durability=full", "normal", "sqlite:///a.db?durability=full"),
        ("sqlite:///a.db?vfs=x", "normal", "sqlite:///a.db?vfs=x&durability=normal"),
        ("memory:", "normal", "memory:"),
    ],
)
def test_the_store_with_its_durability(store: str, durability: str, url: str) -> None:
    assert msgspec.convert({"store": store, "durability": durability}, Settings).store_url == url
