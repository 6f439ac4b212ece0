"""The fluent way to write a definition."""

from __future__ import annotations

from typing import Any

import pytest

from agenticflow.errors import DefinitionError
from agenticflow.orchestration.builder import WorkflowBuilder
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition


def test_steps_follow_each_other() -> None:
    built = (
        WorkflowBuilder("orders").add_step("reserve", "stock").add_step("ship", "courier", "deliver", {"x": 1}).build()
    )
    assert built == WorkflowDefinition(
        [TaskDefinition("reserve", "stock"), TaskDefinition("ship", "courier", "deliver", {"x": 1}, {"reserve"})],
        name="orders",
    )


def test_dependencies_may_be_named_by_one_text_by_many_or_be_none() -> None:
    built = (
        WorkflowBuilder("w")
        .add_step("a", "x")
        .add_step("b", "x", depends_on=())
        .add_step("c", "x", depends_on="a")
        .add_step("d", "x", depends_on={"b", "c"})
        .build()
    )
    assert [task.dependencies for task in built.tasks] == [(), (), ("a",), ("b", "c")]


def test_timers_and_signals_are_steps() -> None:
    built = (
        WorkflowBuilder("w", timeout_seconds=60)
        .add_signal("go", "started", total_timeout_seconds=5)
        .add_timer("nap", 5)
        .add_step("end", "x", timeout_seconds=7)
        .build()
    )
    assert [task.dependencies for task in built.tasks] == [(), ("go",), ("nap",)]
    assert (built.tasks[0].signal, built.tasks[1].delay_seconds, built.tasks[2].timeout_seconds) == ("started", 5, 7)
    assert built.timeout_seconds == 60


def test_mistakes_are_found_when_it_is_built() -> None:
    with pytest.raises(DefinitionError, match="depends on 'nowhere'"):
        WorkflowBuilder("w").add_step("a", "x", depends_on="nowhere").build()
    with pytest.raises(DefinitionError, match="there are no tasks"):
        WorkflowBuilder("w").build()


def test_the_name_comes_first() -> None:
    wrong: Any = [TaskDefinition("a", "x")]
    with pytest.raises(DefinitionError, match=r'write WorkflowBuilder\("orders"\)'):
        WorkflowBuilder(wrong)
