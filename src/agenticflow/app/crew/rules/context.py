"""What the agents of a query share, and what of it goes into a step and comes back: fields with a form on the wire. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, NamedTuple

from agenticflow.agents.context import AgentContext
from agenticflow.core import codec
from agenticflow.errors import InvalidInput, NotSerializable

__all__ = ["Baseline", "QueryContext", "context_of", "put_changes", "put_findings"]


@dataclass(kw_only=True)
class QueryContext(AgentContext):
    """The context of one query. Extend it with fields of your own, and make it in ``AgentOrchestrator.make_context``.

    Fields with a form on the wire go into each step and come back from it; others, a connection say, are made anew by ``make_context``.
    """

    data: Mapping[str, Any] = field(default_factory=dict)
    """What came with the query."""
    last_agent: str = ""
    """Who has answered last; empty at first."""
    last_output: Any = None
    """What that agent has answered."""


def context_of(data: Mapping[str, Any]) -> QueryContext:
    """Return the context for what came with a query: names of fields fill them, the others stand in ``data``.

    Raises ``InvalidInput`` for a field of another form.
    """
    known = {one.name for one in fields(QueryContext) if one.init}
    context = QueryContext(data={name: value for name, value in data.items() if name not in known})
    for name, value in data.items():
        if name in known:
            if not isinstance(value, _FORMS.get(name, object)):
                raise InvalidInput(
                    f"{name!r} of the context is {value!r:.60}",
                    hint=f"give a {_FORMS[name].__name__}, or name what is something else otherwise",
                )
            # a copy: what an agent adds must not get into the data that the next context is made of
            setattr(context, name, codec.decode(codec.encode(value)))
    return context


_FORMS: Final[Mapping[str, type]] = {"filters": dict, "query_results": list, "discovered_items": dict, "data": dict}


class _Opaque(NamedTuple):
    """Stands for a value without a form on the wire."""

    value: object


class Baseline:
    """A context as it was at one moment, to tell later what has changed."""

    __slots__ = ("_forms", "_kinds", "_results")

    def __init__(self, context: AgentContext) -> None:
        self._forms = {name: _form(value) for name, value in _fields_of(context)}
        self._kinds = {kind: len(items) for kind, items in context.discovered_items.items()}
        self._results = len(context.query_results)

    def changes(self, context: AgentContext) -> dict[str, Any]:
        """Return the fields that are different now. Raises ``NotSerializable`` for a new value that has no form on the wire."""
        changed: dict[str, Any] = {}
        for name, value in _fields_of(context):
            form, was = _form(value), self._forms.get(name)
            if isinstance(form, _Opaque):
                if not isinstance(was, _Opaque) or was.value is not value:
                    raise NotSerializable(
                        f"the field {name!r} of the context holds a {type(value).__name__}, which has no form on the wire",
                        hint="put plain data there; what cannot be written is made by make_context, in every process",
                    )
            elif form != was:
                changed[name] = value
        return changed

    def findings(self, context: AgentContext) -> dict[str, Any]:
        """Return what has come in since: ``items`` by kind and ``results`` that were added, and other fields that were ``set``.

        Raises ``NotSerializable`` as ``changes`` does.
        """
        changed = self.changes(context)
        found: dict[str, Any] = {}
        if "discovered_items" in changed:
            known = {kind: context.discovered_items.get(kind, [])[:count] for kind, count in self._kinds.items()}
            if _form(known) == self._forms["discovered_items"]:
                added = {kind: items[self._kinds.get(kind, 0) :] for kind, items in changed["discovered_items"].items()}
                found["items"] = {kind: items for kind, items in added.items() if items}
                del changed["discovered_items"]
        if "query_results" in changed and _form(context.query_results[: self._results]) == self._forms["query_results"]:
            found["results"] = changed.pop("query_results")[self._results :]
        if changed:
            found["set"] = changed
        return found


def put_changes(context: AgentContext, changes: Mapping[str, Any]) -> None:
    """Set the fields. Raises ``InvalidInput`` for one that the context has not."""
    known = {name for name, _ in _fields_of(context)}
    for name, value in changes.items():
        if name not in known:
            raise InvalidInput(
                f"a {type(context).__name__} has no field {name!r}",
                hint="its fields have changed since the run began: give the new code another version",
            )
        setattr(context, name, value)


def put_findings(context: AgentContext, found: Mapping[str, Any]) -> None:
    """Add what a step found: each item once, results after those that are there. Raises ``BoundExceeded``, ``InvalidInput``."""
    put_changes(context, found.get("set", {}))
    for kind, items in found.get("items", {}).items():
        for item in items:
            context.add_discovered_item(kind, item)
    for result in found.get("results", ()):
        context.add_query_result(result)


def _fields_of(context: AgentContext) -> list[tuple[str, Any]]:
    return [(one.name, getattr(context, one.name)) for one in fields(context) if one.init]


def _form(value: object) -> bytes | _Opaque:
    try:
        return codec.encode(value, is_canonical=True)
    except NotSerializable:
        return _Opaque(value)
