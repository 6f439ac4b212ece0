"""What users type: arguments, what is said without a store, and what becomes of a summarizer that is slow, wrong or broken."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Protocol, TypedDict

import pytest

from agenticflow.agents.session import AgentSession, SessionInfo
from agenticflow.core.clocks import ManualClock
from agenticflow.errors import BoundExceeded, InvalidInput, TaskTimeout
from agenticflow.storage.memory import MemoryStore
from agenticflow.testing.virtual_time import run_virtual


def said(text: object, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": str(text)}


def texts(items: Sequence[Any]) -> list[str]:
    return [item["content"] for item in items]


class SdkSession(Protocol):
    """The Agents SDK's protocol as its source has it, so that the checker compares."""

    session_id: str
    session_settings: SdkSettings | None

    async def get_items(self, limit: int | None = None) -> list[SdkItem]: ...
    async def add_items(self, items: list[SdkItem]) -> None: ...
    async def pop_item(self) -> SdkItem | None: ...
    async def clear_session(self) -> None: ...


class SdkSettings:
    limit: int | None = None


class SdkItem(TypedDict):
    role: str
    content: str


async def test_it_has_the_shape_of_the_sdks_protocol() -> None:
    session: SdkSession = AgentSession("a")
    await session.add_items([SdkItem(role="user", content="hi")])
    assert await session.pop_item() == {"role": "user", "content": "hi"}
    assert session.session_settings is None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"session_id": ""}, "session id"),
    ({"session_id": "a", "max_items": 0}, "max_items"),
    ({"session_id": "a", "max_items": True}, "max_items"),
    ({"session_id": "a", "max_items": 10_001}, "max_items"),
    ({"session_id": "a", "store": "sqlite:///state.db"}, "open_store"),
    ({"session_id": "a", "summarizer": "gpt"}, "async def"),
    ({"session_id": "a", "summary_seconds": 0}, "summary_seconds"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG)
