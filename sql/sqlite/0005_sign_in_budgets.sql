-- How many passwords may still be tried. bucket is a digest of an account's name and of a network that its owner has
-- signed in from, or of the name alone for all other networks together. A name that nobody has is counted like any
-- other. full_at is when the budget is whole again, expires_at when the row says nothing any more. Times are seconds
-- since 1970. The unique key is an index for removing what has expired.
CREATE TABLE IF NOT EXISTS sign_in_budgets (
    bucket BLOB NOT NULL PRIMARY KEY,
    full_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    UNIQUE (expires_at, bucket)
) STRICT, WITHOUT ROWID
