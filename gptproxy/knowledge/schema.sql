-- The knowledge database, version 2. Version 1 is brought here by migration.py.
--
-- Everything is derived from documents that exist elsewhere: a database that is lost is fed again.
-- One writer at a time (the `gptproxy docs` commands), any number of readers (the daemons), in WAL
-- mode: a reader sees the state of the last committed transaction, whole.

-- One row, made with the file: who has read an earlier file of the same name sees that it is
-- another one, whatever its numbers say.
CREATE TABLE identity (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    database_id BLOB NOT NULL
);
INSERT INTO identity VALUES (1, randomblob(16));

CREATE TABLE collections (
    -- AUTOINCREMENT, here and below: no id is used again, so one that is remembered finds what it
    -- meant, or nothing.
    collection_id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    -- Grows in every transaction that changes anything of the collection: documents, passages,
    -- vectors of the active set, or which set is active.
    revision INTEGER NOT NULL DEFAULT 0
);

-- Vectors of one model. At most one set of a collection is active: questions are embedded with its
-- model and compared to its vectors. A set that is being built beside it, because the operator has
-- chosen another model, becomes active in the transaction that retires the old one, once every
-- passage of the collection has a vector in it. Retired sets wait for the removal of their vectors.
CREATE TABLE embedding_sets (
    set_id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    -- What the operator asks of the model; NULL: its own length.
    dimensions_asked INTEGER CHECK (dimensions_asked > 0),
    -- The vectors' length; NULL until there is one.
    dimensions INTEGER CHECK (dimensions > 0),
    -- Of the rule that makes the embedded text of a passage.
    version INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('building', 'active', 'retired'))
);
CREATE UNIQUE INDEX one_active_set ON embedding_sets (collection_id) WHERE state = 'active';
CREATE UNIQUE INDEX one_building_set ON embedding_sets (collection_id) WHERE state = 'building';

CREATE TABLE sources (
    source_id INTEGER PRIMARY KEY AUTOINCREMENT,
    collection_id INTEGER NOT NULL REFERENCES collections (collection_id) ON DELETE CASCADE,
    -- An absolute path, or gitlab:group/project[@ref][:path].
    spec TEXT NOT NULL,
    -- The GitLab project's full path; NULL for what was read from disk.
    project TEXT,
    -- 1: only members of the project may read its passages.
    members_only INTEGER NOT NULL DEFAULT 0 CHECK (members_only IN (0, 1)),
    -- Seconds since 1970 of the last run that read all of it; NULL: none has come to its end.
    synced_at INTEGER,
    -- 1: its documents are being removed; the next command goes on with that.
    removing INTEGER NOT NULL DEFAULT 0 CHECK (removing IN (0, 1)),
    UNIQUE (collection_id, spec)
);

CREATE TABLE documents (
    document_id INTEGER PRIMARY KEY AUTOINCREMENT,
    source_id INTEGER NOT NULL REFERENCES sources (source_id) ON DELETE CASCADE,
    -- What tells it from the source's others: an absolute path, or a path in a repository or wiki.
    location TEXT NOT NULL,
    -- What callers and models see.
    name TEXT NOT NULL,
    -- Git's id of its bytes, as GitLab tells it before anything is downloaded.
    blob_id TEXT NOT NULL,
    -- Of the blob id, the name, and the rules that it was cut by, in hexadecimal: unchanged where it is equal.
    content_hash TEXT NOT NULL,
    -- Why nothing of it was fed, in a few words; NULL where it was.
    unfit TEXT,
    UNIQUE (source_id, location)
);

CREATE TABLE passages (
    passage_id INTEGER PRIMARY KEY AUTOINCREMENT,
    document_id INTEGER NOT NULL REFERENCES documents (document_id) ON DELETE CASCADE,
    -- As its document's source has it: searches are of one collection, and need no joins so.
    collection_id INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    -- The titles that it stands under, outermost first, joined by ' / '; may be empty.
    heading TEXT NOT NULL,
    text TEXT NOT NULL,
    -- Of what is embedded, in hexadecimal: the same text need not be embedded twice.
    input_hash TEXT NOT NULL
);
CREATE INDEX passages_of_document ON passages (document_id, ordinal);
CREATE INDEX passages_of_collection ON passages (collection_id);
CREATE INDEX passages_by_input ON passages (collection_id, input_hash);

CREATE TABLE vectors (
    vector_id INTEGER PRIMARY KEY,
    set_id INTEGER NOT NULL REFERENCES embedding_sets (set_id),
    passage_id INTEGER NOT NULL REFERENCES passages (passage_id) ON DELETE CASCADE,
    -- Unit length, little-endian float32.
    vector BLOB NOT NULL CHECK (typeof(vector) = 'blob'),
    UNIQUE (set_id, passage_id)
);
CREATE INDEX vectors_of_passage ON vectors (passage_id);

-- Words, ranked by BM25. `scope` is one word that names the collection, so that
-- `scope : c12 AND (...)` looks at one collection's passages only; its weight is to be 0:
-- bm25(passage_words, 0.0, 2.0, 1.0). https://sqlite.org/fts5.html#external_content_tables
CREATE VIEW passage_texts AS
    SELECT passage_id, 'c' || collection_id AS scope, heading, text FROM passages;
CREATE VIRTUAL TABLE passage_words USING fts5 (
    scope, heading, text,
    content = 'passage_texts', content_rowid = 'passage_id',
    tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER passage_added AFTER INSERT ON passages BEGIN
    INSERT INTO passage_words (rowid, scope, heading, text)
    VALUES (new.passage_id, 'c' || new.collection_id, new.heading, new.text);
END;
CREATE TRIGGER passage_removed AFTER DELETE ON passages BEGIN
    INSERT INTO passage_words (passage_words, rowid, scope, heading, text)
    VALUES ('delete', old.passage_id, 'c' || old.collection_id, old.heading, old.text);
END;

PRAGMA user_version = 2;
