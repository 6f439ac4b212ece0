"""``agenticflow config``: the settings of a program started here, where each comes from, and what a file may say. Reads only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agenticflow.cli.exits import Exit, NotThere
from agenticflow.cli.terminal import Format, print_json, print_table
from agenticflow.config import check_file, json_schema, load_settings
from agenticflow.errors import ConfigurationError

__all__ = ["schema", "show", "validate"]


def show(flags: Mapping[str, tuple[object, str]], *, shows_sources: bool, form: Format) -> int:
    """Print every setting with its place; with ``shows_sources`` also what the places before it say."""
    loaded = load_settings(flags)
    if form is Format.JSON:
        print_json(
            {
                "file": str(loaded.file) if loaded.file is not None else None,
                "settings": {
                    setting.key: {"value": setting.value, "from": setting.place}
                    | ({"over": list(setting.over)} if shows_sources else {})
                    for setting in loaded.table
                },
            }
        )
        return Exit.OK
    heads = ("SETTING", "VALUE", "FROM", "OVER") if shows_sources else ("SETTING", "VALUE", "FROM")
    print_table(
        heads,
        [
            (setting.key, _shown(setting.value), setting.place, "; ".join(setting.over))[: len(heads)]
            for setting in loaded.table
        ],
    )
    return Exit.OK


def validate(*, file: str | None, form: Format) -> int:
    """Check one file, or everything that counts here. Raises ``ConfigurationError`` with every mistake."""
    if file is not None:
        path = Path(file)
        if not path.is_file():
            raise NotThere(f"there is no file {file!r}", hint="check the spelling of the path")
        if problems := check_file(path):
            raise ConfigurationError(
                problems[0], hint="`agenticflow config schema` shows what there is", problems=problems
            )
        what = path.name
    else:
        found = load_settings().file
        what = found.name if found is not None else "the environment; there is no file"
    if form is Format.JSON:
        print_json({"sound": True, "checked": what})
    else:
        print(f"sound: {what}")
    return Exit.OK


def schema() -> int:
    """Print the JSON Schema."""
    print_json(json_schema())
    return Exit.OK


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
