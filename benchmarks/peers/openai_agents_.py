"""OpenAI Agents SDK: its ``SQLiteSession``, one row per item, and its ``Runner``.

Durability class: a file in WAL mode, which it chooses itself, with ``synchronous=FULL`` (SQLite's default, left as it is): an item that
was added is on the disk, as with ours. The in-memory cases use its database in memory. It keeps every item and reads the last ones
with ``limit=``; ours keeps every item as an event and reads its window.

Agents run with tracing disabled, which is its fastest setting. Nothing of a run outlives the process; the durable case is what
comes nearest: a session on the disk for each run, which keeps what was said after each turn.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from agents import Agent, Model, ModelResponse, RunConfig, Runner, SQLiteSession, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

from benchmarks.protocol import (
    SAID,
    SEEN,
    TALKS,
    Figures,
    converse,
    database,
    expect,
    import_cost,
    main,
    message,
    rate,
    together,
)
from benchmarks.turns import ANSWER, INSTRUCTIONS, PROMPT, SHORT, TOOL, Script, at_once, long_run, short_runs


async def _add(size: int, path: str) -> Figures:
    session = SQLiteSession("bench", path)
    await session.add_items([message(0)])
    await session.clear_session()
    started = time.perf_counter()
    for number in range(size):
        await session.add_items([message(number)])
    figures = rate(size, started)
    expect(await session.get_items(limit=SEEN), [message(number) for number in range(size)][-SEEN:])
    session.close()
    return figures


async def _read(size: int, path: str) -> Figures:
    session = SQLiteSession("bench", path)
    await session.add_items([message(number) for number in range(SAID)])
    wanted = [message(number) for number in range(SAID)][-SEEN:]
    expect(await session.get_items(limit=SEEN), wanted)
    items: list[dict[str, str]] = []
    started = time.perf_counter()
    for _ in range(size):
        items = await session.get_items(limit=SEEN)
    figures = rate(size, started)
    expect(items, wanted)
    session.close()
    return figures


async def _many(size: int, path: str) -> Figures:
    sessions = [SQLiteSession(f"bench-{number}", path) for number in range(TALKS)]
    await together(TALKS, lambda number: sessions[number].add_items([message(0)]))

    async def talk(number: int) -> None:
        for count in range(size // TALKS):
            await sessions[number].add_items([message(count)])

    started = time.perf_counter()
    await together(TALKS, talk)
    figures = rate(size // TALKS * TALKS, started)
    wanted = [message(0), *(message(count) for count in range(size // TALKS))][-SEEN:]
    for session in sessions:
        expect(await session.get_items(limit=SEEN), wanted)
        session.close()
    return figures


async def _turns(size: int, path: str) -> Figures:
    warm, session = SQLiteSession("warm", path), SQLiteSession("bench", path)
    await converse(warm, 2)
    started = time.perf_counter()
    await converse(session, size)
    figures = rate(size, started)
    warm.close()
    session.close()
    return figures


async def _talks(size: int, path: str) -> Figures:
    turns = size // TALKS
    sessions = [SQLiteSession(f"bench-{number}", path) for number in range(TALKS)]
    started = time.perf_counter()
    await together(TALKS, lambda number: converse(sessions[number], turns))
    figures = rate(turns * TALKS, started)
    for session in sessions:
        session.close()
    return figures


class Fake(Model):
    """Says what the script has for it."""

    def __init__(self, script: Script) -> None:
        self.script = script

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **kwargs: Any) -> ModelResponse:
        """Answer a turn."""
        script = self.script
        turn = len(input) // 2  # the prompt, then a call and a result for each turn
        if script.wants_tool(turn):
            output: Any = ResponseFunctionToolCall(
                type="function_call",
                name=TOOL,
                call_id=script.call_id(turn),
                arguments=json.dumps(script.arguments(turn)),
            )
        else:
            text = ResponseOutputText(type="output_text", text=ANSWER, annotations=[], logprobs=[])
            output = ResponseOutputMessage(
                id="message", type="message", role="assistant", status="completed", content=[text]
            )
        usage = Usage(requests=1, input_tokens=10, output_tokens=5, total_tokens=15)
        return ModelResponse(output=[output], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        """Not asked for."""
        raise NotImplementedError("nothing here streams")


@function_tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def _agents(
    turns: int, measure: Callable[[Script, Callable[[], Awaitable[Any]]], Awaitable[Figures]], path: Path | None = None
) -> Figures:
    script = Script(turns)
    agent = Agent(name="adder", instructions=INSTRUCTIONS, model=Fake(script), tools=[add])
    quiet = RunConfig(tracing_disabled=True)
    numbers = itertools.count()

    async def run() -> object:
        session = SQLiteSession(f"run-{next(numbers)}", path) if path is not None else None
        try:
            result = await Runner.run(agent, PROMPT, max_turns=turns, run_config=quiet, session=session)
        finally:
            if session is not None:
                session.close()
        return result.final_output

    return await measure(script, run)


def _durable(size: int) -> Figures:
    with database("sessions.db") as path:
        return asyncio.run(_agents(SHORT, partial(at_once, size), path))


if __name__ == "__main__":
    runs = {"session_add": _add, "session_read": _read, "session_many": _many}
    runs |= {"session_turns": _turns, "session_talks": _talks}

    def measured(name: str, durable: bool, size: int) -> Figures:
        """Run a case on a new database file, or in memory."""
        with ExitStack() as stack:
            path = str(stack.enter_context(database("sessions.db"))) if durable else ":memory:"
            return asyncio.run(runs[name](size, path))

    main(
        {
            "session_add_durable": lambda size: measured("session_add", True, size),
            "session_add_memory": lambda size: measured("session_add", False, size),
            "session_read_durable": lambda size: measured("session_read", True, size),
            "session_read_memory": lambda size: measured("session_read", False, size),
            "session_many_durable": lambda size: measured("session_many", True, size),
            "session_many_memory": lambda size: measured("session_many", False, size),
            "session_turns_durable": lambda size: measured("session_turns", True, size),
            "session_turns_memory": lambda size: measured("session_turns", False, size),
            "session_talks_durable": lambda size: measured("session_talks", True, size),
            "session_talks_memory": lambda size: measured("session_talks", False, size),
            "agent_memory": lambda size: asyncio.run(_agents(SHORT, partial(short_runs, size))),
            "agent_long": lambda size: asyncio.run(_agents(size, long_run)),
            "agent_durable": _durable,
            "import_cost": lambda size: import_cost("import agents", size),
        }
    )
