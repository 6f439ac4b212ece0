"""Fifty calls in eight branches: agents side by side that write letters, asked of a scripted model or of a server on this machine.

Each branch has three answers and four calls of tools, two of which must not happen twice. What happened outside is counted here, and at
the end every conversation is given to every provider's format.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from agenticflow import Agent, Orchestrator, TaskDefinition, WorkflowDefinition, tool
from agenticflow.agents.loop.conversation import Conversation
from agenticflow.agents.loop.facts import KIND, LOOP_FACTS, AgentHandedOff, ModelAnswered, ToolCallEnded
from agenticflow.agents.loop.guest import LoopGuest
from agenticflow.agents.model import (
    FinishReason,
    Message,
    ModelRequest,
    ModelResponse,
    Role,
    TextPart,
    ToolCallPart,
    Usage,
    system,
    user,
)
from agenticflow.integrations.models.anthropic import writing as anthropic
from agenticflow.integrations.models.openai import writing as openai
from agenticflow.resilience.budgets import Budget
from agenticflow.storage.store import Store
from agenticflow.testing import ScriptedModel, allow_model_calls
from agenticflow.testing.crashes import CrashCase
from agenticflow.testing.model_kit import ProviderAnswer, Says, Seen
from tests.conformance.model_servers.chat import ChatServer
from tests.conformance.model_servers.messages import MessagesServer

BRANCHES: Final = 8
TURNS: Final = 3
MODEL_CALLS: Final = BRANCHES * TURNS
TOOL_CALLS: Final = BRANCHES * (TURNS - 1) * 2


class Post:
    """The outside world: what was asked of the model, and which letters were sent."""

    def __init__(self) -> None:
        self.asked: Counter[tuple[str, int]] = Counter()
        self.sent: Counter[str] = Counter()

    def answer(self, messages: Sequence[Message]) -> list[str | ToolCallPart]:
        """Return what the model says to a conversation."""
        told = [message for message in messages if message.role is not Role.SYSTEM]
        name, turn = told[0].text, sum(message.role is Role.ASSISTANT for message in told)
        self.asked[name, turn] += 1
        if turn == TURNS - 1:
            return [f"{name} is done"]
        letter = {"letter": f"{name}-{turn}"}
        return [ToolCallPart(f"call_{turn}_0", "send", {**letter}), ToolCallPart(f"call_{turn}_1", "count", {**letter})]

    def problems(self, lives: int) -> Iterator[str]:
        """Yield what happened too often, when so many processes died."""
        for letter, times in self.sent.items():
            if times > 1:
                yield f"{letter} was sent {times} times"
        again = Counter[str]()
        for (name, _), times in self.asked.items():
            again[name] += times - 1
        for name, times in again.items():
            if times > lives:  # the answer that was on its way when the process died
                yield f"{times} answers of {name} were paid for again after {lives} deaths"


def case(post: Post, model: Any, deaths: int, budget: Budget | None = None) -> CrashCase:
    """Return the workflow, with everything that has to hold at its end."""

    @tool(effect="at_most_once")
    async def send(letter: str) -> str:
        """Send a letter."""
        post.sent[letter] += 1
        await asyncio.sleep(0)
        return f"sent {letter}"

    @tool
    def count(letter: str) -> int:
        """Count the characters of a letter."""
        return len(letter)

    agent = Agent("writer", model=model, tools=[send, count], instructions="Write letters.", budget=budget)
    names = [f"branch-{number}" for number in range(BRANCHES)]
    tasks = [TaskDefinition(name, "writer", "write", params={"prompt": name}) for name in names]
    definition = WorkflowDefinition(tasks, name="letters")
    problems: list[str] = []

    async def steer(orchestrator: Orchestrator, workflow_id: str) -> str:
        handle = await orchestrator.start_workflow(definition, workflow_id=workflow_id)
        await handle.result()
        problems[:] = await problems_of_loops(orchestrator.store)
        for view in await orchestrator.budgets.list():
            if view.open_count or view.spent.tool_calls < sum(post.sent.values()):
                problems.append(f"{view.budget_id}: {view.open_count} open, {view.spent.tool_calls} calls")
            if view.calls - view.unmetered_calls < TURNS + (TURNS - 1) * 2 - deaths * 3:
                problems.append(f"{view.budget_id}: {view.calls} calls are settled, {view.unmetered_calls} not metered")
        return "looked at"

    def check() -> list[str]:
        return [*post.problems(deaths), *problems]

    return CrashCase(definition, agents=[agent], check=check, steer=steer)


def scripted(deaths: int = 1, budget: Budget | None = None) -> CrashCase:
    """Return the case with a scripted model."""
    post = Post()

    def speak(request: ModelRequest) -> Any:
        said = post.answer(request.messages)
        return said if len(said) > 1 else said[0]

    return case(post, ScriptedModel(speak), deaths, budget)


async def problems_of_loops(store: Store) -> list[str]:
    """Return what is wrong with the loops in a store: open ones, calls without one result, conversations that no provider takes."""
    problems: list[str] = []
    for row in await store.list_runs(kind=KIND, limit=1_000):
        guest = LoopGuest()
        state = guest.initial(row.stream_id)
        asked: list[str] = []
        ended: list[str] = []
        for stored in await store.read_page(row.stream_id, 0, 1_000):
            fact = LOOP_FACTS.decode(stored.event_type, stored.data, stored.schema_version)
            guest.evolve(state, fact, stored.version, stored.timestamp)
            if isinstance(fact, ModelAnswered):
                asked += [call.call_id for call in fact.calls]
            elif isinstance(fact, ToolCallEnded | AgentHandedOff):
                ended.append(fact.call_id)
        if state.is_open:
            problems.append(f"{row.stream_id} is open")
        if sorted(asked) != sorted(ended):
            problems.append(f"{row.stream_id} asked for {sorted(asked)}, and these have ended: {sorted(ended)}")
        problems += [f"{row.stream_id}: {one}" for one in refusals(Conversation().of(state))]
    return problems


def refusals(messages: Sequence[Message]) -> Iterator[str]:
    """Yield what keeps a conversation from being gone on with, by any provider."""
    request = ModelRequest(messages=(system("Go on."), *messages, user("and now?")))
    request.check()
    forms = {
        "chat": ChatServer([]).read({**openai.body_of(request, "m", is_streaming=False, limit_field="max_tokens")}),
        "messages": MessagesServer([]).read({**anthropic.body_of(request, "m", max_tokens=100)}),
    }
    told = results_in(request.messages)
    for name, seen in forms.items():
        ModelRequest(messages=seen.messages).check()
        if results_in(seen.messages) != told:
            yield f"as {name} it says {results_in(seen.messages)}, not {told}"


def results_in(messages: Sequence[Message]) -> list[str]:
    return [
        getattr(part, "call_id", "") for message in messages for part in message.parts if not isinstance(part, TextPart)
    ]


class PostServer(ChatServer):
    """A provider on this machine that answers by the conversation it is sent."""

    def __init__(self, post: Post) -> None:
        super().__init__([])
        self._post = post

    def answer_to(self, seen: Seen) -> ProviderAnswer:
        said = self._post.answer(seen.messages)
        parts = tuple(TextPart(one) if isinstance(one, str) else one for one in said)
        reason = FinishReason.STOP if isinstance(said[0], str) else FinishReason.TOOL_CALLS
        return Says(ModelResponse(parts=parts, finish_reason=reason, usage=Usage(100, 10)))


@contextmanager
def serving(post: Post) -> Iterator[str]:
    """Run the provider on a thread of its own, which outlives every process that dies meanwhile; yield its model's name."""
    server = PostServer(post)
    is_up = threading.Event()
    over: list[Callable[[], object]] = []

    async def run() -> None:
        is_over = asyncio.Event()
        over.append(partial(asyncio.get_running_loop().call_soon_threadsafe, is_over.set))
        async with server.running():
            is_up.set()
            await is_over.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    # whoever dies here leaves connections behind, which the system closes for a real process and the collector here
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        thread.start()
        try:
            assert is_up.wait(10)
            with allow_model_calls(server.url):
                yield f"local:m?base_url={server.url}/v1"
        finally:
            for end in over:
                end()
            thread.join(10)
            gc.collect()
