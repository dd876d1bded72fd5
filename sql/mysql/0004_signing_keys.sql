-- The keys that access tokens are signed with, shared by all nodes: sealed with a key that follows from SECRET_KEY, so
-- that the database alone signs nothing. generation is the primary key so that two nodes make one key and not two.
CREATE TABLE IF NOT EXISTS signing_keys (
    generation BIGINT NOT NULL PRIMARY KEY,
    kid VARCHAR(43) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    algorithm VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    sealed VARBINARY(512) NOT NULL,
    created_at BIGINT NOT NULL,
    active_at BIGINT NOT NULL,
    retired_at BIGINT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4
