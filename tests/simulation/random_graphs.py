"""Random workflows, and what must become of them: a naive interpreter of the documented rules, written without a look at the engine.

The rules: a task starts when all (or any) of its dependencies are met; a skipped one counts as met; what hangs only on skipped tasks is
skipped; a condition that does not hold skips, one that cannot be decided fails; a map is as good as its worst item; what lies below a
failure never runs; independent branches finish, then the run fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hypothesis import strategies as st

from agenticflow.core.engine import EffectClass
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.resilience.retry import RetryPolicy

Kind = Literal["task", "once", "map", "timer", "signal"]
DONE, FAILED, SKIPPED, NEVER = "COMPLETED", "FAILED", "SKIPPED", "NEVER"
INPUT = {"yes": True, "no": False}


@dataclass(frozen=True)
class Spec:
    """One task, and how the world treats it."""

    number: int
    kind: Kind
    dependencies: tuple[int, ...] = ()
    is_any: bool = False
    when: str | None = None
    """``yes``, ``no``, ``broken``, or the number that the first dependency's result has to have."""
    fails_before: int = 0
    """So many attempts fail before one succeeds; of a map only those of odd items."""
    is_permanent: bool = False
    """Whether the first of these failures is for good."""
    max_attempts: int = 1
    once: Literal["ok", "fails", "lost"] = "ok"
    resolution: Literal["completed", "failed", "run_again"] = "completed"
    items: int | None = None
    """Length of a map's list; ``None`` takes the list from the first dependency's result."""
    max_parallel: int | None = None
    signal: str = ""
    """A name beginning with ``never`` is not sent; the wait has a limit."""

    @property
    def id(self) -> str:
        return f"t{self.number}"

    def outcome(self, index: int | None) -> tuple[str, int]:
        """How the task (or its item ``index``) ends, and after how many attempts."""
        fails = self.fails_before if index is None or index % 2 else 0
        if fails and self.is_permanent:
            return FAILED, 1
        return (FAILED, self.max_attempts) if fails >= self.max_attempts else (DONE, fails + 1)

    def definition(self) -> TaskDefinition:
        first = f"t{self.dependencies[0]}" if self.dependencies else ""
        conditions = {"yes": "${yes}", "no": "${input.no}", "broken": "${input.yes} > 'text'", None: None}
        when = conditions.get(self.when, f"${{{first}.n}} == {self.when}")
        dependencies = [f"t{number}" for number in self.dependencies]
        join: Literal["all", "any"] = "any" if self.is_any else "all"
        if self.kind == "timer":
            return TaskDefinition.timer(self.id, self.number * 3.5, dependencies, when=when, join=join)
        if self.kind == "signal":
            limit = 50 if self.signal.startswith("never") else None
            return TaskDefinition.wait_for(
                self.id, self.signal, dependencies, when=when, join=join, total_timeout_seconds=limit
            )
        for_each: str | list[int] | None = None
        if self.kind == "map":
            for_each = f"${{{first}.items}}" if self.items is None else list(range(self.items))
        return TaskDefinition(
            self.id,
            "agent",
            "work",
            None,
            dependencies,
            when=when,
            join=join,
            for_each=for_each,
            max_parallel=self.max_parallel,
            effect=EffectClass.AT_MOST_ONCE if self.kind == "once" else EffectClass.IDEMPOTENT,
            retry_policy=None if self.kind == "once" else RetryPolicy(self.max_attempts, 5.0),
        )


def result_of(spec: Spec) -> dict[str, object]:
    """What the handler of a task returns."""
    return {"n": spec.number % 3, "items": list(range(spec.number % 4))}


