"""What breakers, limiters and pools count comes out under the documented names, once for a process."""

from __future__ import annotations

import pytest

from agenticflow import CircuitBreaker, Orchestrator
from agenticflow.core.measures import ResourceMeasures
from agenticflow.core.telemetry import NO_TELEMETRY
from agenticflow.observability import Metrics
from agenticflow.runtime.resources import RateLimiter, ResourcePool, measure_resources
from tests.unit.runtime.engine import in_virtual_time, virtual_clock


def test_every_measure_has_its_name_and_labels() -> None:
    metrics = Metrics()
    ResourceMeasures(metrics)
    assert {family.name: (family.kind, family.labels) for family in metrics.look()} == {
        "circuit_breaker_calls": ("counter", ("breaker", "outcome")),
        "circuit_breaker_opened": ("counter", ("breaker",)),
        "circuit_breaker_state": ("gauge", ("breaker",)),
        "pool_resources": ("gauge", ("pool", "state")),
        "rate_limiter_refused": ("counter", ("limiter",)),
        "rate_limiter_waiting": ("gauge", ("limiter",)),
    }


@in_virtual_time
async def test_calls_states_and_places_are_seen_when_somebody_looks() -> None:
    metrics = Metrics()
    end = measure_resources(metrics)
    breaker = CircuitBreaker("measured", 2, clock=virtual_clock())
    async with breaker:
        pass
    for _ in range(2):
        with pytest.raises(ConnectionError):
            async with breaker:
                raise ConnectionError
    assert metrics.value("circuit_breaker_state", "measured") == 2
    assert metrics.value("circuit_breaker_opened", "measured") == 1
    assert metrics.value("circuit_breaker_calls", "measured", "succeeded") == 1
    assert metrics.value("circuit_breaker_calls", "measured", "failed") == 2
    breaker.reset()
    async with breaker:
        pass
    assert metrics.value("circuit_breaker_state", "measured") == 0
    assert metrics.value("circuit_breaker_calls", "measured", "succeeded") == 2, "it counts from nothing, we do not"

    limiter = RateLimiter("measured", 1, 10, clock=virtual_clock())
    assert [limiter.try_acquire() for _ in range(3)] == [True, False, False]
    assert metrics.value("rate_limiter_refused", "measured") == 2
    pool = ResourcePool("connection", 3, lambda: 7, name="measured")
    async with pool.acquire():
        async with pool.acquire():
            pass
        assert metrics.value("pool_resources", "measured", "in_use") == 1
        assert metrics.value("pool_resources", "measured", "idle") == 1
    end()
    end()
    limiter.try_acquire()
    assert metrics.value("rate_limiter_refused", "measured") == 2


@in_virtual_time
async def test_several_engines_of_one_process_count_a_breaker_once() -> None:
    metrics = Metrics()
    breaker = CircuitBreaker("once", clock=virtual_clock())
    first = Orchestrator(store="memory:", telemetry=metrics, clock=virtual_clock())
    second = Orchestrator(store="memory:", telemetry=metrics, clock=virtual_clock())
    async with first:
        async with second:
            async with breaker:
                pass
            assert metrics.value("circuit_breaker_calls", "once", "succeeded") == 1
        async with breaker:
            pass
        assert metrics.value("circuit_breaker_calls", "once", "succeeded") == 2


def test_nobody_listens() -> None:
    measure_resources(NO_TELEMETRY)()
