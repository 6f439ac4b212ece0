"""A schema made ready: read once, with all that is wrong with it, into parts that values are held against."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from agenticflow.core.json_schema import combinations, containers, scalars
from agenticflow.core.json_schema.keywords import RULES, is_understood, step
from agenticflow.core.json_schema.parts import (
    ANYTHING,
    EVERY_KIND,
    MAX_PROBLEMS,
    MAX_STEPS,
    Check,
    Exhausted,
    Nothing,
    Part,
    Reference,
    Run,
    Typed,
)
from agenticflow.core.json_schema.patterns import Pattern
from agenticflow.core.json_schema.words import closest, short
from agenticflow.errors import DefinitionError

__all__ = ["MAX_PROBLEMS", "CompiledSchema", "JsonSchema", "compile_schema", "schema_mistakes"]

JsonSchema = Mapping[str, object]
MAX_DEPTH: Final = 60
"""Schemas one inside the other, without references."""
MAX_PARTS: Final = 10_000
"""Schemas in a schema."""


class CompiledSchema:
    """A schema that values can be held against, as often as one likes."""

    __slots__ = ("_part",)

    def __init__(self, part: Part) -> None:
        self._part = part

    def problems(self, value: object, root: str = "") -> list[str]:
        """Return what of ``value`` does not fit, each with its place, at most ``MAX_PROBLEMS``; empty when it fits.

        ``root`` is what the value is called: ``answer.days is 0, below the minimum 1``. Without one, what is inside it is called by its
        own name: ``'days' is 0, below the minimum 1``. A value that would take more than about a second to look at does not fit.
        """
        run = Run(root)
        try:
            self._part.check(value, None, run)
        except Exhausted:
            run.found = [f"{run.named(None)} takes more than {MAX_STEPS:,} steps to be checked: give less of it"]
        except RecursionError:
            run.found = [f"{run.named(None)} is nested too deeply"]
        return run.found[:MAX_PROBLEMS]


def compile_schema(schema: JsonSchema | bool) -> CompiledSchema:
    """Make ``schema`` ready. Raises ``DefinitionError`` with all that is wrong with it."""
    compiler = _Compiler(schema, None)
    part = compiler.compiled()
    if compiler.mistakes:
        raise DefinitionError(
            f"the schema is wrong: {compiler.mistakes[0]}",
            hint="mend the schema; what is understood is listed in docs/reference/json-schema.md",
            problems=compiler.mistakes,
        )
    return CompiledSchema(part)


def schema_mistakes(schema: object, keywords: Collection[str] | None = None) -> list[str]:
    """Return why values cannot be held to ``schema``, at most ``MAX_PROBLEMS`` reasons; empty when they can.

    ``keywords`` are the only ones that may stand in it; by default all that are understood.
    """
    compiler = _Compiler(schema, keywords)
    compiler.compiled()
    return compiler.mistakes


class _Compiler:
    def __init__(self, root: object, keywords: Collection[str] | None) -> None:
        self._root = root
        self._keywords = keywords
        self._references: dict[str, Reference] = {}
        self._waiting: deque[tuple[str, object, Reference]] = deque()
        self._parts = 0
        self.mistakes: list[str] = []

    def compiled(self) -> Part:
        """Return the whole schema made ready, as far as nothing is wrong with it."""
        part = self.part(self._root, "#", 0)
        while self._waiting and self._parts <= MAX_PARTS:
            place, schema, reference = self._waiting.popleft()
            reference.target = self.part(schema, place, 0)
        return part

    def _wrong(self, place: str, words: str) -> None:
        if len(self.mistakes) < MAX_PROBLEMS:
            self.mistakes.append(words if place == "#" else f"at {place}: {words}")

    def part(self, schema: object, place: str, depth: int) -> Part:
        """Return ``schema``, which stands at ``place``, made ready."""
        self._parts += 1
        if schema is True:
            return ANYTHING
        if schema is False:
            return Nothing()
        if not isinstance(schema, Mapping):
            self._wrong(place, f"{short(schema)} is no schema: write a mapping like {{'type': 'string'}}")
            return ANYTHING
        if depth > MAX_DEPTH:
            self._wrong(place, f"it is nested more than {MAX_DEPTH} deep: use $ref to definitions")
            return ANYTHING
        if self._parts > MAX_PARTS:
            if self._parts == MAX_PARTS + 1:
                self._wrong(place, f"it has more than {MAX_PARTS:,} schemas inside")
            return ANYTHING
        said = self._understood(schema, place)
        inner = _Inner(self, said, place, depth + 1)
        for keyword in ("$defs", "definitions"):
            for name in said.get(keyword, ()):
                self._reference(f"{place}{step(keyword)}{step(name)}", said[keyword][name])
        referred = self._referred(said, place)
        if referred is not None and len(said) == 1:
            return referred
        every = _of_any_kind(said, inner)
        if referred is not None:
            every.append(referred.check)
        checks: dict[str, Sequence[Check]] = dict.fromkeys(EVERY_KIND, every)
        checks["string"] = [*every, *_of_texts(said)]
        checks["array"] = [*every, *_of_lists(said, inner)]
        checks["object"] = [*every, *_of_objects(said, inner)]
        checks["integer"] = checks["number"] = [*every, *_of_numbers(said)]
        types = said.get("type", ())
        return Typed((types,) if isinstance(types, str) else tuple(types), checks)

    def _understood(self, schema: Mapping[str, object], place: str) -> dict[str, Any]:
        """Return what is said in ``schema`` about values, each word with what may stand behind it."""
        said: dict[str, Any] = {}
        for keyword, value in schema.items():
            known = self._keywords
            is_known = keyword in known if known is not None else isinstance(keyword, str) and is_understood(keyword)
            if not is_known:
                close = closest(keyword, known if known is not None else RULES)
                others = "leave it out, or check it yourself" if known is None else f"there are {', '.join(known)}"
                rest = f"did you mean {close!r}?" if close else others
                self._wrong(place, f"the keyword {short(keyword)} is not understood; {rest}")
            elif keyword in RULES:
                wrong = RULES[keyword](value)
                if wrong:
                    self._wrong(place, f"{keyword} is {short(value)}, not {wrong}")
                else:
                    said[keyword] = value
        return said

    def _referred(self, said: Mapping[str, Any], place: str) -> Reference | None:
        if "$ref" not in said:
            return None
        pointer = said["$ref"]
        found = self._found(pointer)
        if found is None:
            self._wrong(place, f"the reference {short(pointer)} leads nowhere: write #/$defs/NAME; nothing is fetched")
            return None
        return self._reference(pointer, found)

    def _reference(self, pointer: str, schema: object) -> Reference:
        known = self._references.get(pointer)
        if known is None:
            known = self._references[pointer] = Reference()
            self._waiting.append((pointer, schema, known))
        return known

    def _found(self, pointer: object) -> object:
        """Return the schema that ``pointer`` leads to; ``None`` when it leads to none."""
        if not isinstance(pointer, str) or not (pointer == "#" or pointer.startswith("#/")):
            return None
        found: object = self._root
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, (list, tuple)) and name.isdecimal() and len(name) < 6 and int(name) < len(found):
                found = found[int(name)]
            elif isinstance(found, Mapping):
                found = found.get(name)
            else:
                return None
        return found if isinstance(found, (Mapping, bool)) else None


class _Inner:
    """What stands inside one schema."""

    def __init__(self, compiler: _Compiler, said: Mapping[str, Any], place: str, depth: int) -> None:
        self._compiler = compiler
        self._said = said
        self._place = place
        self._depth = depth

    def one(self, keyword: str) -> Part:
        """Return the schema behind ``keyword``; one that takes everything when there is none."""
        if keyword not in self._said:
            return ANYTHING
        return self._compiler.part(self._said[keyword], f"{self._place}{step(keyword)}", self._depth)

    def several(self, keyword: str) -> list[Part]:
        """Return the schemas listed behind ``keyword``."""
        return [
            self._compiler.part(one, f"{self._place}{step(keyword)}{step(index)}", self._depth)
            for index, one in enumerate(self._said.get(keyword, ()))
        ]

    def by_name(self, keyword: str) -> dict[str, Part]:
        """Return the schemas behind ``keyword`` by their names."""
        return {
            name: self._compiler.part(one, f"{self._place}{step(keyword)}{step(name)}", self._depth)
            for name, one in self._said.get(keyword, {}).items()
        }


# --- the checks of a schema, by the kind of value they are for ------------------------------------------------------------


def _of_any_kind(said: Mapping[str, Any], inner: _Inner) -> list[Check]:
    checks: list[Check] = []
    if "enum" in said:
        checks.append(scalars.enum(said["enum"]))
    if "const" in said:
        checks.append(scalars.const(said["const"]))
    if "allOf" in said:
        checks.append(combinations.all_of(inner.several("allOf")))
    if "anyOf" in said:
        checks.append(combinations.any_of(inner.several("anyOf")))
    if "oneOf" in said:
        checks.append(combinations.one_of(inner.several("oneOf")))
    if "not" in said:
        checks.append(combinations.none_of(inner.one("not")))
    condition, then, otherwise = inner.one("if"), inner.one("then"), inner.one("else")
    if "if" in said:
        checks.append(combinations.conditional(condition, then, otherwise))
    return checks


def _of_texts(said: Mapping[str, Any]) -> list[Check]:
    checks = _sizes(said, "Length", "characters")
    if "pattern" in said:
        checks.append(scalars.pattern(Pattern(said["pattern"]), said["pattern"]))
    return checks


def _of_numbers(said: Mapping[str, Any]) -> list[Check]:
    checks = [scalars.bound(keyword, said[keyword]) for keyword in scalars.BOUNDS if keyword in said]
    if "multipleOf" in said:
        checks.append(scalars.multiple_of(said["multipleOf"]))
    return checks


def _of_lists(said: Mapping[str, Any], inner: _Inner) -> list[Check]:
    checks = _sizes(said, "Items", "items")
    first, rest, wanted = inner.several("prefixItems"), inner.one("items"), inner.one("contains")
    if first or rest is not ANYTHING:
        checks.append(containers.items(first, rest))
    if said.get("uniqueItems"):
        checks.append(containers.unique())
    if "contains" in said:
        checks.append(containers.contains(wanted, said.get("minContains", 1), said.get("maxContains")))
    return checks


def _of_objects(said: Mapping[str, Any], inner: _Inner) -> list[Check]:
    checks = _sizes(said, "Properties", "fields")
    known, patterns, rest = (
        inner.by_name("properties"),
        inner.by_name("patternProperties"),
        inner.one("additionalProperties"),
    )
    if "required" in said:
        checks.append(containers.required(said["required"], said.get("properties", {})))
    if known or patterns or rest is not ANYTHING:
        made = [(Pattern(written), part) for written, part in patterns.items()]
        checks.append(containers.fields(known, made, rest, is_closed=said.get("additionalProperties") is False))
    if "propertyNames" in said:
        checks.append(containers.names(inner.one("propertyNames")))
    if "dependentRequired" in said:
        checks.append(containers.needed(said["dependentRequired"]))
    if "dependentSchemas" in said:
        checks.append(containers.dependent(inner.by_name("dependentSchemas")))
    return checks


def _sizes(said: Mapping[str, Any], suffix: str, unit: str) -> list[Check]:
    least, most = said.get(f"min{suffix}"), said.get(f"max{suffix}")
    return [] if least is None and most is None else [scalars.size(least, most, unit)]
