"""``chat`` and ``demo agent``: talk with an agent."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.options import QuietOption, StoreOption
from agenticflow.cli.terminal import note

__all__ = ["add_to"]


def add_to(app: typer.Typer, demo_app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the command ``chat`` to the program, and ``agent`` to its demos."""
    demo_app.command("agent")(_demo_agent)
    app.command("chat", rich_help_panel="Start here", context_settings=settings)(_chat)


def _chat(
    agent: Annotated[
        str,
        typer.Argument(
            metavar="AGENT", help="agents.yaml, team.py or a module; :name behind it chooses one of several."
        ),
    ],
    prompt: Annotated[
        str | None, typer.Option("--prompt", "-p", metavar="TEXT", help="Ask this, print the answer, and end.")
    ] = None,
    session: Annotated[
        str | None,
        typer.Option("--session", metavar="ID", help="The conversation to go on with; by default a new one."),
    ] = None,
    imports: Annotated[
        list[str] | None, typer.Option("--import", metavar="MODULE", help="A module that registers tools; repeatable.")
    ] = None,
    store: StoreOption = None,
    is_quiet: QuietOption = False,
) -> int:
    """Talk with an agent that asks a model: answers as they are spoken, and the tools it calls.

    Everything is recorded: `--session ID` goes on with a conversation. Ctrl-C stops an answer, and at the prompt the program.
    """
    from agenticflow.cli.commands import chat  # late: only when run

    return chat.chat(agent, prompt=prompt, session=session, imports=imports or (), store=store, is_quiet=is_quiet)


def _demo_agent(
    question: Annotated[str | None, typer.Argument(metavar="[QUESTION]", help="What to ask it.")] = None,
    store: StoreOption = None,
) -> int:
    """Ask an agent about modules of the standard library: its tools measure them. Its model is scripted, so no key is needed."""
    from agenticflow.cli.commands import chat  # late: only when run
    from agenticflow.demos.librarian import QUESTION  # late: only when run

    asked = question or QUESTION
    note(f"> {asked}")
    code = chat.chat("agenticflow.demos.librarian", prompt=asked, session=None, imports=(), store=store, is_quiet=False)
    note("talk with it: agenticflow chat agenticflow.demos.librarian")
    return code
