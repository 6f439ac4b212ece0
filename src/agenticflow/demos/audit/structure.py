"""What one syntax tree contains: functions with their complexity, classes, and public names.

Pure functions of the tree. They use their own stack instead of recursion, so that no nesting that Python's
parser accepts can exhaust the interpreter's.

An ``ast.Module`` comes in; ``Structure`` goes out, to be added up by ``analysis``.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from agenticflow.demos.audit.shapes import RANK_LETTERS

__all__ = [
    "Function",
    "PublicName",
    "Structure",
    "functions_of",
    "public_names_of",
    "rank_letter",
    "structure_of",
]

_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Definition = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Function:
    """One ``def``. The name is qualified inside the file: ``Class.method``, ``outer.inner``."""

    name: str
    line: int
    column: int
    length: int
    complexity: int = 1


@dataclass(frozen=True)
class PublicName:
    """A module, class or function that a reader is entitled to find documented."""

    kind: Literal["module", "class", "function"]
    name: str
    line: int
    documented: bool


@dataclass(frozen=True)
class Structure:
    """What is in one module."""

    functions: list[Function] = field(default_factory=list)
    classes: int = 0
    public: list[PublicName] = field(default_factory=list)


def structure_of(tree: ast.Module, module: str) -> Structure:
    """Everything this room knows about the tree of the module with the dotted name ``module``."""
    functions, classes = functions_of(tree)
    return Structure(functions, classes, list(public_names_of(tree, module)))


def rank_letter(complexity: int) -> str:
    """Radon's letter for a complexity of one or more: A up to 5, B up to 10, C up to 20, F from 41."""
    return RANK_LETTERS[bisect_left(_LAST_OF_RANK, complexity)]


_LAST_OF_RANK = (5, 10, 20, 30, 40)


def functions_of(tree: ast.Module) -> tuple[list[Function], int]:
    """All functions in the order of the text, each with its cyclomatic complexity, and the number of classes.

    McCabe's number as radon 6 counts it: one, and in the body (not in decorators, defaults or annotations)

    - one for each ``if``, ``elif``, conditional expression and ``assert``, nothing more inside the assertion;
    - one for each ``for`` and ``while``, and one for its ``else``;
    - one for each ``except`` of a ``try``, and one for its ``else``; ``except*`` counts nothing, as in radon;
    - one for each ``and`` and ``or`` between two operands;
    - one for each ``for`` and each ``if`` in a comprehension;
    - one for each ``case``, less one where the match has a bare ``_`` or name as a pattern;
    - nothing for ``with``, lambdas (whose bodies do count), nested functions and nested classes.

    Nested functions and methods of nested classes are functions of their own by the same rule. Radon leaves
    out those of classes inside functions; here they are counted like all others.
    """
    functions: list[Function] = []
    classes = 0
    stack: list[tuple[ast.AST, Function | None, str]] = [(child, None, "") for child in reversed(tree.body)]
    while stack:
        node, owner, scope = stack.pop()
        if isinstance(node, _DEFINITIONS):
            owner = _new_function(node, scope)
            functions.append(owner)
            stack += [(child, owner, f"{owner.name}.") for child in reversed(node.body)]
            continue
        if isinstance(node, ast.ClassDef):
            classes += 1
            stack += [(child, None, f"{scope}{node.name}.") for child in reversed(node.body)]
            continue
        if owner is not None:
            owner.complexity += _decisions(node)
            if isinstance(node, ast.Assert):
                continue
            children = _inner_nodes(node)
        else:
            # Outside of functions nothing is counted, so only what may hold a definition is worth a visit.
            children = _statements_in(node)
        stack += [(child, owner, scope) for child in reversed(children)]
    return functions, classes


def _new_function(node: Definition, scope: str) -> Function:
    length = (node.end_lineno or node.lineno) - node.lineno + 1
    return Function(name=f"{scope}{node.name}", line=node.lineno, column=node.col_offset, length=length)


def _decisions(node: ast.AST) -> int:
    decisions = 0
    match node:
        case ast.If() | ast.IfExp() | ast.Assert():
            decisions = 1
        case ast.BoolOp(values=values):
            decisions = len(values) - 1
        case ast.For(orelse=orelse) | ast.While(orelse=orelse) | ast.AsyncFor(orelse=orelse):
            decisions = 1 + bool(orelse)
        case ast.comprehension(ifs=ifs):
            decisions = 1 + len(ifs)
        case ast.Try(handlers=handlers, orelse=orelse):
            decisions = len(handlers) + bool(orelse)
        case ast.Match(cases=cases):
            catches_all = any(isinstance(c.pattern, ast.MatchAs) and c.pattern.pattern is None for c in cases)
            decisions = len(cases) - catches_all
        case _:
            pass
    return decisions


