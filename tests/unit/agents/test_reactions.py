"""What names the one reaction of an agent to an event, and how deep workflows are that reactions start."""

from __future__ import annotations

import pytest

from agenticflow.agents.choreography.facts import AgentReacted, ReactionLimitReached, reaction_id, stream_of_reactions
from agenticflow.agents.choreography.reactions import MAX_EMITTED, Reaction, ReactionContext
from agenticflow.agents.choreography.trace import depth_of_workflow
from agenticflow.core.events import AgenticEvent, RecordedEvent
from agenticflow.errors import BoundExceeded, InvalidInput


async def nothing(definition: object, context: object = None, *, workflow_id: str) -> None:
    """Start nothing."""


def context_for(event: AgenticEvent) -> ReactionContext:
    return ReactionContext(event, "a", 3, reaction_id(event, "a"), nothing)


def recorded(position: int, *, event_id: str = "s@1") -> RecordedEvent:
    return RecordedEvent("x", {}, id=event_id, stream_id="s", version=1, position=position)


def test_a_given_id_names_the_event_wherever_it_is_recorded() -> None:
    assert reaction_id(recorded(1, event_id="e-1"), "a") == reaction_id(recorded(9, event_id="e-1"), "a")
    assert reaction_id(recorded(1, event_id="e-1"), "a") == reaction_id(AgenticEvent("x", id="e-1"), "a")
    assert reaction_id(recorded(1, event_id="e-1"), "a") != reaction_id(recorded(1, event_id="e-1"), "b")


def test_the_engines_events_are_told_apart_by_their_position_when_a_run_was_deleted() -> None:
    assert reaction_id(recorded(1), "a") == reaction_id(recorded(1), "a")
    assert reaction_id(recorded(1), "a") != reaction_id(recorded(9), "a")


def test_agent_and_event_do_not_run_into_each_other() -> None:
    assert reaction_id(AgenticEvent("x", id="bc"), "a") != reaction_id(AgenticEvent("x", id="c"), "ab")


async def test_a_workflow_knows_how_deep_the_reaction_was_that_started_it() -> None:
    context = context_for(AgenticEvent("x"))
    first, second = await context.start_workflow("w"), await context.start_workflow("w")
    assert first != second
    assert context.started == [first, second]
    assert [depth_of_workflow(one) for one in (first, f"{second}~child", "order-7", None, "reaction-3-mine")] == [
        3,
        3,
        0,
        0,
        0,
    ]
    again = context_for(context.event)
    assert await again.start_workflow("w") == first


async def test_one_reaction_is_bounded() -> None:
    context = context_for(AgenticEvent("x"))
    for _ in range(MAX_EMITTED):
        context.emit(AgenticEvent("y"))
        await context.start_workflow("w")
    with pytest.raises(BoundExceeded, match="emits more than 100 events"):
        context.emit(AgenticEvent("y"))
    with pytest.raises(BoundExceeded, match="starts more than 100 workflows"):
        await context.start_workflow("w")


def test_what_a_function_returns_is_emitted() -> None:
    reaction = Reaction.of(lambda event: None, "x", agent_id="a")
    context = context_for(AgenticEvent("x"))
    reaction.take(None, context)
    reaction.take(AgenticEvent("one"), context)
    reaction.take((AgenticEvent("two"), AgenticEvent("three")), context)
    assert [event.event_type for event in context.emitted] == ["one", "two", "three"]
    for nonsense in ("text", {"a": 1}, 7, [7], context.event, recorded(1)):
        with pytest.raises(InvalidInput, match=r"which is no event|has happened already"):
            reaction.take(nonsense, context)


def test_a_second_parameter_with_a_default_is_no_context_unless_it_says_so() -> None:
    def counts(event: object, times: int = 2) -> None:
        """Take no context."""

    def takes(event: object, context: object = None) -> None:
        """Take it."""

    assert [Reaction.of(one, "x", agent_id="a").takes_context for one in (counts, takes)] == [False, True]


def test_the_facts_are_frozen() -> None:
    assert (AgentReacted.event_type, ReactionLimitReached.event_type) == ("agent_reacted", "reaction_limit_reached")
    assert stream_of_reactions("till") == "reaction-till"
