"""What the agents and tools of one run share: where data comes from, what it looks like, what was found so far. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from agenticflow.core import codec
from agenticflow.errors import BoundExceeded, InvalidInput

__all__ = ["AgentContext"]

MAX_KINDS: Final = 100
MAX_ITEMS: Final = 10_000
MAX_RESULTS: Final = 1_000
MAX_KIND_CHARS: Final = 100


@dataclass(kw_only=True)
class AgentContext:
    """Shared state of a run, passed to every tool and agent in it. Extend it with fields of your own::

        @dataclass(kw_only=True)
        class SalesContext(AgentContext):
            region: str

    It lives as long as the run's process; what must survive goes into results, events or a memory.
    """

    database_connector: Any = None
    """Whatever the tools of this run query: theirs to know."""
    schema: Mapping[str, Any] | None = None
    """The tables behind the connector, as ``format_schema_for_prompt`` takes them."""
    filters: Mapping[str, Any] = field(default_factory=dict)
    """What the data is restricted to, as ``filter_instructions`` takes it."""
    query_results: list[Any] = field(default_factory=list)
    """What queries have returned so far, the oldest first."""
    discovered_items: dict[str, list[Any]] = field(default_factory=dict)
    """What agents came across, by kind, each once."""
    _seen: dict[str, set[bytes]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def add_discovered_item(self, kind: str, item: Any) -> bool:
        """Remember something that was found; return whether it is new. Equal items are kept once, in the order of their first finding.

        Raises ``InvalidInput`` for a kind that is none, ``NotSerializable`` for an item that is no plain data, ``BoundExceeded`` beyond
        100 kinds or 10,000 items of a kind.
        """
        if not isinstance(kind, str) or not 1 <= len(kind) <= MAX_KIND_CHARS:
            raise InvalidInput(f"{kind!r:.60} is no kind of item", hint='write add_discovered_item("customer", item)')
        form = codec.encode(item, is_canonical=True)
        found = self.discovered_items.get(kind, [])
        seen = self._seen.get(kind)
        if seen is None or len(seen) != len(found):
            # given to the constructor, or changed by hand
            seen = {codec.encode(known, is_canonical=True) for known in found}
        if form in seen:
            return False
        if len(found) >= MAX_ITEMS or (kind not in self.discovered_items and len(self.discovered_items) >= MAX_KINDS):
            raise BoundExceeded(
                f"{len(self.discovered_items):,} kinds, {len(found):,} of {kind!r}: no more than {MAX_KINDS:,} kinds of "
                f"{MAX_ITEMS:,} items are kept",
                hint="keep what is worth it, or count",
            )
        self.discovered_items.setdefault(kind, found).append(item)
        seen.add(form)
        self._seen[kind] = seen
        return True

    def add_query_result(self, result: Any) -> None:
        """Remember what a query returned. Raises ``BoundExceeded`` beyond a thousand results."""
        if len(self.query_results) >= MAX_RESULTS:
            raise BoundExceeded(
                f"{MAX_RESULTS:,} query results are kept, and no more",
                hint="take what is needed from them and clear the list",
            )
        self.query_results.append(result)

    @property
    def has_data(self) -> bool:
        """Whether anything was found so far: an item, or a query result that is not empty."""
        return any(self.discovered_items.values()) or any(map(_is_something, self.query_results))


def _is_something(result: Any) -> bool:
    if isinstance(result, (str, bytes, Mapping, Sequence, set, frozenset)):
        return len(result) > 0
    return result is not None
