-- Version 3 of the store: large values may lie in files beside it, each under its hash in the folder <path>/<store_id>.
CREATE TABLE blob_files (
    hash           TEXT PRIMARY KEY,
    size           INTEGER NOT NULL,
    -- Whether its bytes have the sign that a reference to another large value begins with.
    has_references INTEGER NOT NULL
) WITHOUT ROWID;
-- One row, when there is such a folder. The path is relative to the folder of the database when it lies below it.
CREATE TABLE blob_folder (
    store_id TEXT PRIMARY KEY,
    path     TEXT NOT NULL
) WITHOUT ROWID;
