"""Agents as a population: found, taken in and out of service, well or not, and stood in for by others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from agenticflow.agents import (
    Agent,
    AgentHealth,
    AgentLife,
    AgentRegistry,
    AgentState,
    CapabilityRegistry,
    HealthPolicy,
)
from agenticflow.agents.capabilities import CapabilityMatcher
from agenticflow.core.clocks import ManualClock
from agenticflow.core.results import Outcome, OutcomeKind, describe_error
from agenticflow.errors import AgentNotFoundError, DefinitionError, NoHealthyAgentError, PermanentError
from tests.unit.agents.diary import Diary

SECOND = 1_000_000_000
DONE = Outcome(OutcomeKind.SUCCEEDED)
FAILED = Outcome(OutcomeKind.FAILED)


async def query() -> None: ...


def agent(agent_id: str, *capabilities: str, task_type: str = "query", **options: Any) -> Agent:
    made = Agent(agent_id, frozenset(capabilities), **options)
    made.task(task_type)(query)
    return made


class Town:
    """A registry, its clock, its diary, and who was told of a change."""

    def __init__(self, *agents: Agent, policy: HealthPolicy | None = None, **options: Any) -> None:
        self.clock = ManualClock()
        self.registry = AgentRegistry(policy=policy, clock=self.clock, **options)
        self.diary = Diary()
        self.told: list[str] = []
        self.registry.when_changed(self.told.append)
        for made in agents:
            self.registry.register(made)
        self.registry.attach(self.diary)

    def choose(self, performer_id: str, *capabilities: str, task_type: str = "query", **load: tuple[int, int]) -> str:
        return self.registry.choose(performer_id, task_type, frozenset(capabilities), load)

    def events(self) -> list[tuple[str, str, dict[str, Any]]]:
        return [(stream, kind, payload) for stream, kind, payload, _ in self.diary.entries]


def work(made: Agent, outcome: Outcome | None, now: int = 0) -> None:
    made.work_began(1, now)
    made.work_ended(0, now, outcome)


# --- who there is -------------------------------------------------------------------------------------------------------


def test_agents_are_found_by_id_role_and_capability() -> None:
    ada, bob, eve = agent("ada", "sql", role="analyst"), agent("bob", "sql", "charts"), agent("eve", role="analyst")
    registry = Town(eve, ada, bob).registry
    assert registry.get("ada") is ada
    assert registry.find() == [ada, bob, eve]
    assert registry.find(role="analyst") == [ada, eve]
    assert registry.find(capabilities={"sql"}) == [ada, bob]
    assert registry.find(capabilities=["sql", "charts"]) == [bob]
    assert registry.find(role="analyst", capabilities={"charts"}) == []
    assert ("ada" in registry, "zoe" in registry, len(registry)) == (True, False, 3)


def test_who_takes_work_is_found() -> None:
    ada, bob, eve, kim = (agent(name, "sql") for name in ("ada", "bob", "eve", "kim"))
    registry = Town(ada, bob, eve, kim).registry
    registry.stop("ada")
    registry.mark_unhealthy("bob", "smoke")
    eve.suspend()
    assert registry.find(is_available=True) == [kim]
    assert registry.find(is_available=False) == [ada, bob, eve]


def test_a_specialist_is_found_by_what_is_more_general() -> None:
    words = CapabilityRegistry()
    words.define("databases")
    words.define("sql", parent="databases")
    ada = agent("ada", "sql")
    registry = Town(ada, capabilities=words).registry
    assert registry.find(capabilities={"databases"}) == [ada]
    with pytest.raises(DefinitionError, match="nobody has defined the capability 'sqll'"):
        registry.register(agent("bob", "sqll"))
    assert "bob" not in registry


def test_what_cannot_be_registered_is_refused() -> None:
    registry = Town(agent("ada")).registry
    anything: Any = "ada"
    with pytest.raises(DefinitionError, match="an AgentRegistry holds agents, not a str"):
        registry.register(anything)
    with pytest.raises(DefinitionError, match="there is an agent 'ada' already"):
        registry.register(agent("ada"))
    with pytest.raises(DefinitionError, match="the cost of agent 'bob' is -1"):
        registry.register(agent("bob"), cost=-1)
    with pytest.raises(DefinitionError, match=r"write \{'sql'\}"):
        registry.find(capabilities="sql")


def test_an_unknown_agent_is_named_with_those_there_are() -> None:
    registry = Town(agent("bob"), agent("ada")).registry
    with pytest.raises(AgentNotFoundError) as refusal:
        registry.get("zoe")
    assert (refusal.value.message, refusal.value.hint) == ("no agent 'zoe' is registered", "there are 'ada', 'bob'")
    calls: list[Callable[[str], object]] = [
        *(registry.start, registry.drain, registry.stop, registry.restart, registry.status, registry.health),
        *(registry.heartbeat, registry.report_failure, registry.report_success, registry.mark_healthy),
    ]
    for call in calls:
        with pytest.raises(AgentNotFoundError):
            call("zoe")
    with pytest.raises(AgentNotFoundError, match="there are none"):
        AgentRegistry().mark_unhealthy("zoe", "smoke")


def test_the_same_agent_again_changes_only_its_cost() -> None:
    ada = agent("ada", "sql")
    town = Town(ada)
    assert town.registry.register(ada, cost=3) is ada
    [candidate] = town.registry.candidates({})
    assert candidate.cost == 3
    town.registry.register(ada)
    [candidate] = town.registry.candidates({})
    assert candidate.cost == 1


# --- in and out of service ----------------------------------------------------------------------------------------------


def test_a_drained_agent_ends_its_work_and_stops() -> None:
    ada = agent("ada", concurrency=2)
    town = Town(ada)
    ada.work_began(1, 0)
    ada.work_began(2, 0)
    town.registry.drain("ada", reason="upgrade")
    town.registry.drain("ada")
    assert (ada.concurrency, town.registry.status("ada").life) == (0, AgentLife.DRAINING)
    ada.work_ended(1, 5, DONE)
    assert town.registry.status("ada").life is AgentLife.DRAINING
    ada.work_ended(0, 6, DONE)
    assert town.registry.status("ada").life is AgentLife.STOPPED
    lifecycle = [event for event in town.events() if event[1] not in ("agent_state_changed", "task_assigned")]
    assert lifecycle == [
        ("agent-ada", "agent_draining", {"in_flight": 2, "reason": "upgrade"}),
        ("agent-ada", "agent_stopped", {}),
    ]
    assert town.told == ["ada"]


@pytest.mark.parametrize("outcome", [FAILED, Outcome(OutcomeKind.CANCELLED), None])
def test_however_its_last_work_ends_a_drained_agent_stops(outcome: Outcome | None) -> None:
    ada = agent("ada")
    town = Town(ada)
    ada.work_began(1, 0)
    town.registry.drain("ada")
    ada.work_ended(0, 1, outcome)
    assert town.registry.status("ada").life is AgentLife.STOPPED


def test_an_idle_agent_is_drained_at_once() -> None:
    town = Town(agent("ada"))
    town.registry.drain("ada")
    assert town.registry.status("ada").life is AgentLife.STOPPED


def test_a_stopped_agent_takes_nothing_and_what_runs_goes_on() -> None:
    ada = agent("ada", concurrency=3)
    town = Town(ada)
    ada.work_began(1, 0)
    town.registry.stop("ada", reason="smoke")
    town.registry.stop("ada")
    assert (ada.concurrency, ada.in_work, ada.get_state()) == (0, 1, AgentState.PROCESSING)
    assert town.events()[-1] == ("agent-ada", "agent_stopped", {"in_flight": 1, "reason": "smoke"})
    ada.work_ended(0, 1, DONE)
    town.registry.start("ada", reason="mended")
    town.registry.start("ada")
    assert (ada.concurrency, town.registry.status("ada").life) == (3, AgentLife.RUNNING)
    assert town.events()[-1] == ("agent-ada", "agent_started", {"reason": "mended"})
    assert town.told == ["ada", "ada"]
    assert town.diary.looked == ["ada"], "what queued for it moves up"


def test_draining_may_be_cut_short_either_way() -> None:
    ada = agent("ada")
    town = Town(ada)
    ada.work_began(1, 0)
    town.registry.drain("ada")
    town.registry.start("ada")
    assert (ada.concurrency, town.registry.status("ada").life) == (1, AgentLife.RUNNING)
    town.registry.drain("ada")
    town.registry.stop("ada")
    town.registry.drain("ada")
    assert town.registry.status("ada").life is AgentLife.STOPPED
    assert town.told == ["ada", "ada", "ada"]


def test_a_restart_forgets_what_was_held_against_an_agent() -> None:
    town = Town(agent("ada"))
    town.registry.report_failure("ada")
    town.registry.mark_unhealthy("ada", "smoke")
    town.registry.restart("ada")
    status = town.registry.status("ada")
    assert (status.life, status.health, status.failures) == (AgentLife.RUNNING, AgentHealth.HEALTHY, 0)
    town.registry.restart("ada")
    assert town.registry.status("ada").life is AgentLife.RUNNING


def test_an_agent_that_is_stopped_stays_so_through_its_states() -> None:
    ada = agent("ada")
    town = Town(ada)
    town.registry.stop("ada")
    ada.suspend()
    ada.resume()
    assert ada.concurrency == 0
    town.registry.start("ada")
    ada.suspend()
    assert ada.concurrency == 0


# --- health -------------------------------------------------------------------------------------------------------------


def test_an_agent_is_healthy_until_something_else_is_known() -> None:
    status = Town(agent("ada", "sql", role="analyst")).registry.status("ada")
    assert (status.agent_id, status.role, set(status.capabilities)) == ("ada", "analyst", {"sql"})
    assert (status.life, status.health, status.state) == (AgentLife.RUNNING, AgentHealth.HEALTHY, AgentState.IDLE)
    assert (status.in_work, status.failures, status.reason, status.last_heartbeat_at) == (0, 0, "", None)


def test_failed_work_counts_by_itself_and_a_success_ends_it() -> None:
    ada = agent("ada")
    town = Town(ada)
    for _ in range(3):
        work(ada, FAILED)
    assert (town.registry.health("ada"), town.registry.status("ada").failures) == (AgentHealth.DEGRADED, 3)
    work(ada, Outcome(OutcomeKind.FAILED, error=describe_error(PermanentError("no such order"))))
    work(ada, None)
    assert town.registry.status("ada").failures == 3
    work(ada, DONE)
    work(ada, DONE)
    assert town.registry.health("ada") is AgentHealth.HEALTHY
    changes = [payload for _, kind, payload in town.events() if kind == "agent_health_changed"]
    assert changes == [
        {
            "from_health": "HEALTHY",
            "to_health": "DEGRADED",
            "cause": "failures",
            "reason": "3 failures in a row",
            "failures": 3,
        },
        {"from_health": "DEGRADED", "to_health": "HEALTHY", "cause": "recovered"},
    ]
    assert town.told == [], "a degraded agent still takes work"


def test_nothing_is_kept_of_agents_that_are_well() -> None:
    ada = agent("ada")
    town = Town(ada)
    work(ada, DONE)
    assert town.registry.report_success("ada") is AgentHealth.HEALTHY
    town.registry.mark_healthy("ada")
    assert town.registry.check() == []
    assert [kind for _, kind, _ in town.events()] == ["task_assigned", "agent_state_changed"]


def test_a_mark_stays_until_it_is_taken_back() -> None:
    ada = agent("ada")
    town = Town(ada)
    town.registry.mark_unhealthy("ada", "")
    work(ada, DONE)
    assert town.registry.heartbeat("ada") is AgentHealth.UNHEALTHY
    assert town.registry.status("ada").reason == "marked unhealthy"
    town.registry.mark_healthy("ada")
    assert town.registry.health("ada") is AgentHealth.HEALTHY
    assert town.told == ["ada", "ada"]


def test_an_unhealthy_agent_is_tried_again_after_a_while() -> None:
    town = Town(agent("ada"), policy=HealthPolicy(unhealthy_after_failures=2, recovers_after_seconds=10))
    assert town.registry.report_failure("ada") is AgentHealth.HEALTHY
    assert town.registry.report_failure("ada") is AgentHealth.UNHEALTHY
    town.clock.advance(9)
    assert town.registry.check() == []
    town.clock.advance(1)
    assert town.registry.check() == ["ada"]
    assert town.registry.health("ada") is AgentHealth.DEGRADED
    assert town.registry.report_failure("ada") is AgentHealth.UNHEALTHY, "one more is enough now"
    town.clock.advance(10)
    assert town.registry.report_success("ada") is AgentHealth.HEALTHY
    assert town.told == ["ada"] * 4


def test_missed_heartbeats_are_seen_when_somebody_looks() -> None:
    town = Town(agent("ada"), agent("bob"), policy=HealthPolicy(heartbeat_seconds=5))
    started = town.clock.now_ns()
    for _ in range(3):
        town.clock.advance(5)
        town.registry.heartbeat("bob")
    assert town.registry.check() == ["ada"]
    assert town.registry.health("ada") is AgentHealth.DEGRADED
    town.clock.advance(5)
    town.registry.heartbeat("bob")
    assert town.registry.health("ada") is AgentHealth.UNHEALTHY
    assert town.registry.status("ada").last_heartbeat_at == started
    assert town.registry.heartbeat("ada") is AgentHealth.HEALTHY
    assert town.registry.health("bob") is AgentHealth.HEALTHY


def test_a_late_heartbeat_does_not_turn_time_back() -> None:
    town = Town(agent("ada"), policy=HealthPolicy(heartbeat_seconds=5))
    now = town.clock.now_ns()
    town.registry.heartbeat("ada", now + 10 * SECOND)
    town.registry.heartbeat("ada", now)
    assert town.registry.status("ada").last_heartbeat_at == now + 10 * SECOND


def test_when_everybody_is_silent_nobody_is_declared_dead() -> None:
    town = Town(agent("ada"), agent("bob"), policy=HealthPolicy(heartbeat_seconds=5))
    town.registry.heartbeat("ada")
    town.registry.heartbeat("bob")
    town.clock.advance(3600)
    assert town.registry.check() == ["ada", "bob"]
    assert town.registry.health("ada") is AgentHealth.DEGRADED
    assert town.registry.heartbeat("bob") is AgentHealth.HEALTHY
    assert town.registry.health("ada") is AgentHealth.UNHEALTHY, "bob lives, so it was no outage"


def test_silence_of_the_only_agent_is_its_own() -> None:
    town = Town(agent("ada"), policy=HealthPolicy(heartbeat_seconds=5))
    town.registry.heartbeat("ada")
    town.clock.advance(3600)
    assert town.registry.health("ada") is AgentHealth.UNHEALTHY


def test_the_time_out_of_service_is_no_silence() -> None:
    town = Town(agent("ada"), policy=HealthPolicy(heartbeat_seconds=5))
    town.registry.stop("ada")
    town.clock.advance(3600)
    town.registry.start("ada")
    assert town.registry.health("ada") is AgentHealth.HEALTHY
    town.clock.advance(3600)
    town.registry.restart("ada")
    assert town.registry.health("ada") is AgentHealth.HEALTHY


# --- who works ----------------------------------------------------------------------------------------------------------


def test_a_healthy_agent_that_is_named_is_always_kept() -> None:
    town = Town(agent("ada", "sql"), agent("bob", "sql"))
    assert town.choose("ada", ada=(50, 50)) == "ada"
    town.registry.report_failure("ada")
    for _ in range(3):
        town.registry.report_failure("ada")
    assert town.choose("ada", "sql", ada=(50, 50)) == "ada", "degraded is well enough"


def test_who_is_not_known_here_is_kept() -> None:
    assert Town(agent("ada", "sql")).choose("some worker", "sql") == "some worker"
    assert Town().choose("") == ""


@pytest.mark.parametrize("loss", ["stop", "drain", "mark"])
def test_an_agent_that_is_not_well_is_stood_in_for(loss: str) -> None:
    town = Town(agent("ada", "sql"), agent("bob", "sql", "charts"), agent("eve", "sql"), agent("kim", "charts"))
    if loss == "mark":
        town.registry.mark_unhealthy("ada", "smoke")
    else:
        getattr(town.registry, loss)("ada")
    assert town.choose("ada") == "bob"
    assert town.choose("ada", bob=(1, 0)) == "eve", "the less loaded one"
    assert town.choose("ada", "charts", kim=(9, 9)) == "bob", "what the task needs, not what the agent has"
    assert town.told == ["ada"], "so queued work can be moved"


def test_who_stands_in_has_a_handler_and_is_well_itself() -> None:
    town = Town(agent("ada", "sql"), agent("bob", "sql", task_type="draw"), agent("eve", "sql"), agent("kim", "sql"))
    town.registry.stop("ada")
    town.registry.get("eve").suspend()
    assert town.choose("ada") == "kim"
    town.registry.mark_unhealthy("kim", "smoke")
    with pytest.raises(NoHealthyAgentError) as refusal:
        town.choose("ada")
    assert refusal.value.agent_ids == ("ada", "eve", "kim")


def test_a_suspended_agent_keeps_its_work() -> None:
    town = Town(agent("ada", "sql"), agent("bob", "sql"))
    town.registry.get("ada").suspend()
    assert town.choose("ada") == "ada"


def test_nobody_stands_in_where_nothing_says_that_anybody_can() -> None:
    town = Town(agent("ada"), agent("bob"))
    town.registry.stop("ada")
    with pytest.raises(NoHealthyAgentError, match="has no capabilities that another could share"):
        town.choose("ada")
    assert town.choose("bob") == "bob"


def test_when_no_other_has_its_capabilities_the_error_names_the_agent() -> None:
    town = Town(agent("ada", "sql"), agent("bob", "charts"))
    town.registry.stop("ada")
    with pytest.raises(NoHealthyAgentError, match="agent 'ada' is not in service") as refusal:
        town.choose("ada", task_type="draw")
    assert isinstance(refusal.value.__cause__, AgentNotFoundError)
    assert refusal.value.agent_ids == ("ada",)


def test_work_may_name_capabilities_instead_of_an_agent() -> None:
    town = Town(agent("ada", "sql"), agent("bob", "sql"))
    assert town.choose("", "sql") == "ada"
    assert town.choose("", "sql", ada=(1, 0)) == "bob"
    with pytest.raises(AgentNotFoundError):
        town.choose("", "cooking")


def test_work_comes_back_to_an_agent_that_is_well_again() -> None:
    town = Town(
        agent("ada", "sql"),
        agent("bob", "sql"),
        policy=HealthPolicy(unhealthy_after_failures=1, recovers_after_seconds=10),
    )
    town.registry.report_failure("ada")
    assert town.choose("ada") == "bob"
    town.clock.advance(10)
    assert town.choose("ada") == "ada"


def test_a_matcher_asks_the_registry() -> None:
    ada, bob = agent("ada", "sql"), agent("bob", "sql", concurrency=8)
    town = Town(ada, bob)
    ada.work_began(1, 0)
    bob.work_began(1, 0)
    assert CapabilityMatcher(town.registry).find_best_agent({"sql"}).agent_id == "bob"
    assert CapabilityMatcher(town.registry).find_best_agent({"sql"}, load={"bob": (8, 9)}).agent_id == "ada"


def test_without_a_clock_of_its_own_it_takes_that_of_the_process() -> None:
    registry = AgentRegistry(policy=HealthPolicy(heartbeat_seconds=5))
    registry.register(agent("ada"))
    assert registry.heartbeat("ada") is AgentHealth.HEALTHY


def test_agents_of_later_are_recorded_too_until_nobody_records() -> None:
    town = Town()
    ada = town.registry.register(agent("ada"))
    work(ada, DONE)
    assert len(town.diary.entries) == 2
    town.registry.detach()
    town.registry.stop("ada")
    work(ada, DONE)
    assert len(town.diary.entries) == 2


def test_a_choice_among_very_many_looks_at_some_and_at_others_the_next_time() -> None:
    town = Town(agent("away", "sql"), *(agent(f"a{number:03}", "sql") for number in range(300)))
    town.registry.stop("away")
    assert (town.choose("away"), town.choose("away")) == ("a000", "a128")
    assert town.choose("a007") == "a007"
    for number in range(300):
        if number != 299:
            town.registry.stop(f"a{number:03}")
    assert {town.choose("away") for _ in range(5)} == {"a299"}, "whoever is left is found"


def test_who_comes_later_may_stand_in_too() -> None:
    town = Town(agent("ada", "sql"))
    town.registry.stop("ada")
    with pytest.raises(NoHealthyAgentError):
        town.choose("ada")
    town.registry.register(agent("bob", "sql"))
    assert town.choose("ada") == "bob"
