"""What an agent is made and run with: every mix-up is told, with what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents.asked.given import check_id, check_lists, check_options, check_parts, checked_capabilities
from agenticflow.agents.memory.store import MemoryStore
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.resilience.breaker import BreakerPolicy


@pytest.mark.parametrize("wrong", ["", "a/b", 7, None, "x" * 201])
def test_an_id_is_a_short_text_without_a_slash(wrong: object) -> None:
    with pytest.raises(DefinitionError, match="is no agent id"):
        check_id(wrong)


def test_the_longest_id_is_one() -> None:
    check_id("x" * 200)


def test_capabilities_are_texts_in_a_collection() -> None:
    same = frozenset({"a"})
    assert checked_capabilities("x", same) is same
    assert checked_capabilities("x", ["a", "b", "a"]) == {"a", "b"}
    with pytest.raises(DefinitionError, match="are the text 'sums'") as told:
        checked_capabilities("x", "sums")
    assert "role='sums'" in told.value.hint
    wrong: list[Any] = [["a", ""], [1]]
    for given in wrong:
        with pytest.raises(DefinitionError, match="are texts"):
            checked_capabilities("x", given)


def test_a_text_is_no_list() -> None:
    check_lists("x", tools=["a"], handoffs=())
    for given in ("look", b"look"):
        with pytest.raises(DefinitionError, match="tools of agent 'x'") as told:
            check_lists("x", handoffs=(), tools=given)
        assert told.value.hint == f"write tools=[{given!r}]"


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"concurrency": 0}, "concurrency of agent 'x' is 0"),
        ({"concurrency": True}, "is True"),
        ({"concurrency": 1.5}, "is 1.5"),
        ({"memory": {}}, "the memory of agent 'x' is a dict"),
        ({"breaker": 5}, "the breaker of agent 'x' is a int"),
    ],
)
def test_parts_are_of_their_kind(parts: dict[str, object], said: str) -> None:
    right: dict[str, Any] = {"concurrency": 1, "memory": MemoryStore(), "breaker": BreakerPolicy()}
    check_parts("x", **right)
    check_parts("x", **{**right, "memory": None, "breaker": None})
    with pytest.raises(DefinitionError, match=said):
        check_parts("x", **{**right, **parts})


def test_an_unknown_option_of_a_run_is_told_with_the_one_that_was_meant() -> None:
    check_options({"session": "ada", "tool_choice": "none"})
    with pytest.raises(InvalidInput, match="no option 'max_turn'") as told:
        check_options({"max_turn": 3})
    assert told.value.hint == "did you mean 'max_turns'?"
    with pytest.raises(InvalidInput) as told:
        check_options({"zzz": 3})
    assert told.value.hint.startswith("there are budget, context, max_turns")
