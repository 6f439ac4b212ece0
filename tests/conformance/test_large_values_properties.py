"""Random commits, sweeps, copies and crashes over large values in files: what is referred to is there, what is not goes.

A crash is a failpoint that raises for ever after: nothing behind it happens, neither in the file nor in the folder, until the store is
opened again. Values refer to values, so that a sweep has to look into files.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import NamedTuple

import msgspec
from hypothesis import event, given, settings
from hypothesis import strategies as st

from agenticflow.app.upkeep.backups import back_up_store
from agenticflow.core import codec
from agenticflow.core.codec import content_hash
from agenticflow.core.values import BlobRef, reference_in
from agenticflow.errors import AgenticFlowError
from agenticflow.integrations.stores.sqlite import SQLiteStore
from agenticflow.runtime import failpoints
from agenticflow.storage.commits import Commit, NewEvent
from agenticflow.storage.retention import RetentionPolicy, references_within
from agenticflow.storage.rows import Blob

COUNT = 6
TRIM = RetentionPolicy(topic_events=1)


def reference(name: str, size: int) -> bytes:
    """Return what stands in for a value of any size."""
    return b"\xc7\x1c\x07" + bytes.fromhex(name) + size.to_bytes(8, "big")


def chain() -> list[Blob]:
    """Return values of which each other one refers to the one before."""
    made: list[Blob] = []
    for number in range(COUNT):
        inner = reference(made[-1].hash, len(made[-1].data)) if number % 2 else b"\xc0"
        data = b"\x93" + inner + codec.encode(number) + codec.encode(bytes(40))
        made.append(Blob(content_hash(data), data))
    return made


VALUES = chain()


class Bring(NamedTuple):
    """A commit to a topic, which keeps its newest event: references of the older ones go with the next compaction."""

    topic: int
    values: frozenset[int]
    refers: bool


class Sweep(NamedTuple):
    """A compaction."""


class Copy(NamedTuple):
    """A backup, which is looked at."""


class Crash(NamedTuple):
    """The end of the process at the n-th arrival at a point."""

    point: str
    arrival: int


bring = st.builds(
    Bring, topic=st.integers(0, 2), values=st.frozensets(st.integers(0, COUNT - 1), max_size=3), refers=st.booleans()
)
lonely = st.builds(
    Bring, topic=st.just(3), values=st.frozensets(st.integers(0, COUNT - 1), min_size=1), refers=st.just(False)
)
COMMIT = ("store.before_commit", "store.after_commit", "store.before_ack")


def crash(*points: str) -> st.SearchStrategy[Crash]:
    return st.builds(Crash, point=st.sampled_from(points), arrival=st.sampled_from([1, 1, 2, 3]))


steps = st.lists(
    st.tuples(bring)
    | st.tuples(bring, st.just(Sweep()))
    | st.tuples(st.just(Copy()))
    | st.tuples(crash("blob.written", "blob.named", "blob.synced", *COMMIT), bring)
    | st.tuples(lonely, crash("blob.forgotten", *COMMIT), st.just(Sweep()))
    | st.tuples(crash("blob.copied"), st.just(Copy())),
    min_size=4,
    max_size=12,
).map(lambda pieces: [step for piece in pieces for step in piece])
"""A crash is followed by what it is to meet: else most of them would meet nothing."""


class _Killed(BaseException):
    """Not an error that anybody handles."""


class _Death:
    """Counts arrivals; from the chosen one on nothing happens any more."""

    def __init__(self) -> None:
        self._plan: Crash | None = None
        self._left = 0
        self.is_dead = False

    def plan(self, crash: Crash) -> None:
        self._plan, self._left = crash, crash.arrival

    def reach(self, point: str) -> None:
        if self._plan is not None and point == self._plan.point:
            self._left -= 1
            self.is_dead = self.is_dead or self._left == 0
        if self.is_dead:
            raise _Killed(point)

    @property
    def point(self) -> str:
        return "nowhere" if self._plan is None else self._plan.point

    def revive(self) -> None:
        self._plan, self.is_dead = None, False


async def needed_in(store: SQLiteStore) -> set[str]:
    """Return the names of all values that an event refers to, or a value that is needed."""
    found = {name for one in await store.scan_page(0, 10_000) for name in references_within(one.data)}
    grey = list(found)
    while grey:
        data = await store.get_blob(grey.pop())
        assert data is not None, "what is referred to is there"
        grey += references_within(data) - found
        found |= references_within(data)
    return found


def closed_over(numbers: frozenset[int]) -> set[int]:
    """Return the values with those that they refer to: whoever refers to one brings all of it."""
    return set(numbers) | {number - 1 for number in numbers if number % 2}


async def carry_out(store: SQLiteStore, step: Bring | Sweep | Copy, folder: Path) -> None:
    match step:
        case Bring(topic, values, refers):
            payload = [msgspec.Raw(reference(VALUES[n].hash, len(VALUES[n].data))) for n in sorted(values)]
            fact = NewEvent("happened", codec.encode(payload if refers else []), 1)
            rows = [VALUES[number] for number in sorted(closed_over(values))]
            await store.commit(Commit(stream_id=f"topic-{topic}", events=[fact], rows=rows))
        case Sweep():
            await store.compact(TRIM, now=1)
        case Copy():
            await back_up_store(f"sqlite:///{folder / 'state.db'}", folder / "copy.db", force=True)
            copy = await SQLiteStore.open(folder / "copy.db", read_only=True)
            assert await needed_in(copy) == await needed_in(store)
            assert await copy.verify() == []
            await copy.close()


async def opened(folder: Path) -> SQLiteStore:
    return await SQLiteStore.open(folder / "state.db", durability="normal", blobs=folder / "values", least_file_bytes=1)


async def live(folder: Path, plan: list[Bring | Sweep | Copy | Crash]) -> list[str]:
    """Carry out the plan; return where the process died."""
    death, deaths = _Death(), list[str]()
    store = await opened(folder)
    failpoints.watch(death.reach)
    try:
        for step in plan:
            if isinstance(step, Crash):
                death.plan(step)
                continue
            try:
                await carry_out(store, step, folder)
            except (AgenticFlowError, _Killed):
                assert death.is_dead
            if death.is_dead:
                deaths.append(f"{type(step).__name__} killed at {death.point}")
                await store.close()
                death.revive()
                store = await opened(folder)
            assert await store.verify() == []
            await needed_in(store)
        death.revive()
        for _ in range(2):
            await store.compact(TRIM, now=1)
        (own,) = (folder / "values").iterdir()
        assert {path.name for path in own.iterdir()} - {"store"} == await needed_in(store), "and nothing else"
        assert await store.verify() == []
    finally:
        failpoints.watch(None)
        await store.close()
    return deaths


@given(plan=steps)
@settings(settings.get_profile("house"), max_examples=60)
def test_what_is_referred_to_is_there_and_what_is_not_goes(plan: list[Bring | Sweep | Copy | Crash]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        deaths = asyncio.run(live(Path(folder).resolve(), plan))
    for death in set(deaths):
        event(death)


def test_the_values_refer_to_each_other_as_the_codec_writes_it() -> None:
    assert reference_in(reference(VALUES[0].hash, 7)) == BlobRef(hash=VALUES[0].hash, size=7)
    assert [len(references_within(value.data)) for value in VALUES] == [0, 1, 0, 1, 0, 1]
