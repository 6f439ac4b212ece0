"""Which agent comes next: rules over what the last one answered, as data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from agenticflow.agents.context import AgentContext
from agenticflow.core import codec
from agenticflow.errors import DefinitionError, InvalidInput, NotSerializable
from agenticflow.orchestration.conditions import Condition, parse_condition

__all__ = ["Route", "RoutingHelper"]

MAX_ROUTES: Final = 1_000
_ROOTS: Final = ("output", "context")


@dataclass(frozen=True)
class Route:
    """One rule: ``Route("billing", when="${output.topic} == 'invoice'", after="triage")``."""

    to: str | None
    """The agent that comes next; ``None`` ends the run."""
    when: str | Callable[[Any, Any], bool] = ""
    """A condition over ``${output}`` and ``${context}``, or ``f(context, output)``; left out, always."""
    after: str | Collection[str] = ()
    """Whose answers the rule is about: one agent, or several; left out, everybody's."""


class RoutingHelper:
    """``RoutingHelper([Route(…), …], first="triage")``: the first rule that holds says who comes next, or nobody does.

    With ``field`` the answer itself names the next agent there, when it is an object with that key; the rules are not asked then.
    """

    __slots__ = ("_rules", "default", "field", "first")

    def __init__(
        self, routes: Iterable[Route] = (), *, first: str = "", default: str | None = None, field: str = ""
    ) -> None:
        """``first`` begins; left out, the plan says who does. ``default`` comes when no rule holds.

        Raises ``DefinitionError`` with every rule that is none.
        """
        self.first = first
        self.default = default
        self.field = field
        self._rules: list[tuple[Route, frozenset[str], Condition | None]] = []
        problems: list[str] = []
        for number, route in enumerate(routes, start=1):
            try:
                self._rules.append(_rule(route))
            except DefinitionError as error:
                problems.append(f"route {number}: {error}")
        if len(self._rules) > MAX_ROUTES:
            problems.append(f"{len(self._rules):,} routes are more than {MAX_ROUTES:,}")
        if problems:
            raise DefinitionError(
                f"{len(problems)} of the routes cannot be used: {problems[0]}",
                hint='write Route("billing", when="${output.topic} == \'invoice\'", after="triage")',
                problems=problems,
            )

    @property
    def names(self) -> list[str]:
        """Every agent that the rules name, in order."""
        found = [self.first, self.default, *(route.to for route, _, _ in self._rules)]
        return list(dict.fromkeys(name for name in found if name))

    def get_next_agent(self, context: AgentContext, last_output: Any) -> str | None:
        """Return the name of the agent that comes next, ``None`` when the run is at its end.

        Raises ``InvalidInput`` for a condition that cannot be decided, or a next agent in the answer that is no name.
        """
        if self.field and isinstance(last_output, Mapping) and self.field in last_output:
            named = last_output[self.field]
            if named is None or (isinstance(named, str) and named):
                return named
            raise InvalidInput(f"the answer names {named!r:.60} as the next agent", hint="give its name, or null")
        last_agent = getattr(context, "last_agent", "")
        for route, after, condition in self._rules:
            if after and last_agent not in after:
                continue
            if condition is not None:
                holds = _holds(condition, context, last_output)
            else:
                holds = not callable(route.when) or bool(route.when(context, last_output))
            if holds:
                return route.to
        return self.default


def _rule(route: object) -> tuple[Route, frozenset[str], Condition | None]:
    if not isinstance(route, Route):
        raise DefinitionError(f"{route!r:.60} is no Route")
    if route.to is not None and (not isinstance(route.to, str) or not route.to):
        raise DefinitionError(f"it leads to {route.to!r:.60}, which is no name of an agent")
    after = frozenset((route.after,) if isinstance(route.after, str) else route.after)
    if callable(route.when) or route.when == "":
        return route, after, None
    condition = parse_condition(route.when)
    for reference in condition.references:
        if reference.root not in _ROOTS:
            raise DefinitionError(
                f"{reference} is not known: a route knows ${{output}}, what the last agent answered, and ${{context}}"
            )
    return route, after, condition


def _holds(condition: Condition, context: AgentContext, output: object) -> bool:
    def lookup(root: str) -> object:
        if root == "output":
            return _plain(output)
        return {name: _plain(value) for name, value in vars(context).items() if not name.startswith("_")}

    try:
        return condition.holds(lookup)
    except InvalidInput as error:
        raise InvalidInput(
            f"the route {condition.text!r} cannot be decided: {error.message}",
            hint="say with after= whose answers it is about",
        ) from error


def _plain(value: object) -> object:
    """Return the value as it is recorded; what has no form on the wire is out of a condition's reach."""
    try:
        return codec.decode(codec.encode(value))
    except NotSerializable:
        return None
