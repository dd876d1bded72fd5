-- One row an account. email is what the person typed, email_key is its canonical form, compared as bytes
-- so that no collation merges two people. id is never reused: tokens name it.
CREATE TABLE IF NOT EXISTS users (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    email VARCHAR(254) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    email_key VARBINARY(254) NOT NULL,
    password_hash VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    is_disabled BOOLEAN NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL,
    UNIQUE KEY users_email_key (email_key)
) ENGINE = InnoDB DEFAULT CHARACTER SET = utf8mb4
