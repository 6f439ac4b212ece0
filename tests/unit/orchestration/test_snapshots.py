"""Snapshots: everything the state is, and nothing that cannot be read."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agenticflow.core.values import Values
from agenticflow.errors import CorruptStore, InvariantError
from agenticflow.orchestration.plan import Node, Plan
from agenticflow.orchestration.snapshots import restore, take
from agenticflow.orchestration.state import RunState, TaskRecord
from tests.scenarios.histories import first_run, second_run
from tests.scenarios.runs import GUEST, Run, task


def anatomy(thing: Any) -> object:
    """All of a state, slot by slot, without a list of fields that somebody could forget to extend."""
    if isinstance(thing, RunState):
        return {name: anatomy(getattr(thing, name)) for name in RunState.__slots__}
    if isinstance(thing, TaskRecord):
        return {name: anatomy(getattr(thing, name)) for name in TaskRecord.__struct_fields__}
    if isinstance(thing, Node):
        return thing.index
    if isinstance(thing, Plan):
        return thing.encoded
    if isinstance(thing, Values):
        return None
    if isinstance(thing, dict):
        return {key: anatomy(value) for key, value in thing.items()}
    if isinstance(thing, (list, tuple)) or type(thing).__name__ == "deque":
        return [anatomy(item) for item in thing]
    return thing


def test_nothing_of_the_state_is_lost_at_any_point_of_a_long_history() -> None:
    first = first_run()
    for run in (first, second_run(first)):
        state = GUEST.initial(run.state.stream_id)
        for version, fact in enumerate(run.scenario.history, 1):
            GUEST.evolve(state, fact, version, version)
            assert anatomy(restore(state.stream_id, take(state))) == anatomy(state)


def test_a_restored_run_goes_on_like_the_one_that_lived() -> None:
    run = Run(task("a"), task("b", "a"))
    restored = GUEST.initial(run.state.stream_id, GUEST.snapshot(run.state))
    run.succeed("a", value=1)
    for version, fact in enumerate(run.scenario.history[2:], 3):
        GUEST.evolve(restored, fact, version, run.now)
    assert take(restored) == take(run.state)


def test_there_is_nothing_to_take_before_the_start() -> None:
    with pytest.raises(InvariantError, match="has not started"):
        take(RunState("workflow-w/1"))


def spoiled(**changes: Any) -> bytes:
    data: dict[str, Any] = msgspec.msgpack.decode(take(first_run().state))
    return msgspec.msgpack.encode(data | changes)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cannot be read"),
        (b"\xc1", "cannot be read"),
        (spoiled(form="old"), "cannot be read"),
        (spoiled(form=99), "has form 99, this program knows 4, 5"),
        (spoiled(plan=b"\xc0"), "a recorded definition cannot be read"),
        (spoiled(fields={}), "cannot be read"),
        (spoiled(ready=["stranger"]), "cannot be read"),
        (spoiled(phase=7), "cannot be read"),
        (
            spoiled(tasks=[["a", 99, None, "READY", False, 0, 0, 0, 0, None, 0, None, None, None, 0, 0]]),
            "cannot be read",
        ),
    ],
)
def test_what_is_no_snapshot_of_this_form_is_refused_and_the_history_folded_instead(data: bytes, words: str) -> None:
    with pytest.raises(CorruptStore, match=words):
        restore("workflow-w/1", data)
