"""Graphs as Mermaid."""

from __future__ import annotations

import pytest

from agenticflow.errors import InvalidInput
from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition
from agenticflow.orchestration.graph import TaskGraph

T = TaskDefinition


def drawn(*tasks: TaskDefinition) -> list[str]:
    return [line.strip() for line in TaskGraph.of(WorkflowDefinition(tasks)).to_mermaid().splitlines()[1:]]


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        (T("a", "x"), '["a"]'),
        (T("a", "x", for_each="${rows}", enough=2), '[/"a<br/>for each ${rows}<br/>2 are enough"/]'),
        (T("a", "x", for_each=[1, 2]), '[/"a<br/>for each of 2"/]'),
        (T("a", workflow="orders"), '[["a<br/>runs orders"]]'),
        (T("a", workflow=WorkflowDefinition([T("b", "x")], name="inner")), '[["a<br/>runs inner"]]'),
        (T.timer("a", 1.5), '(["a<br/>1.5 s"])'),
        (T.wait_for("a", "go"), '>"a<br/>signal go"]'),
        (T.wait_for("a", "a"), '>"a"]'),
        (T.ask("a", 'Is "this" <right>?'), '{{"a<br/>Is #quot;this#quot; #lt;right#gt;?"}}'),
        (T("a", "x", when="${n} > 1", ends_run=True), '["a<br/>if ${n} #gt; 1<br/>ends the run"]'),
        (T("a", continue_with={}), '((("a")))'),
        (T.ask("a", "word " * 30), '{{"a<br/>' + ("word " * 30)[:59] + '…"}}'),
    ],
)
def test_the_shape_says_what_kind_a_task_is(task: TaskDefinition, shape: str) -> None:
    assert drawn(task)[0] == "n0" + shape


def test_a_loop_leads_to_itself() -> None:
    assert drawn(T("a", "x", repeat_until="${a} > 3")) == ['n0("a<br/>until ${a} #gt; 3")', "n0 -->|again| n0"]


def test_a_choice_is_a_diamond_with_its_conditions_beside_the_ways() -> None:
    lines = drawn(
        T("score", "x"),
        T.choice("route", {"high": "${score} > 5", "low": None}, {"score"}),
        T("high", "x", dependencies=["route"]),
        T("low", "x", dependencies=["route", "score"], when="${score} != 3"),
    )
    assert 'n1{"route"}' in lines
    assert 'n1 -->|"${score} #gt; 5"| n2' in lines
    assert 'n1 -->|"otherwise and ${score} != 3"| n3' in lines
    assert 'n0 -->|"${score} != 3"| n3' in lines


def test_joins_fallbacks_and_cancellations_are_shown() -> None:
    lines = drawn(
        T("a", "x", fallback="f"),
        T("b", "x", cancels=["a"]),
        T("f", "x"),
        T("some", "x", dependencies=["a", "b"], join=1),
        T("ended", "x", dependencies=["a", "b"], join="settled"),
    )
    assert lines[3:5] == ['n3["some<br/>after 1 of 2"]', 'n4["ended<br/>after all have settled"]']
    assert "n0 -.->|on failure| n2" in lines
    assert "n1 --x|cancels| n0" in lines


def test_statuses_become_classes() -> None:
    graph = TaskGraph.of(WorkflowDefinition([T("a", "x"), T("b", "x"), T("c", "x")]))
    text = graph.to_mermaid({"a": "COMPLETED", "b": "COMPLETED", "c": "FAILED", "nobody": "FAILED"}, direction="LR")
    assert text.startswith("flowchart LR\n")
    assert "class n0,n1 completed" in text
    assert "class n2 failed" in text
    assert "classDef" not in graph.to_mermaid({"a": "SLEEPING"})


def test_a_graph_by_hand_is_drawn_as_well() -> None:
    graph = TaskGraph()
    graph.add_task("end")
    graph.add_task("next", ["end"])
    assert graph.to_mermaid() == 'flowchart TD\n    n0["end"]\n    n1["next"]\n    n0 --> n1\n'


def test_part_of_a_definition_is_drawn_without_what_is_not_there() -> None:
    graph = TaskGraph()
    graph.add_task("a", task=T("a", "x", fallback="f", cancels=["b"], dependencies=["c"]))
    assert graph.to_mermaid() == 'flowchart TD\n    n0["a"]\n'


def test_a_direction_is_one_of_four() -> None:
    with pytest.raises(InvalidInput, match="use TD, LR, BT, RL"):
        TaskGraph().to_mermaid(direction="up")
