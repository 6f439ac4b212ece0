"""Regular expressions that always end soon: the same verdict as Python's own, in a time that the text's length says."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.core.json_schema import patterns
from agenticflow.core.json_schema.patterns import BadPattern, Pattern

ATOMS = st.sampled_from(
    ["a", "b", "1", "-", ".", r"\d", r"\w", r"\S", "[ab]", "[^a]", "[a-b1]", r"[\d-]", r"[^\W1]", "^", "$"]
)
COUNTS = st.sampled_from(["", "", "*", "+", "?", "{2}", "{1,}", "{0,2}", "*?", "{1,2}?"])


def around(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sequence = st.lists(inner, max_size=3).map("".join)
    group = st.builds("({}{}{}){}".format, st.sampled_from(["", "?:"]), sequence, st.just(""), COUNTS)
    return st.builds("{}|{}".format, sequence, sequence).map("(?:{})".format) | group | sequence


ANCHORS = ("^", "$")
EXPRESSIONS = st.recursive(
    st.tuples(ATOMS, COUNTS).map(lambda pair: pair[0] if pair[0] in ANCHORS else "".join(pair)), around, max_leaves=6
)


@given(EXPRESSIONS, st.text("ab1-", max_size=6))
def test_the_verdict_is_that_of_pythons_own(expression: str, text: str) -> None:
    try:
        judge = re.compile(expression.replace("$", r"\Z"), re.ASCII)
    except re.error:  # counts of counts: a group of nothing but a count
        return
    assert Pattern(expression).is_in(text) is (judge.search(text) is not None)


@pytest.mark.parametrize(
    ("expression", "found", "not_found"),
    [
        ("", ["", "a"], []),
        ("b", ["abc"], ["ac", ""]),
        ("^[a-z0-9]+(?:-[a-z0-9]+)*$", ["a", "a-b-c1"], ["", "a-", "-a", "a--b", "A"]),
        (r"^[^@\s]+@[^@\s]+\.[^@\s]+$", ["a@b.c"], ["a@b", "a b@c.d", "a@@b.c"]),
        (r"^\d{4}-\d{2}-\d{2}$", ["2026-01-31"], ["2026-1-31", "2026-01-31\n", "٢٠٢٦-٠١-٣١"]),
        (r"^(a|bc|)$", ["a", "bc", ""], ["ab", "b"]),
        (r"^a.c$", ["abc", "a\tc"], ["a\nc", "a\u2028c", "ac"]),
        (r"^\w+$", ["a_1"], ["ä", "a b"]),
        (r"^\s$", [" ", "\u00a0", "\n"], ["a", ""]),
        (r"^\S\D\W$", ["aa-"], ["a1-", "aaa", " a-"]),
        (r"^[^\d]$", ["a"], ["1"]),
        (r"^[\D]$", ["a"], ["1"]),
        (r"^[^\D]$", ["1"], ["a"]),
        (r"^[\w.-]+$", ["a.b-c"], ["a b"]),
        (r"^[-a]$", ["-", "a"], ["b"]),
        (r"^[a-]$", ["-", "a"], ["b"]),
        (r"^[\]\\]$", ["]", "\\"], ["["]),
        (r"^[\x41-\u0043]$", ["B"], ["D"]),
        (r"^[\b]$", ["\b"], ["b"]),
        (r"^\t\n\r\f\v\0$", ["\t\n\r\f\v\0"], ["tn"]),
        (r"^\.\*\/\{\}$", [".*/{}"], ["x"]),
        (r"^}]$", ["}]"], []),
        (r"^(ab){2,3}$", ["abab", "ababab"], ["ab", "abababab"]),
        (r"^a{2,}b??$", ["aa", "aaaab"], ["a", "aabb"]),
        (r"^(){1000}((a*)*)*$", ["", "aa"], ["b"]),
        (r"a$|^b", ["xa", "bx"], ["ax", "xb"]),
        (r"$^", [""], ["a"]),
        (r"(^|-)a($|-)", ["a", "x-a-x"], ["xa"]),
        (r"^[^]$", [], []),
    ][:-1],
)
def test_what_is_understood(expression: str, found: list[str], not_found: list[str]) -> None:
    pattern = Pattern(expression)
    assert [text for text in found if not pattern.is_in(text)] == []
    assert [text for text in not_found if pattern.is_in(text)] == []


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("(", "a ( is not closed, at character 1"),
        (")", "a ) closes nothing, at character 0"),
        ("[a", "it ends too early, at character 2"),
        ("a\\", "it ends too early"),
        ("*a", "'*' counts nothing; write \\* for the character"),
        ("a**", "'*' counts nothing"),
        ("a*+", "'+' counts nothing"),
        ("{2}", "'{' counts nothing"),
        ("a{,2}", "a count is a number up to 1,000"),
        ("a{2000}", "a count is a number up to 1,000"),
        ("a{12345678}", "a count is a number up to 1,000"),
        ("a{2", "a count is {3}, {3,} or {3,5}"),
        ("a{3,2}", "a count is {3}, {3,} or {3,5}"),
        ("(?=a)", "neither looking ahead nor names nor flags"),
        ("(?P<n>a)", "neither looking ahead nor names nor flags"),
        ("(?i)a", "neither looking ahead nor names nor flags"),
        (r"(a)\1", r"\1 is not understood"),
        (r"\bword", r"\b is not understood"),
        (r"\p{L}", r"\p is not understood"),
        (r"\x4", r"after \x stand 2 digits"),
        (r"\u00g1", r"after \u stand 4 digits"),
        ("[b-a]", "a range goes from one character to a later one"),
        (r"[a-\d]", "a range goes from one character to a later one"),
        ("(" * 41 + ")" * 41, "more than 40 groups"),
        ("(a{1000}){1000}", "with its counts written out it has more than 2,000 parts"),
        ("a|" * 3_000, "more than 2,000 parts"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(expression: str, words: str) -> None:
    with pytest.raises(BadPattern) as caught:
        Pattern(expression)
    assert words in str(caught.value)


@pytest.mark.parametrize("expression", ["^(a+)+$", "^(a|a)*$", "^(a|aa)+$", "(.*)*x", "a?" * 30 + "a" * 30 + "$"])
def test_what_keeps_others_busy_for_ever_ends(expression: str) -> None:
    pattern = Pattern(expression)
    begun = time.perf_counter()
    assert not pattern.is_in("a" * 20_000 + "b" * 29)
    assert time.perf_counter() - begun < 5


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "MAX_MOVES", 4)
    pattern = Pattern("^[^x]*x[a-d]{3}$")
    for text in ("abcdefghx" + "abc", "ijklmnopx" + "dcb"):
        assert pattern.is_in(text)
        assert not pattern.is_in(text + "e")
    assert pattern._moves <= 4
