"""What a handler may ask, and how the question leaves it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from agenticflow.core import codec
from agenticflow.core.context import TaskContext
from agenticflow.core.interrupts import Ask, Interrupted, interrupt_in, reply_in
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
    found.replies = {key: codec.encode(reply) for key, reply in replies.items()}
    return found


def test_a_question_without_an_answer_leaves_the_handler_as_no_error() -> None:
    with pytest.raises(Interrupted) as left:
        context().interrupt({"a": 1}, key="k", question="Which?", assignees={"ada"})
    assert not isinstance(left.value, Exception)
    assert codec.decode(left.value.ask) == {"key": "k", "value": {"a": 1}, "question": "Which?", "assignees": ["ada"]}


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
    inner = Interrupted(b"")
    group = BaseExceptionGroup("a", [ValueError(), BaseExceptionGroup("b", [inner])])
    assert interrupt_in(group) is inner
    assert interrupt_in(inner) is inner
    assert interrupt_in(ValueError()) is None
    assert interrupt_in(ExceptionGroup("a", [ValueError()])) is None


def test_a_reply_that_is_no_answer_of_an_inbox_is_itself_the_value() -> None:
    assert reply_in(codec.encode([1])) == [1]
