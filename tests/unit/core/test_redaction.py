"""Secrets that slip into texts and fields are hidden, and nothing else is."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from agenticflow.core.redaction import HIDDEN, is_secret_name, redact, redact_text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgres://ada:s3cret@db/orders", f"postgres://ada:{HIDDEN}@db/orders"),
        ("https://:onlyword@host/", f"https://:{HIDDEN}@host/"),
        ("Authorization: Bearer abcdef.0123456789", f"Authorization: Bearer {HIDDEN}"),
        ("'Authorization': 'Basic YTpi'", f"'Authorization': 'Basic {HIDDEN}'"),
        ("key sk-abcdefghij0123456789 was refused", f"key {HIDDEN} was refused"),
        ("ghp_abcdefghijklmnop and xoxb-1234567890-abc", f"{HIDDEN} and {HIDDEN}"),
        ("AKIAABCDEFGHIJKLMNOP", HIDDEN),
        ("?user=ada&password=s3cret&x=1", f"?user=ada&password={HIDDEN}&x=1"),
        ("api_key: 12345, retries: 3", f"api_key: {HIDDEN}, retries: 3"),
        ("sqlite:///.agenticflow/state.db?durability=normal", None),
        ("task 'load' of 'sales-2026' waits for token 17", None),
        ("mail ada@example.org at http://host:8080/path", None),
        ("the secret of a good tax report is basic arithmetic, the bearer understands", None),
    ],
)
def test_a_text(text: str, shown: str | None) -> None:
    assert redact_text(text) == (text if shown is None else shown)


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "passwd", "api_key", "API-Key", "Authorization", "token"])
def test_a_secret_is_known_by_its_name(name: str) -> None:
    assert is_secret_name(name)
    assert is_secret_name(f"my_{name}")


@pytest.mark.parametrize("name", ["task_key", "tokens_used", "author", "key", "workflow_id", "passed"])
def test_other_names_are_no_secrets(name: str) -> None:
    assert not is_secret_name(name)


def test_inside_values() -> None:
    given = {
        "password": "s3cret",
        "token": 17,
        "nested": MappingProxyType({"api_key": b"123", "url": "http://a:b@c"}),
        "cookie": ["a", "b"],
        "list": ({"secret": "x"}, "plain", None),
        "bytes": b"abc",
    }
    assert redact(given) == {
        "password": HIDDEN,
        "token": 17,
        "nested": {"api_key": HIDDEN, "url": f"http://a:{HIDDEN}@c"},
        "cookie": [HIDDEN, HIDDEN],
        "list": [{"secret": HIDDEN}, "plain", None],
        "bytes": b"abc",
    }
    assert given["password"] == "s3cret", "the value itself stays as it is"


def test_what_lies_too_deep_to_look_at_is_not_shown() -> None:
    deep: object = "s3cret"
    for _ in range(1_000):
        deep = {"x": deep}
    assert "s3cret" not in str(redact(deep))
    assert HIDDEN in str(redact(deep))
