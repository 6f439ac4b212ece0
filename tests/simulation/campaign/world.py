"""The outside world of a story: performs its tasks as their deeds say, and remembers everything that was really done to it."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from agenticflow import Agent, TaskContext, worker
from agenticflow.agents import Worker
from agenticflow.errors import PermanentError
from agenticflow.testing import CrashCase, CrashSignal, Resolution, sometimes
from tests.simulation.campaign.stories import Deed, Story, Told, index_of, value_of
from tests.simulation.naive_interpreter import task_of


class StoryWorld:
    """What is outside the processes of one schedule."""

    def __init__(self, story: Story, told: Told | None) -> None:
        self.story = story
        self.told = told
        self.paid: Counter[tuple[str, str, int]] = Counter()
        """Payments by workflow id, task key and generation."""
        self.outcomes: dict[tuple[str, str], int | None] = {}
        """What the last payment of a task gave; ``None`` for one that was turned down."""
        self.undone: Counter[str] = Counter()
        self.problems: list[str] = []
        self._deeds = {key: (one, deed) for one in story.everything for key, deed in one.deeds.items()}

    def case(self) -> CrashCase:
        """Return the story with its world, as the simulation takes it."""
        agent, second = Agent("agent", {"all"}, concurrency=4), Agent("second", {"all"})
        for one in (agent, second):
            one.task("work")(self.work)
            one.task("large")(self.work)
            one.task("plain")(self.plain)
            one.task("count")(self.count)
        agent.task("pay")(self.pay)
        signals = [
            CrashSignal(task.signal, self.story.deeds[task.task_id].value, 0.01 * place)
            for place, task in enumerate(self.story.tasks)
            if task.signal is not None
        ]
        return CrashCase(
            self.story.definition,
            [agent, second],
            [self._undo_worker()],
            input={"one": 1, "number": 0} if self.story.rounds else {"one": 1},
            signals=signals,
            resolve=self.resolve,
            answer=self.answer,
            check=self.check,
        )

    # --- handlers -----------------------------------------------------------------------------------------------------

    async def work(self, context: TaskContext, seen: object = None, one: object = None) -> object:
        story, deed = self.find(context)
        await asyncio.sleep(deed.seconds)
        return self.finish(context, story, deed)

    def plain(self, context: TaskContext, seen: object = None) -> object:
        return self.finish(context, *self.find(context))

    async def count(self, number: int) -> int:
        return number + 1

    async def pay(self, context: TaskContext, seen: object = None) -> object:
        story, deed = self.find(context)
        await asyncio.sleep(deed.seconds / 2)
        self.paid[context.workflow_id, context.task_key, context.generation] += 1
        fails, value = deed.of(index_of(context.task_key))
        self.outcomes[context.workflow_id, context.task_key] = None if fails else value
        await asyncio.sleep(deed.seconds / 2)
        return self.finish(context, story, deed)

    def finish(self, context: TaskContext, story: Story, deed: Deed) -> object:
        self.look_at_params(context)
        fails, value = deed.of(index_of(context.task_key))
        task = next(task for task in story.tasks if task.task_id == context.task_id)
        if context.agent_id != "second" and context.attempt <= fails:
            if deed.is_permanent or task.on_failure == "reassign":
                raise PermanentError("it will never work")
            raise ConnectionError("nobody is at home")
        return value_of(task, value)

    def look_at_params(self, context: TaskContext) -> None:
        """A task is given what the tasks before it gave, whatever happened in between."""
        if self.told is None or self.told.model is None or context.workflow_id != "simulated":
            return
        model, task = self.told.model, self.told.model.tasks[context.task_id]
        if task.params and "seen" in task.params:
            expected = model.result(str(task.params["seen"])[2:-1])
            if context.params["seen"] != expected:
                self.problems.append(
                    f"{context.task_key} was given {context.params['seen']!r:.60}, not {expected!r:.60}"
                )

    def _undo_worker(self) -> Worker[..., Any]:
        @worker("undo")
        async def undo(context: TaskContext, seen: object = None) -> None:
            await asyncio.sleep(0.001)
            self.undone[f"{context.workflow_id} {context.task_key}"] += 1
            sometimes("something was undone twice", self.undone[f"{context.workflow_id} {context.task_key}"] > 1)

        return undo

    def find(self, context: TaskContext) -> tuple[Story, Deed]:
        """Return the story that the task belongs to, and its deed."""
        return self._deeds[context.task_id]

    # --- people -------------------------------------------------------------------------------------------------------

    def resolve(self, task_key: str) -> Resolution:
        """Look into the books: if it was paid, or turned down, that was it; if not it is safe to say "run it again"."""
        for (_, key), value in self.outcomes.items():
            if key == task_key:
                return Resolution("failed") if value is None else Resolution("completed", value)
        return Resolution("run_again")

    def answer(self, task_key: str) -> Resolution:
        deed = self._deeds[task_of(task_key)][1]
        return Resolution("rejected") if deed.fails else Resolution("approved", deed.value)

    def check(self) -> list[str]:
        return self.problems
