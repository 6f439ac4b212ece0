"""Regular expressions that always end soon: each character of a text is looked at once, whatever the expression is.

Python's own try one way after the other, and one that comes from outside (``(a+)+$``) can keep a process busy for ever. Here all ways are
followed at once, so a text costs at most its length times the size of the expression. Understood is the part that JSON Schema advises
everybody to keep to: characters, classes, ``.``, ``^`` and ``$``, groups, ``|`` and counts. As in JSON Schema, it may match anywhere in the
text, ``$`` is the end and nothing before it, and ``\\d`` and ``\\w`` are ASCII.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple, assert_never

__all__ = ["MAX_NODES", "BadPattern", "Pattern"]

MAX_NODES: Final = 2_000
"""Of an expression, its counts written out."""
MAX_COUNT: Final = 1_000
MAX_GROUPS: Final = 40
"""One inside the other."""
MAX_MOVES: Final = 10_000
"""That are remembered, of one expression; beyond them it starts to remember anew."""

Test = Callable[[str], bool]
_Node = tuple[str, Test | None, int, int]
"""What it is (``char``, ``split``, ``begin``, ``end``, ``match``), the test of a char, and one or two nodes that follow."""

_SPACES: Final = frozenset("\t\n\v\f\r \u00a0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff") | {
    chr(code) for code in range(0x2000, 0x200B)
}
_DIGITS: Final = frozenset("0123456789")
_HEX_DIGITS: Final = frozenset("0123456789abcdefABCDEF")
_WORD: Final = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_SETS: Final = {"d": _DIGITS, "w": _WORD, "s": _SPACES}
_LINE_ENDS: Final = frozenset("\n\r\u2028\u2029")
_CONTROLS: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_HEX: Final = {"x": 2, "u": 4}


class BadPattern(ValueError):
    """It is no regular expression, or has what is not understood here; the words say which and where."""


class _State:
    __slots__ = ("is_match", "is_match_at_end", "moves", "nodes")

    def __init__(self, nodes: frozenset[int], is_match: bool, is_match_at_end: bool) -> None:
        self.nodes = nodes
        self.is_match = is_match
        self.is_match_at_end = is_match_at_end
        self.moves: dict[str, _State] = {}


class _Char(NamedTuple):
    test: Test


class _Edge(NamedTuple):
    what: str


class _Sequence(NamedTuple):
    parts: list[_Tree]


class _Either(NamedTuple):
    ways: list[_Tree]


class _Times(NamedTuple):
    part: _Tree
    least: int
    most: int | None


_Tree = _Char | _Edge | _Sequence | _Either | _Times


class Pattern:
    """A regular expression made ready. ``size`` is how many nodes it has: a character costs at most that many steps."""

    __slots__ = ("_again", "_first", "_moves", "_nodes", "_states", "size")

    def __init__(self, text: str) -> None:
        """Raises ``BadPattern``."""
        self._nodes: list[_Node] = [("match", None, 0, 0)]
        start = self._laid_out(_Parser(text).read(), 0)
        self.size = len(self._nodes)
        self._states: dict[frozenset[int], _State] = {}
        self._moves = 0
        self._again = self._reached({start})
        first = self._reached({start}, "begin")
        self._first = _State(first, 0 in first, 0 in self._reached({start}, "begin", "end"))

    def is_in(self, text: str) -> bool:
        """Whether it matches somewhere in ``text``."""
        state = self._first
        if state.is_match:
            return True
        for char in text:
            state = state.moves.get(char) or self._move(state, char)
            if state.is_match:
                return True
        return state.is_match_at_end

    def _move(self, state: _State, char: str) -> _State:
        nodes = self._nodes
        following = set()
        for one in state.nodes:
            _, test, after, _ = nodes[one]
            if test is not None and test(char):
                following.add(after)
        if self._moves >= MAX_MOVES:
            self._states, self._moves = {}, 0
        found = self._state(self._reached(following) | self._again)
        state.moves[char] = found
        self._moves += 1
        return found

    def _state(self, nodes: frozenset[int]) -> _State:
        found = self._states.get(nodes)
        if found is None:
            found = self._states[nodes] = _State(nodes, 0 in nodes, 0 in self._reached(nodes, "end"))
        return found

    def _reached(self, nodes: set[int] | frozenset[int], *crossing: str) -> frozenset[int]:
        """Return what is reached from ``nodes`` without another character; ``^`` or ``$`` only where they are ``crossing``."""
        reached: set[int] = set()
        waiting = list(nodes)
        while waiting:
            one = waiting.pop()
            if one in reached:
                continue
            reached.add(one)
            what, _, after, other = self._nodes[one]
            if what == "split":
                waiting += (after, other)
            elif what in crossing:
                waiting.append(after)
        return frozenset(reached)

    # --- from tree to nodes -----------------------------------------------------------------------------------------

    def _node(self, what: str, test: Test | None, after: int, other: int = 0) -> int:
        if len(self._nodes) >= MAX_NODES:
            raise BadPattern(f"with its counts written out it has more than {MAX_NODES:,} parts")
        self._nodes.append((what, test, after, other))
        return len(self._nodes) - 1

    def _laid_out(self, tree: _Tree, after: int) -> int:
        """Lay ``tree`` out before the node ``after``; return where it begins."""
        match tree:
            case _Char(test):
                return self._node("char", test, after)
            case _Edge(what):
                return self._node(what, None, after)
            case _Sequence(parts):
                for part in reversed(parts):
                    after = self._laid_out(part, after)
                return after
            case _Either(ways):
                begin = self._laid_out(ways[0], after)
                for way in ways[1:]:
                    begin = self._node("split", None, begin, self._laid_out(way, after))
                return begin
            case _Times(part, least, most):
                return self._repeated(part, least, most, after)
            case _:
                assert_never(tree)

    def _repeated(self, part: _Tree, least: int, most: int | None, after: int) -> int:
        if most is None:
            loop = self._node("split", None, 0, after)
            self._nodes[loop] = ("split", None, self._laid_out(part, loop), after)
            after = loop
        else:
            end = after
            for _ in range(most - least):
                after = self._node("split", None, self._laid_out(part, after), end)
        for _ in range(least):
            begin = self._laid_out(part, after)
            if begin == after:  # nothing, however often: no reason to count to a thousand, inside a thousand
                break
            after = begin
        return after


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._groups = 0

    def read(self) -> _Tree:
        tree = self._either()
        if self._next():
            raise self._bad("a ) closes nothing")
        return tree

    def _bad(self, words: str) -> BadPattern:
        return BadPattern(f"{words}, at character {self._at}")

    def _next(self) -> str:
        return self._text[self._at : self._at + 1]

    def _takes(self, text: str) -> bool:
        is_there = self._text.startswith(text, self._at)
        self._at += len(text) * is_there
        return is_there

    def _taken(self) -> str:
        char = self._next()
        if not char:
            raise self._bad("it ends too early")
        self._at += 1
        return char

    def _either(self) -> _Tree:
        ways = [self._sequence()]
        while self._takes("|"):
            ways.append(self._sequence())
        return ways[0] if len(ways) == 1 else _Either(ways)

    def _sequence(self) -> _Tree:
        parts: list[_Tree] = []
        while self._next() not in ("", "|", ")"):
            parts.append(self._counted(self._one()))
        return _Sequence(parts)

    def _one(self) -> _Tree:
        match self._taken():
            case "(":
                return self._group()
            case "[":
                return _Char(self._class())
            case ".":
                return _Char(lambda char: char not in _LINE_ENDS)
            case "^":
                return _Edge("begin")
            case "$":
                return _Edge("end")
            case "\\":
                return _Char(_in(*self._escaped()))
            case "*" | "+" | "?" | "{" as sign:
                raise self._bad(f"{sign!r} counts nothing; write \\{sign} for the character")
            case char:
                return _Char(_in(char, False))

    def _group(self) -> _Tree:
        if self._takes("?") and not self._takes(":"):
            raise self._bad("of (?…) only (?:…) is understood: neither looking ahead nor names nor flags")
        self._groups += 1
        if self._groups > MAX_GROUPS:
            raise self._bad(f"more than {MAX_GROUPS} groups stand one inside the other")
        tree = self._either()
        if not self._takes(")"):
            raise self._bad("a ( is not closed")
        self._groups -= 1
        return tree

    def _counted(self, tree: _Tree) -> _Tree:
        if self._takes("*"):
            counts: tuple[int, int | None] = (0, None)
        elif self._takes("+"):
            counts = (1, None)
        elif self._takes("?"):
            counts = (0, 1)
        elif self._takes("{"):
            counts = self._count()
        else:
            return tree
        self._takes("?")  # as few as will do: whether it matches is the same
        return _Times(tree, *counts)

    def _count(self) -> tuple[int, int | None]:
        least = self._number()
        most: int | None = least
        if self._takes(","):
            most = None if self._next() == "}" else self._number()
        if not self._takes("}") or (most is not None and most < least):
            raise self._bad("a count is {3}, {3,} or {3,5}")
        return least, most

    def _number(self) -> int:
        begin = self._at
        while self._next() in _DIGITS and self._at - begin < 5:
            self._at += 1
        digits = self._text[begin : self._at]
        if not digits or int(digits) > MAX_COUNT:
            raise self._bad(f"a count is a number up to {MAX_COUNT:,}")
        return int(digits)

    def _escaped(self) -> tuple[str | frozenset[str], bool]:
        """Return the characters that are meant by what follows a backslash, and whether all others are."""
        char = self._taken()
        if char.lower() in _SETS:
            return _SETS[char.lower()], char.isupper()
        if char in _CONTROLS:
            return _CONTROLS[char], False
        if char in _HEX:
            digits = self._text[self._at : self._at + _HEX[char]]
            self._at += len(digits)
            if len(digits) < _HEX[char] or not _HEX_DIGITS.issuperset(digits):
                raise self._bad(f"after \\{char} stand {_HEX[char]} digits")
            return chr(int(digits, 16)), False
        if char in _WORD:
            raise self._bad(f"\\{char} is not understood")
        return char, False

    def _class(self) -> Test:
        is_not = self._takes("^")
        singles: set[str] = set()
        ranges: list[tuple[str, str]] = []
        others: list[frozenset[str]] = []
        while not self._takes("]"):
            chars, is_rest = self._in_class()
            if isinstance(chars, frozenset):
                if is_rest:
                    others.append(chars)
                else:
                    singles |= chars
                continue
            if self._next() == "-" and self._text[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                last, _ = self._in_class()
                if not isinstance(last, str) or last < chars:
                    raise self._bad("a range goes from one character to a later one")
                ranges.append((chars, last))
            else:
                singles.add(chars)

        def test(char: str) -> bool:
            is_in = char in singles or any(first <= char <= last for first, last in ranges)
            return (is_in or any(char not in rest for rest in others)) is not is_not

        return test

    def _in_class(self) -> tuple[str | frozenset[str], bool]:
        char = self._taken()
        if char != "\\":
            return char, False
        if self._takes("b"):
            return "\b", False
        return self._escaped()


def _in(chars: str | frozenset[str], is_rest: bool) -> Test:
    return lambda char: (char in chars) is not is_rest
