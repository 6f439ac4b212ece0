"""What is recorded of a supervised request: its terms, each plan with its reason, and what came of it. Data, and pure."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from agenticflow.agents.decomposition.decomposition import Decomposition, plain_form
from agenticflow.agents.decomposition.plans import Planned
from agenticflow.orchestration.approvals.terms import Approval
from agenticflow.orchestration.definition import WorkflowDefinition
from agenticflow.resilience.budgets import Sums

__all__ = [
    "PlanRecord",
    "SupervisorResult",
    "Terms",
    "Verdict",
    "Way",
    "definition_in",
    "record_of",
    "rejected",
    "terms_in",
]

MAX_NOTES: Final = 100
"""Repairs or problems of one plan that are recorded."""
MAX_NOTE_CHARS: Final = 1_000


class Verdict(enum.StrEnum):
    """What came of an answer."""

    ACCEPTED = "accepted"
    REPAIRED = "repaired"
    REJECTED = "rejected"


class Way(enum.StrEnum):
    """Who made a plan."""

    SINGLE = "single"
    """The words of the request: it is simple."""
    TEMPLATE = "template"
    MODEL = "model"
    PERSON = "person"
    """Who was to approve it, and changed it."""


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """Agreed when a request comes in: a supervisor that is made otherwise later does not change what goes on already."""

    max_answers: int = 3
    max_replans: int = 2
    answer_timeout_seconds: float = 300.0
    approval: Approval | None = None
    has_model: bool = True
    has_budget: bool = False
    """Whether there is a budget of this request alone."""


class PlanRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """One plan, or answer that did not become one: the result of a step ``plan-N``."""

    number: int
    """Which plan of the request it was to be, from 1; each after the first replaces one that has failed."""
    way: Way
    verdict: Verdict
    reason: str
    """Why there is this plan: what the request is like, what fits it, what the model says, what has failed before."""
    repairs: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    """Dependencies that follow from others."""
    depth: int = 0
    width: int = 0
    decomposition: Mapping[str, object] | None = None
    definition: Mapping[str, object] | None = None
    """The workflow, as plain data."""


class SupervisorResult(msgspec.Struct, frozen=True):
    """What came of a request."""

    output: Any
    """The result of the task at the end of the plan; of several, their results by id."""
    workflow_id: str
    complexity: str
    """``"simple"`` or ``"complex"``."""
    strategy: str
    """Of the last plan."""
    plans: int
    """How many were run; more than one: it was planned again."""
    spent: Sums | None = None
    """What all calls for it have cost: of the model that plans, of agents and of their tools. ``None`` without a budget of its own."""


def record_of(
    number: int, way: Way, decomposition: Decomposition, planned: Planned, repairs: tuple[str, ...], why: str
) -> PlanRecord:
    """Return what is recorded of a decomposition that was laid out."""
    mended = (*repairs, *planned.repairs)
    plan = planned.plan
    verdict = Verdict.REJECTED if plan is None else Verdict.REPAIRED if mended else Verdict.ACCEPTED
    definition: dict[str, object] | None = None if plan is None else msgspec.to_builtins(plan.definition)
    return PlanRecord(
        number=number,
        way=way,
        verdict=verdict,
        reason="; ".join(part for part in (why, decomposition.reason) if part),
        repairs=_cut(mended),
        problems=_cut(planned.problems),
        left_out=() if plan is None else plan.left_out,
        depth=0 if plan is None else plan.depth,
        width=0 if plan is None else plan.width,
        decomposition=plain_form(decomposition),
        definition=definition,
    )


def rejected(number: int, way: Way, why: str, repairs: tuple[str, ...], problems: tuple[str, ...]) -> PlanRecord:
    """Return what is recorded of an answer that is no decomposition."""
    return PlanRecord(number, way, Verdict.REJECTED, why, _cut(repairs), _cut(problems))


def definition_in(record: PlanRecord) -> WorkflowDefinition:
    """Return the workflow of a plan."""
    return msgspec.convert(record.definition, WorkflowDefinition)


def terms_in(given: Mapping[str, Any]) -> Terms:
    """Return the terms in the input of a run."""
    return msgspec.convert(given["terms"], Terms)


def _cut(notes: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(note[:MAX_NOTE_CHARS] for note in notes[:MAX_NOTES])
