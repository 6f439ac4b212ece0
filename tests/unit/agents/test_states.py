"""The state machine of an agent: the table, what is not in it, and demanded transitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.states import DEFAULT_TRANSITIONS, AgentState, StateMachine, StateTransition
from agenticflow.errors import IllegalTransition

S = AgentState

TABLE = [
    (S.IDLE, "task_assigned", S.PROCESSING),
    (S.PROCESSING, "task_completed", S.IDLE),
    (S.PROCESSING, "attempt_ended", S.IDLE),
    (S.PROCESSING, "approval_required", S.WAITING_APPROVAL),
    (S.WAITING_APPROVAL, "approval_granted", S.PROCESSING),
    (S.WAITING_APPROVAL, "approval_rejected", S.PROCESSING),
    (S.PROCESSING, "resource_wait", S.WAITING_RESOURCE),
    (S.WAITING_RESOURCE, "resource_acquired", S.PROCESSING),
    (S.PROCESSING, "task_failed", S.ERROR),
    (S.ERROR, "error_resolved", S.IDLE),
    *[(state, "suspend_agent", S.SUSPENDED) for state in S if state is not S.SUSPENDED],
]
EVENTS = sorted({transition.event_type for transition in DEFAULT_TRANSITIONS} | {"something_else"})


@pytest.mark.parametrize(("before", "event", "after"), TABLE)
def test_the_table(before: AgentState, event: str, after: AgentState) -> None:
    machine = StateMachine(initial=before)
    assert machine.handle(event) == (before, after)
    assert machine.state is after
    assert machine.count == 1


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("state", list(S))
def test_what_is_not_in_the_table_is_handled_in_the_current_state(state: AgentState, event: str) -> None:
    machine = StateMachine(initial=state)
    expected = {(before, name): after for before, name, after in TABLE}.get((state, event), state)
    machine.handle(event)
    assert machine.state is expected


@pytest.mark.parametrize("state", [state for state in S if state is not S.SUSPENDED])
def test_resuming_leads_back_to_where_it_was_suspended(state: AgentState) -> None:
    machine = StateMachine(initial=state)
    machine.handle("suspend_agent")
    assert machine.handle("suspend_agent") is None
    machine.handle("task_assigned")
    assert machine.handle("resume_agent") == (S.SUSPENDED, state)


@given(st.lists(st.sampled_from(EVENTS)))
def test_every_move_is_in_the_table(events: list[str]) -> None:
    machine = StateMachine()
    allowed = {(before, event): after for before, event, after in TABLE}
    suspended_from = S.IDLE
    moves = 0
    for event in events:
        before = machine.state
        moved = machine.handle(event)
        if moved is None:
            assert machine.state is before
            continue
        moves += 1
        if event == "resume_agent":
            assert moved == (S.SUSPENDED, suspended_from)
        else:
            assert moved == (before, allowed[before, event])
        if machine.state is S.SUSPENDED:
            suspended_from = before
    assert machine.count == moves


def test_a_condition_looks_at_the_payload() -> None:
    machine = StateMachine(
        [
            StateTransition(S.IDLE, S.ERROR, "checked", lambda payload: payload.get("bad") is True),
            StateTransition(S.IDLE, S.PROCESSING, "checked", lambda payload: payload.get("bad") is False),
        ]
    )
    assert machine.handle("checked") is None
    assert machine.handle("checked", {"bad": False}) == (S.IDLE, S.PROCESSING)
    other = StateMachine([StateTransition(None, S.ERROR, "checked", bool)])
    assert other.handle("checked", {"bad": True}) == (S.IDLE, S.ERROR)


def test_a_transition_from_the_very_state_comes_before_one_from_any() -> None:
    machine = StateMachine(
        [StateTransition(None, S.ERROR, "checked"), StateTransition(S.IDLE, S.PROCESSING, "checked")]
    )
    assert machine.handle("checked") == (S.IDLE, S.PROCESSING)
    assert machine.handle("checked") == (S.PROCESSING, S.ERROR)


def test_a_demanded_transition_is_made_or_refused() -> None:
    machine = StateMachine()
    assert machine.transition_to(S.PROCESSING) == (S.IDLE, S.PROCESSING)
    with pytest.raises(IllegalTransition, match="no transition leads from PROCESSING to PROCESSING") as refusal:
        machine.transition_to(S.PROCESSING)
    assert "ERROR, IDLE, SUSPENDED, WAITING_APPROVAL, WAITING_RESOURCE" in refusal.value.hint
    machine.transition_to(S.SUSPENDED)
    with pytest.raises(IllegalTransition, match="no transition leads from SUSPENDED to IDLE"):
        machine.transition_to(S.IDLE)
    assert machine.transition_to(S.PROCESSING) == (S.SUSPENDED, S.PROCESSING)


def test_where_nothing_leads_anywhere() -> None:
    machine = StateMachine([])
    with pytest.raises(IllegalTransition) as refusal:
        machine.transition_to(S.ERROR)
    assert "one can reach nothing" in refusal.value.hint
