"""The culprit is found and nobody else is; and each mistake that could be made about that is planted, and told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from agenticflow import Orchestrator
from agenticflow.app.engine.lives import Lives
from agenticflow.orchestration.interventions import taking
from agenticflow.orchestration.quarantine import deciding
from agenticflow.orchestration.state import RunState, TaskRecord
from agenticflow.runtime.activities.attempts import Attempt
from agenticflow.runtime.activities.isolation import Isolation
from agenticflow.storage.memory import MemoryStore
from tests.unit.app.test_dead_letters import World, flow, settled

Patch = pytest.MonkeyPatch
MOST_LIVES = 12


async def deaths_until_it_waits(world: World, orchestrator: Orchestrator) -> tuple[Orchestrator, int]:
    """Have ``bad`` kill the process whenever it is at work, and everybody else end when it is not; return how often it did."""
    deaths = 0
    for _ in range(MOST_LIVES):
        while "w.bad" not in world.inside:
            if (await orchestrator.get_execution("w")).status == "NEEDS_ATTENTION":
                return orchestrator, deaths
            world.let_go(*world.inside)
            await settled()
        await world.kill(orchestrator)
        deaths += 1
        orchestrator = await world.live()
        await settled()
    return orchestrator, deaths


async def problems_of(world: World) -> list[str]:
    """Play stops, deaths and a retry; return what is not as it is promised."""
    problems: list[str] = []
    for _ in range(2):
        orchestrator = await world.live()
        await orchestrator.start_workflow(flow("a", "bad", "b"), workflow_id="w")
        await settled()
        await orchestrator.stop(drain_seconds=0)
    orchestrator, deaths = await deaths_until_it_waits(world, await world.live())
    letters = await orchestrator.dead_letters.list()
    problems += [f"{letter.task_key} was put aside" for letter in letters if letter.task_key != "bad"]
    if deaths != 3:
        problems.append(f"it took {deaths} deaths")
    for letter in letters:
        await orchestrator.dead_letters.retry(letter.letter_id)
    orchestrator, deaths = await deaths_until_it_waits(world, orchestrator)
    if deaths != 3:
        problems.append(f"after the retry it took {deaths} deaths")
    await orchestrator.stop(drain_seconds=0)
    return problems


async def test_nobody_but_the_culprit_is_put_aside_and_that_after_three_deaths() -> None:
    assert await problems_of(World(MemoryStore())) == []


def suspects_run_beside_each_other(patch: Patch) -> None:
    whole = Isolation.enter

    def enter(self: Isolation, attempt: Attempt) -> bool:
        self._is_exclusive = False
        self._inside.clear()
        return whole(self, attempt)

    patch.setattr(Isolation, "enter", enter)
    patch.setattr(Isolation, "leave", lambda self, attempt: [])


def who_did_not_run_is_counted(patch: Patch) -> None:
    def may_have_killed(state: RunState, record: TaskRecord, life: str) -> bool:
        suspect = state.suspects.get(record.key)
        return suspect is None or not suspect.counts(life)

    patch.setattr(deciding, "_may_have_killed", may_have_killed)


def a_stop_counts(patch: Patch) -> None:
    async def end(self: Lives) -> None:
        self._life = None

    patch.setattr(Lives, "end", end)


def a_retry_forgets_nothing(patch: Patch) -> None:
    def release(state: RunState, record: TaskRecord) -> None:
        suspect = state.suspects[record.key]
        whole(state, record)
        state.suspects[record.key].losses.extend(suspect.losses[:-1])

    whole = taking._release
    patch.setattr(taking, "_release", release)


@pytest.mark.parametrize(
    ("plant", "told"),
    [
        (suspects_run_beside_each_other, "was put aside"),
        (who_did_not_run_is_counted, "was put aside"),
        (a_stop_counts, "it took 1 deaths"),
        (a_retry_forgets_nothing, "after the retry it took 1 deaths"),
    ],
)
async def test_a_planted_mistake_is_told(plant: Callable[[Patch], None], told: str, monkeypatch: Patch) -> None:
    plant(monkeypatch)
    problems = await problems_of(World(MemoryStore()))
    assert any(told in problem for problem in problems), problems