@st.composite
def graphs(draw: st.DrawFn, max_size: int = 9) -> list[Spec]:
    """Graphs whose outcome does not depend on the order of events: what waits for any has no condition on results."""
    specs: list[Spec] = []
    for number in range(draw(st.integers(1, max_size))):
        before = [spec.number for spec in specs]
        dependencies = tuple(draw(st.lists(st.sampled_from(before), unique=True, max_size=3))) if before else ()
        is_any = len(dependencies) > 1 and draw(st.booleans())
        kind: Kind = draw(st.sampled_from(("task", "task", "task", "once", "map", "timer", "signal")))
        looks_at_result = bool(dependencies) and not is_any
        conditions = [None, None, None, "yes", "no", "broken", *(["0", "1"] if looks_at_result else [])]
        specs.append(
            Spec(
                number,
                kind,
                dependencies,
                is_any,
                draw(st.sampled_from(conditions)),
                draw(st.sampled_from((0, 0, 0, 1, 2))),
                draw(st.booleans()),
                draw(st.integers(1, 3)),
                draw(st.sampled_from(("ok", "fails", "lost"))),
                draw(st.sampled_from(("completed", "failed", "run_again"))),
                draw(st.sampled_from((0, 1, 3, None))) if looks_at_result else draw(st.integers(0, 3)),
                draw(st.sampled_from((None, 1, 2))) if kind == "map" else None,
                draw(st.sampled_from(("s", "s", "r", f"never{number}"))) if kind == "signal" else "",
            )
        )
    return specs


@dataclass(frozen=True)
class Prediction:
    """The end of a run that nobody aborted."""

    ends: dict[str, str]
    """By key; items only of maps that ran."""
    attempts: dict[str, int]

    @property
    def status(self) -> str:
        return FAILED if FAILED in self.ends.values() else DONE

    @property
    def failed(self) -> set[str]:
        return {key for key, end in self.ends.items() if end == FAILED}

    @property
    def remaining(self) -> list[str]:
        return [key for key, end in self.ends.items() if end == NEVER]


def predict(specs: list[Spec]) -> Prediction:
    """Work out the end of every task, in order of dependency, without a notion of time."""
    ends: dict[str, str] = {}
    attempts: dict[str, int] = {}
    for spec in specs:
        before = [ends[f"t{number}"] for number in spec.dependencies]
        ends[spec.id] = _gate(spec, before) or _condition(spec, specs, before) or _work(spec, specs, before)
        if ends[spec.id] in (SKIPPED, NEVER) or spec.kind in ("timer", "signal") or _condition(spec, specs, before):
            continue
        if spec.kind == "map":
            length = _length(spec, specs, before)
            for index in range(length or 0):
                ends[f"{spec.id}[{index}]"], attempts[f"{spec.id}[{index}]"] = spec.outcome(index)
        elif spec.kind == "task":
            attempts[spec.id] = spec.outcome(None)[1]
    return Prediction(ends, attempts)


def _gate(spec: Spec, before: list[str]) -> str | None:
    if not before:
        return None
    if spec.is_any:
        if DONE in before:
            return None
        return SKIPPED if set(before) == {SKIPPED} else NEVER
    if FAILED in before or NEVER in before:
        return NEVER
    return SKIPPED if set(before) == {SKIPPED} else None


def _condition(spec: Spec, specs: list[Spec], before: list[str]) -> str | None:
    if spec.when in (None, "yes"):
        return None
    if spec.when in ("no", "broken"):
        return SKIPPED if spec.when == "no" else FAILED
    source = specs[spec.dependencies[0]]
    if before[0] != DONE or source.kind not in ("task", "once"):
        return FAILED  # there is no ``.n`` to look at
    return None if str(source.number % 3) == spec.when else SKIPPED


def _length(spec: Spec, specs: list[Spec], before: list[str]) -> int | None:
    if spec.items is not None:
        return spec.items
    source = specs[spec.dependencies[0]]
    return source.number % 4 if before[0] == DONE and source.kind in ("task", "once") else None


def _work(spec: Spec, specs: list[Spec], before: list[str]) -> str:
    match spec.kind:
        case "timer":
            return DONE
        case "signal":
            return FAILED if spec.signal.startswith("never") else DONE
        case "once":
            if spec.once == "lost":
                return FAILED if spec.resolution == "failed" else DONE
            return FAILED if spec.once == "fails" else DONE
        case "map":
            length = _length(spec, specs, before)
            if length is None:
                return FAILED
            return FAILED if any(spec.outcome(index)[0] == FAILED for index in range(length)) else DONE
        case "task":
            return spec.outcome(None)[0]
