"""The program: every command with its options and help. Thin on purpose: what a command does is loaded when it runs.

Data passes from the arguments into one function call per command, whose answer is the exit code.
"""

from __future__ import annotations

import copy
import errno
import logging
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer
import typer.core

from agenticflow.cli.exits import DEBUG_VARIABLE, Exit, tell
from agenticflow.cli.grouping import add_group
from agenticflow.cli.groups import (
    approving,
    authoring,
    letters,
    looking,
    scheduling,
    spending,
    stepping,
    storing,
    talking,
)
from agenticflow.cli.options import FormatOption, QuietOption, Reason, RunNo, StoreOption, WorkflowId, with_format
from agenticflow.cli.terminal import Format, note
from agenticflow.config import load_settings
from agenticflow.errors import ConfigurationError, PermanentError
from agenticflow.observability import LogSettings, configure_logging

__all__ = ["app", "main"]

CONFIG_VARIABLE: Final = "AGENTICFLOW_CONFIG"
PROFILE_VARIABLE: Final = "AGENTICFLOW_PROFILE"
_SETTINGS: Final = {"help_option_names": ["-h", "--help"]}
_EPILOG: Final = (
    "Exit codes: 0 ok, 1 internal error, 2 wrong usage, 3 failed, 4 cancelled, 5 still running, 6 waits for a person, "
    "7 not found, 8 conflict."
)


class _InOrder(typer.core.TyperGroup):
    """Lists commands in the order in which a newcomer meets them."""

    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(self.commands, key=_ORDER.index)


_ORDER: Final = [
    *(
        "demo",
        "init",
        "run",
        "chat",
        "workflows",
        "runs",
        "approvals",
        "dead-letters",
        "schedules",
        "budgets",
        "events",
    ),
    *("debug", "store", "config", "metrics", "doctor", "completion", "version"),
]

app = typer.Typer(
    name="agenticflow",
    cls=_InOrder,
    help="Durable, event-sourced workflows and agents that survive the real world.",
    epilog=_EPILOG,
    context_settings=_SETTINGS,
    pretty_exceptions_enable=False,
    add_completion=True,
    invoke_without_command=True,
)
demo_app = typer.Typer(invoke_without_command=True)
app.add_typer(demo_app, name="demo", rich_help_panel="Start here", context_settings=_SETTINGS)
authoring.add_to(app, _SETTINGS)
talking.add_to(app, demo_app, _SETTINGS)
runs_app = add_group(
    app, "runs", _SETTINGS, about="Look at runs and steer them, also beside a running owner of the store."
)
debug_app = add_group(app, "debug", _SETTINGS, about="Why a run does not move.")
looking.add_to(app, runs_app, _SETTINGS)
stepping.add_to(runs_app)
approving.add_to(app, _SETTINGS)
letters.add_to(app, _SETTINGS)
scheduling.add_to(app, _SETTINGS)
spending.add_to(app, _SETTINGS)
storing.add_to(app, _SETTINGS)
config_app = add_group(
    app, "config", _SETTINGS, about="The settings: what they are, and where they come from.", panel="Health"
)

Path = Annotated[
    str | None,
    typer.Option(metavar="DIR", help="The code to audit; by default the standard library of this Python."),
]
Tests = Annotated[bool, typer.Option("--include-tests", help="Audit test directories too.")]


class _ToStderr(logging.Handler):
    """Prints the engine's logs where progress goes."""

    def emit(self, record: logging.LogRecord) -> None:
        note(self.format(record))


