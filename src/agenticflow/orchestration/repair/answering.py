"""What becomes of an answer to the request for another plan, and how both change the state. Pure.

A plan may touch what has not started, as a person's modifications do, and beside that what has failed for good: that is replaced (and is
other work then) or removed. What it leaves as it is stays failed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from agenticflow.core.decider import Fact
from agenticflow.orchestration.interventions.checking import modified, problems_of
from agenticflow.orchestration.interventions.modification import decode_modifications
from agenticflow.orchestration.interventions.relaying import replaceable
from agenticflow.orchestration.replanning.commands import Propose
from agenticflow.orchestration.replanning.facts import ReplanAgreed, ReplanRefused, ReplanRequested
from agenticflow.orchestration.replanning.terms import Replanning, ReplanTerms
from agenticflow.orchestration.state import REPLAN, Phase, RunState

__all__ = ["agreed", "not_in_time", "proposed", "refused", "requested"]

MAX_PROBLEMS: Final = 20
MAX_PROBLEM_CHARS: Final = 500


def proposed(state: RunState, command: Propose) -> Sequence[Fact]:
    """Take a plan, or say why not; nothing when it is not wanted any more."""
    replanning = state.replanning
    is_wanted = replanning is not None and replanning.due is not None and replanning.asked == command.number
    if not is_wanted or state.phase is not Phase.RUNNING:
        return ()
    problems: Sequence[str] = command.problems
    modifications = [] if problems else decode_modifications(state.values.resolve(command.modifications))
    if not problems:
        problems = problems_of(state, modifications, replaceable(state))
    if problems:
        cut = tuple(problem[:MAX_PROBLEM_CHARS] for problem in problems[:MAX_PROBLEMS])
        return [ReplanRefused(command.number, cut, command.requested_by)]
    return [modified(state, command, modifications, command.number)]


def not_in_time(state: RunState) -> Fact:
    """Nobody has answered until the moment that was set."""
    replanning = state.replanning
    seconds = 0.0 if replanning is None else replanning.terms.limit_seconds
    number = 0 if replanning is None else replanning.asked
    return ReplanRefused(number, (f"there was no answer within {seconds:g} s",))


def agreed(state: RunState, fact: ReplanAgreed, version: int, at: int) -> None:
    """The run asks from now on."""
    state.replanning = Replanning(ReplanTerms(fact.times, fact.limit_seconds))


def requested(state: RunState, fact: ReplanRequested, version: int, at: int) -> None:
    """The run waits before it fails."""
    replanning = state.replanning
    assert isinstance(replanning, Replanning)  # who has no terms does not ask
    replanning.asked, replanning.failed, replanning.since = fact.number, fact.failed, at
    replanning.due, replanning.problems = fact.due, ()
    state.version = version
    state.add_timer(fact.due, REPLAN, "")


def refused(state: RunState, fact: ReplanRefused, version: int, at: int) -> None:
    """It fails after all."""
    replanning = state.replanning
    assert isinstance(replanning, Replanning)
    replanning.due, replanning.problems = None, fact.problems
