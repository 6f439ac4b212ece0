"""The window of a conversation: what leaves it, what stays together, and that refolding and snapshots give the same bytes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.session import window as window_module
from agenticflow.agents.session.facts import (
    SESSION_FACTS,
    AddItems,
    ChangeMetadata,
    ClearSession,
    PopItem,
    SummarizeItems,
    stream_of_session,
)
from agenticflow.agents.session.items import encode_items
from agenticflow.agents.session.window import (
    Numbered,
    SessionDecider,
    SessionWindow,
    first_whole,
    without_orphans,
)
from agenticflow.core import codec
from agenticflow.core.decider import Command, decide_fully
from agenticflow.errors import BoundExceeded, CommandRefused, InvalidInput

DECIDER = SessionDecider()


class Talk:
    """A window and the events that led to it, as a store would have them."""

    def __init__(self) -> None:
        self.window = DECIDER.initial("session-a")
        self.events: list[tuple[str, bytes, int]] = []

    def tell(self, command: Command) -> int:
        """Decide and fold; return how many facts there were."""
        facts = decide_fully(DECIDER, self.window, command, len(self.events))
        self.events += [(fact.event_type, SESSION_FACTS.encode(fact), command.now) for fact in facts]
        return len(facts)

    def add(self, *items: Any, keep: int = 50) -> int:
        encoded, blobs = encode_items(items)
        return self.tell(AddItems(now=self.now, items=encoded, keep=keep, blobs=blobs))

    def pop(self) -> int:
        return self.tell(PopItem(now=self.now))

    @property
    def now(self) -> int:
        return len(self.events) + 1

    @property
    def seen(self) -> list[Any]:
        return [codec.decode(item.data) for item in self.window.items]

    def refolded(self) -> SessionWindow:
        window = DECIDER.initial("session-a")
        for version, (event_type, data, at) in enumerate(self.events, 1):
            DECIDER.evolve(window, SESSION_FACTS.decode(event_type, data), version, at)
        return window


def said(text: object) -> dict[str, Any]:
    return {"role": "user", "content": str(text)}


def call(name: str) -> dict[str, Any]:
    return {"type": "function_call", "call_id": name}


def outcome(name: str) -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": name}


def summary_of(talk: Talk, through: int, era: int | None = None) -> SummarizeItems:
    [item], _ = encode_items([said("summary")])
    return SummarizeItems(now=talk.now, summary=item, through=through, era=talk.window.era if era is None else era)


def test_ids_of_sessions() -> None:
    assert stream_of_session("user/42 ü") == "session-user/42 ü"
    wrongs: list[Any] = ["", "x" * 201, "a\n", 7, None]
    for wrong in wrongs:
        with pytest.raises(InvalidInput, match="session id"):
            stream_of_session(wrong)


def test_items_are_numbered_and_counted() -> None:
    talk = Talk()
    assert talk.add(said(1), said(2)) == 1
    assert talk.pop() == 1
    talk.add(said(3))
    assert [item.number for item in talk.window.items] == [1, 3]
    assert (talk.window.added, talk.window.created_at, talk.window.updated_at) == (3, 1, 3)
    assert talk.window.size_bytes == sum(len(codec.encode(item)) for item in talk.seen)


def test_what_changes_nothing_is_no_event() -> None:
    talk = Talk()
    assert talk.add() == 0
    assert talk.pop() == 0
    assert talk.tell(ClearSession(now=1)) == 0
    assert talk.tell(ChangeMetadata(now=1, values={"a": codec.NULL})) == 0
    assert talk.tell(ChangeMetadata(now=1, values={"a": codec.encode(1)})) == 1
    assert talk.tell(ChangeMetadata(now=1, values={"a": codec.encode(1)})) == 0
    assert DECIDER.advance(talk.window, 1) == ()


def test_many_items_are_several_events_of_one_command() -> None:
    talk = Talk()
    items = [said("x" * 50_000) for _ in range(9)]
    assert talk.add(*items) == 3
    assert talk.seen == items


def test_the_outcome_of_a_call_leaves_with_its_call() -> None:
    talk = Talk()
    talk.add(said(1), call("a"), call("b"), outcome("b"), outcome("a"), said(2), keep=10)
    talk.add(said(3), keep=5)
    assert talk.seen == [call("b"), outcome("b"), said(2), said(3)]


def test_a_thought_takes_along_what_came_of_it() -> None:
    talk = Talk()
    talk.add({"type": "reasoning", "id": "r"}, call("a"), outcome("a"), said(2), keep=4)
    talk.add(said(3), keep=4)
    assert talk.seen == [said(2), said(3)]


def test_an_id_that_is_used_again_is_another_call() -> None:
    talk = Talk()
    talk.add(call("a"), outcome("a"), call("a"), outcome("a"), said(1), keep=4)
    assert talk.seen == [call("a"), outcome("a"), said(1)]


def test_an_outcome_whose_call_left_before_does_not_begin_a_window() -> None:
    talk = Talk()
    talk.add(call("a"), said(1), said(2), keep=2)
    talk.add(outcome("a"), said(3), keep=2)
    assert talk.seen == [said(3)]
    talk.add(outcome("x"), keep=2)
    talk.add(outcome("y"), keep=1)
    assert talk.seen == []


def test_a_window_has_a_size_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "MAX_WINDOW_BYTES", 200_000)
    talk = Talk()
    talk.add(said("x" * 90_000), said("y" * 90_000), said("z" * 90_000))
    assert [item["content"][0] for item in map(blob_content(talk), range(len(talk.window.items)))] == ["y", "z"]
    assert 180_000 < talk.window.size_bytes < 200_000
    talk.add(said("w" * 300_000))
    assert talk.window.items == []
    assert talk.window.size_bytes == 0


def blob_content(talk: Talk) -> Any:
    """Return what finds an item's content by its first letter: large items are references here."""
    sizes = {codec.content_hash(codec.encode(said(letter * 90_000))): letter for letter in "xyzw"}

    def content(at: int) -> dict[str, str]:
        reference = codec.decode(talk.window.items[at].data)
        assert isinstance(reference, codec.BlobRef)
        return {"content": sizes[reference.hash]}

    return content


