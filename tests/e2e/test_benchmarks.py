"""The cases in which ours is measured alone still do their work and give the figures the table asks for, however fast."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks import ours_alone, ours_as_code, ours_lasting, warm
from benchmarks.cases import CASES, OURS, Bar, Case, Metric
from benchmarks.import_graph import ImportGraph
from benchmarks.ours_agents import CASES_OF_AGENTS
from benchmarks.ours_alone import CASES_ALONE
from benchmarks.ours_as_code import CASES_AS_CODE
from benchmarks.ours_lasting import CASES_LASTING
from benchmarks.ours_planning import CASES_PLANNING
from benchmarks.protocol import Figures
from benchmarks.run import Taken, rows, table, verdict

FUNCTIONS = {**CASES_ALONE, **CASES_AS_CODE, **CASES_LASTING, **CASES_PLANNING}
ALONE = [case for case in CASES if case.ours_alone]
SMALL = {
    "critical_path": 12,
    "liveness": 9,
    "inbox": 500,
    "breaker": 100,
    "pause": 8,
    "timers": 20,
    "replay": 40,
    "simulation": 5,
}
"""Sizes at which a case has something to do; the others take five."""


@pytest.fixture(autouse=True)
def _few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours_alone, "TURNS", 1)
    monkeypatch.setattr(ours_alone, "LOOKS", 1)
    monkeypatch.setattr(ours_as_code, "TURNS", 1)
    graph = ImportGraph({"base": (), "top": ("base",)}, {"base": 2, "top": 1})
    monkeypatch.setattr(ours_alone, "import_graph", lambda size: graph)
    monkeypatch.setattr(ours_lasting, "FRESH_LOOKS", 1)
    monkeypatch.setattr(ours_lasting, "QUIET_SECONDS", 0.02)
    monkeypatch.setattr(ours_lasting, "START_SECONDS", 0.2)


def test_every_case_of_ours_alone_has_its_line_and_every_line_its_case() -> None:
    assert {case.name for case in ALONE} == set(FUNCTIONS)


@pytest.mark.parametrize("case", ALONE, ids=lambda case: case.name)
def test_a_short_form_of_it_does_its_work(case: Case) -> None:
    figures = FUNCTIONS[case.name](SMALL.get(case.name, 5))
    assert "skipped" not in figures
    _has_what_the_table_asks_for(case, figures)


@pytest.mark.parametrize("name", sorted(CASES_OF_AGENTS))
def test_agents_do_the_work_that_theirs_are_compared_with(name: str) -> None:
    figures = CASES_OF_AGENTS[name](5)
    _has_what_the_table_asks_for(next(case for case in CASES if case.name == name), figures)


def _has_what_the_table_asks_for(case: Case, figures: Figures) -> None:
    wanted = {"seconds", "per_second", *(metric.key for metric in case.metrics)}
    assert wanted <= figures.keys()
    assert all(math.isfinite(figures[key]) for key in wanted)


def test_a_figure_is_shown_beside_its_floor_with_whether_it_is_met() -> None:
    case = next(case for case in CASES if case.name == "replay")
    sample = {"cold_ms": 499.0, "snapshot_ms": 51.0, "tail_ms": 90.0, "per_second": 1.0}
    measured = {case.name: {OURS: Taken(10, [sample])}}
    found = rows([case], measured)
    assert [(row.metric.key, row.floor, row.verdict) for row in found] == [
        ("cold_ms", 500, "floor met"),
        ("snapshot_ms", 50, "BELOW FLOOR"),
        ("tail_ms", None, "-"),
    ]
    shown = table(found, [OURS], measured).splitlines()
    assert shown[3].split()[-3:] == ["-", "BELOW", "FLOOR"]


def test_a_figure_that_was_not_taken_is_not_met() -> None:
    assert verdict(Metric("ms", "ms", Bar(1), None, higher_is_better=False), None, 1, None) == "not measured"


def test_two_source_trees_take_turns_and_are_compared() -> None:
    root = Path(__file__).parents[2]
    _, case, before, now, best, _, _ = (
        part.strip() for part in warm.compare([root, root], "fanout_memory", 4).split("|")
    )
    assert case == "fanout_memory"
    assert float(now) / float(before) == pytest.approx(float(best), rel=0.02)


def test_a_folder_that_is_no_source_tree_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="is no source tree of agenticflow"):
        warm.compare([tmp_path, tmp_path], "chain_memory", 1)
