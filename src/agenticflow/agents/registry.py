"""The agents of one process as a population: who there is, who is in service, who is well.

Pure state: nothing here waits, starts a thread or reads the time by itself; moments come in as arguments or from a ``Clock``. Agents
report the ends of their work by themselves; heartbeats and marks come from outside; what silence means is looked up when somebody
asks, or on ``check``. Only what deviates is kept: ten thousand agents that are well cost an entry in a dictionary each.

What happens is recorded on the agent's stream as an observation. None of it decides over a run: it says who is asked to work.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Iterator
from itertools import chain, islice
from typing import Final

from agenticflow.agents.agent import Agent, Recorder
from agenticflow.agents.capabilities import Candidate, CapabilityMatcher, CapabilityRegistry
from agenticflow.agents.events import AgentDraining, AgentHealthChanged, AgentStarted, AgentStopped, stream_of_agent
from agenticflow.agents.health import (
    HEALTHY,
    NS,
    AgentHealth,
    AgentLife,
    AgentStatus,
    Finding,
    HealthPolicy,
    Vitals,
    assess,
    counts_against,
)
from agenticflow.agents.states import AgentState
from agenticflow.core.assignment import Load
from agenticflow.core.clocks import Clock, ambient
from agenticflow.core.decider import Fact
from agenticflow.core.ids import check_id
from agenticflow.core.results import Outcome, OutcomeKind
from agenticflow.errors import AgentNotFoundError, DefinitionError, NoHealthyAgentError
from agenticflow.storage.key_values import KeyValues

__all__ = ["AgentRegistry"]

MAX_CONSIDERED: Final = 128
"""Agents compared for one choice."""


class _Record:
    """What deviates from an agent that runs and is well."""

    __slots__ = ("finding", "life", "vitals")

    def __init__(self) -> None:
        self.life = AgentLife.RUNNING
        self.finding: Finding = HEALTHY
        self.vitals = Vitals()


class AgentRegistry:
    """``registry.register(agent)``, then ``find``, ``status``, ``drain``, ``mark_unhealthy`` …; an orchestrator has one as ``.agents``.

    It is the ``Assigner`` of the engine and the ``Roster`` of a ``CapabilityMatcher``.
    """

    def __init__(
        self,
        *,
        policy: HealthPolicy | None = None,
        capabilities: CapabilityRegistry | None = None,
        clock: Clock | None = None,
    ) -> None:
        """With ``capabilities`` only agents are taken whose capabilities are defined there."""
        self.policy = policy or HealthPolicy()
        self.capabilities = capabilities
        self._clock = clock
        self._agents: dict[str, Agent] = {}
        self._records: dict[str, _Record] = {}
        self.noted: Container[str] = self._records
        self._costs: dict[str, float] = {}
        self._last_beat_at = 0
        self._by_capability: dict[str, list[Agent]] | None = None
        """Made when somebody has to stand in for the first time."""
        self._considered = 0
        self._listeners: list[Callable[[str], None]] = []
        self._recorder: Recorder | None = None
        self._values: KeyValues | None = None
        self._reactor: Callable[[Agent], None] | None = None

    # --- who there is -----------------------------------------------------------------------------------------------

    def register(self, agent: Agent, *, cost: float = 1.0) -> Agent:
        """Take ``agent`` in; it is running and healthy. ``cost`` is that of its work beside an ordinary agent's. The same agent again
        changes only its cost. Raises ``DefinitionError`` for a taken id, and for capabilities that nobody defined."""
        if not isinstance(agent, Agent):
            raise DefinitionError(
                f"an AgentRegistry holds agents, not a {type(agent).__name__}",
                hint='give it an Agent("id", {"capability"})',
            )
        agent_id = agent.agent_id
        if self._agents.get(agent_id, agent) is not agent:
            raise DefinitionError(f"there is an agent {agent_id!r} already", hint="give each its own id")
        if not cost >= 0:
            raise DefinitionError(f"the cost of agent {agent_id!r} is {cost!r}", hint="1.0 is an ordinary agent's")
        if self.capabilities is not None:
            self.capabilities.check(agent.capabilities)
        if cost != 1.0:
            self._costs[agent_id] = cost
        else:
            self._costs.pop(agent_id, None)
        if agent_id not in self._agents:
            self._agents[agent_id] = agent
            self._by_capability = None
            agent.watch_with(self)
            if self._recorder is not None:
                agent.record_with(self._recorder)
                agent.remember_in(self._values, self._clock)
            if self._reactor is not None:
                agent.react_with(self._reactor)
            if self.policy.heartbeat_seconds is not None:
                self._record(agent_id).vitals.beat_at = self._now(None)
        return agent

    def get(self, agent_id: str) -> Agent:
        """Return the agent. Raises ``AgentNotFoundError``, ``InvalidInput`` for what is no id."""
        check_id(agent_id, "an agent")
        agent = self._agents.get(agent_id)
        if agent is None:
            known = ", ".join(map(repr, sorted(self._agents)[:10])) or "none"
            raise AgentNotFoundError(f"no agent {agent_id!r} is registered", hint=f"there are {known}")
        return agent

    def find(
        self,
        *,
        role: str | None = None,
        capabilities: Collection[str] = (),
        is_available: bool | None = None,
        now: int | None = None,
    ) -> list[Agent]:
        """Return the agents that match everything given, by id: of that role, with all these capabilities, taking work or not."""
        if isinstance(capabilities, str):
            raise DefinitionError(f"capabilities are the text {capabilities!r}", hint=f"write {{{capabilities!r}}}")
        wanted = frozenset(capabilities)
        moment = self._now(now)
        return [
            agent
            for _, agent in sorted(self._agents.items())
            if (role is None or agent.role == role)
            and wanted <= self._expanded(agent)
            and (is_available is None or self._is_available(agent, moment) == is_available)
        ]

    def status(self, agent_id: str, now: int | None = None) -> AgentStatus:
        """Return how the agent stands. Raises ``AgentNotFoundError``."""
        agent = self.get(agent_id)
        moment = self._now(now)
        record = self._records.get(agent_id)
        finding = HEALTHY if record is None else self._assessed(agent_id, record, moment)
        return AgentStatus(
            agent_id,
            agent.role,
            agent.capabilities,
            AgentLife.RUNNING if record is None else record.life,
            finding.health,
            agent.get_state(),
            agent.in_work,
            0 if record is None else record.vitals.failures,
            finding.reason,
            None if record is None else record.vitals.beat_at,
        )

    def __contains__(self, agent_id: object) -> bool:
        return agent_id in self._agents

    def __len__(self) -> int:
        return len(self._agents)

    # --- in and out of service --------------------------------------------------------------------------------------

    def start(self, agent_id: str, *, reason: str = "", now: int | None = None) -> None:
        """Let an agent take work that was stopped or draining; one that runs goes on. Raises ``AgentNotFoundError``."""
        agent = self.get(agent_id)
        record = self._records.get(agent_id)
        if record is None or record.life is AgentLife.RUNNING:
            return
        record.life = AgentLife.RUNNING
        if record.vitals.beat_at is not None:
            record.vitals.beat_at = self._now(now)
        self._tell(agent_id, AgentStarted(reason=reason), now)
        agent.take_work(is_taking_work=True)
        self._notify(agent_id)

    def drain(self, agent_id: str, *, reason: str = "", now: int | None = None) -> None:
        """Let an agent end what it has in work and take nothing new; then it is stopped. Raises ``AgentNotFoundError``.

        What queues for it is given to others, or waits until it is started again.
        """
        agent = self.get(agent_id)
        record = self._record(agent_id)
        if record.life is not AgentLife.RUNNING:
            return
        record.life = AgentLife.DRAINING
        agent.take_work(is_taking_work=False)
        self._tell(agent_id, AgentDraining(in_flight=agent.in_work, reason=reason), now)
        if not agent.in_work:
            self._stopped(agent, record, reason, now)
        self._notify(agent_id)

    def stop(self, agent_id: str, *, reason: str = "", now: int | None = None) -> None:
        """Take an agent out of service at once. What it has in work is not interrupted and is recorded when it ends.

        Raises ``AgentNotFoundError``.
        """
        agent = self.get(agent_id)
        record = self._record(agent_id)
        if record.life is AgentLife.STOPPED:
            return
        was_running = record.life is AgentLife.RUNNING
        agent.take_work(is_taking_work=False)
        self._stopped(agent, record, reason, now)
        if was_running:
            self._notify(agent_id)

    def restart(self, agent_id: str, *, reason: str = "", now: int | None = None) -> None:
        """Stop and start an agent; what was held against its health is forgotten. Raises ``AgentNotFoundError``."""
        self.stop(agent_id, reason=reason, now=now)
        record = self._record(agent_id)
        vitals = record.vitals
        vitals.failures, vitals.marked = 0, None
        if vitals.beat_at is not None:
            vitals.beat_at = self._now(now)
        self._assessed(agent_id, record, self._now(now))
        self.start(agent_id, reason=reason, now=now)

    # --- health -----------------------------------------------------------------------------------------------------

    def heartbeat(self, agent_id: str, now: int | None = None) -> AgentHealth:
        """The agent lives; return its health. Raises ``AgentNotFoundError``."""
        self.get(agent_id)
        record, moment = self._record(agent_id), self._now(now)
        record.vitals.beat_at = max(moment, record.vitals.beat_at or 0)
        self._last_beat_at = max(moment, self._last_beat_at)
        return self._assessed(agent_id, record, moment).health

    def report_failure(self, agent_id: str, now: int | None = None) -> AgentHealth:
        """Count a failure that is the agent's; return its health. Raises ``AgentNotFoundError``.

        Failed attempts and time limits of its tasks are counted by themselves, unless the error was permanent.
        """
        self.get(agent_id)
        record, moment = self._record(agent_id), self._now(now)
        record.vitals.failures += 1
        record.vitals.failed_at = moment
        return self._assessed(agent_id, record, moment).health

    def report_success(self, agent_id: str, now: int | None = None) -> AgentHealth:
        """The agent did something well: its failures in a row are over; return its health. Raises ``AgentNotFoundError``."""
        self.get(agent_id)
        record = self._records.get(agent_id)
        if record is None:
            return AgentHealth.HEALTHY
        record.vitals.failures = 0
        return self._assessed(agent_id, record, self._now(now)).health

    def mark_unhealthy(self, agent_id: str, reason: str, now: int | None = None) -> None:
        """Give the agent no new work until ``mark_healthy`` or ``restart``. Raises ``AgentNotFoundError``."""
        self.get(agent_id)
        record = self._record(agent_id)
        record.vitals.marked = reason or "marked unhealthy"
        self._assessed(agent_id, record, self._now(now))

    def mark_healthy(self, agent_id: str, now: int | None = None) -> None:
        """Take back a mark and forget failures; silence still counts. Raises ``AgentNotFoundError``."""
        self.get(agent_id)
        record = self._records.get(agent_id)
        if record is not None:
            record.vitals.marked, record.vitals.failures = None, 0
            self._assessed(agent_id, record, self._now(now))

    def health(self, agent_id: str, now: int | None = None) -> AgentHealth:
        """Return how well the agent is. Raises ``AgentNotFoundError``."""
        return self.status(agent_id, now).health

    def check(self, now: int | None = None) -> list[str]:
        """Look at everybody who may have fallen silent or waited long enough; return whose health changed, by id.

        To be called now and then where heartbeats are expected; nothing here does it by itself.
        """
        moment = self._now(now)
        changed: list[str] = []
        for agent_id, record in sorted(self._records.items()):
            before = record.finding.health
            if self._assessed(agent_id, record, moment).health is not before:
                changed.append(agent_id)
        return changed

    # --- who works --------------------------------------------------------------------------------------------------

    def candidates(self, load: Load, now: int | None = None) -> Iterator[Candidate]:
        """Yield everybody as a matcher sees them."""
        return self._candidates(self._agents.values(), load, self._now(now))

    def choose(self, performer_id: str, task_type: str, capabilities: frozenset[str], load: Load) -> str:
        """See ``Assigner.choose``. A suspended agent is kept: its work waits for it, as whoever suspended it wants.

        An agent without capabilities is replaced by nobody: nothing says that somebody else can do its work.
        """
        named = self._agents.get(performer_id)
        if named is None:
            if performer_id or not capabilities:
                return performer_id
        else:
            record = self._records.get(performer_id)
            if record is None or self._is_well(performer_id, record, self._now(None)):
                return performer_id
            capabilities = capabilities or named.capabilities
            if not capabilities:
                raise NoHealthyAgentError(
                    f"agent {performer_id!r} is not in service, and it has no capabilities that another could share",
                    hint="restart it, or give the agents that can stand in for each other the same capabilities",
                    agent_ids=[performer_id],
                )
        able = self._able(capabilities, task_type)
        matcher = CapabilityMatcher(self._candidates(able, load, self._now(None)), capabilities=self.capabilities)
        try:
            return matcher.find_best_agent(capabilities).agent_id
        except AgentNotFoundError as error:
            if named is None:
                raise
            raise NoHealthyAgentError(
                f"agent {performer_id!r} is not in service, and no other has its capabilities and a handler for {task_type!r}",
                hint="restart it, or register another agent that can stand in for it",
                agent_ids=[performer_id],
            ) from error

    def when_changed(self, listener: Callable[[str], None]) -> Callable[[], None]:
        """See ``Assigner.when_changed``."""
        self._listeners.append(listener)

        def end() -> None:
            self._listeners = [one for one in self._listeners if one != listener]

        return end

    # --- what the engine and the agents use -------------------------------------------------------------------------

    def attach(self, recorder: Recorder, values: KeyValues | None = None) -> None:
        """Send what happens to all agents, also of later ones, to ``recorder`` from now on, and lend their memories ``values``."""
        self._recorder, self._values = recorder, values
        for agent in self._agents.values():
            agent.record_with(recorder)
            agent.remember_in(values, self._clock)

    def react_with(self, reactor: Callable[[Agent], None] | None) -> None:
        """Tell ``reactor`` of every agent that reacts to events, also of later ones, now and whenever one gets another handler."""
        self._reactor = reactor
        for agent in self._agents.values():
            agent.react_with(reactor)

    def detach(self) -> None:
        """Nobody records any more, and what was lent is taken back."""
        self._recorder = self._values = None
        for agent in self._agents.values():
            agent.record_with(None)
            agent.remember_in(None)

    def work_ended(self, agent: Agent, in_flight: int, now: int, outcome: Outcome | None) -> None:
        """An attempt of ``agent`` has ended; called by the agent itself."""
        agent_id = agent.agent_id
        record = self._records.get(agent_id)
        if record is None and (outcome is None or outcome.kind is OutcomeKind.SUCCEEDED):
            return  # nearly always
        against = None if outcome is None else counts_against(outcome)
        if against:
            self.report_failure(agent_id, now)
        elif against is False and record is not None and record.vitals.failures:
            self.report_success(agent_id, now)
        if record is not None and record.life is AgentLife.DRAINING and not in_flight:
            self._stopped(agent, record, "", now)

    def _now(self, now: int | None) -> int:
        return now if now is not None else (self._clock or ambient.clock).now_ns()

    def _record(self, agent_id: str) -> _Record:
        record = self._records.get(agent_id)
        if record is None:
            record = self._records[agent_id] = _Record()
        return record

    def _expanded(self, agent: Agent) -> frozenset[str]:
        return agent.capabilities if self.capabilities is None else self.capabilities.expand(agent.capabilities)

    def _is_well(self, agent_id: str, record: _Record, now: int) -> bool:
        is_unhealthy = self._assessed(agent_id, record, now).health is AgentHealth.UNHEALTHY
        return record.life is AgentLife.RUNNING and not is_unhealthy

    def _is_available(self, agent: Agent, now: int) -> bool:
        record = self._records.get(agent.agent_id)
        return agent.get_state() is not AgentState.SUSPENDED and (
            record is None or self._is_well(agent.agent_id, record, now)
        )

    def _able(self, wanted: frozenset[str], task_type: str) -> list[Agent]:
        """Return who could do it: up to ``MAX_CONSIDERED`` that take work; when there are none, those that do not.

        Where more are able, each choice looks at the next ones: it costs the same whether there are a hundred agents or ten thousand.
        """
        holders = min((self._holders(capability) for capability in wanted), key=len)
        start = self._considered % len(holders) if len(holders) > MAX_CONSIDERED else 0
        now = self._now(None)
        well: list[Agent] = []
        others: list[Agent] = []
        for agent in chain(islice(holders, start, None), islice(holders, start)):
            if wanted <= self._expanded(agent) and agent.handler_for(task_type) is not None:
                if not self._is_available(agent, now):
                    others.append(agent)
                else:
                    well.append(agent)
                    if len(well) == MAX_CONSIDERED:
                        self._considered += MAX_CONSIDERED
                        break
        return well or others

    def _holders(self, capability: str) -> list[Agent]:
        """Return who has the capability, by id."""
        if self._by_capability is None:
            self._by_capability = {}
            for _, agent in sorted(self._agents.items()):
                for held in self._expanded(agent):
                    self._by_capability.setdefault(held, []).append(agent)
        return self._by_capability.get(capability, [])

    def _candidates(self, agents: Iterable[Agent], load: Load, now: int) -> Iterator[Candidate]:
        for agent in agents:
            agent_id = agent.agent_id
            record = self._records.get(agent_id)
            in_work, queued = load.get(agent_id, (agent.in_work, 0))
            yield Candidate(
                agent_id=agent_id,
                capabilities=agent.capabilities,
                health=AgentHealth.HEALTHY if record is None else self._assessed(agent_id, record, now).health,
                is_available=self._is_available(agent, now),
                in_work=in_work,
                queued=queued,
                concurrency=agent.concurrency,
                cost=self._costs.get(agent_id, 1.0),
            )

    def _assessed(self, agent_id: str, record: _Record, now: int) -> Finding:
        """Return what the vitals mean now; when that is news, record it and tell who listens."""
        before = record.finding
        after = record.finding = assess(record.vitals, self.policy, now, is_outage=self._is_outage(now))
        if after.health is not before.health:
            changed = AgentHealthChanged(
                before.health.value, after.health.value, after.cause, after.reason, record.vitals.failures
            )
            self._tell(agent_id, changed, now)
            if AgentHealth.UNHEALTHY in (before.health, after.health):
                self._notify(agent_id)
        return after

    def _is_outage(self, now: int) -> bool:
        """Whether everybody has been silent for long: then whatever carries the heartbeats is down."""
        policy = self.policy
        if policy.heartbeat_seconds is None or len(self._agents) < 2 or not self._last_beat_at:
            return False
        return now - self._last_beat_at >= int(policy.heartbeat_seconds * policy.unhealthy_after_missed * NS)

    def _stopped(self, agent: Agent, record: _Record, reason: str, now: int | None) -> None:
        record.life = AgentLife.STOPPED
        self._tell(agent.agent_id, AgentStopped(in_flight=agent.in_work, reason=reason), now)

    def _tell(self, agent_id: str, fact: Fact, now: int | None) -> None:
        if self._recorder is not None:
            self._recorder.record(stream_of_agent(agent_id), fact.event_type, fact, self._now(now))

    def _notify(self, agent_id: str) -> None:
        for listener in tuple(self._listeners):
            listener(agent_id)