_LEAVES = (
    ast.Name,
    ast.Constant,
    ast.expr_context,
    ast.operator,
    ast.unaryop,
    ast.boolop,
    ast.cmpop,
    ast.alias,
)


def _inner_nodes(node: ast.AST) -> list[ast.AST]:
    """Children that may count or contain something; ``ast.iter_child_nodes`` takes twice the time."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [item for item in value if isinstance(item, ast.AST) and not isinstance(item, _LEAVES)]
        elif isinstance(value, ast.AST) and not isinstance(value, _LEAVES):
            found.append(value)
    return found


_BLOCKS = ("body", "handlers", "cases", "orelse", "finalbody")


def _statements_in(node: ast.AST) -> list[ast.AST]:
    found: list[ast.AST] = []
    for name in _BLOCKS:
        value = getattr(node, name, None)
        if isinstance(value, list):  # a lambda's body is no list
            found += value
    return found


def public_names_of(tree: ast.Module, module: str) -> Iterator[PublicName]:
    """The module itself and its public classes and functions, with or without a docstring.

    Public means what pydocstyle and ruff's rules D100 to D104 and D106 mean by it:

    - no part of the dotted name begins with one underscore (``__main__`` is public, as a module);
    - with a literal ``__all__``, names of the module must be in it;
    - of special methods, ``__call__`` and ``__new__`` only;
    - nothing inside a function;
    - no ``@overload``, no ``@override``, no setter or deleter of a property.
    """
    if any(_is_private_module(part) for part in module.split(".")):
        return
    yield PublicName("module", module, 1, ast.get_docstring(tree, clean=False) is not None)
    exported = _exported_names(tree)
    stack: list[tuple[ast.AST, str, bool]] = [(child, "", False) for child in reversed(tree.body)]
    while stack:
        node, scope, in_class = stack.pop()
        if isinstance(node, (ast.ClassDef, *_DEFINITIONS)):
            is_hidden = not scope and exported is not None and node.name not in exported
            if is_hidden or _is_private(node, in_class=in_class):
                continue
            documented = ast.get_docstring(node, clean=False) is not None
            name = f"{scope}{node.name}"
            if isinstance(node, ast.ClassDef):
                yield PublicName("class", name, node.lineno, documented)
                stack += [(child, f"{name}.", True) for child in reversed(node.body)]
            else:
                yield PublicName("function", name, node.lineno, documented)
        else:
            stack += [(child, scope, in_class) for child in reversed(_statements_in(node))]


def _is_private_module(part: str) -> bool:
    return part.startswith("_") and not (part.startswith("__") and part.endswith("__"))


_SPECIAL_BUT_PUBLIC = ("__call__", "__new__")


def _is_private(node: ast.ClassDef | Definition, *, in_class: bool) -> bool:
    if node.name.startswith("_") and not (in_class and node.name in _SPECIAL_BUT_PUBLIC):
        return True
    return not isinstance(node, ast.ClassDef) and any(
        _excuses_docstring(decorator, in_class=in_class) for decorator in node.decorator_list
    )


def _excuses_docstring(decorator: ast.expr, *, in_class: bool) -> bool:
    match decorator:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in ("overload", "override"):
            return True
        case ast.Attribute(value=ast.Name(), attr=name):
            return in_class and name in ("setter", "deleter")
        case _:
            return False


def _exported_names(tree: ast.Module) -> set[str] | None:
    """What ``__all__`` lists as far as it is written down literally; None where there is no ``__all__``."""
    names: set[str] | None = None
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                names = _strings_in(value)
            case ast.AnnAssign(target=ast.Name(id="__all__"), value=ast.expr() as value):
                names = _strings_in(value)
            case ast.AugAssign(target=ast.Name(id="__all__"), value=value):
                names = (names or set()) | _strings_in(value)
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=ast.Name(id="__all__"), attr="extend" | "append"), args=[value])
            ):
                names = (names or set()) | _strings_in(value)
            case _:
                pass
    return names


def _strings_in(value: ast.expr) -> set[str]:
    match value:
        case ast.Constant(value=str(name)):
            return {name}
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return {item.value for item in items if isinstance(item, ast.Constant) and isinstance(item.value, str)}
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            # Left-leaning by construction: a chain is unrolled here, so only its right ends recurse.
            names: set[str] = _strings_in(right) if not isinstance(right, ast.BinOp) else set()
            while isinstance(left, ast.BinOp):
                if not isinstance(left.right, ast.BinOp):
                    names |= _strings_in(left.right)
                left = left.left
            return names | _strings_in(left)
        case _:
            return set()
