"""Who imports whom inside a package, and which modules are thereby caught in a ring.

Pure functions of syntax trees and names; nothing is ever imported to find out. They use their own stack, not
recursion.

``imports_of`` turns one module into ``ImportedName``s, ``ImportGraph`` resolves those of all modules of a
package, and ``cycles_in`` finds the rings; the ranker uses it again between packages.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["ImportGraph", "ImportedName", "cycles_in", "imports_of"]


@dataclass(frozen=True)
class ImportedName:
    """One absolute dotted name that a module asks for.

    ``attribute`` is the name after ``from … import``: it may be a submodule or something inside the module. A
    deferred import does not run when the module is imported: it is inside a function or under ``if
    TYPE_CHECKING``.
    """

    module: str
    attribute: str
    deferred: bool


def imports_of(tree: ast.Module, module: str, *, is_package: bool) -> Iterator[ImportedName]:
    """All imports of the module with the dotted name ``module``, relative ones made absolute.

    ``is_package`` is true for an ``__init__.py``, from which one leading dot means the module itself. A
    relative import that climbs above the top-level package cannot work and is passed over.
    """
    stack: list[tuple[ast.AST, bool]] = [(child, False) for child in reversed(tree.body)]
    while stack:
        node, deferred = stack.pop()
        match node:
            case ast.Import(names=names):
                yield from (ImportedName(alias.name, "", deferred) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                origin = _absolute(source or "", level, module, is_package)
                if origin:
                    attributes = ("" if alias.name == "*" else alias.name for alias in names)
                    yield from (ImportedName(origin, attribute, deferred) for attribute in attributes)
            case _:
                stack += _blocks_of(node, deferred)


def _blocks_of(node: ast.AST, deferred: bool) -> list[tuple[ast.AST, bool]]:
    """The statements inside a statement, last first, and whether they are deferred."""
    found: list[tuple[ast.AST, bool]] = []
    is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    for block in ("finalbody", "orelse", "cases", "handlers", "body"):
        inner = getattr(node, block, None)
        if isinstance(inner, list):
            for_checkers = block == "body" and isinstance(node, ast.If) and _is_type_checking(node.test)
            found += [(child, deferred or is_function or for_checkers) for child in reversed(inner)]
    return found


def _absolute(source: str, level: int, module: str, is_package: bool) -> str:
    if level == 0:
        return source
    parts = module.split(".")
    keep = len(parts) - level + is_package
    if keep <= 0:
        return ""
    return ".".join([*parts[:keep], source] if source else parts[:keep])


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


@dataclass
class ImportGraph:
    """The imports among the modules of one package.

    An edge leads to the most specific module that exists: ``from email import charset`` is an edge to
    ``email.charset``, and none to ``email``, although Python runs the parent package first. Edges that every
    submodule has to its parents would make each package one ring and tell nobody anything (grimp and
    import-linter do the same).
    """

    modules: frozenset[str]
    at_import: dict[str, set[str]] = field(default_factory=dict)
    all: dict[str, set[str]] = field(default_factory=dict)
    outside: dict[str, set[str]] = field(default_factory=dict)

    def add(self, module: str, names: Iterable[ImportedName], *, siblings: str = "") -> None:
        """Resolve one module's imports.

        Import-time names outside this package are kept in ``outside``, as dotted modules; those below the
        dotted name ``siblings`` with their attribute, which may be another package of the same project.
        """
        at_import, every, outside = set[str](), set[str](), set[str]()
        for name in names:
            target = self._inside(name)
            if target is not None:
                every.add(target)
                if not name.deferred:
                    at_import.add(target)
            elif not name.deferred:
                is_sibling = siblings and name.attribute and f"{name.module}.".startswith(f"{siblings}.")
                outside.add(f"{name.module}.{name.attribute}" if is_sibling else name.module)
        self.at_import[module] = at_import - {module}
        self.all[module] = every - {module}
        self.outside[module] = outside

    def _inside(self, name: ImportedName) -> str | None:
        candidate = f"{name.module}.{name.attribute}" if name.attribute else name.module
        while candidate:
            if candidate in self.modules:
                return candidate
            candidate = candidate.rpartition(".")[0]
        return None


def cycles_in(graph: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """The strongly connected components with two or more members, by Tarjan's algorithm (SIAM J. Comput.
    1972).

    Neighbours that are no keys of ``graph`` are ignored. Members are sorted; the rings are sorted by size,
    largest first, then by name, so that equal graphs give equal answers.
    """
    search = _Tarjan(graph)
    for start in sorted(graph):
        if start not in search.index:
            search.visit_from(start)
    return sorted(search.rings, key=lambda ring: (-len(ring), ring))


class _Tarjan:
    """The state of one search; ``calls`` replaces the recursion of the published algorithm."""

    def __init__(self, graph: Mapping[str, Iterable[str]]) -> None:
        self.graph = graph
        self.index: dict[str, int] = {}
        self.low: dict[str, int] = {}
        self.path: list[str] = []
        self.on_path: set[str] = set()
        self.calls: list[tuple[str, Iterator[str]]] = []
        self.rings: list[list[str]] = []

    def visit_from(self, start: str) -> None:
        self._enter(start)
        while self.calls:
            node, neighbours = self.calls[-1]
            for neighbour in neighbours:
                if neighbour not in self.index:
                    self._enter(neighbour)
                    break
                if neighbour in self.on_path:
                    self.low[node] = min(self.low[node], self.index[neighbour])
            else:
                self._leave(node)

    def _enter(self, node: str) -> None:
        self.index[node] = self.low[node] = len(self.index)
        self.path.append(node)
        self.on_path.add(node)
        self.calls.append((node, iter(sorted(name for name in self.graph[node] if name in self.graph))))

    def _leave(self, node: str) -> None:
        self.calls.pop()
        if self.calls:
            caller = self.calls[-1][0]
            self.low[caller] = min(self.low[caller], self.low[node])
        if self.low[node] == self.index[node]:
            start = self.path.index(node)
            ring = self.path[start:]
            del self.path[start:]
            self.on_path.difference_update(ring)
            if len(ring) > 1:
                self.rings.append(sorted(ring))
