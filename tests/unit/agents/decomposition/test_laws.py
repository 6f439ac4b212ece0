"""What holds for every answer and every graph: nothing raises, verdicts stay, and a plan says what was meant with as little as possible."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from agenticflow.agents.decomposition import Decomposition, PlannedTask, Strategy, lay_out, read_answer
from agenticflow.agents.decomposition.decomposition import plain_form
from agenticflow.agents.decomposition.plans.ordering import follows_anyway, levels_of, waits_for
from agenticflow.orchestration.validation import validate
from benchmarks.decompositions import judge, staff

DOERS = staff()
WORDS = st.sampled_from(
    ["load", "a", "b", "c", "sql", "writing", "statistics", "SQL", "run", "table", "rows", "query", "${a}", "${b.x}", "${", "sequential",
     "parallel", "", " ", "1", "é", "ß²", "x" * 300, "tasks"]
)  # fmt: skip
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-5, 99)
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS
    | st.text(max_size=9)
)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)
FIELDS = [
    "id",
    "type",
    "capabilities",
    "parameters",
    "dependencies",
    "retry_policy",
    "agent",
    "task_id",
    "params",
    "depends_on",
]
TASKS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=7) | JSON
ANSWERS = (
    st.fixed_dictionaries({"tasks": st.lists(TASKS, max_size=6)}, optional={"strategy": JSON, "reason": JSON}) | JSON
)


@given(ANSWERS, st.lists(WORDS, max_size=3), st.lists(WORDS, max_size=2))
@settings(max_examples=400, deadline=None)
def test_no_answer_raises_and_each_has_a_verdict(answer: Any, done: list[str], keys: list[str]) -> None:
    reading = read_answer(answer, done=done, context_keys=keys)
    assert (reading.decomposition is None) == bool(reading.problems)
    if reading.decomposition is None:
        return
    planned = lay_out(reading.decomposition, DOERS, done=done, context_keys=keys, at_most_once=["send"])
    assert (planned.plan is None) == bool(planned.problems)
    if planned.plan is not None:
        assert validate(planned.plan.definition) == []


@given(ANSWERS)
@settings(max_examples=150, deadline=None)
def test_words_and_data_are_read_alike(answer: Any) -> None:
    said = read_answer(json.dumps(answer))
    if isinstance(answer, str):
        return  # as data it is words already
    read = read_answer(answer)
    assert said.decomposition == read.decomposition


@given(ANSWERS)
@settings(max_examples=150, deadline=None)
def test_what_was_read_is_read_again_without_a_repair(answer: Any) -> None:
    made = read_answer(answer).decomposition
    if made is not None:
        again = read_answer(plain_form(made))
        assert again.decomposition is not None, again.problems
        assert again.decomposition.ids == made.ids
        assert again.repairs == ()


@given(st.text(max_size=60), st.integers(0, 400))
@settings(max_examples=200, deadline=None)
def test_words_around_and_broken_answers_never_raise(words: str, cut: int) -> None:
    said = json.dumps({"strategy": "parallel", "tasks": [{"type": "load", "parameters": {"table": words}}]})
    judge(f"{words}{said}{words}", DOERS)
    verdict, _, _ = judge(said[: min(cut, len(said) - 1)], DOERS)
    assert verdict == "rejected", "what breaks off is never run"


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    count = draw(st.integers(1, 9))
    names = [f"t{n}" for n in range(count)]
    return {
        name: draw(st.lists(st.sampled_from(names[:number]), unique=True)) if number else []
        for number, name in enumerate(names)
    }


@given(graphs())
def test_a_plan_waits_for_the_same_with_as_little_as_possible(waits: dict[str, list[str]]) -> None:
    tasks = tuple(
        PlannedTask("load", ("sql",), {"table": "t"}, tuple(others), id=name) for name, others in waits.items()
    )
    plan = lay_out(Decomposition(Strategy.PARALLEL, tasks), DOERS).plan
    assert plan is not None
    left = {task.task_id: list(task.dependencies) for task in plan.definition.tasks}
    for one in waits:
        for other in waits:
            assert waits_for(waits, one, other) == waits_for(left, one, other)
    assert all(not implied for implied in follows_anyway(left).values())
    assert levels_of(left) == levels_of(waits)
