"""Instructions that a function makes, plain or async: in time, as a text, bounded; and whose move it is when they cannot be made."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from agenticflow.agents import AgentDefinition
from agenticflow.agents.context import AgentContext
from agenticflow.agents.declared import instructing
from agenticflow.agents.declared.definition import MAX_INSTRUCTIONS_CHARS
from agenticflow.agents.loop.policy import LoopPolicy
from agenticflow.errors import BoundExceeded, InvalidInput, PermanentError, TemporaryError
from agenticflow.tools.execution.threads import Threads


def analyst(instructions: Any, **more: Any) -> AgentDefinition:
    return AgentDefinition("analyst", "looks", instructions, **more)


async def made(context: Any) -> str:
    await asyncio.sleep(0)
    return f"for {context}"


async def test_an_async_function_is_waited_for() -> None:
    async def both(context: Any, definition: AgentDefinition) -> str:
        return f"{definition.name} for {context}"

    assert await analyst(made).instruct("ann") == "for ann"
    assert await analyst(both).instruct("ann") == "analyst for ann"


async def test_others_are_as_before() -> None:
    context = AgentContext(schema={"orders": ["id"]})
    for definition in (analyst("x"), analyst(lambda _: "x"), analyst("x", requires_schema_injection=True)):
        assert await definition.instruct(context) == definition.render_instructions(context)


async def test_who_does_not_wait_is_told_where_to() -> None:
    with pytest.raises(InvalidInput, match="returned a coroutine") as told:
        analyst(made).render_instructions("ann")
    assert "instruct()" in told.value.hint


async def test_one_that_takes_too_long_is_given_up() -> None:
    ended = []

    async def slow(context: Any) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(context)
        return "never"

    definition = analyst(slow, loop=LoopPolicy(instructions_timeout_seconds=0.01))
    with pytest.raises(TemporaryError, match=r"not there after 0\.01 s") as told:
        await definition.instruct("ann")
    assert "instructions_timeout_seconds" in told.value.hint
    assert ended == ["ann"]


async def test_what_it_fails_with_is_told_and_what_is_ours_stays_as_it_is() -> None:
    error = PermanentError("no such customer")

    async def fails(context: Any) -> str:
        raise context

    def plain(context: Any) -> str:
        raise context

    for definition in (analyst(fails), analyst(plain)):
        with pytest.raises(TemporaryError, match="could not be made: KeyError: 'ann'") as told:
            await definition.instruct(KeyError("ann"))
        assert isinstance(told.value.__cause__, KeyError)
        with pytest.raises(PermanentError) as raised:
            await definition.instruct(error)
        assert raised.value is error
        assert error.__cause__ is None
    with pytest.raises(TemporaryError, match="could not be made: TimeoutError") as told:
        await analyst(fails).instruct(TimeoutError("the database"))
    with pytest.raises(asyncio.CancelledError):
        await analyst(fails).instruct(asyncio.CancelledError())


async def test_only_texts_that_are_not_too_long_are_taken() -> None:
    async def give(context: Any) -> Any:
        return context

    assert await analyst(give).instruct("x" * MAX_INSTRUCTIONS_CHARS)
    with pytest.raises(BoundExceeded, match="1,000,001 characters"):
        await analyst(give).instruct("x" * (MAX_INSTRUCTIONS_CHARS + 1))
    with pytest.raises(BoundExceeded):
        analyst(lambda _: "x" * (MAX_INSTRUCTIONS_CHARS + 1)).render_instructions()
    for wrong in (7, None, b"x"):
        with pytest.raises(InvalidInput, match="not a text"):
            await analyst(give).instruct(wrong)


@pytest.mark.parametrize("limit", [0, -1, 3_601, True, "x", float("nan")])
def test_its_limit_is_a_number_of_seconds(limit: Any) -> None:
    with pytest.raises(Exception, match="instructions_timeout_seconds"):
        LoopPolicy(instructions_timeout_seconds=limit)


# --- plain functions ----------------------------------------------------------------------------------------------------


class Blocks:
    """A plain function that blocks until it is let go, with what it saw."""

    def __init__(self) -> None:
        self.go, self.threads = threading.Event(), list[str]()

    def __call__(self, context: Any) -> str:
        self.threads.append(threading.current_thread().name)
        assert self.go.wait(20), "nobody let it go"
        return f"for {context}"


async def test_a_plain_function_may_block_and_everything_else_goes_on() -> None:
    blocks = Blocks()
    asking = asyncio.ensure_future(analyst(blocks).instruct("ann"))
    while not blocks.threads:
        await asyncio.sleep(0.001)
    assert not asking.done()
    blocks.go.set()
    assert await asking == "for ann"
    assert blocks.threads[0].startswith("agenticflow-instructions")


async def test_a_plain_function_that_makes_a_coroutine_has_it_awaited_on_the_loop() -> None:
    def begun(context: Any) -> Any:
        return made(context)

    assert await analyst(begun).instruct("ann") == "for ann"

    def nothing_left(context: Any) -> str:
        return str(next(iter(context)))

    with pytest.raises(TemporaryError, match="could not be made: RuntimeError"):
        await analyst(nothing_left).instruct(())


@pytest.mark.parametrize("way", ["its time is over", "nobody wants it any more"])
async def test_a_thread_that_is_given_up_keeps_its_place_until_it_ends(
    way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = Threads(1, "instructions")
    monkeypatch.setattr(instructing, "_threads", threads)
    blocks = Blocks()
    is_cancelled = way != "its time is over"
    policy = LoopPolicy(instructions_timeout_seconds=20 if is_cancelled else 0.1)
    asking = asyncio.ensure_future(analyst(blocks, loop=policy).instruct("ann"))
    while not blocks.threads:
        await asyncio.sleep(0.001)
    if is_cancelled:
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    else:
        with pytest.raises(TemporaryError, match=r"not there after 0\.1 s") as told:
            await asking
        assert "instructions_timeout_seconds" in told.value.hint
    assert threads.abandoned == 1
    waits = analyst(lambda _: "never", loop=LoopPolicy(instructions_timeout_seconds=0.05))
    with pytest.raises(TemporaryError, match=r"not there after 0\.05 s"):
        await waits.instruct()  # there is one thread, and it is held
    blocks.go.set()
    assert await analyst(lambda _: "again").instruct() == "again"
    assert threads.abandoned == 0
