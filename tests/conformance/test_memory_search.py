"""What agents remember is found by what it says, over every store: nothing near is missed, nothing that is gone is found."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow import Agent, open_store
from agenticflow.agents.memory import Embedder, HashingEmbedder, MemoryMatch, MemoryStore, vectors
from agenticflow.agents.memory.embedding import EMBEDDING_SECONDS
from agenticflow.core.clocks import ManualClock
from agenticflow.errors import (
    ConcurrencyConflict,
    DefinitionError,
    InvalidInput,
    ModelAnswerGarbled,
    ModelTimeout,
    ModelUnavailable,
    StoreUnavailable,
    TemporaryError,
)
from agenticflow.storage import Store
from agenticflow.testing.fakes import FlakyStore


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store("memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/state.db")
    yield opened
    await opened.close()


class Letters(Embedder):
    """A vector counts letters: what a test expects can be worked out by hand."""

    max_batch = 3

    def __init__(self, name: str = "letters", letters: str = "abcd") -> None:
        self.name = name
        self.dimension = len(letters)
        self._letters = letters
        self.asked: list[list[str]] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        self.asked.append(list(texts))
        await asyncio.sleep(0)
        return [[float(text.count(letter)) for letter in self._letters] for text in texts]


def keys(found: Sequence[MemoryMatch]) -> list[str]:
    return [match.entry.key for match in found]


async def test_the_nearest_comes_first_with_its_score(store: Store) -> None:
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    for key, text in (("1", "aaaa"), ("2", "aab"), ("3", "bb"), ("4", "cccc"), ("5", "")):
        await memory.store(key, {"n": 1}, text=text)
    found = await memory.search("aa")
    assert keys(found) == ["1", "2", "3", "4"], "what says nothing is not found"
    assert [match.score for match in found] == pytest.approx([1, 2 / math.sqrt(5), 0, 0], abs=1e-6)
    assert found[0].entry.value == {"n": 1}
    assert keys(await memory.search("aa", limit=1)) == ["1"]
    assert keys(await memory.search("aa", min_score=0.5)) == ["1", "2"]
    assert keys(await memory.search("aa", min_score=0.99)) == ["1"]
    assert await memory.search("zzz") == [], "it says nothing that the embedder knows"


async def test_without_a_text_it_is_found_by_its_key_and_value(store: Store) -> None:
    embedder = Letters()
    memory = MemoryStore(store, agent_id="x", embedder=embedder)
    await memory.store("key", "aab")
    await memory.store("other", {"it": ["b", 1]})
    assert embedder.asked == [["key\naab"], ['other\n{"it":["b",1]}']]
    assert keys(await memory.search("a")) == ["key", "other"]


async def test_namespaces_and_agents_are_apart(store: Store) -> None:
    shared = MemoryStore(store, embedder=Letters())
    ada, bob = Agent("ada", memory=shared), Agent("bob", memory=shared)
    await ada.memory.store("mine", "a")
    await ada.memory.store("elsewhere", "a", namespace="other")
    assert keys(await ada.memory.search("a")) == ["mine"]
    assert keys(await ada.memory.search("a", namespace="other")) == ["elsewhere"]
    assert await bob.memory.search("a") == []


async def test_what_is_deleted_or_over_is_not_found(store: Store) -> None:
    clock = ManualClock()
    memory = MemoryStore(store, agent_id="x", clock=clock, embedder=Letters())
    await memory.store("short", "a", ttl_seconds=5)
    await memory.store("gone", "a")
    await memory.store("stays", "a")
    assert await memory.delete("gone")
    assert keys(await memory.search("a")) == ["short", "stays"]
    assert await store.get_value("memory-vectors/x/default", "gone", now=clock.now_ns()) is None, (
        "nothing is left of it"
    )
    clock.advance(5)
    assert keys(await memory.search("a")) == ["stays"]
    assert await memory.delete("stays")
    assert await memory.search("a") == []


async def test_what_was_stored_anew_is_found_by_what_it_says_now(store: Store) -> None:
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    await memory.store("key", "a", text="a")
    await memory.store("key", "b", text="b")
    (match,) = await memory.search("b")
    assert (match.entry.value, match.entry.version) == ("b", 2)
    assert match.score == pytest.approx(1)
    assert await memory.search("a", min_score=0.1) == []


async def test_what_others_wrote_without_an_embedder_is_found_too(store: Store) -> None:
    clock = ManualClock()
    plain = MemoryStore(store, agent_id="x", clock=clock)
    memory = MemoryStore(store, agent_id="x", clock=clock, embedder=Letters())
    for number in range(7):
        await plain.store(f"{number}", "a" * number + "b")
    assert keys(await memory.search("aaaaaaaaa", limit=2)) == ["6", "5"], "they are embedded before the first search"
    clock.advance(1)
    await plain.store("6", "bbbb")
    await plain.delete("5")
    assert keys(await memory.search("aaaaaaaaa", limit=2)) == ["4", "3"], (
        "what was written since is seen when it would be found"
    )


@pytest.mark.parametrize("other", [Letters("letters-2"), Letters("letters", "abcde")])
async def test_another_embedder_embeds_anew(store: Store, other: Letters) -> None:
    before = MemoryStore(store, agent_id="x", embedder=Letters())
    await before.store("1", "a", text="a")
    await before.store("2", "b", text="b")
    await before.store("3", "a", text="")
    other.asked.clear()
    after = MemoryStore(store, agent_id="x", embedder=other)
    assert keys(await after.search("a", min_score=0.5)) == ["1"]
    assert other.asked == [["a"], ["a", "b"]], "by the texts that were given for them, and one has none"
    other.asked.clear()
    await after.search("b")
    assert other.asked == [["b"]]
    await before.store("4", "c", text="c")
    assert keys(await after.search("c", min_score=0.5)) == ["4"], "who still uses the one before does no harm"


async def test_it_is_found_after_a_restart(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    first = await open_store(url)
    await MemoryStore(first, agent_id="x", embedder=Letters()).store("key", "a")
    await first.close()
    again = await open_store(url)
    embedder = Letters()
    assert keys(await MemoryStore(again, agent_id="x", embedder=embedder).search("a")) == ["key"]
    assert embedder.asked == [["a"]], "its vector is there"
    await again.close()


async def test_who_comes_together_embeds_once(store: Store) -> None:
    plain = MemoryStore(store, agent_id="x")
    for number in range(4):
        await plain.store(f"{number}", "a")
    embedder = Letters()
    memory = MemoryStore(store, agent_id="x", embedder=embedder)
    found = await asyncio.gather(*(memory.search("a") for _ in range(5)))
    assert [len(one) for one in found] == [4] * 5
    assert sum(len(asked) for asked in embedder.asked) == 4 + 5


async def test_of_two_who_write_at_once_the_vector_of_the_last_stays(store: Store) -> None:
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    for _ in range(5):
        await asyncio.gather(*(memory.store("key", letter, text=letter) for letter in "abcdabcd"))
        value = await memory.retrieve("key")
        (match,) = await memory.search(value, min_score=0.5)
        assert match.entry.value == value


async def test_a_vector_of_earlier_does_not_replace_one_of_later(store: Store) -> None:
    embedder = Letters()
    place = vectors.StoredVectors(store, "entries", "vectors", embedder)
    a, b = await embedder.embedded(["a", "b"])
    await place.keep("key", b, None, version=2, now=2, expires_at=None)
    await place.keep("key", a, None, version=1, now=1, expires_at=None)
    (found,), is_mixed = await place.compare(b, 0.5, 3)
    assert (found.version, found.updated_at, is_mixed) == (2, 2, False)


async def test_writing_against_others_ends() -> None:
    class Busy(FlakyStore):
        async def put_value(self, namespace: str, key: str, value: bytes, **options: Any) -> int:
            if namespace.startswith("memory-vectors/"):
                raise ConcurrencyConflict(key, 0, 1)
            return await super().put_value(namespace, key, value, **options)

    memory = MemoryStore(Busy(), agent_id="x", embedder=Letters())
    assert await memory.search("a") == []
    with pytest.raises(TemporaryError, match="20 times meanwhile"):
        await memory.store("key", "a")
    assert not memory._place.fresh, "the next search looks the namespace through"
    assert await memory.search("a") == [], "and leaves to whoever writes it what is written meanwhile"


async def test_a_store_that_fails_while_vectors_are_made_is_told() -> None:
    class Full(FlakyStore):
        async def put_value(self, namespace: str, key: str, value: bytes, **options: Any) -> int:
            if namespace.startswith("memory-vectors/"):
                raise StoreUnavailable("no space is left")
            return await super().put_value(namespace, key, value, **options)

    store = Full()
    await MemoryStore(store, agent_id="x").store("key", "a")
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    with pytest.raises(StoreUnavailable):
        await memory.search("a")
    assert not memory._place.fresh


async def test_what_is_left_of_an_entry_that_is_gone_is_dropped(store: Store) -> None:
    embedder = Letters()
    await MemoryStore(store, agent_id="x", embedder=embedder).store("key", "a")
    await store.delete_value("memory/x/default", "key")
    memory = MemoryStore(store, agent_id="x", embedder=embedder)
    assert await memory.search("a") == []
    assert await store.get_value("memory-vectors/x/default", "key", now=0) is None


async def test_an_embedder_that_fails_leaves_nothing_half_done(store: Store) -> None:
    class Down(Letters):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            raise ModelUnavailable("it is down")

    memory = MemoryStore(store, agent_id="x", embedder=Down())
    with pytest.raises(ModelUnavailable):
        await memory.store("key", "a")
    with pytest.raises(ModelUnavailable):
        await memory.search("a")
    assert await memory.list() == []
    assert await memory.store("key", "a", text="") == 1, "what is not to be found needs no embedder"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ([[1.0, 0.0]], "gave a vector of 2 numbers, not of 4"),
        ([[1.0, 0.0, 0.0, math.nan]], "numbers that are none"),
        ([[1.0, 0.0, 0.0, math.inf]], "numbers that are none"),
        ([], "gave 0 vectors for 1 texts"),
    ],
)
async def test_what_are_no_vectors_is_told(answer: Any, words: str) -> None:
    class Odd(Letters):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            found: Sequence[Sequence[float]] = answer
            return found

    with pytest.raises(ModelAnswerGarbled, match=words):
        await Odd().embedded(["a"])


async def test_an_embedder_that_does_not_answer_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Letters):
        async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
            await asyncio.Event().wait()
            return []

    assert EMBEDDING_SECONDS == 60
    monkeypatch.setattr("agenticflow.agents.memory.embedding.EMBEDDING_SECONDS", 0.01)
    with pytest.raises(ModelTimeout, match=r"did not answer in 0\.01 s"):
        await Silent().embedded(["a"])


async def test_texts_are_batched_and_cut() -> None:
    embedder = Letters()
    embedder.max_chars = 5
    made = await embedder.embedded(["a" * 10, "b", "c", "d"])
    assert embedder.asked == [["aaaaa", "b", "c"], ["d"]]
    assert [struct.unpack("<4f", one) for one in made] == [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1)]
    await embedder.close()


class Nameless(Embedder):
    async def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        return []


def wrong(**given: Any) -> Callable[[], object]:
    def make() -> MemoryStore:
        embedder = Letters()
        for name, value in given.items():
            setattr(embedder, name, value)
        return MemoryStore(embedder=embedder)

    return make


@pytest.mark.parametrize(
    "make",
    [
        wrong(dimension=0),
        wrong(dimension=5_000),
        wrong(dimension=True),
        wrong(max_batch=0),
        wrong(max_chars=10_000),
        wrong(name=""),
        wrong(name=7),
        lambda: MemoryStore(embedder=Nameless()),
    ],
)
def test_an_embedder_that_cannot_be_worked_with_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError):
        make()


async def test_a_search_that_makes_no_sense_is_refused(store: Store) -> None:
    for not_one in ("openai", Letters):
        unknown: Any = not_one
        with pytest.raises(InvalidInput, match="an embedder is an Embedder, not "):
            MemoryStore(embedder=unknown)
    with pytest.raises(InvalidInput, match="has no embedder") as refusal:
        await MemoryStore(store).search("a")
    assert "list(prefix=…)" in refusal.value.hint
    memory: Any = MemoryStore(store, embedder=Letters())
    for text, options in (
        ("", {}),
        (" ", {}),
        (7, {}),
        ("a" * 8_001, {}),
        ("a", {"limit": 0}),
        ("a", {"limit": 101}),
        ("a", {"limit": True}),
        ("a", {"min_score": 2}),
        ("a", {"min_score": "high"}),
        ("a", {"namespace": ""}),
    ):
        with pytest.raises(InvalidInput):
            await memory.search(text, **options)
    for text in (7, "a" * 8_001):
        with pytest.raises(InvalidInput, match="text is"):
            await memory.store("key", 1, text=text)


async def test_what_is_known_to_be_looked_through_is_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agenticflow.agents.memory.store.MAX_COUNTED_NAMESPACES", 2)
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    for namespace in "abc":
        await memory.search("a", namespace=namespace)
    assert list(memory._place.fresh) == ["memory/x/b", "memory/x/c"]
    memory.lend(None)
    assert not memory._place.fresh


async def test_others_have_their_turn_while_much_is_compared(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BLOCK", 2)
    memory = MemoryStore(store, agent_id="x", embedder=Letters())
    for number in range(6):
        await memory.store(f"{number}", "a")
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count())
    assert len(await memory.search("a")) == 6
    counting.cancel()
    assert turns >= 3


# --- the embedder that needs nothing --------------------------------------------------------------------------------------


async def nearness(one: str, other: str) -> float:
    first, second = (struct.unpack("<384f", made) for made in await HashingEmbedder().embedded([one, other]))
    return sum(map(float.__mul__, first, second))


async def test_hashing_finds_words_and_pieces_of_words() -> None:
    same = await nearness("The cat sat on the mat", "the CAT sat on the mat!")
    assert same == pytest.approx(1, abs=1e-6)
    likes = await nearness("orders of customers", "order of a customer")
    other = await nearness("orders of customers", "weather in Graz")
    assert likes > 0.5 > 0.2 > abs(other)
    assert await nearness("car", "automobile") < 0.2, "it knows letters, not meanings"
    assert await HashingEmbedder().embedded(["…!"]) == [b""]


async def test_hashing_is_the_same_in_every_process() -> None:
    (made,) = await HashingEmbedder(8).embedded(["a word"])
    assert [round(number, 4) for number in struct.unpack("<8f", made)] == HASHED


HASHED = [0.378, 0.7559, 0.0, 0.0, 0.0, -0.378, 0.0, 0.378]


@given(st.text(max_size=50))
async def test_hashing_takes_any_text(text: str) -> None:
    (made,) = await HashingEmbedder(16).embedded([text])
    assert made == b"" or sum(number * number for number in struct.unpack("<16f", made)) == pytest.approx(1, abs=1e-5)
