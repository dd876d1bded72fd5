-- One row a session, that is a sign-in on one device, however often its tokens are renewed. id is random, so that a
-- database put back from a backup gives nobody's id to somebody else. generation counts the renewals. Times are
-- seconds since 1970. The unique keys are indexes for a user's list and for removing what has expired.
CREATE TABLE IF NOT EXISTS sessions (
    id BINARY(16) NOT NULL PRIMARY KEY,
    user_id BIGINT NOT NULL,
    generation BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    rotated_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT NULL,
    user_agent VARCHAR(200) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    UNIQUE KEY sessions_user (user_id, id),
    UNIQUE KEY sessions_expiry (expires_at, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4
