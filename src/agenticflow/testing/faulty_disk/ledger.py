"""What a store has promised: every commit that was sent, how it was answered, and what must therefore be found."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from random import Random  # noqa: TID251 - everything follows from the caller's seed
from typing import Final, Literal

from agenticflow.core import codec
from agenticflow.core.types import ANY_VERSION
from agenticflow.storage.commits import Commit, Committed, NewEvent, StoredEvent
from agenticflow.storage.rows import Blob, Row, RunRow, Snapshot
from agenticflow.storage.store import Store

__all__ = ["Entry", "Ledger"]

STREAMS: Final = 4
PAGE: Final = 10_000

State = Literal["sent", "acknowledged", "refused", "unknown", "lost"]


@dataclass
class Entry:
    """One commit and its answer."""

    number: int
    commit: Commit
    state: State = "sent"
    answer: Committed | None = None
    found: list[StoredEvent] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return what to call it in a complaint."""
        return f"commit {self.number} to {self.commit.stream_id!r}"


class Ledger:
    """All commits of a seed, over all its lives."""

    def __init__(self, *, may_lose_tail: bool) -> None:
        self.entries: list[Entry] = []
        self.complaints: list[str] = []
        self.lost = 0
        self.unknown = 0
        self._may_lose_tail = may_lose_tail

    @property
    def acknowledged(self) -> int:
        """How many commits were acknowledged, lost ones included."""
        return sum(entry.state == "acknowledged" for entry in self.entries) + self.lost

    def plan(self, chance: Random, size: int) -> Entry:
        """Return the next commit to send."""
        number = len(self.entries)
        count = chance.choice((0, 1, 1, 1, 2, 6))
        stream_id = f"s{chance.randrange(STREAMS)}"
        pad = bytes([number % 256]) * chance.randint(0, size)
        events = [
            NewEvent("wrote", codec.encode({"number": number, "index": index, "of": count, "pad": pad}), number)
            for index in range(count)
        ]
        rows: list[Row] = []
        if not count or chance.random() < 0.4:
            # A commit without events has no place in the order of commits: its row is its own.
            rows.append(_row(stream_id if count else f"alone-{number}", number))
        if count and chance.random() < 0.3:
            rows.append(Snapshot(stream_id=stream_id, version=number, data=pad))
        if chance.random() < 0.3:
            data = b"blob %d " % number + pad
            rows.append(Blob(codec.content_hash(data), data))
        command_id = f"c{number}" if not count or chance.random() < 0.5 else None
        expected = ANY_VERSION if count == 0 or chance.random() < 0.9 else chance.randint(0, 3)
        entry = Entry(
            number, Commit(stream_id=stream_id, expected=expected, events=events, rows=rows, command_id=command_id)
        )
        self.entries.append(entry)
        return entry

    async def compare(self, store: Store) -> list[str]:
        """Return what is wrong with ``store``; from now on what was found is known to be true, and what was not, to be gone."""
        problems: list[str] = []
        for entry in self.entries:
            entry.found = []
        for number in range(STREAMS):
            problems += await self._read(store, f"s{number}")
        present = {entry.number for entry in self.entries if entry.found}
        for entry in self.entries:
            if not entry.commit.events:
                row = await store.get_run(f"alone-{entry.number}")
                if row is not None:
                    present.add(entry.number)
                    problems += [] if row.version == entry.number else [f"the row of {entry.name} is {row}"]
        problems += self._settle(present)
        problems += await self._compare_rows(store, present)
        return problems

    async def _read(self, store: Store, stream_id: str) -> list[str]:
        problems = []
        events = await store.read_page(stream_id, 0, PAGE)
        if [event.version for event in events] != list(range(1, len(events) + 1)):
            problems.append(f"the versions of {stream_id!r} are {[event.version for event in events]}")
        for event in events:
            content = codec.decode(event.data)
            if not isinstance(content, dict) or not 0 <= content["number"] < len(self.entries):
                problems.append(f"event {event.version} of {stream_id!r} was never written")
                continue
            self.entries[content["number"]].found.append(event)
        for entry in self.entries:
            if entry.commit.stream_id == stream_id and entry.found:
                problems += self._whole(entry)
        return problems

    def _whole(self, entry: Entry) -> list[str]:
        """A commit is all or nothing, in one piece, at the place that was answered."""
        found, wanted = entry.found, entry.commit.events
        if [event.data for event in found] != [event.data for event in wanted]:
            return [f"{entry.name} is there with {len(found)} of {len(wanted)} events, or not as it was written"]
        if any(later.version != event.version + 1 for event, later in pairwise(found)):
            return [f"{entry.name} is not in one piece"]
        last = Committed(found[-1].version, found[-1].position)
        if entry.answer is not None and entry.state == "acknowledged" and entry.answer != last:
            return [f"{entry.name} was answered {entry.answer} and stands at {last}"]
        return []

    def _settle(self, present: set[int]) -> list[str]:
        problems, self.complaints = self.complaints, []
        missing = [e for e in self.entries if e.state == "acknowledged" and e.number not in present]
        for entry in missing:
            self.lost += 1
            if not self._may_lose_tail:
                problems.append(f"{entry.name} was acknowledged and is gone")
        lost_from = min((e.answer.position for e in missing if e.answer is not None and e.commit.events), default=None)
        for entry in self.entries:
            is_present = entry.number in present
            if entry.state == "refused" and is_present:
                problems.append(f"{entry.name} was refused and is there")
            if lost_from is not None and entry.found and is_present and entry.found[-1].position > lost_from:
                problems.append(f"{entry.name} is there, and an earlier commit is gone")
            if entry.state == "unknown":
                self.unknown += 1
            entry.state = "acknowledged" if is_present else "lost" if entry in missing else "refused"
        return problems

    async def _compare_rows(self, store: Store, present: set[int]) -> list[str]:
        """A row is as the last commit left it that wrote it; a blob is there when its commit is."""
        problems = []
        runs: dict[str, int] = {}
        snapshots: dict[str, Snapshot] = {}
        entries = sorted((e for e in self.entries if e.found), key=lambda e: e.found[0].position)
        for entry in entries:
            for row in entry.commit.rows:
                if isinstance(row, RunRow):
                    runs[row.execution_id] = entry.number
                elif isinstance(row, Snapshot):
                    snapshots[row.stream_id] = row
        for execution_id in [f"s{number}" for number in range(STREAMS)]:
            run = await store.get_run(execution_id)
            if (run.version if run else None) != runs.get(execution_id):
                problems.append(f"the row of {execution_id!r} is {run}, commit {runs.get(execution_id)} wrote it last")
            if await store.get_snapshot(execution_id) != snapshots.get(execution_id):
                problems.append(f"the snapshot of {execution_id!r} is not the last that was written")
        for entry in self.entries:
            for row in entry.commit.rows:
                if isinstance(row, Blob) and entry.number in present and await store.get_blob(row.hash) != row.data:
                    problems.append(f"{entry.name} is there, and its blob is not")
        return problems


def _row(execution_id: str, number: int) -> RunRow:
    return RunRow(
        stream_id=f"workflow-{execution_id}/1",
        kind="workflow",
        execution_id=execution_id,
        run_no=1,
        name="proof",
        status="RUNNING",
        is_open=True,
        version=number,
    )