def test_a_summary_stands_for_the_oldest() -> None:
    talk = Talk()
    talk.add(*map(said, range(6)))
    talk.tell(summary_of(talk, through=4))
    assert talk.seen == [said("summary"), said(4), said(5)]
    assert [item.number for item in talk.window.items] == [4, 5, 6]
    assert (talk.window.summaries, talk.window.era) == (1, 1)


def test_a_summary_of_what_is_gone_is_refused() -> None:
    talk = Talk()
    with pytest.raises(CommandRefused, match="summarize again"):
        talk.tell(summary_of(talk, through=1))
    talk.add(*map(said, range(4)))
    old_era = talk.window.era
    late = summary_of(talk, through=3)
    talk.pop()
    talk.pop()
    with pytest.raises(CommandRefused):
        talk.tell(late)
    talk.tell(summary_of(talk, through=2))
    talk.add(said(9), said(10))
    with pytest.raises(CommandRefused):
        talk.tell(summary_of(talk, through=5, era=old_era))


def test_metadata_have_bounds() -> None:
    talk = Talk()
    talk.tell(ChangeMetadata(now=1, values={f"n{number}": codec.encode(number) for number in range(100)}))
    with pytest.raises(BoundExceeded, match="101 names"):
        talk.tell(ChangeMetadata(now=1, values={"more": codec.encode(1)}))
    with pytest.raises(BoundExceeded, match="65,536"):
        talk.tell(ChangeMetadata(now=1, values={"n1": codec.encode("x" * 70_000)}))
    talk.tell(ChangeMetadata(now=1, values={"n1": codec.NULL, "more": codec.encode(1)}))
    assert "n1" not in talk.window.metadata
    assert "more" in talk.window.metadata


