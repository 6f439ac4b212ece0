"""Settings from all sources, each over the ones before: defaults, profile, file, environment, command line.

Entries come in, checked ``Settings`` go out, with the place each value comes from. Every mistake is told at once. A text ``env:NAME`` or
``file:/path`` stands for what is found there; that value goes into the settings and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import msgspec

from agenticflow.config.profiles import PROFILES
from agenticflow.config.settings import Field, Settings, fields
from agenticflow.config.sources import Entry, find_file, from_environment, read_file, referred
from agenticflow.core.redaction import redact_text
from agenticflow.errors import ConfigurationError

__all__ = ["Loaded", "Setting", "check_file", "load_settings"]

_REFERENCES: Final = ("env:", "file:")
_HINT: Final = "`agenticflow config schema` shows what there is"


class Setting(msgspec.Struct, frozen=True):
    """One setting as it stands, for showing."""

    key: str
    value: object
    """As it may be shown: a reference instead of what it refers to, an address without its password."""
    place: str
    """Where the value comes from."""
    over: tuple[str, ...] = ()
    """Other places that say something else, the nearest first."""


class _Said(msgspec.Struct, frozen=True):
    """A value that was accepted."""

    value: object
    shown: object
    place: str


class Loaded(msgspec.Struct, frozen=True):
    """Settings, and where they come from."""

    settings: Settings
    table: tuple[Setting, ...]
    file: Path | None


def load_settings(flags: Mapping[str, tuple[object, str]] | None = None, *, folder: Path | None = None) -> Loaded:
    """Load the settings of a program in ``folder`` (the working directory).

    ``flags`` are what its command line says: by key the value (``None`` for an option that was not given) and the name of the option.
    Raises ``ConfigurationError`` with every mistake in its ``problems``.
    """
    try:
        file = find_file(folder or Path())
        written = read_file(file) if file is not None else []
    except ConfigurationError as error:
        raise _refused([str(error)]) from error
    given = [Entry(key, value, place) for key, (value, place) in (flags or {}).items() if value is not None]
    entries = [*written, *from_environment(), *given]
    problems: list[str] = []
    said = _accepted(entries, problems)
    if problems:
        raise _refused(problems)
    return Loaded(_settings(said) if entries else Settings(), tuple(_table(said)), file)


def check_file(path: Path) -> list[str]:
    """Return, in words, every mistake in a settings file. The other sources are left out; what is referred to must be there."""
    problems: list[str] = []
    try:
        _accepted(read_file(path), problems)
    except ConfigurationError as error:
        problems.append(str(error))
    return problems


def _refused(problems: list[str]) -> ConfigurationError:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return ConfigurationError(f"{problems[0]}{more}", hint=_HINT, problems=problems)


def _accepted(entries: Iterable[Entry], problems: list[str]) -> dict[str, list[_Said]]:
    """Return by key what each source says, the last one counts; add what is wrong to ``problems``."""
    known = fields()
    said: dict[str, list[_Said]] = {}
    for entry in entries:
        field = known.get(entry.key)
        if field is not None:
            one = _value(field, entry, problems)
            if one is not None:
                said.setdefault(entry.key, []).append(one)
        elif problem := _unknown(entry, known):
            problems.append(problem)
    profile = str(said["profile"][-1].value) if "profile" in said else Settings().profile
    for key, value in PROFILES[profile].items():
        said.setdefault(key, []).insert(0, _Said(value, value, f"profile {profile}"))
    return said


def _value(field: Field, entry: Entry, problems: list[str]) -> _Said | None:
    value, is_text, shown = entry.value, entry.is_text, entry.value
    is_reference = isinstance(value, str) and value.startswith(_REFERENCES)
    if isinstance(value, str):
        shown = value if is_reference else redact_text(value)
    if is_reference:
        try:
            value, is_text = referred(str(value)), True
        except ConfigurationError as error:
            problems.append(f"{_what(entry)} {error.message}")
            return None
    try:
        converted = msgspec.convert(value, field.type, strict=not is_text)
    except msgspec.ValidationError:
        close = _close(value, field.accepts.replace(" or ", ", ").split(", ")) if not is_reference else ""
        problems.append(f"{_what(entry)} is {shown!r:.80}, and {field.accepts} is expected{close}")
        return None
    return _Said(converted, shown if is_reference or isinstance(converted, str) else converted, entry.place)


def _unknown(entry: Entry, known: Mapping[str, Field]) -> str:
    inside = [key for key in known if key.startswith(f"{entry.key}.")]
    if inside:
        if entry.value is None or entry.value == {}:
            return ""  # a table with nothing in it
        names = ", ".join(key.removeprefix(f"{entry.key}.") for key in inside)
        return f"{_what(entry)} is a table with {names}, not a value"
    if entry.is_text:
        by_variable = {field.variable: field for field in known.values()}
        return f"{entry.place} is no setting{_close(entry.place, by_variable)}"
    return f"{_what(entry)} is no setting{_close(entry.key, known)}"


def _what(entry: Entry) -> str:
    return entry.place if entry.is_text else f"{entry.place}: {entry.key}"


def _close(word: object, words: Iterable[str]) -> str:
    by_lower = {word.lower(): word for word in words}
    found = get_close_matches(str(word).lower(), by_lower, n=1)
    if not found:  # the right name in the wrong table
        last = str(word).lower().rpartition(".")[2]
        found = [known for known in by_lower if known.rpartition(".")[2] == last][:1]
    return f" (did you mean {by_lower[found[0]]}?)" if found else ""


def _settings(said: Mapping[str, list[_Said]]) -> Settings:
    data: dict[str, Any] = {}
    for key, values in said.items():
        *tables, name = key.split(".")
        place = data
        for table in tables:
            place = place.setdefault(table, {})
        place[name] = values[-1].value
    return msgspec.convert(data, Settings)


def _table(said: Mapping[str, list[_Said]]) -> Iterable[Setting]:
    for key, field in fields().items():
        *over, last = [_Said(field.default, field.default, "default"), *said.get(key, [])]
        yield Setting(key, last.shown, last.place, tuple(f"{one.place}: {one.shown}" for one in reversed(over)))
