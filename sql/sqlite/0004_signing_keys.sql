-- The keys that access tokens are signed with, shared by all nodes: sealed with a key that follows from SECRET_KEY, so
-- that the database alone signs nothing. generation is the primary key so that two nodes make one key and not two.
CREATE TABLE IF NOT EXISTS signing_keys (
    generation INTEGER NOT NULL PRIMARY KEY,
    kid TEXT NOT NULL,
    algorithm TEXT NOT NULL,
    sealed BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    active_at INTEGER NOT NULL,
    retired_at INTEGER NULL
) STRICT
