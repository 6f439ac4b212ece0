"""``agenticflow init``, ``workflows …`` and ``completion``: for whoever writes workflows."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]

Target = Annotated[
    str, typer.Argument(metavar="FILE[:NAME]", help="A .yaml, .json or .py file, or a module's dotted name.")
]


class Template(enum.StrEnum):
    """What ``init`` can make."""

    BASIC = "basic"
    ENTERPRISE = "enterprise"
    EXAMPLES = "examples"


class Shell(enum.StrEnum):
    """Shells that complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the commands to the program."""
    workflows = add_group(app, "workflows", settings, about="Check and draw definitions before anything runs.")
    workflows.command("validate")(_validate)
    workflows.command("graph")(_graph)
    workflows.command("schema")(_schema)
    app.command("init", rich_help_panel="Start here")(_init)
    app.command("completion", rich_help_panel="Health")(_completion)


def _validate(
    targets: Annotated[
        list[str], typer.Argument(metavar="FILE…", help="Files, or FILE:NAME for one workflow of several.")
    ],
    without_handlers: Annotated[
        bool, typer.Option("--without-handlers", help="Do not import the handlers, and do not check them.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> int:
    """Check workflow files as a whole: every mistake with its file, line and a suggestion. Ends with 2 when there are any.

    When a file names its handlers, their modules are imported, and agents, capabilities and parameters are checked too.
    """
    from agenticflow.cli.commands.authoring import workflows  # late: only when run

    return workflows.validate(targets, checks_handlers=not without_handlers, form=form)


def _graph(
    target: Target,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="As a Mermaid flowchart; the default.")] = False,
    levels: Annotated[bool, typer.Option("--levels", help="As levels: each depends only on earlier ones.")] = False,
    critical_path: Annotated[
        str | None,
        typer.Option(metavar="DURATIONS", help="The longest chain: seconds as load=3,report=5, as JSON, or in @file."),
    ] = None,
    direction: Annotated[str, typer.Option(metavar="DIR", help="Of the flowchart: TD, LR, BT or RL.")] = "TD",
    form: FormatOption = Format.TABLE,
) -> int:
    """Draw a workflow: what waits for what, by which condition, and of which kind each task is."""
    from agenticflow.cli.commands.authoring import workflows  # late: only when run

    return workflows.graph(
        target, mermaid=mermaid, levels=levels, durations=critical_path, direction=direction, form=form
    )


def _schema() -> int:
    """Print the JSON Schema of workflow files, for editors."""
    from agenticflow.cli.commands.authoring import workflows  # late: only when run

    return workflows.schema()


def _init(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="Where; made when it is not there.")] = ".",
    template: Annotated[Template, typer.Option("-t", "--template", help="What it begins with.")] = Template.BASIC,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the project; by default that of the folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    form: FormatOption = Format.TABLE,
) -> int:
    """Make a project that runs: a workflow, its agents, tests, and a README that says what to do next."""
    from agenticflow.cli.commands.authoring import projects  # late: only when run

    return projects.init(folder, template=template.value, name=name, overwrites=force, form=form)


def _completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
) -> int:
    """Print the script that completes commands and options in a shell.

    For bash: eval "$(agenticflow completion bash)" in ~/.bashrc. --install-completion does that by itself.
    """
    from agenticflow.cli.commands.authoring import completion  # late: only when run

    return completion.completion(shell.value)
