-- The knowledge database, version 1.
-- Everything is derived from documents that exist elsewhere: a database that is lost is fed again.
PRAGMA user_version = 1;

CREATE TABLE collections (
    collection_id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    embedding_model TEXT NOT NULL,
    dimensions INTEGER NOT NULL CHECK (dimensions > 0),
    -- Random bytes, new with every change: who holds the vectors in memory compares them.
    revision BLOB NOT NULL
);

CREATE TABLE documents (
    document_id INTEGER PRIMARY KEY,
    collection_id INTEGER NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    -- Where it was read: the absolute path. It tells documents apart and is not shown to callers.
    location TEXT NOT NULL,
    -- What callers and models see: the path from the folder that was fed.
    source TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    UNIQUE (collection_id, location)
);

CREATE TABLE passages (
    -- AUTOINCREMENT: no id is used again, so one that is remembered finds its passage or none.
    passage_id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (document_id) ON DELETE CASCADE,
    ordinal INTEGER NOT NULL,
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    -- Unit length, little-endian float32.
    embedding BLOB NOT NULL CHECK (typeof(embedding) = 'blob'),
    UNIQUE (document_id, ordinal)
);
