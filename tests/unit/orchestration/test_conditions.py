"""Conditions as text: what may be written, what it means, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from agenticflow.core import codec
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.conditions import MAX_DEPTH, MAX_TEXT, parse_condition

KNOWN = {
    "a": {"score": 0.9, "kind": "new", "rows": [1, 2, 3], "none": None},
    "n": 5,
    "t": "text",
    "flag": True,
    "e": [],
}


def holds(text: str, known: Mapping[str, object] = KNOWN) -> bool:
    return parse_condition(text).holds(known.__getitem__)


@pytest.mark.parametrize(
    "text",
    [
        "${a.score} > 0.8",
        "${a.score} >= 0.9 and ${a.kind} == 'new'",
        "${n} < 3 or ${n} == 5",
        "not ${n} == 4",
        "1 < ${n} <= 5",
        "${n} != 6",
        "${n} in [1, 5]",
        "${n} in (1, 5)",
        "${n} not in [1, 2]",
        "'ex' in ${t}",
        "len(${a.rows}) == 3",
        "len(${t}) > 3",
        "len(${a}) == 4",
        "${a.none} == null",
        "${a.none} == None",
        "${flag} == true",
        "${flag}",
        "not ${e}",
        "false == False",
        "${n} > -1",
        "${n} > -1.5",
        "${a['score']} > 0.5",
        "${a.rows[0]} == 1",
        "${a.rows[-1]} == 3",
        "  ${n} == 5  ",
        "${n}==5 and(${n}==5)",
    ],
)
def test_true_statements_hold(text: str) -> None:
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "${n} > 5",
        "${n} == 5 and ${n} == 6",
        "${n} == 4 or ${n} == 6",
        "not ${flag}",
        "false",
        "null",
        "${e}",
        "5 < ${n} < 9",
    ],
)
def test_false_statements_do_not_hold(text: str) -> None:
    assert not holds(text)


def test_what_follows_is_not_looked_at_when_the_answer_is_known() -> None:
    assert not holds("false and ${a.missing} > 1")
    assert holds("true or ${a.missing} > 1")


def test_references_are_found_in_the_order_of_the_text() -> None:
    assert [str(found) for found in parse_condition("${b} > ${a.x[0]}").references] == ["${b}", "${a.x[0]}"]


@pytest.mark.parametrize(
    "text",
    [
        "${a}.score > 1",
        "${a}.__class__",
        "__import__('os').system('true')",
        "__import__",
        "open('/etc/passwd')",
        "len",
        "len(${a}, ${a})",
        "len(*${e})",
        "len(x=1)",
        "max(${a.rows})",
        "${t}.upper() == 'TEXT'",
        "().__class__.__bases__[0].__subclasses__()",
        "[x for x in ${a.rows}]",
        "{x for x in ${a.rows}}",
        "{x: x for x in ${a.rows}}",
        "(x for x in ${a.rows})",
        "lambda: 1",
        "(y := 5) > 1",
        "1 if ${flag} else 2",
        "${n} + 1 > 2",
        "${n} ** 99999999",
        "'x' * 99999999",
        "~1",
        "+1 > 0",
        "-${n} < 0",
        "{'a': 1}",
        "{1, 2}",
        "f'{1}'",
        "b'bytes'",
        "1j",
        "...",
        "${a.rows}[0] == 1",
        "${a.rows}[0:1]",
        "*${a.rows}, 1",
        "name == 1",
        "${n} is 5",
        "${n} is not None",
        "await ${n}",
        "yield",
        "import os",
        "x = 1",
        "1; 2",
        "${n} == 5\n${n} == 6",
        "${n} ==",
        "(",
        "\x00",
        "${n} == '\ud800'",
        "__reference_0 == 1 and ${n}",
        "not " * 500 + "true",
        "[" * 90 + "]" * 90,
        "-" * 2_000 + "1",
    ],
)
def test_anything_else_is_refused_when_it_is_written(text: str) -> None:
    with pytest.raises(DefinitionError):
        parse_condition(text)


def test_a_refusal_names_what_is_not_allowed_and_what_is() -> None:
    with pytest.raises(DefinitionError, match=r"'open\(1\)' is not allowed.*use \$\{references\}"):
        parse_condition("open(1)")
    with pytest.raises(DefinitionError, match=r"`is` is not allowed .* write == or !="):
        parse_condition("${a} is null")


def test_quotes_around_a_reference_are_a_mistake_and_not_silently_false() -> None:
    """Found by reading: ``'${kind}' == 'new'`` compared the name of a stand-in, and never held."""
    with pytest.raises(DefinitionError, match=r"inside quotes; write \$\{name\} without them"):
        parse_condition("'${a.kind}' == 'new'")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("'a' < 3", "< does not compare a text with a number"),
        ("len(${n}) == '3'", "a number never equals a text"),
        ("len(5) > 1", r"len\(\) asks for the length of a number"),
        ("${a} in 5", "nothing is `in` a number"),
        ("5 in 'abc'", "a number is never `in` a text"),
        ("true < ${n}", "< does not compare a yes or no with a value"),
        ("${n} >= null", ">= does not compare a value with a null"),
        ("(1 < 2) > 0", "> does not compare a yes or no with a number"),
        ("not ('a' < 3)", "does not compare a text"),
        ("(true and 1 == 1) == 'yes'", "a yes or no never equals a text"),
    ],
)
def test_what_can_never_make_sense_is_told_at_definition_time(text: str, words: str) -> None:
    with pytest.raises(DefinitionError, match=words):
        parse_condition(text)


@pytest.mark.parametrize(
    "text",
    [
        "${n} == null",
        "null != 'a'",
        "[1, 2] < [2]",
        "'a' in 'abc'",
        "${n} in [1, 'a']",
        "(${n} and true) == 5",
        "1 < 2",
    ],
)
def test_what_may_make_sense_is_left_to_the_run(text: str) -> None:
    parse_condition(text)


@pytest.mark.parametrize("text", ["", "   ", "x" * (MAX_TEXT + 1), None, 5])
def test_a_condition_is_a_text_of_bounded_length(text: str) -> None:
    with pytest.raises(DefinitionError, match="a condition is a text"):
        parse_condition(text)


def test_depth_is_bounded_far_below_what_would_be_hard_to_decide() -> None:
    """A condition that could be parsed is decided at any depth of the stack: it must not end in a RecursionError later."""
    deepest = "not " * (MAX_DEPTH - 1) + "true"
    assert parse_condition(deepest).holds(KNOWN.__getitem__) == (MAX_DEPTH % 2 == 1)
    with pytest.raises(DefinitionError, match="nested more than 50 deep"):
        parse_condition("not " * (MAX_DEPTH + 1) + "true")


def test_a_long_condition_that_is_not_deep_is_fine() -> None:
    assert holds(" and ".join(["${n} == 5"] * 200))


@pytest.mark.parametrize("reference", ["${}", "${1a}", "${a..b}", "${a b}", "${a[}"])
def test_malformed_references_are_refused(reference: str) -> None:
    with pytest.raises(DefinitionError):
        parse_condition(f"{reference} == 1")


@pytest.mark.parametrize("text", ["${t} < 5", "${t} <= 5", "${t} > 5", "${t} >= 5", "1 in ${n}", "1 not in ${n}"])
def test_operands_that_do_not_compare_are_reported_with_both(text: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be decided: "):
        holds(text)


def test_the_length_of_what_has_none_is_reported() -> None:
    with pytest.raises(InvalidInput, match="asks for the length of a int"):
        holds("len(${n}) > 1")


def test_bytes_have_a_length() -> None:
    assert holds("len(${b}) == 2", {"b": b"ab"})


def test_the_text_is_what_is_kept() -> None:
    condition = parse_condition(" ${n} == 5 ")
    assert condition.text == " ${n} == 5 "
    assert codec.decode(codec.encode(condition.text)) == condition.text
