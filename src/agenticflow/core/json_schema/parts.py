"""What a schema is made into: parts that look at a value by the kind of it, and what is known of one look."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import NoneType
from typing import Any, Final, Protocol

from agenticflow.core.json_schema.patterns import Pattern
from agenticflow.core.json_schema.words import short

__all__ = [
    "ANYTHING",
    "EVERY_KIND",
    "MAX_PROBLEMS",
    "MAX_STEPS",
    "Anything",
    "Check",
    "Exhausted",
    "Nothing",
    "Part",
    "Path",
    "Reference",
    "Run",
    "Typed",
    "kind_of",
]

MAX_PROBLEMS: Final = 20
"""Mistakes that are told at once."""
MAX_STEPS: Final = 1_000_000
"""What one look may cost: about a second. Items, references, tries and characters held against a pattern count."""
TRY_STEPS: Final = 8
"""What is paid for holding a value against one of several schemas: tries inside tries double and double again."""
REFERENCE_STEPS: Final = 2

EVERY_KIND: Final = ("object", "array", "string", "integer", "number", "boolean", "null", "other")
MAX_REFERENCES: Final = 60
"""One inside the other, where a value is held against them."""
NODES_A_STEP: Final = 5
"""Of a pattern, that one step pays for."""

Path = tuple[Any, object] | None
"""Where a value stands: a name or a number inside another path; ``None`` is the value that was given."""

_KINDS: Final[Mapping[type, str]] = {
    dict: "object",
    list: "array",
    tuple: "array",
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
}
_OTHERS: Final = ((Mapping, "object"), ((list, tuple), "array"), (str, "string"), (int, "integer"), (float, "number"))


def kind_of(value: object) -> str:
    """Return which of JSON's kinds ``value`` is; ``other`` when none. A float is a ``number``, whole or not."""
    return _KINDS.get(type(value)) or next((kind for types, kind in _OTHERS if isinstance(value, types)), "other")


class Exhausted(Exception):
    """A look took more steps than one may."""


class Run:
    """What is known of one look. ``root`` is how the value is called; without one, names inside it stand in quotes."""

    __slots__ = ("found", "references", "root", "steps")

    def __init__(self, root: str) -> None:
        self.root = root
        self.found: list[str] = []
        self.references = 0
        """One inside the other, at this moment."""
        self.steps = 0

    def spend(self, steps: int) -> None:
        """Count what is about to be done. Raises ``Exhausted``."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise Exhausted

    def finds(self, pattern: Pattern, text: str) -> bool:
        """Return whether ``pattern`` is in ``text``. Raises ``Exhausted``."""
        self.spend(1 + len(text) * pattern.size // NODES_A_STEP)
        return pattern.is_in(text)

    def tell(self, path: Path, words: str) -> None:
        """Add that what stands at ``path`` does not fit."""
        if len(self.found) < MAX_PROBLEMS:
            self.found.append(f"{self.named(path)} {words}")

    def named(self, path: Path) -> str:
        """Return ``path`` in words."""
        steps: list[str] = []
        while path is not None:
            path, step = path
            steps.append(f"[{step}]" if isinstance(step, int) else f".{step}")
        inside = "".join(reversed(steps))
        if self.root:
            return f"{self.root}{inside}"
        return repr(inside.removeprefix(".")) if inside else "the value"

    def tried(self, part: Part, value: object, path: Path) -> list[str]:
        """Return what of ``value`` does not fit ``part``, without telling it. Raises ``Exhausted``."""
        self.spend(TRY_STEPS)
        outer, self.found = self.found, []
        try:
            part.check(value, path, self)
            return self.found
        finally:
            self.found = outer


class Part(Protocol):
    """A schema, or one inside another, made ready."""

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds of values that it takes; ``None`` when it does not say."""
        ...

    def check(self, value: object, path: Path, run: Run) -> None:
        """Tell ``run`` what of ``value`` does not fit. Raises ``Exhausted``."""
        ...


Check = Callable[[Any, Path, Run], None]
"""Tells the run what of a value, which is of a kind the check is for, does not fit."""


class Anything:
    """Takes every value."""

    kinds: frozenset[str] | None = None

    def check(self, value: object, path: Path, run: Run) -> None:
        """Tell nothing."""


ANYTHING: Final = Anything()


class Nothing:
    """Takes no value."""

    kinds: frozenset[str] | None = None

    def check(self, value: object, path: Path, run: Run) -> None:
        """Tell that ``value`` is not asked for."""
        run.tell(path, "is not asked for")


class Typed:
    """Takes values of some kinds, and looks at each with the checks for its kind."""

    __slots__ = ("_by_kind", "_takes_whole", "_types", "kinds")

    def __init__(self, types: Sequence[str], checks: Mapping[str, Sequence[Check]]) -> None:
        """Take the ``types`` of a schema, none for all, and its checks by the kind of value they are for."""
        self._types = types
        self.kinds = _kinds_of(types)
        self._takes_whole = "integer" in types and "number" not in types
        self._by_kind = {kind: tuple(checks.get(kind, ())) for kind in EVERY_KIND}

    def check(self, value: object, path: Path, run: Run) -> None:
        """Tell what of ``value`` does not fit; of one of a wrong kind only that."""
        kind = kind_of(value)
        if self.kinds is not None and kind not in self.kinds and not self._is_whole(value):
            run.tell(path, f"is {short(value)}, not {' or '.join(self._types)}")
            return
        for check in self._by_kind[kind]:
            check(value, path, run)

    def _is_whole(self, value: object) -> bool:
        return self._takes_whole and isinstance(value, float) and value.is_integer()


def _kinds_of(types: Sequence[str]) -> frozenset[str] | None:
    if not types:
        return None
    return frozenset(types) | ({"integer"} if "number" in types else frozenset())


class Reference:
    """What another part says, which may not be made yet."""

    __slots__ = ("target",)

    def __init__(self) -> None:
        self.target: Part = ANYTHING

    @property
    def kinds(self) -> frozenset[str] | None:
        """The kinds that the other part takes, where it is no reference itself."""
        return None if isinstance(self.target, Reference) else self.target.kinds

    def check(self, value: object, path: Path, run: Run) -> None:
        """Tell what of ``value`` the other part does not take."""
        run.spend(REFERENCE_STEPS)
        if run.references >= MAX_REFERENCES:
            run.tell(path, "is nested too deeply")
            return
        run.references += 1
        self.target.check(value, path, run)
        run.references -= 1
