"""What may go wrong in a schedule, and the plan that says when: drawn from the seed ahead, so that it can be told, and made shorter.

A plan counts what happens: arrivals at fail-points, commits, messages. So it means the same however the rest of the schedule turns out.
"""

from __future__ import annotations

import random  # noqa: TID251 - the plan follows from the caller's seed
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

__all__ = ["ALL_FAULTS", "Fault", "FaultKind", "Plan", "counting_marks", "draw_plan", "sometimes"]


class FaultKind(StrEnum):
    """What goes wrong. ``amount`` of a fault are seconds, unless said otherwise."""

    KILL = "process killed"
    """At an arrival; a new one starts that much later."""
    POWER_LOSS = "power lost"
    """At an arrival: every process dies, and what was not synced is gone but for that share."""
    TAKEOVER = "second orchestrator"
    """At an arrival: another starts over the same store while the first goes on, which is killed that much later."""
    PARTITION = "cut off from the store"
    """At an arrival, for that long."""
    CLOCK_JUMP = "clock jumped"
    """At an arrival: by that much, forwards or backwards."""
    SLOW = "everything slow"
    """At an arrival: each commit takes that long, for a while."""
    REFUSED = "disk full"
    """A commit: nothing is written, and whoever asked is told."""
    LOST = "commit failed, outcome unknown"
    """A commit: nothing is written, and nobody knows."""
    UNANSWERED = "commit written, outcome unknown"
    """A commit: all of it is written, and nobody knows."""
    UNREADABLE = "store not readable"
    """From a commit on, that many reads fail."""
    MESSAGE_LOST = "message lost"
    """Of somebody outside to an orchestrator."""
    REPLY_LOST = "reply lost"
    DUPLICATED = "message duplicated"
    """It arrives again that much later."""
    DELAYED = "message delayed"
    """By that much, so that later ones are faster."""


AT_ARRIVALS: Final = (
    FaultKind.KILL,
    FaultKind.KILL,
    FaultKind.KILL,
    FaultKind.POWER_LOSS,
    FaultKind.TAKEOVER,
    FaultKind.PARTITION,
    FaultKind.CLOCK_JUMP,
    FaultKind.SLOW,
)
AT_COMMITS: Final = (FaultKind.REFUSED, FaultKind.LOST, FaultKind.UNANSWERED, FaultKind.UNREADABLE)
AT_MESSAGES: Final = (FaultKind.MESSAGE_LOST, FaultKind.REPLY_LOST, FaultKind.DUPLICATED, FaultKind.DELAYED)
ALL_FAULTS: Final = frozenset(FaultKind)
MOST_FAULTS: Final = 8


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong, at the arrival, commit or message of that number."""

    kind: FaultKind
    at: int
    amount: float = 0.0

    def __str__(self) -> str:
        where = "commit" if self.kind in AT_COMMITS else "message" if self.kind in AT_MESSAGES else "arrival"
        return f"{self.kind.value} at {where} {self.at} ({self.amount:.4g})"


@dataclass(frozen=True)
class Plan:
    """Everything that is not the workflow: what goes wrong, how much chance has a say, what somebody does to the run."""

    seed: int
    faults: tuple[Fault, ...] = ()
    disorder: float = 1.0
    latency_seconds: float = 0.006
    snapshot_every: int | None = None
    """``None`` is as in production."""
    synced_every: int = 1
    """Commits per sync of the disk: above 1 an acknowledged commit may be lost with the power, the last ones first."""
    pause_at: int | None = None
    """The arrival at which somebody pauses the run, and has it go on later."""
    abort_at: int | None = None
    """The arrival at which somebody aborts the run."""

    def __str__(self) -> str:
        said = [f"seed {self.seed}", *map(str, self.faults)]
        said += [f"paused at arrival {self.pause_at}"] * (self.pause_at is not None)
        said += [f"aborted at arrival {self.abort_at}"] * (self.abort_at is not None)
        said += [f"synced every {self.synced_every} commits"] * (self.synced_every > 1)
        said += [f"a snapshot every {self.snapshot_every} events"] * (self.snapshot_every is not None)
        said += ["in order"] * (self.disorder == 0)
        return "; ".join(said)


def draw_plan(
    seed: int,
    *,
    arrivals: int,
    kinds: frozenset[FaultKind] = ALL_FAULTS,
    may_pause: bool = True,
    may_abort: bool = False,
    durability: Literal["full", "normal"] = "full",
) -> Plan:
    """Return the plan of ``seed`` for a run that has about so many ``arrivals`` when nothing goes wrong.

    With ``durability="normal"`` the disk of some plans syncs late, so that power losses take acknowledged commits.
    """
    chance = random.Random(f"plan {seed}")  # noqa: S311 - repeatable by its seed
    faults: list[Fault] = []
    groups = [[kind for kind in group if kind in kinds] for group in (AT_ARRIVALS, AT_COMMITS, AT_MESSAGES)]
    for _ in range(min(MOST_FAULTS, int(chance.expovariate(0.4)))):
        place = chance.choice((0, 0, 0, 1, 1, 2))
        if groups[place]:
            # A third of what happens are commits; a message is a rare thing.
            most = (arrivals, max(1, arrivals // 3), 6)[place]
            kind = chance.choice(groups[place])
            faults.append(Fault(kind, chance.randint(1, max(1, most)), _amount(chance, kind)))
    return Plan(
        seed,
        tuple(sorted(faults, key=lambda fault: (fault.at, fault.kind))),
        disorder=chance.choice((0.0, 0.2, 1.0, 1.0)),
        latency_seconds=chance.choice((0.0, 0.002, 0.006, 0.05)),
        snapshot_every=chance.choice((None, None, 3, 10)),
        synced_every=chance.choice((1, 1, 1, 5)) if durability == "normal" else 1,
        pause_at=chance.randint(1, arrivals) if may_pause and chance.random() < 0.15 else None,
        abort_at=chance.randint(1, arrivals) if may_abort and chance.random() < 0.15 else None,
    )


def _amount(chance: random.Random, kind: FaultKind) -> float:
    match kind:
        case FaultKind.KILL:
            return chance.choice((0.0, 0.01, 0.5, 30.0))
        case FaultKind.POWER_LOSS:
            return chance.random()
        case FaultKind.CLOCK_JUMP:
            return chance.choice((-3600.0, -1.5, -0.01, 0.01, 2.0, 90.0))
        case FaultKind.TAKEOVER | FaultKind.PARTITION:
            return chance.choice((0.02, 0.2, 2.0, 25.0))
        case FaultKind.UNREADABLE:
            return float(chance.randint(1, 4))
        case _:
            return chance.choice((0.003, 0.05, 0.7))


# --- coverage marks -----------------------------------------------------------------------------------------------------

_marks: Final[ContextVar[Counter[str] | None]] = ContextVar("agenticflow_marks", default=None)


def sometimes(name: str, condition: bool = True) -> None:
    """Say that this place should be reached, with ``condition``, by some schedule of a campaign; does nothing outside of one.

    A campaign that is given ``name`` among its ``marks`` fails when no schedule got here: it has not tried what it is for.
    """
    if condition and (marks := _marks.get()) is not None:
        marks[name] += 1


@contextmanager
def counting_marks(marks: Counter[str]) -> Iterator[Callable[[], Sequence[str]]]:
    """Count in ``marks`` whatever ``sometimes`` says inside."""
    token = _marks.set(marks)
    try:
        yield lambda: sorted(marks)
    finally:
        _marks.reset(token)
