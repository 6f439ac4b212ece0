"""The circuit breaker of an agent: after failures of its handlers nothing begins for a while, and somebody else may do the work."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from typing import Any

import pytest

from agenticflow import Agent, CircuitBreaker, RetryPolicy, TaskDefinition, WorkflowDefinition, WorkflowExecutionError
from agenticflow.core.engine import EffectClass
from agenticflow.core.results import ErrorInfo, Outcome, OutcomeKind
from agenticflow.errors import CircuitOpen, DefinitionError, PermanentError
from agenticflow.resilience import BreakerPolicy, BreakerStatus
from agenticflow.runtime.resources import list_breakers
from tests.unit.runtime.engine import in_virtual_time, running, until, virtual_clock

POLICY = BreakerPolicy(failure_threshold=2, window_seconds=60, recovery_seconds=30)
_NUMBERS = count()


class Payer:
    """An agent whose handler fails as often as it is told, and counts its calls."""

    def __init__(self, agent_id: str, failures: int = 0, *, breaker: BreakerPolicy | None = POLICY, **how: Any) -> None:
        self.calls = 0
        self.failures = failures
        self.error: Exception = ConnectionError("no route to the bank")
        self.agent = Agent(agent_id, {"paying"}, breaker=breaker, **how)

        @self.agent.task("pay")
        async def pay() -> str:
            self.calls += 1
            if self.calls <= self.failures:
                raise self.error
            return agent_id


def task(agent_id: str, attempts: int, pause: float, **options: Any) -> WorkflowDefinition:
    policy = RetryPolicy(max_attempts=attempts, initial_delay_seconds=pause, multiplier=1, jitter=False)
    return WorkflowDefinition([TaskDefinition("t", agent_id, "pay", retry_policy=policy, **options)])


def status(agent_id: str) -> BreakerStatus:
    return next(one for one in list_breakers() if one.name == f"agent:{agent_id}")


@in_virtual_time
async def test_an_open_breaker_lets_nothing_begin_until_it_has_waited_and_the_retry_policy_waits_with_it() -> None:
    CircuitBreaker("agent:bank-that-recovers", 2, 30, window_seconds=60, clock=virtual_clock())
    payer = Payer("bank-that-recovers", failures=2)
    asked: list[int] = []
    async with running(payer.agent) as orchestrator:
        handle = await orchestrator.start_workflow(task("bank-that-recovers", 10, 10))
        for _ in range(5):
            await asyncio.sleep(9.99)
            asked.append(payer.calls)
        assert await handle.result() == {"t": "bank-that-recovers"}
    assert asked == [1, 2, 2, 2, 3], "it opened at 10 s, and was tried at 40 s"
    stands = status("bank-that-recovers")
    assert (stands.state, stands.opened, stands.failed, stands.succeeded, stands.refused) == ("CLOSED", 1, 2, 1, 1)
    assert "ConnectionError: no route to the bank" in stands.last_error


@in_virtual_time
async def test_the_refusal_is_a_circuit_open_that_names_the_agent() -> None:
    payer = Payer("bank-that-is-down", failures=9)
    async with running(payer.agent) as orchestrator:
        handle = await orchestrator.start_workflow(task("bank-that-is-down", 3, 1))
        with pytest.raises(WorkflowExecutionError, match="the circuit breaker 'agent:bank-that-is-down' is open"):
            await handle.result()
    assert payer.calls == 2


@in_virtual_time
async def test_at_most_once_work_that_was_refused_has_not_begun_and_runs_when_the_run_is_resumed() -> None:
    payer = Payer("careful-bank")
    breaker = CircuitBreaker("agent:careful-bank", 2, 30, window_seconds=60)
    breaker.open()
    definition = WorkflowDefinition([TaskDefinition("t", "careful-bank", "pay", effect=EffectClass.AT_MOST_ONCE)])
    async with running(payer.agent) as orchestrator:
        handle = await orchestrator.start_workflow(definition)
        with pytest.raises(WorkflowExecutionError, match="CircuitOpen"):
            await handle.result()
        assert payer.calls == 0
        breaker.close()
        again = await orchestrator.resume_workflow(handle.workflow_id)
        assert await again.result() == {"t": "careful-bank"}
    assert payer.calls == 1


@in_virtual_time
async def test_what_an_agent_behind_an_open_breaker_may_not_do_another_does() -> None:
    down, well = Payer("bank-one", failures=9), Payer("bank-two", breaker=None)
    async with running(down.agent, well.agent) as orchestrator:
        CircuitBreaker("agent:bank-one", 2, 30, window_seconds=60).open()
        handle = await orchestrator.start_workflow(task("bank-one", 3, 1, on_failure="reassign"))
        assert await handle.result() == {"t": "bank-two"}
        named = task("bank-one", 1, 1, on_failure="reassign", reassign_to=["bank-two"])
        assert await (await orchestrator.start_workflow(named)).result() == {"t": "bank-two"}
        first = TaskDefinition("t", "bank-one", "pay", fallback="instead")
        instead = WorkflowDefinition([first, TaskDefinition("instead", "bank-two", "pay")])
        handle = await orchestrator.start_workflow(instead)
        await handle.result()
        assert (await handle.execution()).tasks["instead"].status == "COMPLETED"
    assert down.calls == 0


@in_virtual_time
async def test_a_time_limit_that_passes_is_a_failure_of_the_agent() -> None:
    agent = Agent("slow-bank", breaker=BreakerPolicy(failure_threshold=1, recovery_seconds=30))

    @agent.task("pay")
    async def pay() -> None:
        await asyncio.sleep(3_600)

    async with running(agent) as orchestrator:
        handle = await orchestrator.start_workflow(task("slow-bank", 1, 1, timeout_seconds=5))
        with pytest.raises(WorkflowExecutionError, match="not done within its limit"):
            await handle.result()
    assert status("slow-bank").state == "OPEN"


@in_virtual_time
async def test_a_cancelled_attempt_and_what_is_permanent_say_nothing_about_the_agent() -> None:
    payer = Payer("strict-bank", failures=1, breaker=BreakerPolicy(failure_threshold=1))
    payer.error = PermanentError("the card is declined")
    agent = payer.agent

    @agent.task("wait")
    async def wait() -> None:
        await asyncio.sleep(3_600)

    async with running(agent) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="declined"):
            await (await orchestrator.start_workflow(task("strict-bank", 3, 1))).result()
        handle = await orchestrator.start_workflow(WorkflowDefinition([TaskDefinition("w", "strict-bank", "wait")]))
        await until(lambda: agent.in_work == 1)
        await orchestrator.abort(handle.workflow_id)
        with pytest.raises(WorkflowExecutionError):
            await handle.result()
        await until(lambda: agent.in_work == 0)
    stands = status("strict-bank")
    assert (stands.state, stands.ignored, stands.failed) == ("CLOSED", 2, 0)


async def test_handlers_in_threads_stand_behind_the_breaker_too() -> None:
    agent = Agent("plain-bank", breaker=POLICY)

    @agent.task("pay")
    def pay() -> str:
        return time.strftime("paid")

    async with running(agent) as orchestrator:
        assert await (await orchestrator.start_workflow(task("plain-bank", 1, 1))).result() == {"t": "paid"}
    assert status("plain-bank").succeeded == 1


@in_virtual_time
async def test_another_agent_of_that_id_with_other_numbers_is_a_mistake_that_is_said() -> None:
    CircuitBreaker("agent:known-bank", 7)
    payer = Payer("known-bank")
    async with running(payer.agent) as orchestrator:
        with pytest.raises(WorkflowExecutionError, match="'agent:known-bank' is there already, with other numbers"):
            await (await orchestrator.start_workflow(task("known-bank", 3, 1))).result()
    assert payer.calls == 0


@pytest.mark.parametrize(
    ("policy", "outcome", "state"),
    [
        (BreakerPolicy(1), Outcome(OutcomeKind.UNKNOWN, error=ErrorInfo("ProcessDied", "gone")), "OPEN"),
        (BreakerPolicy(1), Outcome(OutcomeKind.UNKNOWN), "CLOSED"),
        (BreakerPolicy(1), Outcome(OutcomeKind.INTERRUPTED, b"?"), "CLOSED"),
        (BreakerPolicy(1), None, "CLOSED"),
        (
            BreakerPolicy(1),
            Outcome(OutcomeKind.FAILED, error=ErrorInfo("CircuitOpen", "x", kinds=("CircuitOpen", "TemporaryError"))),
            "CLOSED",
        ),
        (
            BreakerPolicy(1, counted_errors=("OSError",)),
            Outcome(OutcomeKind.FAILED, error=ErrorInfo("ValueError", "x", kinds=("ValueError", "Exception"))),
            "CLOSED",
        ),
        (
            BreakerPolicy(1, ignored_errors=("OSError",)),
            Outcome(OutcomeKind.FAILED, error=ErrorInfo("ConnectionError", "x", kinds=("ConnectionError", "OSError"))),
            "CLOSED",
        ),
    ],
)
def test_which_ends_count(policy: BreakerPolicy, outcome: Outcome | None, state: str) -> None:
    agent_id = f"bank-of-ends-{next(_NUMBERS)}"
    agent = Agent(agent_id, breaker=policy)

    @agent.task("pay")
    async def pay() -> None:
        await asyncio.sleep(0)

    handler = agent.handler_for("pay")
    assert handler is not None
    assert handler.guard is not None
    handler.guard.enter()(outcome)
    assert status(agent_id).state == state
    if state == "OPEN":
        with pytest.raises(CircuitOpen):
            handler.guard.enter()


def test_a_breaker_that_is_none_is_refused() -> None:
    with pytest.raises(DefinitionError, match="the breaker of agent 'a' is a CircuitBreaker"):
        Agent("a", breaker=CircuitBreaker("agent:a"))  # type: ignore[arg-type]  # that is the point


def test_the_longest_id_of_an_agent_has_a_breaker() -> None:
    agent = Agent("a" * 200, breaker=POLICY)

    @agent.task("pay")
    async def pay() -> None:
        await asyncio.sleep(0)

    handler = agent.handler_for("pay")
    assert handler is not None
    assert handler.guard is not None
    handler.guard.enter()(Outcome(OutcomeKind.SUCCEEDED))
    assert status("a" * 200).succeeded == 1
