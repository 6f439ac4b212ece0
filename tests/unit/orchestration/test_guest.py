"""The workflow as the engine sees it: effects, recovery, inputs, its line in the index."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from agenticflow.core import codec
from agenticflow.core.decider import Command
from agenticflow.core.engine import Guest, RunActivity, Summary
from agenticflow.core.values import BlobMissing, Values, store_form
from agenticflow.errors import InvalidInput, InvariantError
from agenticflow.orchestration import facts as f
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.evolve import evolve
from agenticflow.orchestration.guest import Results, WorkflowGuest, encoded_output, run_output, stream_of
from agenticflow.orchestration.run import RunDecider
from agenticflow.orchestration.state import RunState
from tests.scenarios.runs import GUEST, START, Run, task

BIG = "x" * 100_000


class Unheard(Command, frozen=True, kw_only=True):
    """No run knows it."""


def test_it_is_a_guest() -> None:
    guest: Guest[RunState] = GUEST
    assert guest.kind == "workflow"
    assert guest.codec is f.FACTS
    assert stream_of("orders-1", 3) == "workflow-orders-1/3"


def test_results_are_decoded_when_somebody_looks_and_once() -> None:
    results = Results({"a": codec.encode([1]), "b": b"not looked at"})
    assert results["a"] is results["a"]
    assert list(results) == ["a", "b"]
    assert len(results) == 2
    with pytest.raises(KeyError):
        results["c"]


def test_a_handler_is_given_its_params_the_results_before_it_and_the_input() -> None:
    run = Run(task("a"), task("skipped", when="false"), task("b", "a", "skipped", params={"x": 1}), input={"k": "v"})
    run.succeed("a", value={"n": 1})
    given = GUEST.inputs(run.state, "b")
    assert given.params == {"x": 1}
    assert dict(given.results) == {"a": {"n": 1}}
    assert codec.decode(given.encoded_input) == {"k": "v"}
    assert (given.workflow_id, given.run_no, given.task_id) == ("w", 1, "b")


def test_params_that_lead_nowhere_are_the_users_mistake() -> None:
    run = Run(task("a"), task("b", "a", params={"x": "${a.nope}"}))
    run.succeed("a", value={})
    with pytest.raises(InvalidInput, match="it has no 'nope'"):
        GUEST.inputs(run.state, "b")


def test_a_reference_may_be_to_an_input_that_is_no_object() -> None:
    run = Run(task("a", params={"x": "${input[0]}", "y": "${context}"}), input=[7])
    assert run.params("a") == {"x": 7, "y": [7]}
    lost = Run(task("a", params={"x": "${user}"}), input=[7])
    with pytest.raises(InvalidInput, match="there is no 'user' here"):
        lost.params("a")


def test_the_index_says_where_a_run_stands() -> None:
    run = Run(TaskDefinition.timer("t", 5), name="naps")
    line = GUEST.summary(run.state)
    assert line == Summary(
        execution_id="w",
        run_no=1,
        name="naps",
        status="WAITING",
        is_open=True,
        next_due=START + 5_000_000_000,
        fingerprint="fingerprint",
        started_at=START,
        ended_at=None,
    )
    run.wait(5)
    ended = GUEST.summary(run.state)
    assert (ended.status, ended.is_open, ended.next_due, ended.ended_at) == ("COMPLETED", False, None, run.now)


def test_large_values_are_asked_for_and_nothing_has_changed_before() -> None:
    stored, (blob,) = store_form(codec.encode({"rows": [BIG, 2]}))
    run = Run(task("a"), task("m", "a", for_each="${a.rows}"))
    state = run.state
    state.values = Values()
    decider = RunDecider()
    evolve(state, f.TaskCompleted("a", run.token("a"), msgspec.Raw(stored)), 3, START)
    before = GUEST.snapshot(state)
    with pytest.raises(BlobMissing):
        decider.advance(state, START)
    with pytest.raises(BlobMissing):
        evolve(state, f.MapExpanded("m", 2), 4, START)
    assert GUEST.snapshot(state) == before
    state.values.put(*blob)
    assert list(decider.advance(state, START)) == [f.MapExpanded("m", 2)]
    assert GUEST.inputs(run.state, "a").params == {}


def test_the_output_of_a_map_is_put_together_from_its_items() -> None:
    run = Run(task("m", for_each=[1, 2]))
    run.succeed("m[1]", value="b")
    run.succeed("m[0]", value="a")
    assert run_output(run.state) == {"m": ["a", "b"]}


def test_an_output_is_encoded_as_it_would_be_after_it_was_decoded() -> None:
    values = [None, -1, 2**63, 1.5, "ü", b"x", [1, {"k": ()}], {"b": 1, "a": {2}}, datetime(2026, 1, 2, tzinfo=UTC)]
    for value in values:
        run = Run(task("a"), task("b"))
        run.succeed("a", value=value)
        run.succeed("b", value=value)
        assert encoded_output(run.state) == codec.encode(run_output(run.state))
    run = Run(task("m", for_each=[1, 2]))
    run.succeed("m[1]", value="b")
    run.succeed("m[0]", value="a")
    assert codec.decode(encoded_output(run.state)) == {"m": ["a", "b"]}
    run = Run(task("a"), output="${a.n}")
    run.succeed("a", value={"n": 3})
    assert codec.decode(encoded_output(run.state)) == 3


def test_an_output_with_a_large_value_is_encoded_whole() -> None:
    run = Run(task("a"))
    stored, [blob] = store_form(codec.encode("x" * 70_000))
    evolve(run.state, f.TaskCompleted("a", run.token("a"), msgspec.Raw(stored)), 3, START)
    with pytest.raises(BlobMissing):
        encoded_output(run.state)
    run.state.values.put(*blob)
    assert codec.decode(encoded_output(run.state)) == {"a": "x" * 70_000}


def test_a_scheduled_attempt_that_is_not_current_any_more_is_not_dispatched() -> None:
    run = Run(task("a"))
    assert GUEST.effects(run.state, f.TaskScheduled("a", 1), 1) == ()
    assert isinstance(GUEST.effects(run.state, f.TaskScheduled("a", 1), run.token("a"))[0], RunActivity)


def test_commands_nobody_knows_and_orders_nobody_gave_are_bugs() -> None:
    run = Run(task("a"), task("b"))
    with pytest.raises(InvariantError, match="does not know the command Unheard"):
        run.ask(Unheard(now=1))
    run = Run(task("a"), task("b", "a"), task("c", "a"))
    run.pause()
    run.succeed("a")
    with pytest.raises(InvariantError, match="'c' of run 'workflow-w/1' was started before its turn"):
        evolve(run.state, f.TaskScheduled("c"), 99, START)


def test_params_are_an_object() -> None:
    run = Run(task("a", params={"only": "here"}))
    run.record("a").node.encoded_params = codec.encode(5)
    with pytest.raises(InvariantError, match="params of task 'a' are no mapping"):
        GUEST.inputs(run.state, "a")


def test_states_that_cannot_be_are_bugs_and_say_so() -> None:
    run = Run(task("a"), task("m", "a", for_each="${a}"))
    start = run.facts(f.WorkflowStarted)[0]
    with pytest.raises(InvariantError, match=r"the kept results .* are no mapping"):
        evolve(RunState("workflow-w/2"), msgspec.structs.replace(start, kept=msgspec.Raw(b"\x91\x01")), 1, START)
    with pytest.raises(InvariantError, match=r"the signals .* are no mapping"):
        evolve(RunState("workflow-w/2"), msgspec.structs.replace(start, signals=msgspec.Raw(b"\x91\x01")), 1, START)
    run.pause()
    run.succeed("a", value=5)
    with pytest.raises(InvariantError, match=r"the map 'm' .* was expanded over no list"):
        evolve(run.state, f.MapExpanded("m", 1), 9, START)
    state = run.state
    state.phase = type(state.phase).CANCELLING
    with pytest.raises(InvariantError, match="is being cancelled for no reason"):
        WorkflowGuest().advance(state, START)
