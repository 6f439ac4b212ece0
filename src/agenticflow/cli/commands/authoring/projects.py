"""``agenticflow init``: a project that runs, from files that are part of this package.

The files stand in ``cli/templates/<template>`` under their own names with ``.tmpl`` behind; ``{{name}}`` and ``{{package}}`` are filled in.
Nothing is written when anything is in the way.
"""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

import msgspec

from agenticflow.app.definitions import workflow_schema
from agenticflow.cli.exits import Exit
from agenticflow.cli.terminal import Format, note, print_json, printable
from agenticflow.errors import CommandRefused, InvalidInput

__all__ = ["init"]

_SUFFIX: Final = ".tmpl"
_SCHEMA: Final = "workflow.schema.json"
_MAX_NAME_CHARS: Final = 60


def init(folder: str, *, template: str, name: str | None, overwrites: bool, form: Format) -> int:
    """Write the project and say what to do next."""
    target = Path(folder)
    project = _project_name(name if name is not None else target.resolve().name, is_given=name is not None)
    texts = _texts(template, project)
    _write(target, texts, overwrites=overwrites)
    if form is Format.JSON:
        print_json({"folder": str(target), "template": template, "name": project, "files": sorted(texts)})
        return Exit.OK
    for path in sorted(texts):
        print(printable(str(target / path)))
    inside = "" if target.resolve() == Path.cwd() else f"cd {shlex.quote(str(target))} && "
    note(f"made {project} from the template {template}; now: {inside}agenticflow run workflow.yaml")
    return Exit.OK


def _project_name(given: str, *, is_given: bool) -> str:
    """Return a name that packages, modules and workflows may have."""
    name = re.sub(r"[^a-z0-9]+", "-", given.lower()).strip("-")[:_MAX_NAME_CHARS]
    if is_given and (name != given.replace("_", "-") or not name or name[0].isdigit()):
        raise InvalidInput(
            f"{given!r} is no name of a project", hint="use small letters, digits and '-', a letter first"
        )
    return name if name and not name[0].isdigit() else f"project-{name}".rstrip("-")


def _package_name(project: str) -> str:
    """Return the name of its package: one that no other module has."""
    name = project.replace("-", "_")
    is_taken = keyword.iskeyword(name) or name in sys.stdlib_module_names or name in ("agenticflow", "tests")
    return f"{name}_app" if is_taken else name


def _texts(template: str, project: str) -> dict[str, str]:
    """Return the files of the project by their paths, ready to be written."""
    words = {"{{name}}": project, "{{package}}": _package_name(project)}
    texts: dict[str, str] = {}

    def collect(place: Traversable, path: str) -> None:
        for entry in place.iterdir():
            if entry.is_dir():
                collect(entry, f"{path}{words['{{package}}'] if entry.name == 'package' else entry.name}/")
            elif entry.name.endswith(_SUFFIX):
                name = entry.name.removesuffix(_SUFFIX)
                text = entry.read_text(encoding="utf-8")
                for mark, word in words.items():
                    text = text.replace(mark, word)
                texts[path + (".gitignore" if name == "gitignore" else name)] = text

    collect(files("agenticflow.cli") / "templates" / template, "")
    texts[_SCHEMA] = msgspec.json.format(msgspec.json.encode(workflow_schema()), indent=2).decode() + "\n"
    return texts


def _write(target: Path, texts: dict[str, str], *, overwrites: bool) -> None:
    there = sorted(path for path in texts if (target / path).exists())
    if there and not overwrites:
        raise CommandRefused(
            f"{', '.join(map(repr, there[:5]))}{' and more' if len(there) > 5 else ''} in {str(target)!r} would be written over",
            hint="give an empty folder, or --force",
        )
    try:
        for path, text in texts.items():
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"the project cannot be written: {error}", hint="give another folder") from error
