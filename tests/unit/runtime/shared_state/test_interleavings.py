"""Any number of hands over one store that dawdles and fails: what was answered happened once, in the order of the versions."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.errors import OutcomeUnknown, StoreUnavailable
from agenticflow.runtime.shared_state import StateManager
from agenticflow.testing.fakes import FlakyStore
from agenticflow.testing.virtual_time import run_virtual

modifications = st.lists(
    st.fixed_dictionaries(
        {
            "manager": st.integers(0, 2),
            "key": st.sampled_from(["x", "y"]),
            "begins_after": st.floats(0, 0.1),
            "computes_for": st.sampled_from([0.0, 0.0, 0.004, 0.02]),
        }
    ),
    min_size=1,
    max_size=30,
)
failures = st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=4)


async def interleave(asked: list[dict[str, Any]], broken: list[tuple[int, bool]]) -> None:
    store = FlakyStore(delay_seconds=0.005)
    for skip, is_written in broken:
        store.fail("commit", skip=skip, is_written=is_written)
    managers = [StateManager(store) for _ in range(3)]
    answered: dict[str, dict[int, tuple[list[int], int]]] = {"x": {}, "y": {}}
    refused: set[int] = set()

    async def modify(number: int, how: dict[str, Any]) -> None:
        async def append(numbers: list[int] | None) -> list[int]:
            await asyncio.sleep(how["computes_for"])
            return [*(numbers or []), number]

        await asyncio.sleep(how["begins_after"])
        try:
            answered[how["key"]][number] = await managers[how["manager"]].modify_state("team", how["key"], append)
        except StoreUnavailable:
            refused.add(number)
        except OutcomeUnknown:
            pass

    await asyncio.gather(*(modify(number, how) for number, how in enumerate(asked)))
    for key, answers in answered.items():
        state, version = await StateManager(store).get_state("team", key)
        numbers: list[int] = state or []
        assert version == len(numbers) == len(set(numbers)), "nothing happened twice"
        assert set(answers) <= set(numbers), "nothing that was answered is lost"
        assert not refused & set(numbers), "nothing that was refused happened"
        for number, (seen, at) in answers.items():
            assert seen == numbers[:at], "who was answered saw everything before, and nothing after"
            assert seen[-1] == number


@settings(max_examples=150)
@given(asked=modifications, broken=failures)
def test_modifications_are_linear(asked: list[dict[str, Any]], broken: list[tuple[int, bool]]) -> None:
    run_virtual(interleave(asked, broken))
