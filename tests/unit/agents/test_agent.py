"""What an agent is on its own: an identity, capabilities, handlers, a state; and what it says when it is made wrongly."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.agents import Agent, AgentState, Worker, worker
from agenticflow.core.binding import RunsIn
from agenticflow.core.events import AgenticEvent
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.errors import DefinitionError, IllegalTransition
from tests.unit.agents.diary import Diary

DONE = Outcome(OutcomeKind.SUCCEEDED)
FAILED = Outcome(OutcomeKind.FAILED)


def test_an_agent_is_what_it_was_made() -> None:
    agent = Agent("analyst", {"sql", "charts"}, role="reads numbers", concurrency=4)
    assert agent.agent_id == agent.performer_id == "analyst"
    assert agent.get_capabilities() == agent.capabilities == {"sql", "charts"}
    assert (agent.role, agent.concurrency, agent.get_state()) == ("reads numbers", 4, AgentState.IDLE)
    assert Agent("plain").capabilities == frozenset()
    assert Agent("listed", ["sql", "sql"]).capabilities == {"sql"}
    same = frozenset({"sql"})
    assert Agent("shared", same).capabilities is same
    assert repr(Agent("a", {"sql"})) == "Agent('a', {'sql'}, IDLE)"
    assert repr(Agent("a")) == "Agent('a', {}, IDLE)"


def test_a_text_is_a_role_not_a_set_of_letters() -> None:
    with pytest.raises(DefinitionError) as refusal:
        Agent("analyst", "reads numbers")
    assert (
        refusal.value.hint
        == "write {'reads numbers'} for one capability, or role='reads numbers' to describe the agent"
    )


@pytest.mark.parametrize("agent_id", ["", "a/b", "x" * 201, None, 7])
def test_what_is_no_id_is_refused(agent_id: Any) -> None:
    with pytest.raises(DefinitionError, match="is no agent id"):
        Agent(agent_id)


@pytest.mark.parametrize("concurrency", [0, -1, True, 1.5, "two"])
def test_concurrency_is_a_number_of_seats(concurrency: Any) -> None:
    with pytest.raises(DefinitionError, match="concurrency of agent 'a' is"):
        Agent("a", concurrency=concurrency)


@pytest.mark.parametrize("capabilities", [{1}, [""], ["a", None]])
def test_capabilities_are_texts(capabilities: Any) -> None:
    with pytest.raises(DefinitionError, match="capabilities of agent 'a' are texts"):
        Agent("a", capabilities)


def test_handlers_are_found_by_type_and_stay_functions() -> None:
    agent = Agent("analyst")
    assert agent.handler_for("analyze") is None

    @agent.task("analyze")
    def analyze(rows: int) -> int:
        return rows

    @agent.task("wait")
    async def wait() -> None: ...

    assert analyze(3) == 3
    found = agent.handler_for("analyze")
    assert found is not None
    assert (found.function, found.name, found.runs_in) == (analyze, "analyst.analyze", RunsIn.THREAD)
    waiting = agent.handler_for("wait")
    assert waiting is not None
    assert waiting.runs_in is RunsIn.LOOP
    assert agent.handler_for("draw") is None
    with pytest.raises(DefinitionError, match="'analyst' has a handler for 'analyze' already"):
        agent.task("analyze")(analyze)


@pytest.mark.parametrize("task_type", ["", None, 7, print])
def test_a_task_has_a_type(task_type: Any) -> None:
    with pytest.raises(DefinitionError) as refusal:
        Agent("analyst").task(task_type)
    assert refusal.value.hint == 'write @analyst.task("analyze") above the function'


def test_a_new_handler_is_told_to_who_waits_for_it() -> None:
    agent, diary = Agent("analyst"), Diary()
    agent.record_with(diary)
    agent.task("analyze")(print_nothing)
    assert diary.looked == ["analyst"]
    agent.record_with(None)
    agent.task("draw")(print_nothing)
    assert diary.looked == ["analyst"]


def print_nothing() -> None: ...


def test_work_moves_the_state_at_its_first_beginning_and_its_last_end() -> None:
    agent, diary = Agent("analyst", concurrency=2), Diary()
    agent.record_with(diary)
    agent.work_began(1, 10)
    agent.work_began(2, 11)
    assert agent.get_state() is AgentState.PROCESSING
    agent.work_ended(1, 12, DONE)
    assert agent.get_state() is AgentState.PROCESSING
    agent.work_ended(0, 13, DONE)
    assert agent.get_state() is AgentState.IDLE
    assert diary.entries == [
        (
            "agent-analyst",
            "task_assigned",
            {"from_state": "IDLE", "to_state": "PROCESSING", "cause": "task_assigned", "in_flight": 1},
            10,
        ),
        (
            "agent-analyst",
            "agent_state_changed",
            {"from_state": "PROCESSING", "to_state": "IDLE", "cause": "task_completed"},
            13,
        ),
    ]


@pytest.mark.parametrize("outcome", [FAILED, None])
def test_an_attempt_that_did_not_succeed_just_ends(outcome: Outcome | None) -> None:
    agent, diary = Agent("analyst"), Diary()
    agent.record_with(diary)
    agent.work_began(1, 10)
    agent.work_ended(0, 11, outcome)
    assert agent.get_state() is AgentState.IDLE
    assert diary.entries[-1][2]["cause"] == "attempt_ended"


def test_a_terminal_failure_is_an_error_until_it_is_resolved() -> None:
    agent = Agent("analyst")
    agent.work_began(1, 10)
    agent.told("task_failed", 11)
    agent.work_ended(0, 12, FAILED)
    assert agent.get_state() is AgentState.ERROR
    assert agent.handle_event("error_resolved")
    assert agent.get_state() is AgentState.IDLE


def test_events_move_it_or_are_handled_where_it_stands() -> None:
    agent, diary = Agent("analyst"), Diary()
    agent.record_with(diary)
    assert agent.handle_event(AgenticEvent("task_assigned", timestamp=7))
    assert not agent.handle_event(AgenticEvent("something_else"))
    assert agent.handle_event("approval_required")
    assert agent.get_state() is AgentState.WAITING_APPROVAL
    assert diary.entries[0][3] == 7


def test_a_demanded_transition_is_recorded_or_refused() -> None:
    agent, diary = Agent("analyst"), Diary()
    agent.record_with(diary)
    agent.transition_to(AgentState.PROCESSING)
    assert diary.entries[0][2]["cause"] == "transition_to"
    nonsense: Any = "DREAMING"
    with pytest.raises(ValueError, match="DREAMING"):
        agent.transition_to(nonsense)
    with pytest.raises(IllegalTransition):
        agent.transition_to(AgentState.PROCESSING)
    by_name: Any = "ERROR"
    agent.transition_to(by_name)
    assert agent.get_state() is AgentState.ERROR


def test_a_suspended_agent_has_no_seats() -> None:
    agent, diary = Agent("analyst", concurrency=3), Diary()
    agent.record_with(diary)
    agent.suspend()
    agent.suspend()
    assert (agent.concurrency, agent.get_state()) == (0, AgentState.SUSPENDED)
    agent.resume()
    assert (agent.concurrency, agent.get_state()) == (3, AgentState.IDLE)
    assert diary.looked == ["analyst"], "whoever queues for it moves up"


def test_resuming_meets_the_state_its_work_is_in() -> None:
    ended = Agent("analyst")
    ended.work_began(1, 1)
    ended.suspend()
    ended.work_ended(0, 2, DONE)
    ended.resume()
    assert ended.get_state() is AgentState.IDLE
    begun = Agent("analyst")
    begun.suspend()
    begun.work_began(1, 1)
    begun.resume()
    assert begun.get_state() is AgentState.PROCESSING
    begun.work_ended(0, 2, DONE)
    assert begun.get_state() is AgentState.IDLE


def test_an_idle_agent_is_small() -> None:
    agent = Agent("analyst", {"sql"})
    assert not hasattr(agent, "__dict__")
    sized: Any = agent
    assert sized.__sizeof__() < 200


# --- workers ------------------------------------------------------------------------------------------------------------


def test_a_worker_is_a_function_with_a_name() -> None:
    @worker("double")
    def double(number: int) -> int:
        return 2 * number

    assert isinstance(double, Worker)
    assert double(4) == 8
    assert (double.performer_id, double.concurrency, repr(double)) == ("double", 1_000, "Worker('double')")
    handler = double.handler_for("")
    assert handler is not None
    assert double.handler_for("double") is handler
    assert double.handler_for("treble") is None
    double.work_began(1, 0)
    double.work_ended(0, 0, DONE)
    double.told("task_failed", 0)


def test_a_worker_has_its_own_place_and_seats() -> None:
    @worker("double", run_in="thread", concurrency=2)
    def double(number: int) -> int:
        return 2 * number

    handler = double.handler_for("")
    assert handler is not None
    assert (handler.runs_in, double.concurrency) == (RunsIn.THREAD, 2)


@pytest.mark.parametrize("name", ["", None, "a/b", print_nothing])
def test_a_worker_has_a_name(name: Any) -> None:
    with pytest.raises(DefinitionError) as refusal:
        worker(name)
    assert refusal.value.hint == 'write @worker("reserve_stock") above the function'
