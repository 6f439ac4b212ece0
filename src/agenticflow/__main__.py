"""``python -m agenticflow``, and the console script. Spawned processes of handlers pass through here too: it must load nothing."""

from __future__ import annotations

import os
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    _keep_standard_files()
    from agenticflow.cli import main as run  # late: a spawned process imports this module and has no use for a terminal

    sys.exit(run())


def _keep_standard_files() -> None:
    """Open what was closed of stdin, stdout and stderr (``>&-``): their numbers would go to the next files, the store's say."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # the lowest number that is free
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - as long as the process
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115 - as above
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115 - as above


if __name__ == "__main__":
    main()
