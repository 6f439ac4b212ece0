"""An agent as whoever runs it sees it: as a tool, like another one, for any type of task."""

from __future__ import annotations

import pytest

from agenticflow import Agent
from agenticflow.agents.asked import loop_agent
from agenticflow.errors import DefinitionError
from agenticflow.testing import ScriptedModel


def guide(**more: str) -> Agent:
    return Agent("guide", instructions="x", model=ScriptedModel(["done"]), **more)  # type: ignore[arg-type]  # texts only


def test_a_tool_says_what_it_is_for() -> None:
    with pytest.raises(DefinitionError, match="nobody knows what agent 'guide' is for") as told:
        guide().as_tool()
    assert "role=" in told.value.hint
    assert guide().as_tool(description="guides").description == "guides"
    assert guide(role="shows the way").as_tool("way").description == "shows the way"


def test_who_asks_no_model_is_no_tool_and_nothing_is_like_it() -> None:
    plain = Agent("plain", {"sums"})
    for use in (plain.as_tool, lambda: plain.clone("other"), lambda: plain.run_sync("go")):
        with pytest.raises(DefinitionError, match="asks no model"):
            use()


def test_it_works_on_any_type_of_task_and_keeps_only_so_many_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop_agent, "_MAX_TYPES", 2)
    agent = guide()
    kept, other, more = (agent.handler_for(name) for name in ("a", "b", "c"))
    assert agent.handler_for("a") is kept
    assert agent.handler_for("b") is other
    again = agent.handler_for("c")
    assert again is not more
    assert again is not None
    assert again.name == "guide.c"


def test_one_like_it_has_its_words_and_what_else_is_said() -> None:
    other = guide(role="shows the way").clone("other", role="hides it", concurrency=3)
    assert (other.agent_id, other.role, other.seats) == ("other", "hides it", 3)
    assert other.definition is not None
    assert other.definition.instructions == "x"
    with pytest.raises(TypeError):
        guide().clone("other", colour="red")
