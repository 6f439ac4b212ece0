"""What guards calls and what they use, shared by everybody in this process: breakers, limiters, bulkheads, pools, bounds, figures."""

from agenticflow.runtime.resources.bounded import resource_bounded
from agenticflow.runtime.resources.breakers import CircuitBreaker, circuit_breaker, list_breakers
from agenticflow.runtime.resources.bulkheads import Bulkhead, BulkheadStatus
from agenticflow.runtime.resources.inventory import ResourceHealth, ResourceManager
from agenticflow.runtime.resources.limiters import LimiterStatus, RateLimiter, list_limiters
from agenticflow.runtime.resources.machine import CpuFigures, CpuMonitor, MemoryFigures, MemoryMonitor
from agenticflow.runtime.resources.measuring import measure_resources
from agenticflow.runtime.resources.pools import Holder, Lease, PoolStatus, ResourcePool, list_pools
from agenticflow.runtime.resources.retrying import retry

__all__ = [
    "Bulkhead",
    "BulkheadStatus",
    "CircuitBreaker",
    "CpuFigures",
    "CpuMonitor",
    "Holder",
    "Lease",
    "LimiterStatus",
    "MemoryFigures",
    "MemoryMonitor",
    "PoolStatus",
    "RateLimiter",
    "ResourceHealth",
    "ResourceManager",
    "ResourcePool",
    "circuit_breaker",
    "list_breakers",
    "list_limiters",
    "list_pools",
    "measure_resources",
    "resource_bounded",
    "retry",
]
