"""Who can do what, and who is best for it: the vocabulary, the parts of a score, and the laws they keep."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agenticflow.agents.capabilities import Candidate, CapabilityMatcher, CapabilityRegistry, MatchWeights
from agenticflow.agents.health import AgentHealth
from agenticflow.errors import AgentNotFoundError, DefinitionError, InvalidInput, NoHealthyAgentError


def candidate(agent_id: str, *capabilities: str, **options: Any) -> Candidate:
    return Candidate(agent_id=agent_id, capabilities=frozenset(capabilities), **options)


def best(required: set[str], *candidates: Candidate, **options: Any) -> str:
    return CapabilityMatcher(candidates).find_best_agent(required, **options).agent_id


# --- the vocabulary -----------------------------------------------------------------------------------------------------


def data_words() -> CapabilityRegistry:
    words = CapabilityRegistry()
    words.define("data", "anything with data")
    words.define("databases", parent="data")
    words.define("sql", "relational databases", parent="databases")
    words.define("charts", parent="data")
    return words


def test_who_can_do_the_special_thing_can_do_the_general_one_and_not_the_reverse() -> None:
    words = data_words()
    assert words.covers({"sql"}, "sql")
    assert words.covers({"sql"}, "databases")
    assert words.covers({"sql"}, "data")
    assert not words.covers({"databases"}, "sql")
    assert not words.covers({"sql"}, "charts")
    assert words.ancestors("sql") == ("databases", "data")
    assert words.expand({"sql", "cooking"}) == {"sql", "databases", "data", "cooking"}
    assert CapabilityRegistry().expand({"sql"}) == {"sql"}


def test_a_capability_is_described_and_listed() -> None:
    words = data_words()
    assert words.names() == ["charts", "data", "databases", "sql"]
    assert words.describe("sql") == "relational databases"
    words.define("sql", parent="databases")
    assert words.describe("sql") == "relational databases", "defining it again takes nothing away"
    words.define("sql", "all of SQL", parent="databases")
    assert words.describe("sql") == "all of SQL"


@pytest.mark.parametrize("name", ["", " sql", "sql ", "a\nb", None, 7])
def test_what_is_no_name_is_refused(name: Any) -> None:
    with pytest.raises(DefinitionError, match="is no capability"):
        CapabilityRegistry().define(name)


def test_a_capability_has_one_place_and_its_parent_is_known() -> None:
    words = data_words()
    with pytest.raises(DefinitionError, match="capability 'sql' is defined already, below 'databases'"):
        words.define("sql", parent="data")
    with pytest.raises(DefinitionError) as refusal:
        words.define("graphs", parent="chart")
    assert refusal.value.hint == "did you mean 'charts'?"
    with pytest.raises(DefinitionError) as refusal:
        words.check(["sql", "zzz", "yyy"])
    assert refusal.value.problems == ("unknown capability 'yyy'", "unknown capability 'zzz'")
    assert refusal.value.hint == "there are 'charts', 'data', 'databases', 'sql'"
    words.check([])


# --- the choice ---------------------------------------------------------------------------------------------------------


def test_who_has_everything_is_found() -> None:
    assert best({"sql", "charts"}, candidate("a", "sql"), candidate("b", "sql", "charts"), candidate("c")) == "b"


def test_a_general_need_is_met_by_a_specialist() -> None:
    matcher = CapabilityMatcher([candidate("a", "sql"), candidate("b", "charts")], capabilities=data_words())
    assert matcher.find_best_agent({"databases"}).agent_id == "a"
    with pytest.raises(AgentNotFoundError):
        CapabilityMatcher([candidate("a", "databases")], capabilities=data_words()).find_best_agent({"sql"})


@pytest.mark.parametrize(
    "worse",
    [
        {"in_work": 1},
        {"queued": 1},
        {"health": AgentHealth.DEGRADED},
        {"cost": 1.5},
    ],
)
def test_of_two_that_differ_in_one_thing_the_better_is_chosen(worse: dict[str, Any]) -> None:
    assert best({"sql"}, candidate("a", "sql", **worse), candidate("b", "sql")) == "b"


def test_load_is_measured_by_seats() -> None:
    one_of_one, two_of_eight = candidate("a", "sql", in_work=1), candidate("b", "sql", in_work=2, concurrency=8)
    assert best({"sql"}, one_of_one, two_of_eight) == "b"


def test_equals_are_told_apart_by_name() -> None:
    assert best({"sql"}, candidate("b", "sql"), candidate("a", "sql")) == "a"
    assert best({"sql"}, candidate("b", "sql"), candidate("a", "sql"), exclude={"a"}) == "b"


def test_the_choice_is_explained_by_its_parts() -> None:
    loaded = candidate("a", "sql", in_work=1, queued=2, concurrency=3, health=AgentHealth.DEGRADED, cost=3)
    match = CapabilityMatcher([loaded]).find_best_agent({"sql"})
    assert match.parts == {"coverage": 1.0, "load": 0.5, "health": 0.5, "cost": 0.25}
    assert match.score == pytest.approx(0.4 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.1 * 0.25)
    assert match.explain() == "'a' scores 0.675: coverage 1.00, load 0.50, health 0.50, cost 0.25"


def test_half_of_it_may_be_enough_when_asked_for() -> None:
    half, none = candidate("half", "sql", cost=9), candidate("none", "cooking")
    matcher = CapabilityMatcher([half, none])
    match = matcher.find_best_agent({"sql", "charts"}, minimum_coverage=0.5)
    assert (match.agent_id, set(match.missing)) == ("half", {"charts"})
    assert match.explain().endswith("cost 0.10, lacks 'charts'")
    assert [found.agent_id for found in matcher.rank({"sql", "charts"}, minimum_coverage=0)] == ["half", "none"]
    assert matcher.rank({"sql", "charts"}) == []


def test_weights_say_what_counts() -> None:
    cheap, idle = candidate("cheap", "sql", in_work=5, cost=0), candidate("idle", "sql", cost=5)
    assert best({"sql"}, cheap, idle) == "idle"
    frugal = CapabilityMatcher([cheap, idle], weights=MatchWeights(coverage=0, load=0, health=0, cost=1))
    assert frugal.find_best_agent({"sql"}).agent_id == "cheap"
    for wrong in ({"load": -1.0}, {"coverage": 0.0, "load": 0.0, "health": 0.0, "cost": 0.0}):
        with pytest.raises(DefinitionError, match="weights are not negative"):
            MatchWeights(**wrong)


def test_nobody_has_it_and_nobody_is_well_are_two_errors() -> None:
    ill, away = (
        candidate("ill", "sql", health=AgentHealth.UNHEALTHY),
        candidate("away", "sql", is_available=False),
    )
    matcher = CapabilityMatcher([ill, away, candidate("cook", "cooking")])
    with pytest.raises(NoHealthyAgentError) as nobody_well:
        matcher.find_best_agent({"sql"})
    assert nobody_well.value.agent_ids == ("away", "ill")
    with pytest.raises(AgentNotFoundError) as nobody:
        matcher.find_best_agent({"sql", "charts"})
    assert nobody.value.hint == "'away' comes closest and lacks 'charts'"
    with pytest.raises(AgentNotFoundError, match="register one"):
        CapabilityMatcher([]).find_best_agent({"sql"})


def test_a_need_is_a_set_of_texts() -> None:
    text: Any = "sql"
    with pytest.raises(InvalidInput, match=r"write \{'sql'\}"):
        best(text, candidate("a", "sql"))
    with pytest.raises(InvalidInput, match="no capability is required"):
        best(set(), candidate("a", "sql"))


def test_a_long_list_is_cut() -> None:
    crowd = [candidate(f"a{number:02}", "sql", is_available=False) for number in range(12)]
    with pytest.raises(NoHealthyAgentError, match=r"'a09' and 2 more"):
        best({"sql"}, *crowd)


# --- laws ---------------------------------------------------------------------------------------------------------------

NAMES = ("sql", "charts", "cooking")
candidates = st.builds(
    Candidate,
    agent_id=st.sampled_from("abcdefgh"),
    capabilities=st.frozensets(st.sampled_from(NAMES)),
    health=st.sampled_from(AgentHealth),
    is_available=st.booleans(),
    in_work=st.integers(0, 50),
    queued=st.integers(0, 50),
    concurrency=st.integers(0, 9),
    cost=st.floats(0, 100),
)
crowds = st.lists(candidates, min_size=1, max_size=6, unique_by=lambda found: found.agent_id)
needs = st.frozensets(st.sampled_from(NAMES), min_size=1)


def order(crowd: list[Candidate], need: frozenset[str], minimum: float = 0.0) -> list[str]:
    return [match.agent_id for match in CapabilityMatcher(crowd).rank(need, minimum_coverage=minimum)]


@given(crowd=crowds, need=needs, data=st.data())
def test_getting_worse_never_improves_the_rank(
    crowd: list[Candidate], need: frozenset[str], data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, len(crowd) - 1))
    better = crowd[index]
    worse = msgspec.structs.replace(
        better,
        in_work=better.in_work + data.draw(st.integers(0, 9)),
        queued=better.queued + data.draw(st.integers(0, 9)),
        cost=better.cost + data.draw(st.floats(0, 9)),
        health=data.draw(st.sampled_from(list(AgentHealth)[list(AgentHealth).index(better.health) :])),
        capabilities=better.capabilities - data.draw(st.frozensets(st.sampled_from(NAMES))),
    )
    before = order(crowd, need)
    after = order([*crowd[:index], worse, *crowd[index + 1 :]], need)
    if worse.agent_id in after:
        assert after.index(worse.agent_id) >= before.index(worse.agent_id)


@given(crowd=crowds, need=needs)
def test_the_order_of_asking_does_not_matter(crowd: list[Candidate], need: frozenset[str]) -> None:
    assert order(crowd, need) == order(crowd[::-1], need)


@given(crowd=crowds, need=needs, newcomer=candidates)
def test_a_newcomer_changes_nothing_between_the_others(
    crowd: list[Candidate], need: frozenset[str], newcomer: Candidate
) -> None:
    newcomer = msgspec.structs.replace(newcomer, agent_id="z")
    assert [name for name in order([*crowd, newcomer], need) if name != "z"] == order(crowd, need)


@given(crowd=crowds, need=needs)
def test_who_is_found_can_do_it_and_is_well(crowd: list[Candidate], need: frozenset[str]) -> None:
    fit = {
        found.agent_id
        for found in crowd
        if found.is_available and found.health is not AgentHealth.UNHEALTHY and need <= found.capabilities
    }
    able = {found.agent_id for found in crowd if need <= found.capabilities}
    matcher = CapabilityMatcher(crowd)
    if fit:
        match = matcher.find_best_agent(need)
        assert match.agent_id in fit
        assert 0 <= match.score <= 1
    elif able:
        with pytest.raises(NoHealthyAgentError) as refusal:
            matcher.find_best_agent(need)
        assert set(refusal.value.agent_ids) == able
    else:
        with pytest.raises(AgentNotFoundError):
            matcher.find_best_agent(need)