def test_other_commands_are_refused() -> None:
    with pytest.raises(InvalidInput, match="Command"):
        Talk().tell(Command(now=1))


def numbered(*parts: tuple[str, str]) -> list[Numbered]:
    """Items by the names they open (letters) and close."""
    return [Numbered(at, b"", tuple(opens), closes, 0) for at, (opens, closes) in enumerate(parts)]


@pytest.mark.parametrize(
    ("parts", "cut", "right"),
    [
        ([], 0, 0),
        ([("a", ""), ("", "a"), ("", "")], 1, 2),
        ([("a", ""), ("b", ""), ("", "a"), ("", "b"), ("", "")], 1, 4),
        ([("a", ""), ("", ""), ("", "a")], 1, 3),
        ([("", ""), ("a", ""), ("", "a")], 1, 1),
        ([("", "x"), ("", "x")], 1, 1),
    ],
)
def test_where_a_history_may_be_parted(parts: list[tuple[str, str]], cut: int, right: int) -> None:
    assert first_whole(numbered(*parts), cut) == right


def test_what_needs_something_that_went_with_its_call_goes_too() -> None:
    items = numbered(("", ""), ("b", ""), ("b", "a"), ("", ""), ("", "b"))
    assert without_orphans(items, 2) == [items[3]]
    assert without_orphans(items, 0) == items


PARTS = st.lists(st.tuples(st.text("abc", max_size=2), st.sampled_from(["", "", "a", "b", "c"])), max_size=12)


@given(PARTS, st.integers(0, 12))
def test_what_is_left_needs_nothing_that_is_gone(parts: list[tuple[str, str]], at: int) -> None:
    items = numbered(*parts)
    cut = min(at, len(items))
    left = without_orphans(items, cut)
    assert [item for item in items if item in left] == left, "in order"
    assert set(left) <= set(items[cut:])
    gone = {name for item in items[:cut] for name in item.opens}
    opened: set[str] = set()
    for item in left:
        assert item.closes not in gone or item.closes in opened
        opened.update(item.opens)
    assert not cut or not left or not left[0].closes
    whole = first_whole(items, cut)
    assert cut <= whole <= len(items)


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.integers(0, 4)),
        st.tuples(st.just("pop"), st.just(0)),
        st.tuples(st.just("clear"), st.just(0)),
        st.tuples(st.just("sum"), st.integers(0, 3)),
    ),
    max_size=30,
)


@given(ACTIONS, st.integers(1, 6))
def test_a_window_is_the_end_of_a_list(actions: list[tuple[str, int]], keep: int) -> None:
    """Against a plain list; folded again from the bytes of its events, and from a snapshot half way, it is the same."""
    talk, model, count = Talk(), list[Any](), 0
    snapshots: list[tuple[int, bytes]] = []
    for what, number in actions:
        snapshots.append((len(talk.events), DECIDER.snapshot(talk.window)))
        if what == "add":
            new = [said(count + more) for more in range(number)]
            count += number
            talk.add(*new, keep=keep)
            model = [*model, *new][-keep:] if new else model
        elif what == "pop":
            talk.pop()
            model = model[:-1]
        elif what == "clear":
            talk.tell(ClearSession(now=talk.now))
            model = []
        elif len(model) > number:
            talk.tell(summary_of(talk, talk.window.items[number].number))
            model = [said("summary"), *model[number + 1 :]]
        assert talk.seen == model
    right = DECIDER.snapshot(talk.window)
    assert DECIDER.snapshot(talk.refolded()) == right
    for version, snapshot in snapshots:
        window = DECIDER.initial("session-a", snapshot)
        for event_type, data, at in talk.events[version:]:
            DECIDER.evolve(window, SESSION_FACTS.decode(event_type, data), version, at)
        assert DECIDER.snapshot(window) == right
        assert window.size_bytes == talk.window.size_bytes
