-- One row a session, that is a sign-in on one device, however often its tokens are renewed. id is random, so that a
-- database put back from a backup gives nobody's id to somebody else. generation counts the renewals. Times are
-- seconds since 1970. The unique keys are indexes for a user's list and for removing what has expired.
CREATE TABLE IF NOT EXISTS sessions (
    id BLOB NOT NULL PRIMARY KEY,
    user_id INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    rotated_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER NULL,
    user_agent TEXT NOT NULL,
    address TEXT NOT NULL,
    UNIQUE (user_id, id),
    UNIQUE (expires_at, id)
) STRICT, WITHOUT ROWID
