"""Keys, tokens and personal data in texts: what has a form of its own and, where there are some, the right check digits. Pure.

A message says what was found and where, never the thing itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, Final, NamedTuple

from agenticflow.agents.guardrails.builtin.texts import texts_in
from agenticflow.agents.guardrails.guardrail import Guardrail, GuardrailKind, Verdict
from agenticflow.errors import DefinitionError

__all__ = ["SECRET_KINDS", "found_in", "has_iban_digits", "has_luhn_digit", "secrets"]


class _Form(NamedTuple):
    words: str
    pattern: str
    is_right: Callable[[str], bool] = lambda text: True
    hints: tuple[str, ...] = ()
    """One of these stands in every text that has it: most texts are passed over quickly."""


def has_luhn_digit(number: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1)."""
    total = 0
    for at, digit in enumerate(reversed([int(character) for character in number])):
        doubled = digit * 2 if at % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0


def has_iban_digits(text: str) -> bool:
    """Whether the check digits of an IBAN without spaces are right (ISO 13616: 1 modulo 97)."""
    moved = text[4:] + text[:4]
    return int("".join(str(int(character, 36)) for character in moved)) % 97 == 1


def _is_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and has_luhn_digit(digits)


def _is_iban(text: str) -> bool:
    plain = re.sub(r"\s", "", text).upper()
    country = IBAN_CHARS.get(plain[:2])
    return country is not None and len(plain) >= country and has_iban_digits(plain[:country])


def _is_no_example(text: str) -> bool:
    """Whether a value beside ``password=`` looks like one, and not like a placeholder or a reference."""
    value = re.split(r"[=:]", text, maxsplit=1)[1].strip(" \t\"'")
    return PLACEHOLDERS.fullmatch(value) is None


PLACEHOLDERS: Final = re.compile(
    r"[*x.•_-]+|[<$%{\[].*|(?:your|my|the|an?)?[-_ ]?(?:secret|password|token|key|api[-_ ]?key|example|none|null|true|false)"
    r"|required|optional|changeme|string|(?:os|getenv|process\.env|settings|config|self|args)[.(].*",
    re.IGNORECASE,
)
"""What stands beside a password's name and is none."""
IBAN_CHARS: Final = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "FO", "GL", "NL"), 18),
    **dict.fromkeys(("MK", "SI"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK"), 20),
    **dict.fromkeys(("CH", "CR", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS", "VA"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("LY", "PT", "ST"), 25),
    **dict.fromkeys(("IS", "TR"), 26),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "MR", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "EG", "GT", "HU", "LB", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
    **dict.fromkeys(("LC",), 32),
    **dict.fromkeys(("RU",), 33),
}
"""Characters of an IBAN by country (the registry of ISO 13616)."""

_KEYS: Final = (
    _Form(
        "a private key",
        r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----",
        hints=("PRIVATE KEY",),
    ),
    _Form("an AWS access key", r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b", hints=("AKIA", "ASIA")),
    _Form(
        "a GitHub token",
        r"\bgh[pousr]_[A-Za-z0-9]{36,255}\b|\bgithub_pat_\w{40,255}\b",
        hints=("gh", "github_pat_"),
    ),
    _Form("a GitLab token", r"(?<![\w-])glpat-[\w-]{20,}\b", hints=("glpat-",)),
    _Form("a Slack token", r"(?<![\w-])xox[abeprs]-[A-Za-z0-9-]{10,}", hints=("xox",)),
    _Form("a Google API key", r"\bAIza[\w-]{35}\b", hints=("AIza",)),
    _Form("a Stripe key", r"\b[srp]k_(?:live|test)_[A-Za-z0-9]{16,}", hints=("k_live_", "k_test_")),
    _Form("a model provider's key", r"(?<![\w-])sk-(?=[\w-]*\d)[\w-]{20,}", hints=("sk-",)),
    _Form("a JSON web token", r"(?<![\w-])eyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}", hints=("eyJ",)),
    _Form("a bearer token", r"(?i)\bbearer\s+(?=[\w.~+/=-]*\d)[\w.~+/=-]{16,}", hints=("earer", "EARER")),
    _Form("a password in an address", r"://[^\s:/?#@]{1,100}:(?![*<${x])[^\s/?#@]{1,200}@", hints=("://",)),
    _Form(
        "a password beside its name",
        (
            r"(?i)(?:\b|_)(?:passw(?:or)?d|passphrase|secret|api[-_ ]?key|(?:access|auth|refresh|secret)[-_ ]?(?:token|key))"
            r"[\"']?\s{0,3}[=:]\s{0,3}(?:\"[^\"\s]{6,200}\"|'[^'\s]{6,200}'|[^\s\"',;)}\]]{6,200})"
        ),
        _is_no_example,
        hints=("=", ":"),
    ),
)
_PERSONAL: Final = (
    _Form(
        "an e-mail address",
        r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}(?![\w@])",
        lambda text: not text.startswith(".") and ".." not in text and ".@" not in text,
        hints=("@",),
    ),
    _Form("a card number", r"(?<![\d.,-])(?:\d[ -]?){12,18}\d(?![\d]|[.,-]\d)", _is_card),
    _Form("a bank account (IBAN)", r"(?i)\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b", _is_iban),
)
SECRET_KINDS: Final = {"keys": _KEYS, "personal": _PERSONAL}


def secrets(
    look_for: Iterable[str] = ("keys", "personal"),
    *,
    kinds: Iterable[GuardrailKind | str] = (GuardrailKind.OUTPUT, GuardrailKind.TOOL_OUTPUT),
) -> Guardrail:
    """Let pass what has neither ``keys`` (of providers, private keys, tokens, passwords beside their name) nor ``personal`` data (e-mail
    addresses, card numbers, bank accounts)."""
    wanted = (look_for,) if isinstance(look_for, str) else tuple(look_for)
    unknown = [one for one in wanted if one not in SECRET_KINDS]
    if unknown or not wanted:
        raise DefinitionError(
            f"secrets does not look for {unknown or 'nothing'}", hint=f"choose from {', '.join(SECRET_KINDS)}"
        )
    forms = tuple(form for one in wanted for form in SECRET_KINDS[one])

    def check(ctx: Any, value: Any) -> Verdict:
        for text in texts_in(value):
            found = found_in(text, forms)
            if found:
                return False, found
        return True, ""

    return Guardrail(check, name="secrets", kinds=kinds, is_quick=True)


def found_in(text: str, forms: Iterable[_Form] = (*_KEYS, *_PERSONAL)) -> str:
    """Return in words what is found first of each form, empty when nothing is."""
    for form in forms:
        if form.hints and not any(hint in text for hint in form.hints):
            continue
        for match in _compiled(form.pattern).finditer(text):
            if form.is_right(match[0]):
                return f"{form.words} at character {match.start() + 1}"
    return ""


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Most programs need none of them, and none is needed at import."""
    return re.compile(pattern)