@app.callback()
def _root(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar=DEBUG_VARIABLE, help="Show tracebacks and all logs.")
    ] = False,
    config: Annotated[
        str | None,
        typer.Option("--config", metavar="FILE", help=f"The settings file; also {CONFIG_VARIABLE}."),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile", metavar="NAME", help=f"development, testing, staging or production; also {PROFILE_VARIABLE}."
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show what the engine logs.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> int:
    # in the environment, so that processes that a command starts know it too
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"
    if config is not None:
        os.environ[CONFIG_VARIABLE] = config
    if profile is not None:
        os.environ[PROFILE_VARIABLE] = profile
    context.obj = {"log.level": ("debug", "--debug") if debug else ("info" if verbose else None, "--verbose")}
    try:
        settings = load_settings(context.obj).settings.log
    except ConfigurationError:
        settings = LogSettings()  # whatever uses the settings tells what is wrong with them; help needs none
    configure_logging(settings, console=_ToStderr())
    if version:
        from agenticflow.cli.commands import health  # late: only when run

        raise typer.Exit(health.version(Format.TABLE))
    if context.invoked_subcommand is None:
        print(context.get_help())
    return Exit.OK


# --- demo ---------------------------------------------------------------------------------------------------------------


@demo_app.callback()
def _demo(
    context: typer.Context,
    path: Path = None,
    output: Annotated[str, typer.Option(metavar="DIR", help="Where the report goes.")] = ".agenticflow/audit",
    include_tests: Tests = False,
    store: StoreOption = None,
    workflow_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The same id again goes on where it stands.")
    ] = None,
    form: FormatOption = Format.TABLE,
    quiet: QuietOption = False,
    trace: Annotated[str | None, typer.Option(hidden=True)] = None,
    pace: Annotated[float, typer.Option(hidden=True, min=0, max=60)] = 0.0,
) -> int:
    """Agents audit a real code base and write a report, as one durable workflow.

    A surveyor finds the packages, analysts measure one package each, a ranker joins, a reporter writes HTML and Markdown. Nothing leaves
    this machine. Interrupt it when you like: the same command with the same --workflow-id goes on.
    """
    if context.invoked_subcommand is not None:
        return Exit.OK
    from agenticflow.cli.commands import demos  # late: only when run

    return demos.demo(
        path=path,
        output=output,
        include_tests=include_tests,
        store=store,
        workflow_id=workflow_id,
        trace=trace,
        pace_seconds=pace,
        is_quiet=quiet,
        form=form,
    )


@demo_app.command("crash")
def _crash(
    path: Path = None,
    output: Annotated[
        str | None, typer.Option(metavar="DIR", help="A new directory to play in; by default a temporary one.")
    ] = None,
    include_tests: Tests = False,
    form: FormatOption = Format.TABLE,
) -> int:
    """Kill the demo with SIGKILL in the middle, resume it, and compare with an undisturbed run.

    Ends with 0 only when nothing recorded ran again and the result is the same, to the byte.
    """
    from agenticflow.cli.commands import demos  # late: only when run

    return demos.crash(path=path, output=output, include_tests=include_tests, form=form)


# --- run ----------------------------------------------------------------------------------------------------------------


@app.command("run", rich_help_panel="Runs")
def _run(
    target: Annotated[
        str, typer.Argument(metavar="FILE[:NAME]", help="A .yaml, .json or .py file, or a module's dotted name.")
    ],
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "-i", "--input", metavar="KEY=VALUE", help="A key of the workflow input; VALUE is JSON, or else text."
        ),
    ] = None,
    input_json: Annotated[
        str | None, typer.Option(metavar="JSON", help="The whole input: JSON, @file, or - for stdin.")
    ] = None,
    workflow_id: Annotated[
        str | None, typer.Option(metavar="ID", help="The same id again takes the run up where it stands.")
    ] = None,
    store: StoreOption = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Only record the start; the owner of the store runs it, now or later.")
    ] = False,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="End with 6 as soon as the run waits for nothing but a person.")
    ] = False,
    form: FormatOption = Format.TABLE,
    quiet: QuietOption = False,
) -> int:
    """Run a workflow to its end in this process, which owns the store meanwhile.

    The result goes to stdout. A YAML or JSON file names its handlers: `handlers: my_module` for my_module.py beside it. While the run
    waits for a signal, send it from elsewhere: `agenticflow runs signal ID NAME`. Ctrl-C and SIGTERM let running handlers end (10 s),
    record what ended, and exit with 5; the same --workflow-id goes on later.
    """
    from agenticflow.cli.commands import run  # late: only when run

    return run.run(
        target,
        inputs=inputs or (),
        input_json=input_json,
        workflow_id=workflow_id,
        store=store,
        detaches=detach,
        waits=not no_wait,
        is_quiet=quiet,
        form=form,
    )


