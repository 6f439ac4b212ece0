"""The kit is worth something: a store that breaks a promise fails the case of that promise, and the random histories find it too."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import ClassVar

import msgspec
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from agenticflow.core.schemas import SchemaRegistry
from agenticflow.core.types import ANY_VERSION, MAX_EVENT_BYTES
from agenticflow.errors import AgenticFlowError, BoundExceeded, ConcurrencyConflict
from agenticflow.storage.commits import Commit, Committed, StoredEvent
from agenticflow.storage.key_values import KeyValue
from agenticflow.storage.memory import MemoryStore
from agenticflow.storage.rows import RunRow, Snapshot
from agenticflow.storage.store import Store
from agenticflow.testing.event_store_kit import EventStoreKit
from agenticflow.testing.key_values_kit import KeyValuesKit
from tests.conformance.store_machine import StoreMachine


class ForgetsCommands(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        return await super().commit(msgspec.structs.replace(commit, command_id=None))


class ChecksExpectedBeforeTheCommand(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        version = len(self._streams.get(commit.stream_id, ()))
        if commit.expected not in (ANY_VERSION, version):
            raise ConcurrencyConflict(commit.stream_id, commit.expected, version)
        return await super().commit(commit)


class RemembersRefusedCommands(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        try:
            return await super().commit(commit)
        except ConcurrencyConflict as error:
            self._answers[commit.command_id or ""] = Committed(error.actual, 0)
            raise


class IgnoresTheExpectedVersion(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        return await super().commit(msgspec.structs.replace(commit, expected=ANY_VERSION))


class ChecksThenWaitsThenWrites(IgnoresTheExpectedVersion):
    async def commit(self, commit: Commit) -> Committed:
        version = len(self._streams.get(commit.stream_id, ()))
        if commit.expected not in (ANY_VERSION, version):
            raise ConcurrencyConflict(commit.stream_id, commit.expected, version)
        await asyncio.sleep(0)
        return await super().commit(commit)


class WritesRowsFirst(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        self._runs.update({row.stream_id: row for row in commit.rows if isinstance(row, RunRow)})
        self._snapshots.update({row.stream_id: row for row in commit.rows if isinstance(row, Snapshot)})
        return await super().commit(commit)


class TearsCommitsApart(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        for event in commit.events[:-1]:
            await super().commit(Commit(stream_id=commit.stream_id, events=[event]))
            await asyncio.sleep(0)
        return await super().commit(msgspec.structs.replace(commit, events=commit.events[-1:]))


class GoesOnBehindAConflict(MemoryStore):
    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        return [answer for commit in commits for answer in await MemoryStore.commit_in_order(self, [commit])]


class MakesAllOrNothing(MemoryStore):
    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        tried = MemoryStore()
        tried._streams = {name: list(events) for name, events in self._streams.items()}
        answers = await tried.commit_in_order(commits)
        return answers[-1:] if isinstance(answers[-1], AgenticFlowError) else await super().commit_in_order(commits)


class GoesOnBehindACommandSeenBefore(MemoryStore):
    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        return [await self.commit(commit) for commit in commits]


class RefusesAtTheLimit(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        if any(len(event.data) + len(event.metadata) >= MAX_EVENT_BYTES for event in commit.events):
            raise BoundExceeded("too large")
        return await super().commit(commit)


class TrimsNames(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        return await super().commit(msgspec.structs.replace(commit, stream_id=commit.stream_id.strip(" \0") or "?"))


class SkipsTheFirstOfAPage(MemoryStore):
    async def read_page(self, stream_id: str, after_version: int, limit: int) -> Sequence[StoredEvent]:
        return await super().read_page(stream_id, after_version + (after_version > 0), limit)


class TellsNobody(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        self.followers._followers.clear()
        return await super().commit(commit)


class ListsOldestFirst(MemoryStore):
    async def list_runs(
        self,
        *,
        kind: str | None = None,
        status: str | None = None,
        is_open: bool | None = None,
        after: str | None = None,
        limit: int = 100,
    ) -> Sequence[RunRow]:
        found = await super().list_runs(kind=kind, status=status, is_open=is_open, limit=10_000)
        return found[::-1][:limit]


class TakesTheLastWrittenForTheLatest(MemoryStore):
    async def commit(self, commit: Commit) -> Committed:
        answer = await super().commit(commit)
        rows = [row for row in commit.rows if isinstance(row, RunRow)]
        self._latest.update({(row.kind, row.execution_id): row.stream_id for row in rows})
        return answer


class TrustsItsBlobs(MemoryStore):
    async def get_blob(self, name: str) -> bytes | None:
        return self._blobs.get(name)


class AnswersWhenClosed(MemoryStore):
    async def close(self) -> None:
        self.followers.close()


class ForgetsToExpire(MemoryStore):
    async def get_value(self, namespace: str, key: str, *, now: int) -> KeyValue | None:
        return await super().get_value(namespace, key, now=-1)


class IgnoresTheExpectedVersionOfValues(MemoryStore):
    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        now: int,
        expires_at: int | None = None,
        expected_version: int = ANY_VERSION,
    ) -> int:
        return await super().put_value(namespace, key, value, now=now, expires_at=expires_at)


class KeepsOldVersions(MemoryStore):
    async def put_value(
        self,
        namespace: str,
        key: str,
        value: bytes,
        *,
        now: int,
        expires_at: int | None = None,
        expected_version: int = ANY_VERSION,
    ) -> int:
        found = await self.get_value(namespace, key, now=-1)
        await super().put_value(
            namespace, key, value, now=now, expires_at=expires_at, expected_version=expected_version
        )
        return 1 if found is None else found.version + 1


class ListsWithoutPrefix(MemoryStore):
    async def list_values(
        self, namespace: str, *, now: int, prefix: str = "", after: str | None = None, limit: int = 100
    ) -> Sequence[KeyValue]:
        return await super().list_values(namespace, now=now, after=after, limit=limit)


BROKEN: list[tuple[type[MemoryStore], str]] = [
    (ForgetsCommands, "test_a_command_seen_before_is_answered_and_not_repeated"),
    (ChecksExpectedBeforeTheCommand, "test_a_command_seen_before_is_not_held_against_the_expected_version"),
    (RemembersRefusedCommands, "test_a_refused_commit_does_not_use_up_its_command_id"),
    (IgnoresTheExpectedVersion, "test_a_conflict_names_both_versions_and_writes_nothing"),
    (ChecksThenWaitsThenWrites, "test_fifty_concurrent_appends_at_one_version_have_one_winner"),
    (WritesRowsFirst, "test_a_refused_commit_leaves_no_row_behind"),
    (TearsCommitsApart, "test_concurrent_commits_to_one_stream_stay_whole"),
    (GoesOnBehindAConflict, "test_what_stands_before_a_conflict_is_made_and_what_stands_behind_it_is_not"),
    (MakesAllOrNothing, "test_what_stands_before_a_conflict_is_made_and_what_stands_behind_it_is_not"),
    (GoesOnBehindACommandSeenBefore, "test_nothing_is_made_behind_a_command_seen_before"),
    (RefusesAtTheLimit, "test_an_event_exactly_at_its_limit_is_accepted"),
    (TrimsNames, "test_stream_ids_are_any_text_and_never_mixed_up"),
    (SkipsTheFirstOfAPage, "test_pages_join_without_gap_or_duplicate"),
    (TellsNobody, "test_a_follower_who_waits_is_woken"),
    (ListsOldestFirst, "test_runs_are_listed_newest_first_by_their_first_write"),
    (TakesTheLastWrittenForTheLatest, "test_the_latest_run_of_a_chain_is_found_without_its_number"),
    (TrustsItsBlobs, "test_a_blob_that_does_not_hash_to_its_name_is_reported"),
    (AnswersWhenClosed, "test_a_closed_store_says_so"),
    (ForgetsToExpire, "test_an_expired_value_is_invisible_at_once"),
    (IgnoresTheExpectedVersionOfValues, "test_of_twenty_writers_that_expect_one_version_one_wins"),
    (KeepsOldVersions, "test_an_expired_value_counts_as_not_there_and_begins_again_at_1"),
    (ListsWithoutPrefix, "test_values_are_listed_by_the_beginning_of_their_keys"),
]


class Kit(EventStoreKit, KeyValuesKit):
    __test__ = False
    survives_reopen = False
    patience_seconds: ClassVar[float] = 0.5
    kind: type[MemoryStore] = MemoryStore

    async def open_store(self, schemas: SchemaRegistry | None = None) -> Store:
        return self.kind(schemas)


@pytest.mark.parametrize(("kind", "case"), BROKEN, ids=[kind.__name__ for kind, _ in BROKEN])
async def test_the_kit_finds(kind: type[MemoryStore], case: str) -> None:
    kit = Kit()
    kit.kind = kind
    with pytest.raises((AssertionError, TimeoutError, ValueError, ConcurrencyConflict, BoundExceeded)):
        await getattr(kit, case)()


def test_the_kit_has_a_case_for_every_promise() -> None:
    cases = [name for name in dir(Kit) if name.startswith("test_")]
    assert len(cases) >= 60
    assert {case for _, case in BROKEN} <= set(cases)


@pytest.mark.parametrize(
    "kind",
    [
        ForgetsCommands,
        RemembersRefusedCommands,
        ChecksThenWaitsThenWrites,
        WritesRowsFirst,
        TearsCommitsApart,
        TrimsNames,
        SkipsTheFirstOfAPage,
        ListsOldestFirst,
        TakesTheLastWrittenForTheLatest,
        KeepsOldVersions,
    ],
)
def test_random_histories_find(kind: type[MemoryStore]) -> None:
    class Machine(StoreMachine):
        survives_reopen = False

        async def open_store(self) -> Store:
            return kind()

    quick = settings(max_examples=500, stateful_step_count=25, phases=[Phase.generate], derandomize=True, deadline=None)
    with pytest.raises((AssertionError, ExceptionGroup)):
        run_state_machine_as_test(Machine, settings=quick)
