"""Conditions: small expression trees over results, written as text: ``"${score} > 0.8 and ${kind} == 'new'"``.

They stay data: a definition keeps the text, and a tree of six closed forms is built from it once. Python's own parser reads the
text, a whitelist turns its nodes into ours, and nothing is ever evaluated as Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator
from typing import Any, Final, assert_never

import msgspec

from agenticflow.errors import DefinitionError, InvalidInput
from agenticflow.orchestration.references import Lookup, Reference, parse_reference

__all__ = ["Condition", "parse_condition"]

MAX_TEXT: Final = 4_000
MAX_DEPTH: Final = 50
"""Far below the interpreter's own limit, so that what could be written can be decided, however deep the caller's stack is."""
_PLACE: Final = re.compile(r"\$\{([^{}]*)\}")
_RESERVED: Final = "__reference_"
_SYMBOLS: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
_OPERATIONS: Final[dict[str, Callable[[Any, Any], object]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "in": lambda part, whole: part in whole,
    "not in": lambda part, whole: part not in whole,
}
"""What does not compare raises ``TypeError``."""
_HINT: Final = "use ${references}, text, numbers, true, false, null, lists, comparisons, `in`, and, or, not, len(…)"


class _Constant(msgspec.Struct, frozen=True):
    value: object


class _Every(msgspec.Struct, frozen=True):
    """``and`` when ``is_all``, else ``or``."""

    is_all: bool
    parts: tuple[_Node, ...]


class _Not(msgspec.Struct, frozen=True):
    part: _Node


class _Compare(msgspec.Struct, frozen=True):
    left: _Node
    symbol: str
    right: _Node


class _Length(msgspec.Struct, frozen=True):
    part: _Node


class _Items(msgspec.Struct, frozen=True):
    parts: tuple[_Node, ...]


_Node = Reference | _Constant | _Every | _Not | _Compare | _Length | _Items


class Condition:
    """A parsed condition."""

    __slots__ = ("_tree", "references", "text")

    def __init__(self, text: str, tree: _Node, references: tuple[Reference, ...]) -> None:
        self.text = text
        self._tree = tree
        self.references = references

    def holds(self, lookup: Lookup) -> bool:
        """Whether it is true of what ``lookup`` gives. Raises ``InvalidInput`` for operands that do not compare."""
        return bool(self._value(self._tree, lookup))

    def _value(self, node: _Node, lookup: Lookup) -> object:
        match node:
            case Reference():
                return node.resolve(lookup)
            case _Constant(value):
                return value
            case _Every(is_all, parts):
                for part in parts[:-1]:
                    value = self._value(part, lookup)
                    if bool(value) is not is_all:
                        return value
                return self._value(parts[-1], lookup)
            case _Not(part):
                return not self._value(part, lookup)
            case _Length(part):
                return self._length(self._value(part, lookup))
            case _Items(parts):
                return [self._value(part, lookup) for part in parts]
            case _Compare(left, symbol, right):
                return self._compare(self._value(left, lookup), symbol, self._value(right, lookup))
            case _:
                assert_never(node)

    def _length(self, value: object) -> int:
        if isinstance(value, (str, bytes, list, dict)):
            return len(value)
        raise InvalidInput(f"the condition {self.text!r} asks for the length of a {type(value).__name__}")

    def _compare(self, left: object, symbol: str, right: object) -> bool:
        try:
            return bool(_OPERATIONS[symbol](left, right))
        except TypeError as error:
            raise InvalidInput(
                f"the condition {self.text!r} cannot be decided: {left!r:.60} {symbol} {right!r:.60} ({error})"
            ) from error


def parse_condition(text: str) -> Condition:
    """Return the condition written in ``text``. Raises ``DefinitionError`` that says what is not understood."""
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        raise DefinitionError(f"a condition is a text of 1 to {MAX_TEXT} characters, not {text!r:.60}", hint=_HINT)
    if _RESERVED in text:
        raise DefinitionError(f"the condition {text!r} uses the reserved name {_RESERVED!r}", hint=_HINT)
    references: list[Reference] = []

    def stand_in(match: re.Match[str]) -> str:
        references.append(parse_reference(match.group(1)))
        return f" {_RESERVED}{len(references) - 1} "

    source = _PLACE.sub(stand_in, text).strip()
    try:
        parsed = ast.parse(source, mode="eval")
        tree = _convert(parsed.body, {f"{_RESERVED}{i}": reference for i, reference in enumerate(references)}, text)
        _check_kinds(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DefinitionError(
            f"the condition {text!r} is not understood: {error.args[0] if error.args else error}", hint=_HINT
        ) from error
    return Condition(text, tree, tuple(references))


def _convert(node: ast.expr, names: dict[str, Reference], text: str, depth: int = 0) -> _Node:
    if depth > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    depth += 1
    match node:
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.Name(id=("true" | "false" | "null") as word):
            return _Constant({"true": True, "false": False, "null": None}[word])
        case ast.Constant(value=str() | int() | float() | None as value):
            if isinstance(value, str) and _RESERVED in value:
                raise ValueError("a reference stands inside quotes; write ${name} without them")
            return _Constant(value)
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return _Constant(-number)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return _Not(_convert(operand, names, text, depth))
        case ast.BoolOp(op=op, values=values):
            return _Every(isinstance(op, ast.And), tuple(_convert(value, names, text, depth) for value in values))
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return _Items(tuple(_convert(element, names, text, depth) for element in elements))
        case ast.Call(func=ast.Name(id="len"), args=[argument], keywords=[]):
            return _Length(_convert(argument, names, text, depth))
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            return _comparison(left, list(_pairs(ops, comparators, text)), names, text, depth)
        case _:
            raise ValueError(f"{ast.unparse(node)!r} is not allowed in a condition")


def _pairs(ops: list[ast.cmpop], comparators: list[ast.expr], text: str) -> Iterator[tuple[str, ast.expr]]:
    for op, comparator in zip(ops, comparators, strict=True):
        symbol = _SYMBOLS.get(type(op))
        if symbol is None:
            raise ValueError(f"`is` is not allowed in the condition {text!r}; write == or !=")
        yield symbol, comparator


def _comparison(
    left: ast.expr, rest: list[tuple[str, ast.expr]], names: dict[str, Reference], text: str, depth: int
) -> _Node:
    parts: list[_Node] = []
    first = _convert(left, names, text, depth)
    for symbol, comparator in rest:
        second = _convert(comparator, names, text, depth)
        parts.append(_Compare(first, symbol, second))
        first = second
    return parts[0] if len(parts) == 1 else _Every(True, tuple(parts))


# --- kinds --------------------------------------------------------------------------------------------------------------

_ORDERED: Final = ("text", "number", "list")


def _check_kinds(node: _Node) -> str:
    """Return the kind of value ``node`` gives, empty when only the run knows. Raises ``ValueError`` for what can never make sense."""
    match node:
        case Reference():
            return ""
        case _Constant(value):
            return _kind_of(value)
        case _Items(parts) | _Every(parts=parts):
            kinds = {_check_kinds(part) for part in parts}
            return "list" if isinstance(node, _Items) else ("yes or no" if kinds == {"yes or no"} else "")
        case _Not(part):
            _check_kinds(part)
            return "yes or no"
        case _Length(part):
            if (kind := _check_kinds(part)) not in ("", "text", "list"):
                raise ValueError(f"len() asks for the length of a {kind}")
            return "number"
        case _Compare(left, symbol, right):
            _check_comparison(_check_kinds(left), symbol, _check_kinds(right))
            return "yes or no"
        case _:
            assert_never(node)


def _kind_of(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "yes or no"
    return "text" if isinstance(value, str) else "number"


def _check_comparison(left: str, symbol: str, right: str) -> None:
    if symbol in ("in", "not in"):
        if right not in ("", "text", "list"):
            raise ValueError(f"nothing is `in` a {right}")
        if right == "text" and left not in ("", "text"):
            raise ValueError(f"a {left} is never `in` a text")
    elif symbol in ("==", "!="):
        if left and right and left != right and "null" not in (left, right):
            raise ValueError(f"a {left} never equals a {right}")
    elif (left and left not in _ORDERED) or (right and right not in _ORDERED):
        raise ValueError(f"{symbol} does not compare a {left or 'value'} with a {right or 'value'}")
    elif left and right and left != right:
        raise ValueError(f"{symbol} does not compare a {left} with a {right}")
