"""What may be an id that somebody gives to find something: checked where it comes in, so that nothing below meets what is no text.

Whether there is something of that id is another question; and what may be called newly has rules of its own, stricter than these.
"""

from __future__ import annotations

from typing import Final

from agenticflow.errors import InvalidInput

__all__ = ["MAX_ID_CHARS", "MAX_RUN_NO", "check_id", "check_run"]

MAX_ID_CHARS: Final = 512
"""As long as the longest stream: whatever is longer is the id of nothing."""
MAX_RUN_NO: Final = 10**9


def check_id(value: object, what: str) -> None:
    """Raise ``InvalidInput`` for what is no id of anything: no text, none that can be written down, an empty or a much too long one.

    ``what`` says whose id it should be: "a workflow".
    """
    if not isinstance(value, str) or not 0 < len(value) <= MAX_ID_CHARS or not _can_be_written(value):
        raise InvalidInput(f"{value!r:.80} is no id of {what}", hint=f"give a text of 1 to {MAX_ID_CHARS} characters")


def check_run(workflow_id: object, run_no: object = None) -> None:
    """Raise ``InvalidInput`` for what is no id of a workflow, and for what numbers no run of one; ``None`` is the latest."""
    check_id(workflow_id, "a workflow")
    if run_no is None:
        return
    if isinstance(run_no, bool) or not isinstance(run_no, int) or not 0 <= run_no <= MAX_RUN_NO:
        raise InvalidInput(f"{run_no!r:.80} is no run of {workflow_id!r}", hint="give a whole number, from 1")


def _can_be_written(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a pair of surrogates
        return False
    return True
