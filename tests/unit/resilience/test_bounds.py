"""Bounds as people write them, and what is wrong with what they wrote."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agenticflow.errors import DefinitionError
from agenticflow.resilience import ResourceBounds
from agenticflow.resilience.bounds import parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1GB", 1_000_000_000),
        ("1GiB", 1_073_741_824),
        (" 512 mib ", 536_870_912),
        ("1.5kB", 1_500),
        ("7B", 7),
        (4_096, 4_096),
    ],
)
def test_sizes(written: str | int, size: int) -> None:
    assert parse_bytes(written) == size


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30s", 30),
        ("500ms", 0.5),
        ("5m", 300),
        ("5 min", 300),
        ("1.5h", 5_400),
        (2, 2),
        (0.5, 0.5),
        (timedelta(minutes=1), 60),
    ],
)
def test_times(written: str | float | timedelta, seconds: float) -> None:
    assert parse_seconds(written) == seconds


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            {"max_memory": "1 gigabyte"},
            "max_memory is '1 gigabyte', and there is no unit 'gigabyte' (there are b, kb, mb",
        ),
        ({"max_memory": "lots"}, "max_memory is 'lots', which is no number with a unit"),
        ({"max_memory": "GB"}, "which is no number with a unit"),
        ({"max_memory": "-1GB"}, "which is no number with a unit"),
        ({"max_memory": "1"}, "or as a number of bytes"),
        ({"max_memory": 0}, "max_memory is 0 (give at least 1 byte"),
        ({"max_memory": "9999999TB"}, "at most 1,024 TiB"),
        ({"max_memory": 1.5}, "max_memory is 1.5"),
        ({"max_memory": True}, "max_memory is True"),
        ({"max_cpu_time": "30 parsecs"}, "max_cpu_time is '30 parsecs', and there is no unit 'parsecs'"),
        ({"max_cpu_time": "0s"}, "max_cpu_time is '0s' (give more than 0"),
        ({"timeout": float("nan")}, "timeout is nan"),
        ({"timeout": [1]}, 'timeout is [1] (write it like "30s"'),
        ({"timeout": True}, "timeout is True"),
        ({"max_concurrent": 0}, "max_concurrent is 0"),
        ({"max_concurrent": "3"}, "max_concurrent is '3'"),
        ({}, "these bounds bound nothing"),
    ],
)
def test_what_is_wrong_is_named(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(DefinitionError) as refusal:
        ResourceBounds.written(**arguments)
    assert words in str(refusal.value)


def test_memory_and_processor_time_need_a_process() -> None:
    assert ResourceBounds.written(max_memory="1GB").needs_process
    assert ResourceBounds.written(max_cpu_time=1).needs_process
    bounds = ResourceBounds.written(timeout="60s", max_concurrent=3)
    assert (bounds.timeout_seconds, bounds.max_concurrent, bounds.needs_process) == (60, 3, False)
