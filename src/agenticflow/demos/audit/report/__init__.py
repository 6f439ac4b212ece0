"""The reporter: one HTML page and one Markdown file that say what the audit found.

Rendering is pure: equal audits give equal bytes, with no date and no machine name in them. Every text that
came from outside (names of files, functions, messages) is made visible and escaped before it is written; the
page loads nothing.

An ``Audit`` comes in; text goes out of ``render_html`` and ``render_markdown``, files and their checksums out
of ``write_report``.
"""

from agenticflow.demos.audit.report.files import write_report
from agenticflow.demos.audit.report.markdown import render_markdown
from agenticflow.demos.audit.report.page import render_html

__all__ = ["render_html", "render_markdown", "write_report"]
