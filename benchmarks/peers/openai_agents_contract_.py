"""Runs in the environment of the OpenAI Agents SDK: its ``Runner`` over our sessions, beside its own ``SQLiteSession``.

Prints one line for each thing that holds; whatever does not ends it with a traceback.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from agents import Agent, ModelResponse, RunConfig, Runner, Session, SQLiteSession, Usage, function_tool
from agents.memory import SessionSettings
from agents.models.interface import Model
from agents.run_internal.session_persistence import rewind_session_items
from openai.types.responses import (
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseReasoningItem,
)

from agenticflow.agents.session import AgentSession
from agenticflow.app.crew import DraftSession
from agenticflow.app.wiring import open_store


def answer(text: str) -> ResponseOutputMessage:
    part = ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])
    return ResponseOutputMessage(id="msg_1", type="message", role="assistant", status="completed", content=[part])


class Scripted(Model):
    """Gives the next of its outputs and keeps what it was shown."""

    def __init__(self, *outputs: list[Any]) -> None:
        self.outputs = list(outputs)
        self.shown: list[Any] = []

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        self.shown.append(input)
        return ModelResponse(output=self.outputs.pop(0), usage=Usage(), response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        raise NotImplementedError("nothing here streams")


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def scripted() -> Scripted:
    call = ResponseFunctionToolCall(
        type="function_call", id="fc_1", call_id="call_1", name="weather", arguments='{"city": "Graz"}'
    )
    thought = ResponseReasoningItem(type="reasoning", id="rs_1", summary=[])
    return Scripted([thought, call], [answer("It is sunny.")], [answer("You asked for Graz.")])


async def talk(session: Any) -> tuple[list[Any], list[Any]]:
    """Two turns with a tool call; return what the model was shown and what the session holds."""
    model = scripted()
    agent = Agent(name="guide", instructions="Be brief.", model=model, tools=[weather])
    quiet = RunConfig(tracing_disabled=True)
    first = await Runner.run(agent, "How is the weather in Graz?", session=session, run_config=quiet)
    assert first.final_output == "It is sunny."
    second = await Runner.run(agent, "Which city was that?", session=session, run_config=quiet)
    assert second.final_output == "You asked for Graz."
    return model.shown, await session.get_items()


async def rewound(session: Any) -> list[Any]:
    """Add, take back as the Runner does before a retry, add again."""
    await session.add_items([{"role": "user", "content": "before"}])
    added = [{"role": "user", "content": "question"}, {"role": "assistant", "content": "half"}]
    await session.add_items(added)
    await rewind_session_items(session, added)
    assert await session.get_items() == [{"role": "user", "content": "before"}]
    await rewind_session_items(session, added)
    await session.add_items(added)
    return list(await session.get_items())


async def main(folder: Path) -> None:
    store = await open_store(f"sqlite:///{folder}/state.db")
    ours = AgentSession("ours", store=store)
    assert isinstance(ours, Session)
    print("it has the shape of the protocol")

    shown, held = await talk(ours)
    theirs_shown, theirs_held = await talk(SQLiteSession("theirs"))
    assert shown == theirs_shown
    assert held == theirs_held
    assert len(held) == 7
    print("a model is shown the same, and the same is kept")

    assert (await talk(AgentSession("process")))[1] == theirs_held
    print("also without a store")

    again = AgentSession("ours", store=store)
    assert await again.get_items() == held
    small = AgentSession("ours", store=store)
    small.session_settings = SessionSettings(limit=2)
    model = Scripted([answer("Short.")])
    await Runner.run(
        Agent(name="guide", model=model), "And?", session=small, run_config=RunConfig(tracing_disabled=True)
    )
    assert len(model.shown[0]) == 3
    print("the limit of the SDK's settings is kept")

    assert await rewound(AgentSession("rewound", store=store)) == await rewound(SQLiteSession("rewound"))
    print("what a retry takes back is gone, once")

    draft = DraftSession(AgentSession("draft", store=store))
    assert isinstance(draft, Session)
    assert (await talk(draft))[1] == theirs_held == draft.added
    assert len(await rewound(DraftSession(AgentSession("rewound-draft", store=store)))) == 3
    print("an agent of a crew at work takes the same")

    for step in range(5):
        assert await ours.pop_item() is not None, step
    tail = await ours.get_items()
    assert tail[-1]["type"] == "function_call_output"
    await ours.clear_session()
    assert await ours.pop_item() is None
    await store.close()
    print("everything holds")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
