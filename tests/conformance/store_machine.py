"""Random commands against a real store and the schoolbook one, one after the other and together, across reopening."""

from __future__ import annotations

import asyncio
import tempfile
from abc import abstractmethod
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Final, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from agenticflow.core.codec import content_hash, encode
from agenticflow.core.types import ANY_VERSION
from agenticflow.errors import ConcurrencyConflict, StoreUnavailable
from agenticflow.storage.commits import Commit, Committed, NewEvent
from agenticflow.storage.rows import Blob, Row, RunRow, Snapshot
from agenticflow.storage.store import Store
from agenticflow.testing.store_model import StoreModel

T = TypeVar("T")
PATIENCE_SECONDS: Final = 30.0

streams = st.sampled_from(["a", "b", "a\0", "Ä", "🚀"])
events = st.lists(
    st.builds(
        NewEvent,
        event_type=st.sampled_from(["began", "ended", "\0"]),
        data=st.dictionaries(st.text(max_size=5), st.integers(-(2**63), 2**64 - 1), max_size=3).map(encode),
        timestamp=st.integers(-(2**63) + 1, 2**63 - 1),
        metadata=st.sampled_from([b"", encode({"actor_id": "me"})]),
    ),
    max_size=9,
)
command_ids = st.none() | st.integers(0, 5).map("command-{}".format)
offsets = st.sampled_from([None, None, 0, 0, 0, 1, -1, 5])
"""How far the expected version is from the right one; ``None`` is any version."""


def _run_row(name: str, run_no: int, kind: str, is_open: bool) -> RunRow:
    return RunRow(
        stream_id=f"{kind}-{name}/{run_no}",
        kind=kind,
        execution_id=name,
        run_no=run_no,
        name="n",
        status="RUNNING" if is_open else "COMPLETED",
        is_open=is_open,
        next_due=run_no if is_open else None,
    )


rows = st.lists(
    st.builds(_run_row, st.sampled_from("xyz"), st.integers(1, 3), st.sampled_from(["workflow", "turn"]), st.booleans())
    | st.builds(Snapshot, stream_id=streams, version=st.integers(0, 9), data=st.binary(max_size=9))
    | st.binary(max_size=4).map(lambda data: Blob(content_hash(data), data)),
    max_size=3,
)
value_names = st.tuples(st.sampled_from(["n", "N\0"]), st.sampled_from(["", "\0", "ä"]).map("key{}".format))
drafts = st.tuples(streams, offsets, events, command_ids, rows).filter(lambda draft: bool(draft[2] or draft[4]))
Draft = tuple[str, int | None, list[NewEvent], str | None, list[Row]]


