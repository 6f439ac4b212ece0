"""The command line: ``agenticflow …``.

``main`` takes arguments and returns an exit code (``cli.exits.Exit``). Data goes to stdout, everything else to stderr. Loaded only when
run: nothing below imports it.
"""

from agenticflow.cli.exits import Exit
from agenticflow.cli.program import main

__all__ = ["Exit", "main"]
