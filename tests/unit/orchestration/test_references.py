"""References in params, conditions and outputs."""

from __future__ import annotations

import pytest

from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.references import MAX_DEPTH, Reference, compile_template, literal, parse_reference

KNOWN: dict[str, object] = {
    "load": {"rows": [{"price": 3}], "any key": 1, "count": 2},
    "text": "words",
    "data-set": [1],
    "flag": True,
    "nothing": None,
}


def resolve(template: object) -> object:
    return compile_template(template).resolve(KNOWN.__getitem__)


@pytest.mark.parametrize(
    ("text", "root", "path"),
    [
        ("load", "load", ()),
        (" load.rows ", "load", ("rows",)),
        ("load.rows[0].price", "load", ("rows", 0, "price")),
        ("load[-1]", "load", (-1,)),
        ("load['any key']", "load", ("any key",)),
        ('load["any key"].x', "load", ("any key", "x")),
        ("load['']", "load", ("",)),
        ("data-set.a-b", "data-set", ("a-b",)),
    ],
)
def test_a_reference_is_a_root_and_steps(text: str, root: str, path: tuple[str | int, ...]) -> None:
    assert parse_reference(text) == Reference(root, path)


@pytest.mark.parametrize("text", ["", "1a", ".a", "a.", "a..b", "a b", "a[", "a[x]", "a[1", "a['x]", "a.b()", "a[1:2]"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(DefinitionError, match="is no reference"):
        parse_reference(text)


def test_a_text_that_is_one_reference_becomes_the_value_itself() -> None:
    assert resolve("${load.rows}") == [{"price": 3}]
    assert resolve("${load['any key']}") == 1


def test_a_reference_in_a_longer_text_becomes_words() -> None:
    assert resolve("${load.count} rows, ${text}, ${flag}") == "2 rows, words, True"


def test_containers_are_filled_and_new_each_time() -> None:
    template = compile_template({"a": ["${text}", {"b": ("${load.count}", 5)}], "c": 1.5})
    first = template.resolve(KNOWN.__getitem__)
    assert first == {"a": ["words", {"b": [2, 5]}], "c": 1.5}
    assert isinstance(first, dict)
    first["a"].append("changed")
    assert template.resolve(KNOWN.__getitem__) == {"a": ["words", {"b": [2, 5]}], "c": 1.5}


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("costs 5$", "costs 5$"),
        ("$${name}", "${name}"),
        ("a $${b} ${text}", "a ${b} words"),
        ("$$${text}", "$${text}"),
        ("open $${ only", "open ${ only"),
        ("{braces}", "{braces}"),
        ("", ""),
    ],
)
def test_a_doubled_dollar_is_the_text_itself(text: str, meaning: str) -> None:
    assert resolve(text) == meaning


@pytest.mark.parametrize("text", ["${text", "a ${", "${a ${text}", "${text} and ${rest", "${a{text}}"])
def test_a_reference_that_is_not_closed_is_refused_wherever_it_stands(text: str) -> None:
    """Found by reading: an open one before a closed one was taken for text."""
    with pytest.raises(DefinitionError, match="not closed"):
        compile_template(text)


def test_the_references_of_a_template_are_found_everywhere() -> None:
    found = compile_template({"a": "${x}", "b": ["${y.z} and ${w}", 3], "c": {"d": "$${no}"}}).references
    assert [str(reference) for reference in found] == ["${x}", "${y.z}", "${w}"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("${absent}", "${absent} leads nowhere: there is no 'absent' here"),
        ("${load.nope}", "${load} is an object with the keys 'rows', 'any key', 'count', it has no 'nope'"),
        ("${load.rows[5]}", "${load.rows} is a list of 1, it has no 5"),
        ("${load.rows[0].price.x}", "${load.rows[0].price} is 3, it has no 'x'"),
        ("${nothing.x}", "${nothing} is None, it has no 'x'"),
        ("${data-set.x}", "is a list of 1, it has no 'x'"),
    ],
)
def test_what_leads_nowhere_says_how_far_it_came(text: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(text)
    assert words in str(caught.value)


def test_depth_is_bounded_far_below_what_would_be_hard_to_resolve() -> None:
    """What could be written is resolved at any depth of the stack: a RecursionError in a worker would leave its task stuck."""
    deep: object = "${text}"
    for _ in range(MAX_DEPTH):
        deep = [deep]
    assert "words" in str(resolve(deep))
    with pytest.raises(DefinitionError, match="nested more than 100 deep"):
        compile_template({"x": deep})


def test_an_empty_object_is_described_as_such() -> None:
    with pytest.raises(InvalidInput, match=r"the keys \(none\)"):
        compile_template("${e.x}").resolve({"e": {}}.__getitem__)


def test_what_is_literal_resolves_to_itself() -> None:
    data = {"text": "${a} and $${b}", "list": ["${c}", 1, ("${d}",)], "number": 2}
    compiled = compile_template(literal(data))
    assert compiled.references == ()
    assert compiled.resolve(dict[str, object]().__getitem__) == {
        "text": "${a} and $${b}",
        "list": ["${c}", 1, ["${d}"]],
        "number": 2,
    }
