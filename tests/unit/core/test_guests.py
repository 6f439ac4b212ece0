"""What guests share."""

from __future__ import annotations

import pytest

from agenticflow.core.engine import Execution


@pytest.mark.parametrize(
    ("stream_id", "kind", "execution_id", "run_no"),
    [
        ("workflow-w/1", "workflow", "w", 1),
        ("gate-a-b/c/12", "gate", "a-b/c", 12),
        ("journal-w~0a1b/1", "journal", "w~0a1b", 1),
    ],
)
def test_an_execution_is_told_from_its_stream(stream_id: str, kind: str, execution_id: str, run_no: int) -> None:
    execution = Execution.of(stream_id)
    assert (execution.kind, execution.id, execution.run_no) == (kind, execution_id, run_no)
    assert execution.stream_id == stream_id


def test_a_stream_of_no_execution_is_refused() -> None:
    with pytest.raises(ValueError, match="topic"):
        Execution.of("topic-topic")
