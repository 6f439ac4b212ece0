-- Version 2 of the store: values by key, and streams that are not all in the events any more.
CREATE TABLE key_values (
    namespace  TEXT    NOT NULL,
    key        TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    expires_at INTEGER,
    value      BLOB    NOT NULL,
    PRIMARY KEY (namespace, key)
);
CREATE INDEX key_values_expiring ON key_values (expires_at) WHERE expires_at IS NOT NULL;
-- Versions up to this one are not in the events: they are archived, or were let go.
ALTER TABLE streams ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
-- Some events of a stream, end to end and compressed with zlib.
CREATE TABLE archives (
    id            INTEGER PRIMARY KEY,
    sid           INTEGER NOT NULL REFERENCES streams (sid),
    first_version INTEGER NOT NULL,
    last_version  INTEGER NOT NULL,
    last_position INTEGER NOT NULL,
    raw_bytes     INTEGER NOT NULL,
    data          BLOB    NOT NULL
);
CREATE UNIQUE INDEX archives_by_stream ON archives (sid, last_version);
ALTER TABLE runs ADD COLUMN is_archived INTEGER NOT NULL DEFAULT 0;
CREATE INDEX runs_to_archive ON runs (ended_at) WHERE NOT is_open AND NOT is_archived;
CREATE INDEX runs_closed ON runs (ended_at) WHERE NOT is_open;
-- What must be known when the events that told it are gone.
CREATE TABLE marks (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO marks (name, value) VALUES ('position', 0);
