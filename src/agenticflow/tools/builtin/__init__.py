"""Tools that come with the package: files and tables of one folder, and statements to a database that somebody opens."""

from agenticflow.tools.builtin.files import file_tools
from agenticflow.tools.builtin.rooted import Root
from agenticflow.tools.builtin.sql import Rows, SqlDatabase, sql_tools
from agenticflow.tools.builtin.tables import table_tools

__all__ = ["Root", "Rows", "SqlDatabase", "file_tools", "sql_tools", "table_tools"]
