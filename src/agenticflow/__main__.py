"""``python -m agenticflow``, and the console script. Spawned processes of handlers pass through here too: it must load nothing."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and exit with its code."""
    from agenticflow.cli import main as run  # late: a spawned process imports this module and has no use for a terminal

    sys.exit(run())


if __name__ == "__main__":
    main()
