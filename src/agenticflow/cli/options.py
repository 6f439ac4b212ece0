"""Options that many commands share, each with one spelling and one help text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from agenticflow.cli.terminal import Format

__all__ = ["FormatOption", "QuietOption", "Reason", "RunNo", "StoreOption", "WorkflowId", "person", "with_format"]

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        help="sqlite:///path/to/file.db; by default what the settings say, AGENTICFLOW_STORE among them.",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("-o", "--format", help="How data is printed on stdout; --json is short for -o json.")
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress.")]
WorkflowId = Annotated[str, typer.Argument(metavar="ID", help="The workflow's id.")]
RunNo = Annotated[
    int | None, typer.Option("--run", metavar="N", min=1, help="Which run of the workflow; by default the latest.")
]
Reason = Annotated[str, typer.Option(help="Why; recorded with it.")]


def with_format(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with ``--json`` written out as ``-o json``; what stands behind ``--`` is left alone."""

    def written_out() -> Iterator[str]:
        are_options = True
        for argument in arguments:
            are_options = are_options and argument != "--"
            if are_options and argument == "--json":
                yield from ("-o", "json")
            else:
                yield argument

    return list(written_out())


def person(given: str | None) -> str:
    """Return who says so: left out, whoever owns the store. Raises ``InvalidInput`` for a name without a character."""
    from agenticflow.app.steering import LOCAL_OWNER  # late: only when run
    from agenticflow.errors import InvalidInput  # late: only when run

    if given is not None and not given.strip():
        raise InvalidInput("--by names nobody", hint="give a name, or leave it out")
    return LOCAL_OWNER if given is None else given
