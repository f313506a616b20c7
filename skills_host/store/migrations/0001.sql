-- An element of a stream is a record that also knows its stream and its number there.
CREATE TABLE records (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    version INTEGER NOT NULL,
    owner TEXT NOT NULL,
    expires REAL,
    stream TEXT,
    n INTEGER,
    body BLOB NOT NULL
);

CREATE UNIQUE INDEX records_by_key ON records (kind, key);

CREATE INDEX records_by_stream ON records (kind, stream, n) WHERE stream IS NOT NULL;

CREATE INDEX records_by_expiry ON records (expires) WHERE expires IS NOT NULL;

-- One row, rewritten to see whether the store can be written.
CREATE TABLE probe (id INTEGER PRIMARY KEY, at REAL NOT NULL);
