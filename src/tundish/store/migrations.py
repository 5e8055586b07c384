"""The schema, one statement after the other. Append only: what was released is never changed."""

from __future__ import annotations

MIGRATIONS = (
    """
    CREATE TABLE site_object (
        kind TEXT NOT NULL,    -- deployments, routes or places
        name TEXT NOT NULL,
        fields TEXT NOT NULL,  -- JSON: what its table in tundish.toml would hold
        added_s REAL NOT NULL, -- Unix time
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE revision (
        subject TEXT PRIMARY KEY,
        revision INTEGER NOT NULL -- grows with each change, so that other processes notice it
    ) STRICT, WITHOUT ROWID
    """,
    "INSERT INTO revision (subject, revision) VALUES ('site_object', 0), ('conversation', 0)",
    """
    CREATE TABLE conversation (
        key TEXT NOT NULL,
        data_class TEXT NOT NULL, -- each class that it has had: which is the highest, the policy in force says
        seen_s REAL NOT NULL,     -- Unix time of the last request
        revision INTEGER NOT NULL,
        PRIMARY KEY (key, data_class)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE INDEX conversation_seen ON conversation (seen_s)",
    "CREATE INDEX conversation_revision ON conversation (revision)",
)
