"""The facts by which a run that undoes another begins to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from agenticflow.core import codec
from agenticflow.core.decider import Fact
from agenticflow.core.results import ErrorInfo
from agenticflow.orchestration import facts as f

__all__ = ["begin_undoing"]

STEPS_PER_FACT: Final = 4
"""Params of a step have at most 64 KiB beside what is stored elsewhere, and a fact 256 KiB."""


def begin_undoing(why: ErrorInfo, course: bytes | None, steps: Sequence[f.PlannedStep]) -> list[Fact]:
    """Return what follows the start of the run: of a workflow as code its steps, without anything that is done about them."""
    planned: list[Fact] = [
        f.StepsPlanned(0, tuple(steps[start : start + STEPS_PER_FACT]))
        for start in range(0, len(steps), STEPS_PER_FACT)
    ]
    return [*planned, f.CompensationStarted(error=why, undoing=msgspec.Raw(course or codec.NULL))]
