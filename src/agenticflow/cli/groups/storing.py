"""``store verify|backup|restore|compact``: the store itself."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from agenticflow.cli.grouping import add_group
from agenticflow.cli.options import FormatOption, StoreOption
from agenticflow.cli.terminal import Format

__all__ = ["add_to"]


def add_to(app: typer.Typer, settings: dict[str, Any]) -> None:
    """Add the group ``store`` to the program."""
    group = add_group(app, "store", settings, about="The store itself.", panel="Health")
    group.command("verify")(_verify)
    group.command("backup")(_backup)
    group.command("restore")(_restore)
    group.command("compact")(_compact)


def _verify(store: StoreOption = None, form: FormatOption = Format.TABLE) -> int:
    """Check the file and everything derived in it; ends with 3 when anything is wrong. Changes nothing."""
    from agenticflow.cli.commands import health  # late: only when run

    return health.verify(store=store, form=form)


def _backup(
    target: Annotated[str, typer.Argument(metavar="FILE", help="Where the copy goes.")],
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Copy the store as it is now to FILE, also beside a running owner. FILE is a store like any other."""
    from agenticflow.cli.commands import stores  # late: only when run

    return stores.backup(target, force=force, store=store, form=form)


def _restore(
    source: Annotated[str, typer.Argument(metavar="FILE", help="The backup.")],
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Put the backup FILE in the place of the store, which nobody may own. It is verified first; what was there is kept."""
    from agenticflow.cli.commands import stores  # late: only when run

    return stores.restore(source, store=store, form=form)


def _compact(
    archive_after: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Compress runs that ended longer ago; they stay readable.")
    ] = None,
    delete_after: Annotated[
        float | None, typer.Option(metavar="DAYS", help="Delete workflows whose runs all ended longer ago.")
    ] = None,
    keep_last: Annotated[
        int, typer.Option(metavar="N", help="Leave the newest N ended runs of each workflow name as they are.")
    ] = 0,
    topic_events: Annotated[
        int | None, typer.Option(metavar="N", help="Keep the newest N events of each topic of the event bus.")
    ] = None,
    store: StoreOption = None,
    form: FormatOption = Format.TABLE,
) -> int:
    """Give back what nobody needs; archive and delete only what the options say. A running owner does it and goes on."""
    from agenticflow.cli.commands import stores  # late: only when run
    from agenticflow.storage.retention import RetentionPolicy  # late: only when run

    policy = RetentionPolicy(
        archive_after_days=archive_after, delete_after_days=delete_after, keep_last=keep_last, topic_events=topic_events
    )
    return stores.compact(policy, store=store, form=form)
