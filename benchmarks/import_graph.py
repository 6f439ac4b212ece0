"""A real graph of a thousand tasks: which module of this Python imports which, with cycles condensed to one node each.

    python -m benchmarks.import_graph          # what it looks like, and its bounds

The modules are those of the standard library, without its tests, and then, until there are enough, those of the installed
distributions in the order of their names; imports are read from the source with ``ast`` and nothing is imported. So the graph is the
same in every process of one environment. The duration of a node is known as well: a millisecond, and one more for each 2,000
bytes of its source.
"""

from __future__ import annotations

import ast
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["ImportGraph", "critical_path", "import_graph", "lower_bound"]

LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "__pycache__",
    "site-packages",
    "dist-packages",
    "idlelib",
    "lib2to3",
    "turtledemo",
    # written by a generator: hundreds of modules that import each other, one node as long as all the rest
    "anthropic",
    "openai",
    # what the extras of the development environment brought since: the graph stays the one that the bounds were set for
    "agents",
    "griffe",
    "mcp",
    "pydantic_ai",
    "pydantic_graph",
}
MAX_SOURCE_BYTES = 1_000_000
BYTES_PER_MS = 2_000


@dataclass(frozen=True)
class ImportGraph:
    """Nodes by name, each after what it depends on; and how many milliseconds each takes."""

    dependencies: dict[str, tuple[str, ...]]
    durations_ms: dict[str, int]


@cache
def import_graph(size: int) -> ImportGraph:
    """Return a graph of at most ``size`` nodes; fewer, when there are not so many modules."""
    sources: dict[str, Path] = {}
    imports: dict[str, tuple[str, ...]] = {}
    # a cycle of modules is one node, so there may have to be more of them than nodes
    for name, path in _modules():
        sources[name] = path
        if len(sources) >= size + size // 2:
            break
    for name, path in sources.items():
        imports[name] = tuple(sorted(_imported(name, path) & sources.keys() - {name}))
    group_of = _groups(imports)
    members: dict[str, list[str]] = {}
    for name, group in group_of.items():
        members.setdefault(group, []).append(name)
    dependencies: dict[str, tuple[str, ...]] = {}
    durations: dict[str, int] = {}
    for group, modules in members.items():  # a group comes after all that it imports
        if len(dependencies) == size:
            break
        wanted = {group_of[other] for module in modules for other in imports[module]} - {group}
        dependencies[group] = tuple(sorted(wanted))
        durations[group] = 1 + sum(sources[module].stat().st_size for module in modules) // BYTES_PER_MS
    return ImportGraph(dependencies, durations)


def _modules() -> Iterator[tuple[str, Path]]:
    paths = sysconfig.get_paths()
    for root in (Path(paths["stdlib"]), Path(paths["purelib"])):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            if LEFT_OUT.isdisjoint(parts) and all(part.isidentifier() for part in parts):
                yield ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts), path


def _imported(name: str, path: Path) -> set[str]:
    """Return the modules that ``path`` imports when it is imported itself; those inside functions come later and do not count."""
    if path.stat().st_size > MAX_SOURCE_BYTES:
        return set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return set()
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join([*start, *filter(None, [node.module])])
            found.update([origin, *(f"{origin}.{alias.name}" for alias in node.names)])
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
    return found


def _groups(imports: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the strongly connected group of each module, named after its first member, dependencies first (Tarjan)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    group_of: dict[str, str] = {}
    for root in sorted(imports):
        work = [(root, iter(imports[root]))] if root not in index else []
        if work:
            index[root] = low[root] = len(index)
            stack.append(root)
            on_stack.add(root)
        while work:
            name, rest = work[-1]
            other = next(rest, None)
            if other is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    group = stack[stack.index(name) :]
                    del stack[-len(group) :]
                    on_stack.difference_update(group)
                    group_of.update(dict.fromkeys(sorted(group), min(group)))
            elif other not in index:
                index[other] = low[other] = len(index)
                stack.append(other)
                on_stack.add(other)
                work.append((other, iter(imports[other])))
            elif other in on_stack:
                low[name] = min(low[name], index[other])
    return group_of


def critical_path(graph: ImportGraph) -> tuple[list[str], int]:
    """Return the chain that takes longest, and its milliseconds: one walk over the nodes, as each comes after what it needs."""
    ends: dict[str, int] = {}
    before: dict[str, str | None] = {}
    for name, needs in graph.dependencies.items():
        before[name] = max(needs, key=ends.__getitem__, default=None)
        ends[name] = graph.durations_ms[name] + max((ends[need] for need in needs), default=0)
    last: str | None = max(ends, key=ends.__getitem__)
    longest, path = ends[last or ""], []
    while last is not None:
        path.append(last)
        last = before[last]
    return path[::-1], longest


def lower_bound(graph: ImportGraph, seats: int) -> float:
    """Return the milliseconds below which nobody can be with so many seats: the longest chain, or all work shared out evenly."""
    return max(critical_path(graph)[1], sum(graph.durations_ms.values()) / seats)


if __name__ == "__main__":
    shown = import_graph(1_000)
    chain, length = critical_path(shown)
    edges = sum(map(len, shown.dependencies.values()))
    total = sum(shown.durations_ms.values())
    print(f"{len(shown.dependencies):,} nodes, {edges:,} dependencies, {total:,} ms of work")
    print(f"critical path: {len(chain)} nodes, {length:,} ms: {' → '.join(chain)}")
    for seats in (4, 16, 64):
        print(f"lower bound with {seats:2} seats: {lower_bound(shown, seats):,.0f} ms")
