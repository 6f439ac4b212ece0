"""``agenticflow completion``: the script that makes a shell complete our commands."""

from __future__ import annotations

import sys

# Where typer's own --show-completion takes it from; a test runs the script that comes out.
from typer._completion_shared import get_completion_script

from agenticflow.cli.exits import Exit

__all__ = ["completion"]


def completion(shell: str) -> int:
    """Print the script for ``shell`` on stdout."""
    script = get_completion_script(prog_name="agenticflow", complete_var="_AGENTICFLOW_COMPLETE", shell=shell)
    sys.stdout.write(f"{script}\n")
    return Exit.OK
