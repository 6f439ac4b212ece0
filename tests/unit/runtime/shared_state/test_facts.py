"""What may become of shared state: the rules, without a store or an event loop."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.errors import BoundExceeded, ConcurrencyConflict, InvalidInput
from agenticflow.runtime.shared_state.facts import (
    MAX_KEYS,
    ModifyState,
    SharedStateDecider,
    StateModified,
    stream_of_state,
)
from agenticflow.testing.scenarios import given

DECIDER = SharedStateDecider()
STREAM = "state-analyst"


def modified(key: str, version: int, value: object) -> StateModified:
    return StateModified(key, version, msgspec.Raw(codec.encode(value)))


def modify(key: Any, seen: int, value: object) -> ModifyState:
    return ModifyState(now=1, key=key, seen=seen, value=codec.encode(value))


def test_a_key_begins_at_version_1_and_counts_for_itself() -> None:
    scenario = given(DECIDER, stream_id=STREAM).when(modify("plan", 0, "a")).then(modified("plan", 1, "a"))
    scenario.when(modify("count", 0, 7)).then(modified("count", 1, 7))
    scenario.when(modify("plan", 1, "b")).then(modified("plan", 2, "b"))
    assert scenario.state.get("plan") == (2, codec.encode("b"))
    assert scenario.state.get("nothing") == (0, codec.NULL)


@pytest.mark.parametrize("seen", [0, 1, 3])
def test_who_saw_another_version_is_refused(seen: int) -> None:
    history = (modified("plan", 1, "a"), modified("plan", 2, "b"))
    scenario = given(DECIDER, *history, stream_id=STREAM).when(modify("plan", seen, "c"))
    scenario.then_refused(
        ConcurrencyConflict, f"state-analyst#plan' is at version 2, not at the expected version {seen}"
    )


def test_one_key_too_many_is_refused_and_the_others_go_on() -> None:
    full = [modified(f"key-{number}", 1, number) for number in range(MAX_KEYS)]
    scenario = given(DECIDER, *full, stream_id=STREAM)
    scenario.when(modify("one more", 0, "x")).then_refused(BoundExceeded, "1,000 keys, the limit is 1,000")
    scenario.when(modify("key-3", 1, "x")).then(modified("key-3", 2, "x"))


@pytest.mark.parametrize("key", ["", "a\nb", "x" * 201, None, 7, ("a",)])
def test_a_key_is_a_readable_text(key: Any) -> None:
    given(DECIDER, stream_id=STREAM).when(modify(key, 0, "x")).then_refused(InvalidInput, "is no key of shared state")


def test_other_commands_are_none_of_its_business() -> None:
    given(DECIDER, stream_id=STREAM).when(Command(now=1)).then_refused(InvalidInput, "shared state takes no Command")


def test_a_snapshot_holds_the_whole_state() -> None:
    scenario = given(DECIDER, modified("plan", 1, "a"), modified("count", 1, 7), modified("plan", 2, "bc"))
    again = DECIDER.initial(STREAM, DECIDER.snapshot(scenario.state))
    assert again.keys == scenario.state.keys
    assert again.size_bytes == scenario.state.size_bytes == len(codec.encode("bc")) + len(codec.encode(7))


@pytest.mark.parametrize("agent_id", ["", "a/b", "x" * 201, None])
def test_shared_state_belongs_to_an_agent(agent_id: Any) -> None:
    with pytest.raises(InvalidInput, match="is no id of an agent"):
        stream_of_state(agent_id)


def test_its_stream_is_named_after_the_agent() -> None:
    assert stream_of_state("analyst") == STREAM


def test_the_form_in_the_store_is_frozen() -> None:
    stored = DECIDER.codec.encode(modified("plan", 3, ["load"]))
    assert stored == b"\x83\xa3key\xa4plan\xa7version\x03\xa5value\x91\xa4load"
    assert DECIDER.codec.decode("state_modified", stored) == modified("plan", 3, ["load"])
    assert DECIDER.snapshot(given(DECIDER, modified("plan", 3, 7)).state) == b"\x81\xa4plan\x92\x03\xc4\x01\x07"