class StoreMachine(RuleBasedStateMachine):
    """Subclass it, give ``open_store``, and run its ``TestCase``."""

    survives_reopen: ClassVar[bool] = True

    folder: tempfile.TemporaryDirectory[str] | None = None

    @initialize()
    def open(self) -> None:  # not in __init__: hypothesis makes machines that it never tears down
        self.folder = tempfile.TemporaryDirectory()
        self.place = Path(self.folder.name)
        self.runner = asyncio.Runner()
        self.model = StoreModel()
        self.store = self.run(self.open_store())
        self.followed: list[tuple[str, int]] = []
        self.follower = self.run(self._start_following())

    @abstractmethod
    async def open_store(self) -> Store:
        """Open the store in ``self.place``."""

    def run(self, work: Coroutine[object, object, T]) -> T:
        return self.runner.run(asyncio.wait_for(work, PATIENCE_SECONDS))

    def commit_of(self, draft: Draft) -> Commit:
        stream_id, offset, new, command_id, beside = draft
        expected = ANY_VERSION if offset is None else max(0, self.model.version(stream_id) + offset)
        return Commit(stream_id=stream_id, expected=expected, events=new, command_id=command_id, rows=beside)

    @rule(draft=drafts)
    def commit(self, draft: Draft) -> None:
        commit = self.commit_of(draft)
        (answer,) = self.run(_answers(self.store, [commit]))
        if isinstance(answer, ConcurrencyConflict):
            assert self.model.conflicts(commit)
            assert (answer.stream_id, answer.expected) == (commit.stream_id, commit.expected)
            assert answer.actual == self.model.version(commit.stream_id)
        else:
            self.model.take(commit, answer)

    @rule(together=st.lists(drafts.filter(lambda draft: bool(draft[2])), min_size=2, max_size=12))
    def commit_together(self, together: list[Draft]) -> None:
        """Whatever order the store chose, it must be one in which every answer is right."""
        commits = [self.commit_of((*draft[:4], [])) for draft in together]  # rows have no position to order them by
        before = {commit.stream_id: self.model.version(commit.stream_id) for commit in commits}
        answers = list(zip(commits, self.run(_answers(self.store, commits)), strict=True))
        committed = [(commit, answer) for commit, answer in answers if isinstance(answer, Committed)]
        for commit, taken in sorted(committed, key=lambda pair: (pair[1].is_repeated, pair[1].position)):
            self.model.take(commit, taken)
        for commit, answer in answers:
            if isinstance(answer, ConcurrencyConflict):
                assert commit.expected != answer.actual
                assert before[commit.stream_id] <= answer.actual <= self.model.version(commit.stream_id)

    @rule(draft=drafts, turns=st.integers(0, 4))
    def give_up_and_ask_again(self, draft: Draft, turns: int) -> None:
        """Whether the first call was written or not, in the end it is written once."""
        number = len(self.model.answers)
        commit = self.commit_of((draft[0], None, draft[2], f"asked-again-{number}", draft[4]))

        async def ask() -> Committed:
            first = asyncio.ensure_future(self.store.commit(commit))
            for _ in range(turns):
                await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            return await self.store.commit(commit)

        answer = self.run(ask())
        self.model.take(commit, Committed(answer.version, answer.position))

    @rule(
        name=value_names,
        content=st.binary(max_size=4),
        lifetime=st.none() | st.integers(1, 5),
        offset=offsets,
        later=st.integers(0, 2),
    )
    def put_value(
        self, name: tuple[str, str], content: bytes, lifetime: int | None, offset: int | None, later: int
    ) -> None:
        self.model.now += later
        actual = self.model.value_version(*name)
        expected = ANY_VERSION if offset is None else max(0, actual + offset)
        expires_at = None if lifetime is None else self.model.now + lifetime
        put = self.store.put_value(*name, content, now=self.model.now, expires_at=expires_at, expected_version=expected)
        if expected not in (ANY_VERSION, actual):
            with pytest.raises(ConcurrencyConflict) as refusal:
                self.run(put)
            assert (refusal.value.expected, refusal.value.actual) == (expected, actual)
        else:
            assert self.run(put) == self.model.put_value(*name, content, expires_at)

    @rule(name=value_names)
    def delete_value(self, name: tuple[str, str]) -> None:
        """Whether an expired value counts as there is open; in the end it is not."""
        was_there = self.run(self.store.delete_value(*name))
        if self.model.value_version(*name):
            assert was_there
        self.model.values.pop(name, None)

    @precondition(lambda self: self.survives_reopen)
    @rule()
    def reopen(self) -> None:
        self.run(self._see_everything())
        self.run(self.store.close())
        self.run(_ended(self.follower))
        self.store = self.run(self.open_store())
        self.follower = self.run(self._start_following())

    @rule()
    def compare(self) -> None:
        assert self.run(self.model.differences(self.store)) == []

    def teardown(self) -> None:
        if self.folder is None:
            return
        try:
            self.compare()
            self.run(self._see_everything())
            assert self.followed == [(event.stream_id, event.version) for event in self.model.log]
        finally:
            self.run(self.store.close())
            self.run(_ended(self.follower))
            self.runner.close()
            self.folder.cleanup()

    async def _start_following(self) -> asyncio.Task[None]:
        return asyncio.create_task(self._follow(self.model.last_position if self.followed else 0))

    async def _follow(self, after: int) -> None:
        async for event in self.store.stream_events(after_position=after):
            self.followed.append((event.stream_id, event.version))

    async def _see_everything(self) -> None:
        """Let the follower catch up."""
        while len(self.followed) < len(self.model.log) and not self.follower.done():
            await asyncio.sleep(0)


async def _answers(store: Store, commits: list[Commit]) -> list[Committed | ConcurrencyConflict]:
    """Return what each of ``commits``, sent together, is answered; nothing but these two is right here."""

    async def answer(commit: Commit) -> Committed | ConcurrencyConflict:
        try:
            return await store.commit(commit)
        except ConcurrencyConflict as error:
            return error

    return await asyncio.gather(*(answer(commit) for commit in commits))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with suppress(asyncio.CancelledError, StoreUnavailable):
        await task
