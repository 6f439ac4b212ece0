"""Keys, tokens and personal data are found by their form and check digits, and never repeated in what is said about them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.guardrails import secrets
from agenticflow.agents.guardrails.builtin import texts as texts_module
from agenticflow.agents.guardrails.builtin.secrets import (
    IBAN_CHARS,
    SECRET_KINDS,
    found_in,
    has_iban_digits,
    has_luhn_digit,
)
from agenticflow.agents.guardrails.builtin.texts import texts_in
from agenticflow.errors import BoundExceeded, DefinitionError, InvalidInput

# Written in two parts, so that no scanner of repositories takes an example for a leak.
FOUND = [
    ("-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE", "a private key"),
    ("-----BEGIN " + "PRIVATE KEY-----", "a private key"),
    ("id AKIA" + "IOSFODNN7EXAMPLE and more", "an AWS access key"),
    ("ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8", "a GitHub token"),
    ("github_pat_" + "11ABCDEFG0123456789_abcdefghijklmnopqrstuvwxyz", "a GitHub token"),
    ("glpat-" + "abcdefghij0123456789", "a GitLab token"),
    ("xoxb-" + "123456789012-abcdefGHIJ", "a Slack token"),
    ("AIza" + "SyA1234567890abcdefghijklmnopqrstuv", "a Google API key"),
    ("sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc", "a Stripe key"),
    ("key=sk-proj-" + "abc123def456ghi789jkl012", "a model provider's key"),
    ("sk-ant-" + "api03-abcdefghijklmnop", "a model provider's key"),
    ("eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmN", "a JSON web token"),
    ("Authorization: Bearer " + "abcdef0123456789abcdef", "a bearer token"),
    ("postgres://admin:hunter2" + "@db.example.org/app", "a password in an address"),
    ('{"password": "' + 'correcthorse"}', "a password beside its name"),
    ("DB_PASSWORD=" + "hunter22", "a password beside its name"),
    ("api key: " + "0123456789abcdef", "a password beside its name"),
    ("write to ann.lee+news@mail.example.co.uk today", "an e-mail address"),
    ("card 4111 1111 1111 1111, please", "a card number"),
    ("5500-0000-0000-0004", "a card number"),
    ("378282246310005", "a card number"),
    ("IBAN GB82 WEST 1234 5698 7654 32.", "a bank account (IBAN)"),
    ("DE89370400440532013000", "a bank account (IBAN)"),
    ("nl91abna0417164300", "a bank account (IBAN)"),
    ("pay to AT61 1904 3002 3457 3201 now", "a bank account (IBAN)"),
]

HARMLESS = [
    "",
    "nothing to see",
    "the token of the attempt is 7",
    "password: ******",
    "password=<your password>",
    "password = os.environ['DB_PASSWORD']",
    "api_key=${API_KEY}",
    'secret: "changeme"',
    "please choose a password",
    "AKIA is how they begin",
    "sk-learn is a library, scikit-learn-contrib-packages too",
    "ghp_short",
    "https://example.org/a:b@c",
    "https://user:${PASSWORD}@example.org",
    "meet @ noon, or ping @ann on chat",
    "a@b is no address",
    "version 1.2.3@latest",
    "4111 1111 1111 1112",
    "order 1234567890123456",
    "0000 0000 0000 0000",
    "3.14159265358979",
    "tel. 0043 1 234 567 890",
    "GB82 WEST 1234 5698 7654 33",
    "XX82 WEST 1234 5698 7654 32",
    "ISO20022MESSAGEFORMAT",
    "the bearer of this letter",
    "eyJ is the beginning of a token",
]


@pytest.mark.parametrize(("text", "words"), FOUND)
def test_what_is_a_secret_is_found_and_not_repeated(text: str, words: str) -> None:
    found = found_in(f"so: {text}")
    assert found.startswith(f"{words} at character ")
    assert not any(part in found for part in text.split() if len(part) > 9)


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_one_passes(text: str) -> None:
    assert found_in(text) == ""


def test_what_is_looked_for_is_chosen() -> None:
    keys: Any = secrets("keys").check
    personal: Any = secrets(["personal"]).check
    assert keys(None, "ann@example.org") == (True, "")
    assert personal(None, "ann@example.org") == (False, "an e-mail address at character 1")
    assert personal(None, "DB_PASSWORD=" + "hunter22") == (True, "")
    assert keys(None, [{"text": ["DB_PASSWORD=" + "hunter22"]}]) == (False, "a password beside its name at character 3")
    for wrong in ("people", ()):
        with pytest.raises(DefinitionError, match="keys, personal"):
            secrets(wrong)


@given(st.text("0123456789", min_size=12, max_size=18))
def test_one_digit_makes_a_number_right_and_every_changed_digit_wrong(digits: str) -> None:
    [right] = [digits + last for last in "0123456789" if has_luhn_digit(digits + last)]
    for at, digit in enumerate(right):
        changed = right[:at] + str((int(digit) + 1) % 10) + right[at + 1 :]
        assert not has_luhn_digit(changed)


@given(st.sampled_from(sorted(IBAN_CHARS)), st.data())
def test_two_digits_make_an_account_right_and_every_changed_character_wrong(country: str, data: st.DataObject) -> None:
    size = IBAN_CHARS[country] - 4
    account = data.draw(st.text("0123456789", min_size=size, max_size=size))
    right = [
        f"{country}{digits:02}{account}" for digits in range(2, 99) if has_iban_digits(f"{country}{digits:02}{account}")
    ]
    assert len(right) == 1
    accounts = [form for form in SECRET_KINDS["personal"] if "IBAN" in form.words]
    assert found_in(f"to {right[0]}.", accounts) == "a bank account (IBAN) at character 4"
    at = data.draw(st.integers(4, len(right[0]) - 1))
    other = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != right[0][at]))
    assert not has_iban_digits(right[0][:at] + other + right[0][at + 1 :])


def test_hard_texts_cost_little() -> None:
    started = time.perf_counter()
    for part in (
        "eyJ-",
        "sk-1-",
        "a@",
        "a.b@",
        "1 ",
        "AA11 ",
        "://a:",
        "password=",
        "bearer ",
        "-----BEGIN A ",
        "ghp_",
        "x" * 99,
    ):
        found_in(part * (200_000 // len(part)))
    assert time.perf_counter() - started < 30


@dataclass
class Answer:
    text: str
    scores: list[int]


def test_texts_are_found_wherever_they_are() -> None:
    value: Any = {"a": ["b", {"c": ("d", 1, None, True, 2.5)}], "e": b"f\xff", "g": Answer("h", [1])}
    assert texts_in(value) == ["a", "b", "c", "d", "e", "f\ufffd", "g", "text", "h", "scores"]
    assert texts_in(value, with_names=False) == ["b", "d", "f\ufffd", "h"]


def test_what_cannot_be_looked_through_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BoundExceeded, match="1,048,576"):
        texts_in(["x" * 600_000, "y" * 600_000])
    deep: Any = "x"
    for _ in range(60):
        deep = [deep]
    with pytest.raises(BoundExceeded, match="50"):
        texts_in(deep)
    with pytest.raises(InvalidInput, match="object"):
        texts_in([object()])
    monkeypatch.setattr(texts_module, "MAX_TEXTS", 3)
    with pytest.raises(BoundExceeded):
        texts_in(["", "", "", ""])
