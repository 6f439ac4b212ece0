"""Streams that are committed together: a store that notes which, and fails one of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from agenticflow import (
    AgenticFlowError,
    ConcurrencyConflict,
    OutcomeUnknown,
    StoreUnavailable,
    TaskDefinition,
    WorkflowDefinition,
)
from agenticflow.storage.commits import Commit, Committed
from agenticflow.testing.fakes import FlakyStore

INNER = WorkflowDefinition([TaskDefinition("only", "agent", "count")], name="inner")


def chain(length: int, inner: WorkflowDefinition = INNER) -> WorkflowDefinition:
    """Return sub-workflows that run one after the other."""
    tasks = [
        TaskDefinition(f"s{number}", workflow=inner, dependencies=[f"s{number - 1}"] if number else [])
        for number in range(length)
    ]
    return WorkflowDefinition(tasks, name="chain")


class Watched(FlakyStore):
    """Notes which streams were committed together."""

    def __init__(self, *, delay_seconds: float | None = None) -> None:
        super().__init__(delay_seconds=delay_seconds)
        self.together: list[list[str]] = []
        self.before: Callable[[Sequence[Commit]], None] = lambda commits: None

    async def commit_in_order(self, commits: Sequence[Commit]) -> Sequence[Committed | AgenticFlowError]:
        self.together.append([commit.stream_id.removeprefix("workflow-").removesuffix("/1") for commit in commits])
        self.before(commits)
        return await super().commit_in_order(commits)

    def fail_one_of(self, streams: Sequence[str], stream: str, error: AgenticFlowError, is_written: bool) -> None:
        """When ``streams`` are first committed together, that of ``stream`` fails."""

        def strike(commits: Sequence[Commit]) -> None:
            if [commit.stream_id for commit in commits] == streams and not self.failures:
                self.fail(
                    "commit",
                    error=error,
                    is_written=is_written,
                    only=lambda commit: isinstance(commit, Commit) and commit.stream_id == stream,
                )

        self.before = strike


each_failure = pytest.mark.parametrize(
    ("error", "is_written"),
    [
        (StoreUnavailable("full"), False),
        (OutcomeUnknown("lost"), False),
        (OutcomeUnknown("not answered"), True),
        (ConcurrencyConflict("it", 1, 2), False),
    ],
    ids=["refused", "lost", "unanswered", "conflict"],
)