# --- runs ---------------------------------------------------------------------------------------------------------------


@runs_app.command("list")
def _list(
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only runs that stand so: running, failed …")
    ] = None,
    only_open: Annotated[bool, typer.Option("--open", help="Only runs that have not ended.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 50,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """List runs, newest first."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.listing(store=store, status=status, only_open=only_open, limit=limit, form=form)


@runs_app.command("show")
def _show(
    workflow_id: WorkflowId,
    run: RunNo = None,
    at: Annotated[
        int | None,
        typer.Option(metavar="EVENT", min=1, help="How it stood after that event: `runs events` numbers them."),
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show where a run stands: tasks, errors, and what it waits for; with -o json also its result."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.show(workflow_id, run_no=run, at=at, store=store, form=form)


@runs_app.command("events")
def _events(
    workflow_id: WorkflowId,
    run: RunNo = None,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Also those to come, until the run has ended.")
    ] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Print what happened in a run, in order; with -o json one JSON document per line."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.events(workflow_id, run_no=run, store=store, follows=follow, form=form)


@runs_app.command("cancel")
def _cancel(
    workflow_id: WorkflowId,
    reason: Reason = "",
    grace: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, max=3600, help="How long handlers get to stop.")
    ] = 10.0,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """End a run: nothing of it starts or advances any more."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.cancel(workflow_id, reason=reason, grace_seconds=grace, store=store, form=form)


@runs_app.command("signal")
def _signal(
    workflow_id: WorkflowId,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The signal that a task waits for.")],
    value: Annotated[str | None, typer.Option(metavar="VALUE", help="What it carries: JSON, or else text.")] = None,
    signal_id: Annotated[
        str | None, typer.Option(metavar="ID", help="With an id, sending it again changes nothing.")
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Send a signal to a run; it is kept until a task takes it."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.signal(workflow_id, name, value=value, signal_id=signal_id, store=store, form=form)


@runs_app.command("resume")
def _resume(
    workflow_id: WorkflowId,
    from_task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Go on there: what depends on it runs again.")
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Open the next run of a workflow that failed or was cancelled; what succeeded is kept.

    The owner of the store runs it; when there is none, the next one does.
    """
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.resume(workflow_id, from_task=from_task, store=store, form=form)


@runs_app.command("pause")
def _pause(
    workflow_id: WorkflowId, reason: Reason = "", store: StoreOption = None, form: FormatOption = Format.TABLE
) -> int:
    """Start nothing new in a run; what is in work goes on."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.pause(workflow_id, reason=reason, store=store, form=form)


@runs_app.command("unpause")
def _unpause(workflow_id: WorkflowId, store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Let a paused run go on."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.unpause(workflow_id, store=store, form=form)


@runs_app.command("resolve")
def _resolve(
    workflow_id: WorkflowId,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task in question, as `runs show` names it.")],
    decision: Annotated[str, typer.Argument(metavar="DECISION", help="completed, failed or run-again.")],
    value: Annotated[
        str | None, typer.Option(metavar="VALUE", help="The result, when it was completed: JSON, or text.")
    ] = None,
    reason: Reason = "",
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say what became of at-most-once work whose outcome nobody knows."""
    from agenticflow.cli.commands import runs  # late: only when run

    return runs.resolve(workflow_id, task, decision, value=value, reason=reason, store=store, form=form)


@debug_app.command("why")
def _why(
    workflow_id: WorkflowId,
    task: Annotated[
        str | None, typer.Argument(metavar="TASK", help="Only this task, followed to what it hangs on.")
    ] = None,
    run: RunNo = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Say in one sentence per branch what a run waits for: since when, until when, and what would unblock it."""
    from agenticflow.cli.commands import debugging  # late: only when run

    return debugging.why(workflow_id, task, run_no=run, store=store, form=form)


# --- health -------------------------------------------------------------------------------------------------------------


@config_app.command("show")
def _show_config(
    context: typer.Context,
    sources: Annotated[
        bool, typer.Option("--sources", help="Also what the other places say, which do not count.")
    ] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show every setting and where its value comes from. What is given by reference stays a reference."""
    from agenticflow.cli.commands import settings  # late: only when run

    return settings.show({**context.obj, "store": (store, "--store")}, shows_sources=sources, form=form)


@config_app.command("validate")
def _validate_config(
    file: Annotated[
        str | None, typer.Argument(metavar="FILE", help="Only this file; by default everything that counts here.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Check the settings; every mistake is told, with its place. Ends with 2 when there is one."""
    from agenticflow.cli.commands import settings  # late: only when run

    return settings.validate(file=file, form=form)


@config_app.command("schema")
def _config_schema() -> int:
    """Print the JSON Schema of a settings file, for editors."""
    from agenticflow.cli.commands import settings  # late: only when run

    return settings.schema()


@app.command("metrics", rich_help_panel="Health")
def _metrics(store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Print what the process that owns the store measures, as Prometheus reads it."""
    from agenticflow.cli.commands import health  # late: only when run

    return health.metrics(store=store, form=form)


@app.command("doctor", rich_help_panel="Health")
def _doctor(
    liveness: Annotated[
        bool, typer.Option("--liveness", help="Whether any open run is stuck; ends with 3 when one is.")
    ] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Show what is installed, and whether the store can be used; with --liveness whether every open run is alive."""
    from agenticflow.cli.commands import debugging, health  # late: only when run

    return debugging.liveness(store=store, form=form) if liveness else health.doctor(store=store, form=form)


@app.command("version", rich_help_panel="Health")
def _version(form: FormatOption = Format.TABLE) -> int:
    """Print the version."""
    from agenticflow.cli.commands import health  # late: only when run

    return health.version(form)


def _narrowed(program: typer.Typer, arguments: Sequence[str]) -> typer.Typer:
    """Return ``program`` with nothing but the command that ``arguments`` begin with, all of it when they begin otherwise.

    Building every command to run one of them would take longer than loading the engine does.
    """
    if not arguments:
        return program
    commands = [info for info in program.registered_commands if info.name == arguments[0]]
    groups = [copy.copy(info) for info in program.registered_groups if info.name == arguments[0]]
    if not commands and not groups:
        return program
    for info in groups:
        if info.typer_instance is not None:
            info.typer_instance = _narrowed(info.typer_instance, arguments[1:])
    narrow = copy.copy(program)
    narrow.registered_commands, narrow.registered_groups = commands, groups
    return narrow


_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Nothing is raised: what goes wrong is told on stderr."""
    given = with_format(sys.argv[1:] if arguments is None else arguments)
    command = typer.main.get_command(_narrowed(app, given))
    try:
        code = command.main(
            args=given,
            prog_name="agenticflow",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return int(code) if isinstance(code, int) else Exit.OK
    except (KeyboardInterrupt, typer.Abort):
        return Exit.INTERRUPTED
    except (BrokenPipeError, SystemExit):
        # Whoever reads has seen enough; typer makes a SystemExit of that. The interpreter would complain when it flushes on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except Exception as error:  # noqa: BLE001 - a bug of ours ends in one line, too
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            # What else is written has errors of its own; and nothing of this is left for the interpreter to flush on exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            error = PermanentError(f"stdout cannot be written: {error.strerror}", hint="make room, or write elsewhere")
        return tell(error)
