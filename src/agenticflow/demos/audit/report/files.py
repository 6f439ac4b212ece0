"""Putting the finished report on disk, whole or not at all.

The one place of the audit that writes. A reader of either file sees the old report or the new one, never half
of one, and a second call with the same audit leaves the same bytes: an engine may run this again after a
crash.

An ``Audit`` and a directory come in; paths, sizes and checksums go out.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from agenticflow.demos.audit.report.markdown import render_markdown
from agenticflow.demos.audit.report.page import render_html
from agenticflow.demos.audit.shapes import Audit, AuditInputError, ReportFile, ReportFiles

__all__ = ["HTML_NAME", "MARKDOWN_NAME", "write_report"]

HTML_NAME = "audit.html"
MARKDOWN_NAME = "audit.md"


def write_report(audit: Audit, directory: str) -> ReportFiles:
    """Write ``audit.html`` and ``audit.md`` into ``directory``, which is made if it does not exist.

    Raises ``AuditInputError`` (a ``ValueError``) where ``directory`` is a file, and ``OSError`` when the disk
    is full or may not be written; a file that was there before is then still whole.
    """
    target = Path(directory)
    if target.exists() and not target.is_dir():
        raise AuditInputError(
            f"{directory!r} is a file, not a directory",
            hint="give a directory for the report, new or existing",
        )
    html, markdown = render_html(audit), render_markdown(audit)
    target.mkdir(parents=True, exist_ok=True)
    return ReportFiles(
        html=_replace(target / HTML_NAME, html.encode()),
        markdown=_replace(target / MARKDOWN_NAME, markdown.encode()),
    )


def _replace(path: Path, content: bytes) -> ReportFile:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # mkstemp keeps others out, but a report is there to be shown around
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return ReportFile(path=str(path), bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
