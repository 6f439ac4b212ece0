"""Where settings come from: a file and the environment, read into entries that remember their place.

What a value means is nobody's business here. A file is TOML (also the table ``[tool.agenticflow]`` of pyproject.toml) or YAML; of the
usual names one may stand in a folder. Whatever cannot be read is told as a problem with its place.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agenticflow.config.settings import VARIABLES
from agenticflow.errors import ConfigurationError

__all__ = ["Entry", "find_file", "from_environment", "read_file", "referred"]

FILES: Final = ("agenticflow.toml", "agenticflow.yaml", "agenticflow.yml", "pyproject.toml")
CONFIG_VARIABLE: Final = "AGENTICFLOW_CONFIG"
"""Names the file, wherever it is."""
NO_SETTINGS: Final = frozenset({CONFIG_VARIABLE, "AGENTICFLOW_DEBUG"})
"""Variables of ours that are no settings."""
MAX_FILE_BYTES: Final = 1024 * 1024
_TABLE: Final = re.compile(rb"^\s*\[\s*tool\s*\.\s*agenticflow\s*[.\]]", re.MULTILINE)
_TABLE_PATH: Final = ("tool", "agenticflow")
_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]#]+?)\s*\]\s*(#.*)?$")
_KEY: Final = re.compile(r"""\s*([\w."' -]+?)\s*=""")

Way = tuple[str, ...]


class Entry(msgspec.Struct, frozen=True):
    """A value somebody wrote somewhere."""

    key: str
    value: object
    place: str
    """``agenticflow.toml line 3``, ``AGENTICFLOW_STORE``, ``--store``."""
    is_text: bool = False
    """Whether it could only be written as text, so that ``"8"`` may stand for a number."""


def find_file(folder: Path) -> Path | None:
    """Return the settings file to use: the one ``AGENTICFLOW_CONFIG`` names, else the one in ``folder``, if any.

    Raises ``ConfigurationError`` when the named one is not there, or when there are several: nobody would know which one counts.
    """
    if named := os.environ.get(CONFIG_VARIABLE):
        if not Path(named).is_file():
            raise ConfigurationError(f"{CONFIG_VARIABLE} names {named!r}, and there is no such file")
        return Path(named)
    found = [folder / name for name in FILES if (folder / name).is_file()]
    found = [path for path in found if path.name != "pyproject.toml" or _TABLE.search(_bytes(path))]
    if len(found) > 1:
        raise ConfigurationError(
            f"there are several settings files: {', '.join(path.name for path in found)}", hint="keep one of them"
        )
    return found[0] if found else None


def read_file(path: Path) -> list[Entry]:
    """Return what stands in a settings file, in order. Raises ``ConfigurationError`` with the place of a mistake in its form."""
    data, lines = _toml(path) if path.suffix == ".toml" else _yaml(path)
    way: Way = ()
    if path.name == "pyproject.toml":
        way = _TABLE_PATH
        for part in way:
            data = data.get(part, {}) if isinstance(data, dict) else {}
    if data is None:
        return []
    if not isinstance(data, dict):
        raise ConfigurationError(f"{path.name} holds no settings", hint="write `store = …`, and tables like [engine]")
    return list(_entries(path.name, data, way, len(way), lines))


def from_environment() -> list[Entry]:
    """Return what the environment says: ``AGENTICFLOW_ENGINE__MAX_THREADS`` is ``engine.max_threads``. An empty variable says nothing."""
    return [
        Entry(name.removeprefix(VARIABLES).replace("__", ".").lower(), value, name, is_text=True)
        for name, value in sorted(os.environ.items())
        if name.startswith(VARIABLES) and name not in NO_SETTINGS and value
    ]


def referred(text: str) -> str:
    """Return what ``env:NAME`` or ``file:/path`` refers to. Raises ``ConfigurationError`` when there is nothing; never tells the value."""
    kind, _, name = text.partition(":")
    if kind == "env":
        value = os.environ.get(name)
        if value is None:
            raise ConfigurationError(f"refers to {text}, and that variable is not set")
        return value
    try:
        return _bytes(Path(name)).decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"refers to {text}, which is no text in UTF-8") from error


def _entries(file: str, table: Mapping[Any, Any], way: Way, start: int, lines: Mapping[Way, int]) -> Iterator[Entry]:
    for name, value in table.items():
        here = (*way, str(name))
        if isinstance(value, dict) and value:
            yield from _entries(file, value, here, start, lines)
            continue
        known = next((lines[here[:size]] for size in range(len(here), start, -1) if here[:size] in lines), None)
        yield Entry(".".join(here[start:]), value, f"{file} line {known}" if known else file)


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigurationError(f"{str(path)!r} cannot be read: {error.strerror or error}") from error
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{str(path)!r} is larger than {MAX_FILE_BYTES:,} bytes", hint="is it the right file?")
    return data


def _text(path: Path) -> str:
    try:
        return _bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(
            f"{str(path)!r} is not a text in UTF-8: {error.reason} at byte {error.start}"
        ) from error


def _toml(path: Path) -> tuple[Any, dict[Way, int]]:
    import tomllib  # late: only for those who have a file

    text = _text(path)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path.name} is no TOML: {error}") from error
    return data, _toml_lines(text)


def _toml_lines(text: str) -> dict[Way, int]:
    """Return the line of each key. The parser does not tell; a key in a text of many lines may be taken for one, and only costs a line."""
    lines: dict[Way, int] = {}
    table: Way = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _parts(header[1])
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_parts(key[1])), number)
    return lines


def _parts(dotted: str) -> Way:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _yaml(path: Path) -> tuple[Any, dict[Way, int]]:
    import yaml  # late: only for those who write YAML

    text = _text(path)
    lines: dict[Way, int] = {}

    def note(node: Any, way: Way) -> None:
        if isinstance(node, yaml.MappingNode) and len(way) < 3:  # no setting lies deeper
            for key, value in node.value:
                here = (*way, str(key.value))
                lines.setdefault(here, key.start_mark.line + 1)
                note(value, here)

    try:
        data = yaml.safe_load(text)
        note(yaml.compose(text, Loader=yaml.SafeLoader), ())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{path.name} line {mark.line + 1}" if mark is not None else path.name
        raise ConfigurationError(f"{where}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from error
    return data, lines
