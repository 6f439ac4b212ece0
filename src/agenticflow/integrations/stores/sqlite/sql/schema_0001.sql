-- Version 1 of the store. Every column is plain: look at it with any SQLite shell.
CREATE TABLE streams (
    sid  INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
);
CREATE TABLE events (
    position       INTEGER PRIMARY KEY,
    sid            INTEGER NOT NULL REFERENCES streams (sid),
    version        INTEGER NOT NULL,
    type           TEXT    NOT NULL,
    recorded_at    INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    data           BLOB    NOT NULL,
    metadata       BLOB    NOT NULL
);
CREATE UNIQUE INDEX events_by_stream ON events (sid, version);
CREATE TABLE commands (
    command_id TEXT PRIMARY KEY,
    stream     TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    position   INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE runs (
    id           INTEGER PRIMARY KEY,
    stream_id    TEXT    NOT NULL UNIQUE,
    kind         TEXT    NOT NULL,
    execution_id TEXT    NOT NULL,
    run_no       INTEGER NOT NULL,
    name         TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    is_open      INTEGER NOT NULL,
    next_due     INTEGER,
    fingerprint  TEXT    NOT NULL,
    started_at   INTEGER NOT NULL,
    ended_at     INTEGER,
    version      INTEGER NOT NULL
);
CREATE INDEX runs_by_execution ON runs (execution_id, run_no);
CREATE INDEX runs_open ON runs (id) WHERE is_open;
CREATE TABLE snapshots (
    stream_id      TEXT PRIMARY KEY,
    version        INTEGER NOT NULL,
    schema_version INTEGER NOT NULL,
    data           BLOB    NOT NULL
) WITHOUT ROWID;
CREATE TABLE blobs (
    hash TEXT PRIMARY KEY,
    data BLOB NOT NULL
);
