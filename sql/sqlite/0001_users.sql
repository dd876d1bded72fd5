-- One row an account. email is what the person typed, email_key is its canonical form, compared as bytes
-- so that both engines give the same verdict. AUTOINCREMENT: an id is never reused, because tokens name it.
CREATE TABLE IF NOT EXISTS users (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    email TEXT NOT NULL,
    email_key BLOB NOT NULL UNIQUE,
    password_hash TEXT NULL,
    is_disabled INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL
) STRICT
