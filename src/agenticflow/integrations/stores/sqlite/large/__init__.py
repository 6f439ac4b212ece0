"""Large values in files beside a SQLite store: the folder, what the database knows of it, and copies of both.

The database says which files there are: a file without a row is left over, a row without a file is damage. Only the writer's thread makes
and removes files, so that their order and that of the commits is one.
"""

from agenticflow.integrations.stores.sqlite.large.folder import BlobFolder
from agenticflow.integrations.stores.sqlite.large.values import LEAST_FILE_BYTES, LargeValues, blob_of

__all__ = ["LEAST_FILE_BYTES", "BlobFolder", "LargeValues", "blob_of"]
