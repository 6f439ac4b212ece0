"""What a handler may ask, and how the question leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import (
    MAX_INTERRUPTS,
    Ask,
    Interrupted,
    Replies,
    Reply,
    interrupt_in,
    question_in,
    reply_in,
)
from agenticflow.errors import InvalidInput


@dataclass
class Step:
    """A step of an escalation, as whoever writes a handler may have it."""

    after_seconds: float
    to: list[str] | str


def context(**replies: object) -> TaskContext:
    found = TaskContext(
        workflow_id="w",
        run_no=1,
        task_id="t",
        task_key="t",
        agent_id="a",
        attempt=1,
        generation=0,
        deadline=None,
        params={},
        results={},
        encoded_input=codec.NULL,
    )
    found.replies = Replies({key: codec.encode(reply) for key, reply in replies.items()})
    return found


def test_a_question_without_an_answer_leaves_the_handler_as_no_error() -> None:
    with pytest.raises(Interrupted) as left:
        context().interrupt({"a": 1}, key="k", question="Which?", assignees={"ada"})
    assert not isinstance(left.value, Exception)
    ((key, encoded),) = left.value.asks
    assert key == "k"
    assert codec.decode(encoded) == {"key": "k", "value": {"a": 1}, "question": "Which?", "assignees": ["ada"]}


def test_a_question_with_an_answer_returns_it_anew_each_time() -> None:
    first = context(k={"approved": True, "value": [1]}).interrupt(key="k")
    assert first == [1]
    assert context(k={"approved": True, "value": None}).interrupt(key="k") is None


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        ({"key": "k" * 201}, "its key is no text of at most 200 characters"),
        ({"key": 3}, "its key is no text"),
        ({"question": 3}, "its question is a int"),
        ({"assignees": ["a"] * 101}, "its assignees are not at most 100 names"),
        ({"assignees": [""]}, "its assignees are not"),
        ({"response_schema": {"type": "money"}}, "its response_schema: type is 'money', not one of"),
        ({"deadline_seconds": 0}, "its deadline_seconds is 0, not seconds above 0"),
        ({"deadline_seconds": True}, "its deadline_seconds is True"),
        ({"deadline_seconds": 5, "on_deadline": "explode"}, "on_deadline='explode' is unknown"),
        ({"on_deadline": "reject"}, "on_deadline and default need deadline_seconds"),
        ({"deadline_seconds": 5, "default": 3}, "a default needs on_deadline='approve'"),
        (
            {"deadline_seconds": 5, "on_deadline": "approve", "default": 3, "response_schema": {"type": "string"}},
            "default is 3, not string",
        ),
        ({"on_rejection": "shrug"}, "on_rejection='shrug' is unknown; use 'fail' or 'return'"),
        ({"quorum": 0}, "its quorum is 0, not a whole number from 1 to 100"),
        ({"quorum": True}, "its quorum is True"),
        ({"quorum": 3, "assignees": ["a", "b"]}, "a quorum of 3 cannot be reached by 2: a, b"),
        ({"escalation": [Step(5, ["c"])]}, "escalation needs assignees"),
        ({"assignees": ["a"], "escalation": [Step(n, ["c"]) for n in range(1, 12)]}, "has 11 steps, the limit is 10"),
        ({"assignees": ["a"], "escalation": [Step(5, ["c"]), Step(5, ["d"])]}, "is 5, not seconds above 5"),
        ({"assignees": ["a"], "escalation": [Step(9, "c")], "deadline_seconds": 9}, "after 9 s never comes"),
        ({"assignees": ["a"], "escalation": [Step(9, [])]}, "its escalation goes to (), not to 1 to 100 names"),
        ({"value": "x" * 20_000}, "the value of an interrupt of task 't' has 20,003 bytes, above the limit of 16,384"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_the_handler(ask: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        context().interrupt(**ask)
    assert words in str(refused.value)


def test_a_sound_question_is_checked_and_passes() -> None:
    Ask("", None, "?", {"type": "string"}, ("ada",), 5, "approve", "x").check("t")
    Ask("", deadline_seconds=5, on_deadline="reject").check("t")


def test_an_interrupt_is_found_in_the_groups_that_task_groups_make() -> None:
    inner = Interrupted([("", b"")])
    group = BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [inner])])
    assert interrupt_in(group) is inner
    assert interrupt_in(inner) is inner
    assert interrupt_in(ValueError()) is None
    assert interrupt_in(ExceptionGroup("a", [ValueError()])) is None


def test_all_interrupts_of_a_group_are_one() -> None:
    group = BaseExceptionGroup(
        "a",
        [Interrupted([("a", b"1"), ("b", b"2")]), BaseExceptionGroup("b", [Interrupted([("b", b"2"), ("c", b"3")])])],
    )
    found = interrupt_in(group)
    assert found is not None
    assert found.asks == [("a", b"1"), ("b", b"2"), ("c", b"3")]


def test_several_are_asked_at_once_and_those_with_a_reply_are_not_asked_again() -> None:
    asks = [Ask.of(key=key, assignees="ada", escalation=[Step(5, "eve")]) for key in "abc"]
    with pytest.raises(Interrupted) as left:
        context(b={"approved": False, "by": "eve"}).interrupt_all(asks)
    assert [key for key, _ in left.value.asks] == ["a", "c"]
    assert codec.decode(left.value.asks[0][1]) == {"key": "a", "assignees": ["ada"], "escalation": [[5, ["eve"]]]}


def test_replies_come_in_the_order_of_the_questions() -> None:
    found = context(
        a={"approved": True, "by": "ada", "comment": "well", "value": 1}, b={"approved": False, "by": "eve"}
    )
    no, yes = found.interrupt_all([Ask("b"), Ask("a")])
    assert (no, yes) == (Reply(None, is_approved=False, by="eve"), Reply(1, by="ada", comment="well"))
    assert context().interrupt_all([]) == []


def test_what_siblings_have_asked_goes_along() -> None:
    found = context()
    with pytest.raises(Interrupted) as first:
        found.interrupt(key="a")
    with pytest.raises(Interrupted):
        found.interrupt(key="b")
    assert [key for key, _ in first.value.asks] == ["a", "b"]


def test_a_no_is_a_reply_when_it_is_asked_for() -> None:
    said = {"approved": False, "by": "eve", "comment": "dear", "value": None}
    reply = context(k=said).interrupt(key="k", on_rejection="return")
    assert reply == Reply(None, is_approved=False, by="eve", comment="dear")
    assert context(k=[1]).interrupt(key="k", on_rejection="return") == Reply([1])


def test_two_questions_with_one_key_are_refused() -> None:
    with pytest.raises(InvalidInput, match="the handler of task 't' asks twice under the key 'a'"):
        context().interrupt_all([Ask("a"), Ask("a")])
    with pytest.raises(InvalidInput, match="asks several times and cannot tell the answers apart"):
        context().interrupt_all([Ask(""), Ask("")])


def test_what_is_no_ask_is_refused() -> None:
    with pytest.raises(InvalidInput, match="the handler of 't' asks 'price', which is no Ask"):
        context().interrupt_all(["price"])  # type: ignore[list-item]  # the point of the test


def test_replies_are_a_mapping_that_nobody_changes_for_others() -> None:
    replies = Replies({"a": codec.encode({"value": [1]})})
    assert replies["a"] == Reply([1])
    assert replies["a"].value is not replies["a"].value
    assert dict(replies) == {"a": Reply([1])}
    assert "b" not in replies
    assert len(replies) == 1
    assert repr(replies) == "Replies({'a': Reply(value=[1], is_approved=True, by='', comment='')})"


def test_what_is_reported_has_every_question_once() -> None:
    first = Interrupted.of([Ask("a"), Ask("b")])
    both = Interrupted([*first.asks, *first.asks])
    assert codec.decode(question_in(both, {}, "t")) == [{"key": "a"}, {"key": "b"}]


@pytest.mark.parametrize(
    ("asks", "words"),
    [
        ([Ask("a"), Ask("a", 1)], "asks twice under the key 'a'"),
        ([Ask("known")], "the handler of task 't' asks again under the key 'known', which has its reply"),
        ([], "asks 0 questions at once"),
        ([Ask(str(number)) for number in range(MAX_INTERRUPTS + 1)], "asks 101 questions at once"),
    ],
)
def test_what_a_handler_must_not_ask_is_refused(asks: list[Ask], words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        question_in(Interrupted.of(asks), {"known": 1}, "t")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (Ask("a", assignees="ada"), "its assignees are not"),  # type: ignore[arg-type]  # the point of the test
        (
            Ask("a", assignees=("ada",), escalation=(Step(5, "eve"),)),  # type: ignore[arg-type]  # as above
            "not pairs of seconds and names; Ask.of takes steps",
        ),
    ],
)
def test_a_question_written_by_hand_is_checked_too(ask: Ask, words: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask.encoded("")
    assert words in str(refused.value)


def test_what_is_no_question_is_refused_where_it_was_raised() -> None:
    ask = Ask("a", rejection_ends=3)  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(InvalidInput, match="the handler of task 't' asks what is no question: Expected `bool`"):
        question_in(Interrupted.of([ask]), {}, "t")


def test_of_what_cannot_be_asked_the_words_name_the_key() -> None:
    with pytest.raises(InvalidInput, match="the interrupt 'a': its quorum is 0"):
        Interrupted.of([Ask("a", quorum=0)])


def test_a_reply_that_is_no_answer_of_an_inbox_is_itself_the_value() -> None:
    assert reply_in(codec.encode([1])) == Reply([1])
