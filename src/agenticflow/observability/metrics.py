"""The metrics of this process: what programs count and measure themselves, beside what the engine does.

``increment_counter("orders_placed", 1, {"kind": "new"})`` from a handler, a thread or anywhere; ``render()`` shows everything. There is
one registry per process, like there is one page per process to read it from; an orchestrator writes to it when the setting
``metrics.enabled`` says so, or to the one it is given.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import Any, Final, ParamSpec, TypeVar, cast, overload

from agenticflow.core.clocks import ambient
from agenticflow.core.telemetry import SECONDS_BOUNDS
from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.observability.exposition import as_text
from agenticflow.observability.registry import Metrics

__all__ = ["get_metrics", "increment_counter", "measure_latency", "record_histogram", "render", "set_gauge"]

P = ParamSpec("P")
R = TypeVar("R")
LabelValues = Mapping[str, str | int | bool]
NANOSECONDS: Final = 1_000_000_000
_OF_PROCESS: Final = Metrics()
_NO_LABELS: Final[LabelValues] = {}


def get_metrics() -> Metrics:
    """Return the registry of this process."""
    return _OF_PROCESS


def render() -> str:
    """Return everything in this process's registry as text for Prometheus."""
    return as_text(_OF_PROCESS.look())


def increment_counter(name: str, amount: float = 1, labels: LabelValues = _NO_LABELS) -> None:
    """Count ``amount`` more under ``name``. The first call fixes the names of its labels.

    Label values are few and known: types, kinds, outcomes. A thousand different combinations are kept; what comes after them is counted
    together as ``other``. Raises ``InvalidInput`` for other labels than before, and for a negative amount.
    """
    names, values = _split(name, labels, amount, "increment_counter('orders_placed', 1, {'kind': 'new'})")
    _OF_PROCESS.counter(name, _text(name), names).add(amount, *values)


def set_gauge(name: str, value: float, labels: LabelValues = _NO_LABELS) -> None:
    """Say where ``name`` stands now. Labels and errors as for ``increment_counter``."""
    names, values = _split(name, labels, value, "set_gauge('orders_open', 7, {'kind': 'new'})")
    _OF_PROCESS.gauge(name, _text(name), names).set(value, *values)


def record_histogram(
    name: str, value: float, labels: LabelValues = _NO_LABELS, *, bounds: tuple[float, ...] = SECONDS_BOUNDS
) -> None:
    """Take one value of ``name``: a duration in seconds, or with other ``bounds`` a size or a sum. Labels and errors as above."""
    names, values = _split(name, labels, value, "record_histogram('order_total', 99.5, {'kind': 'new'})")
    _OF_PROCESS.histogram(name, _text(name), names, bounds).record(value, *values)


@overload
def measure_latency(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def measure_latency(function: str, /) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def measure_latency(function: Any, /) -> Any:
    """Measure how long each call of the decorated function takes: ``@measure_latency``, or ``@measure_latency("checkout_duration")``.

    Recorded in seconds under that name, ``call_duration`` without one, with the labels ``function`` and ``outcome`` (``ok`` or ``error``).
    Plain and async functions; a generator runs when it is iterated, not when it is called, and is a ``DefinitionError``.
    """
    if isinstance(function, str):
        name = function
        return lambda decorated: _measured(decorated, name)
    return _measured(function, "call_duration")


def _measured(function: Any, name: str) -> Any:
    if not callable(function) or inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise DefinitionError(
            f"@measure_latency measures calls, and {getattr(function, '__qualname__', function)!r} is a generator or no function",
            hint='write @measure_latency, or @measure_latency("checkout_duration"), above a function',
        )
    label = f"{function.__module__}.{function.__qualname__}"
    durations = _OF_PROCESS.histogram(
        name, "Seconds that a call took, by function and outcome", ("function", "outcome")
    )

    def record(started: int, outcome: str) -> None:
        durations.record((ambient.clock.now_ns() - started) / NANOSECONDS, label, outcome)

    if inspect.iscoroutinefunction(function):
        awaited = cast("Callable[..., Awaitable[object]]", function)

        @wraps(function)
        async def measured_async(*args: object, **kwargs: object) -> object:
            started, outcome = ambient.clock.now_ns(), "error"
            try:
                value = await awaited(*args, **kwargs)
                outcome = "ok"
                return value
            finally:
                record(started, outcome)

        return measured_async

    @wraps(function)
    def measured(*args: object, **kwargs: object) -> object:
        started, outcome = ambient.clock.now_ns(), "error"
        try:
            value = function(*args, **kwargs)
            outcome = "ok"
            return value
        finally:
            record(started, outcome)

    return measured


def _split(name: str, labels: object, number: object, call: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidInput(f"metric {name!r:.80} was given {number!r:.80}, which is no number", hint=f"write {call}")
    if not isinstance(labels, Mapping):
        raise InvalidInput(f"the labels of metric {name!r:.80} are {labels!r:.80}", hint=f"write {call}")
    if not labels:
        return (), ()
    pairs = sorted(labels.items())
    for label, value in pairs:
        if not isinstance(value, str | int):
            raise InvalidInput(
                f"label {label!r} of metric {name!r} is a {type(value).__name__}",
                hint="give a text, a whole number or a bool",
            )
    return tuple(label for label, _ in pairs), tuple(str(value) for _, value in pairs)


def _text(name: str) -> str:
    return name.replace("_", " ")
