"""Files of modifications: a YAML or JSON list of tasks to add, replace or remove, for a workflow whose run goes on."""

from __future__ import annotations

from pathlib import Path

from agenticflow.app.definitions.documents import Document
from agenticflow.app.definitions.parsing import DefinitionReader
from agenticflow.app.definitions.spellings import close, kind_of_value
from agenticflow.errors import DefinitionError
from agenticflow.orchestration.definition import TaskDefinition
from agenticflow.orchestration.interventions.modification import KINDS

__all__ = ["load_modifications"]


def load_modifications(path: Path) -> list[dict[str, TaskDefinition | str]]:
    """Read ``path``: ``- add: {task}``, ``- replace: {task}``, ``- remove: task_id``. Raises ``DefinitionError`` with every mistake, each
    with its line."""
    from agenticflow.app.definitions.reading import read_document  # late: programs that read no file need no parser

    document = read_document(path)
    if not isinstance(document.data, list) or not document.data:
        raise DefinitionError(
            f"{path.name} holds {kind_of_value(document.data)}, not a list of modifications",
            hint="write `- add: {task_id: …}`, `- replace: {task_id: …}` or `- remove: task_id`",
        )
    reader = DefinitionReader(document)
    found: list[dict[str, TaskDefinition | str]] = []
    for index, one in enumerate(document.data):
        if (read := _modification(document, reader, index, one)) is not None:
            found.append(read)
    if reader.problems:
        count = f"{len(reader.problems)} mistakes" if len(reader.problems) > 1 else "a mistake"
        raise DefinitionError(f"{path.name} has {count}: {'; '.join(reader.problems)}", problems=reader.problems)
    return found


def _modification(
    document: Document, reader: DefinitionReader, index: int, one: object
) -> dict[str, TaskDefinition | str] | None:
    if not isinstance(one, dict) or len(one) != 1:
        reader.problems.append(
            f"{document.place(index)}: a modification is one of {', '.join(f'`{kind}:`' for kind in KINDS)}"
        )
        return None
    kind, what = next(iter(one.items()))
    if kind not in KINDS:
        reader.problems.append(f"{document.place(index, kind)}: there is no modification {kind!r}{close(kind, KINDS)}")
        return None
    if kind == "remove":
        if isinstance(what, str):
            return {kind: what}
        reader.problems.append(f"{document.place(index, kind)}: name the task to remove by its id")
        return None
    task = reader.read_task(what, (index, kind))
    return None if task is None else {kind: task}
