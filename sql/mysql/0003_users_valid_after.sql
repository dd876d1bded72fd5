-- A token without a session (made while the database took no writes) counts if it was issued later than this.
ALTER TABLE users ADD COLUMN valid_after BIGINT NOT NULL DEFAULT 0
