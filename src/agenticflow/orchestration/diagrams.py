"""A graph of tasks as a Mermaid flowchart: text that GitHub, editors and documentation draw.

Shapes say what kind of task a node is, edges say what leads where: solid for dependencies (with the condition beside them), dashed for a
fallback, crossed for a cancellation. Nodes have ids of their own, so that a task may be called anything. Pure: text in, text out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final, Protocol

from agenticflow.orchestration.definition import TaskDefinition, WorkflowDefinition

__all__ = ["DIRECTIONS", "Drawable", "kind_of", "mermaid"]

DIRECTIONS: Final = ("TD", "LR", "BT", "RL")
MAX_LABEL_CHARS: Final = 60

_SHAPES: Final[Mapping[str, tuple[str, str]]] = {
    "task": ("[", "]"),
    "map": ("[/", "/]"),
    "loop": ("(", ")"),
    "workflow": ("[[", "]]"),
    "timer": ("([", "])"),
    "signal": (">", "]"),
    "approval": ("{{", "}}"),
    "choice": ("{", "}"),
    "next run": ("(((", ")))"),
}
_STYLES: Final[Mapping[str, str]] = {
    "pending": "fill:#f6f8fa,stroke:#8c959f,color:#57606a",
    "ready": "fill:#ddf4ff,stroke:#54aeff,color:#0a3069",
    "scheduled": "fill:#ddf4ff,stroke:#54aeff,color:#0a3069",
    "running": "fill:#b6e3ff,stroke:#0969da,color:#0a3069,stroke-width:2px",
    "expanded": "fill:#b6e3ff,stroke:#0969da,color:#0a3069,stroke-width:2px",
    "retrying": "fill:#fff8c5,stroke:#bf8700,color:#4d2d00",
    "waiting": "fill:#fff8c5,stroke:#bf8700,color:#4d2d00",
    "completed": "fill:#dafbe1,stroke:#2da44e,color:#044f1e",
    "failed": "fill:#ffebe9,stroke:#cf222e,color:#82071e,stroke-width:2px",
    "skipped": "fill:#f6f8fa,stroke:#d0d7de,color:#8c959f,stroke-dasharray:3 3",
    "cancelled": "fill:#f6f8fa,stroke:#82071e,color:#82071e,stroke-dasharray:3 3",
    "unknown": "fill:#fbefff,stroke:#8250df,color:#3e1f79,stroke-width:2px",
}


class Drawable(Protocol):
    """What a node has to have to be drawn."""

    task_id: str
    dependencies: set[str]
    task: TaskDefinition | None
    """What it is; ``None`` for a node that is only an id."""


def kind_of(task: TaskDefinition) -> str:
    """Return what kind of task it is, in one word: ``task``, ``map``, ``loop``, ``workflow``, ``timer``, ``signal`` …"""
    if task.for_each is not None:
        return "map"
    if task.repeat_until is not None:
        return "loop"
    for name, kind in (
        ("workflow", "workflow"),
        ("delay_seconds", "timer"),
        ("signal", "signal"),
        ("approval", "approval"),
        ("continue_with", "next run"),
    ):
        if getattr(task, name) is not None:
            return kind
    return "choice" if task.choices else "task"


def mermaid(nodes: Mapping[str, Drawable], statuses: Mapping[str, str] | None = None, *, direction: str = "TD") -> str:
    """Return the flowchart of ``nodes``. ``statuses`` maps task ids to words such as ``COMPLETED``, which become classes with colours."""
    names = {task_id: f"n{number}" for number, task_id in enumerate(nodes)}
    lines = [f"flowchart {direction}"]
    for task_id, node in nodes.items():
        lines.append(f"    {names[task_id]}{_shape(node)}")
    for node in nodes.values():
        lines.extend(f"    {edge}" for edge in _edges(node, nodes, names))
    lines.extend(f"    {line}" for line in _classes(names, statuses or {}))
    return "\n".join(lines) + "\n"


def _shape(node: Drawable) -> str:
    task = node.task
    opening, closing = _SHAPES["task" if task is None else kind_of(task)]
    words = [node.task_id] if task is None else [node.task_id, *_remarks(task)]
    return f'{opening}"{"<br/>".join(map(_escaped, words))}"{closing}'


def _remarks(task: TaskDefinition) -> Iterator[str]:
    """Say what the shape alone does not."""
    inner = task.workflow
    if inner is not None:
        yield f"runs {inner.name if isinstance(inner, WorkflowDefinition) else inner}"
    if task.for_each is not None:
        yield f"for each {task.for_each if isinstance(task.for_each, str) else f'of {len(task.for_each)}'}"
    if task.enough is not None:
        yield f"{task.enough} are enough"
    if task.repeat_until is not None:
        yield f"until {task.repeat_until}"
    if task.delay_seconds is not None:
        yield f"{task.delay_seconds:g} s"
    if task.signal is not None and task.signal != task.task_id:
        yield f"signal {task.signal}"
    if task.approval is not None:
        yield task.approval if isinstance(task.approval, str) else task.approval.question
    if task.when is not None and not task.dependencies:
        yield f"if {task.when}"
    if len(task.dependencies) > 1 and task.join != "all":
        yield f"after {task.join} of {len(task.dependencies)}" if task.join != "settled" else "after all have settled"
    if task.ends_run:
        yield "ends the run"


def _edges(node: Drawable, nodes: Mapping[str, Drawable], names: Mapping[str, str]) -> Iterator[str]:
    here, task = names[node.task_id], node.task
    written = [one for one in task.dependencies if one in node.dependencies] if task is not None else []
    for dependency in dict.fromkeys([*written, *sorted(node.dependencies)]):
        words = _conditions(nodes[dependency].task, task)
        yield f"{names[dependency]} -->{_label(' and '.join(words))} {here}"
    if task is None:
        return
    if task.repeat_until is not None:
        yield f"{here} -->|again| {here}"
    if task.fallback is not None and task.fallback in names:
        yield f"{here} -.->|on failure| {names[task.fallback]}"
    for cancelled in task.cancels:
        if cancelled in names:
            yield f"{here} --x|cancels| {names[cancelled]}"


def _conditions(before: TaskDefinition | None, task: TaskDefinition | None) -> Iterator[str]:
    if task is None:
        return
    for choice in before.choices if before is not None else ():
        if choice.then == task.task_id:
            yield choice.when if choice.when is not None else "otherwise"
    if task.when is not None:
        yield task.when


def _label(words: str) -> str:
    return f'|"{_escaped(words)}"|' if words else ""


def _classes(names: Mapping[str, str], statuses: Mapping[str, str]) -> Iterator[str]:
    by_class: dict[str, list[str]] = {}
    for task_id, status in statuses.items():
        if task_id in names and status.lower() in _STYLES:
            by_class.setdefault(status.lower(), []).append(names[task_id])
    for name, members in by_class.items():
        yield f"classDef {name} {_STYLES[name]}"
        yield f"class {','.join(members)} {name}"


def _escaped(text: str) -> str:
    """Return ``text`` as it may stand between quotes: Mermaid's own escapes, one line, not too long."""
    text = " ".join(text.split())
    if len(text) > MAX_LABEL_CHARS:
        text = text[: MAX_LABEL_CHARS - 1] + "…"
    for letter, escape in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        text = text.replace(letter, escape)
    return text
