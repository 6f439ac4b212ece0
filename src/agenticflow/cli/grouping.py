"""Groups of commands: one that is called alone shows its help."""

from __future__ import annotations

from typing import Any

import typer

from agenticflow.cli.exits import Exit

__all__ = ["add_group"]


def add_group(app: typer.Typer, name: str, settings: dict[str, Any], *, about: str, panel: str = "Runs") -> typer.Typer:
    """Add a group to the program, under the heading ``panel``; return it, for its commands."""
    group = typer.Typer(help=about, invoke_without_command=True)
    app.add_typer(group, name=name, rich_help_panel=panel, context_settings=settings)
    group.callback()(_alone)
    return group


def _alone(context: typer.Context) -> int:
    if context.invoked_subcommand is None:
        print(context.get_help())
    return Exit.OK