def test_arguments_that_make_no_sense_are_refused_with_a_hint(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        AgentSession(**arguments)


async def test_without_a_store_it_works_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    session = AgentSession("user-42", max_items=3)
    with caplog.at_level(logging.WARNING, "agenticflow.sessions"):
        await session.add_items([said(1)])
        await session.add_items([said(number) for number in range(2, 6)])
    assert [record.message for record in caplog.records] == [
        "session 'user-42' has no store: it is gone with this process (AgentSession(…, store=store))"
    ]
    assert not session.is_attached
    assert repr(session) == "AgentSession('user-42', max_items=3, in this process only)"
    assert texts(await session.get_items()) == ["3", "4", "5"]
    assert await session.pop_item() == said(5)
    await session.set_metadata(user="ann")
    await session.clear_session()
    assert await session.get_items() == []
    assert await session.get_metadata() == {"user": "ann"}
    assert await AgentSession("user-42").get_items() == [], "another object is another conversation"


async def test_with_a_store_it_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    session = AgentSession("a", store=MemoryStore())
    await session.add_items([said(1)])
    assert session.is_attached
    assert repr(session) == "AgentSession('a', max_items=50)"
    assert not caplog.records


async def test_what_is_known_about_a_conversation() -> None:
    clock = ManualClock(1_000)
    session = AgentSession("a", store=MemoryStore(), clock=clock)
    assert await session.info() == SessionInfo(
        session_id="a", items=0, size_bytes=0, added=0, summaries=0, created_at=0, updated_at=0, metadata={}
    )
    await session.add_items([said(1), said(2)])
    clock.advance(1)
    await session.pop_item()
    await session.set_metadata(tags=("a", "b"))
    info = await session.info()
    assert (info.items, info.added, info.created_at, info.updated_at) == (1, 2, 1_000, 1_000_001_000)
    assert info.metadata == {"tags": ["a", "b"]}
    assert info.size_bytes > 10


async def test_metadata_that_make_no_sense_are_refused() -> None:
    session = AgentSession("a", store=MemoryStore())
    await session.set_metadata()
    wrongs: list[dict[Any, Any]] = [{"": 1}, {7: 1}, {"x" * 201: 1}]
    for wrong in wrongs:
        with pytest.raises(InvalidInput, match="metadata"):
            await session.set_metadata(wrong)
    with pytest.raises(BoundExceeded):
        await session.set_metadata(text="x" * 100_000)
    assert await session.get_metadata() == {}
    with pytest.raises(InvalidInput, match="limit"):
        await session.get_items(limit=True)


async def test_four_fifths_of_a_window_want_a_summary() -> None:
    session = AgentSession("a", max_items=10)
    assert not session.needs_summarization()
    await session.add_items([said(number) for number in range(7)])
    assert not session.needs_summarization()
    await session.add_items([said(7)])
    assert session.needs_summarization()


async def test_each_sees_what_it_wants_of_a_window_that_others_keep_longer() -> None:
    store = MemoryStore()
    long, short = AgentSession("a", 100, store=store), AgentSession("a", 3, store=store)
    call = {"type": "function_call", "call_id": "c"}
    outcome = {"type": "function_call_output", "call_id": "c"}
    await long.add_items([said(1), call, outcome, said(2), said(3)])
    assert await short.get_items() == [said(2), said(3)], "no outcome without its call"
    assert await short.get_items(limit=4) == [call, outcome, said(2), said(3)], "but exactly the last ones when asked"
    assert len(await long.get_items()) == 5


async def test_a_call_and_its_outcome_stay_on_one_side_of_a_summary() -> None:
    heard: list[Any] = []

    async def summarize(items: Sequence[Any]) -> str:
        heard.extend(items)
        return "summary"

    session = AgentSession("a", store=MemoryStore(), summarizer=summarize)
    call = {"type": "function_call", "call_id": "c"}
    outcome = {"type": "function_call_output", "call_id": "c"}
    await session.add_items([said(1), call, outcome, said(2)])
    assert await session.summarize(keep_items=2)
    assert heard == [said(1), call, outcome]
    assert await session.get_items() == [said("summary", "system"), said(2)]
    assert not await session.summarize(), "there is nothing to gain"


async def test_summaries_that_make_no_sense_are_refused() -> None:
    session = AgentSession("a")
    with pytest.raises(InvalidInput, match="summarizer"):
        await session.summarize()

    async def nothing(items: Sequence[Any]) -> None:
        return None

    session = AgentSession("a", summarizer=nothing)
    await session.add_items([said(number) for number in range(4)])
    for wrong in (-1, True):
        with pytest.raises(InvalidInput, match="keep_items"):
            await session.summarize(keep_items=wrong)
    with pytest.raises(InvalidInput, match="no item"):
        await session.summarize(keep_items=0)
    assert len(await session.get_items()) == 4


def test_a_slow_summarizer_is_not_waited_for() -> None:
    async def slow(items: Sequence[Any]) -> str:
        await asyncio.sleep(10_000)
        return "late"

    async def program() -> None:
        session = AgentSession("a", max_items=4, summarizer=slow, summary_seconds=5)
        await session.add_items([said(number) for number in range(4)])
        with pytest.raises(TaskTimeout, match="5 s"):
            await session.summarize()
        await session.add_items([said("more")])
        assert texts(await session.get_items()) == ["1", "2", "3", "more"]

    run_virtual(program())


async def test_a_broken_summarizer_loses_nothing_that_is_added(caplog: pytest.LogCaptureFixture) -> None:
    async def broken(items: Sequence[Any]) -> str:
        raise OSError("no model here")

    session = AgentSession("a", max_items=3, store=MemoryStore(), summarizer=broken)
    with caplog.at_level(logging.WARNING, "agenticflow.sessions"):
        await session.add_items([said(number) for number in range(3)])
        await session.add_items([said(3)])
    assert "no model here" in caplog.records[-1].message
    assert texts(await session.get_items()) == ["1", "2", "3"]
    with pytest.raises(OSError, match="no model"):
        await session.summarize(keep_items=1)


async def test_a_summary_that_comes_too_late_is_dropped_and_items_are_added(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    other = AgentSession("a", store=store)

    async def summarize(items: Sequence[Any]) -> str:
        await other.clear_session()
        return "of what is gone"

    session = AgentSession("a", max_items=4, store=store, summarizer=summarize)
    await session.add_items([said(number) for number in range(4)])
    with caplog.at_level(logging.INFO, "agenticflow.sessions"):
        await session.add_items([said("new")])
    assert "dropped" in caplog.records[-1].message
    assert texts(await session.get_items()) == ["new"]


async def test_who_adds_while_a_summary_is_made_does_not_wait_for_it() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()
    asked = 0

    async def summarize(items: Sequence[Any]) -> str:
        nonlocal asked
        asked += 1
        begun.set()
        await go_on.wait()
        return "summary"

    session = AgentSession("a", max_items=4, store=MemoryStore(), summarizer=summarize)
    await session.add_items([said(number) for number in range(4)])
    first = asyncio.ensure_future(session.add_items([said("first")]))
    await begun.wait()
    await session.add_items([said("second")])
    go_on.set()
    await first
    assert asked == 1
    assert texts(await session.get_items()) == ["summary", "2", "3", "second", "first"][-4:]


async def test_answers_are_cleaned_when_asked_for() -> None:
    session = AgentSession("a", clean_outputs=True)
    await session.add_items([said('Sure!\n```json\n{"a": 1}\n```\nAnything else?', "assistant")])
    assert texts(await session.get_items()) == ['{"a": 1}']
