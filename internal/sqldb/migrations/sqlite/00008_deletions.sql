-- Deletions, which may come before the message that they delete.
-- +goose Up

CREATE TABLE deletions (
    channel    TEXT NOT NULL,
    message_id TEXT NOT NULL, -- of any version
    author_id  TEXT NOT NULL, -- '': the channel did not say
    deleted_at TEXT NOT NULL,
    expires_at TEXT NOT NULL, -- when it is forgotten
    PRIMARY KEY (channel, message_id)
) STRICT;
CREATE INDEX deletions_by_expiry ON deletions (expires_at);

-- +goose Down
DROP TABLE deletions;
