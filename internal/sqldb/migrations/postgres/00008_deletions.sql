-- Deletions, which may come before the message that they delete.
-- +goose Up

CREATE TABLE deletions (
    channel    text NOT NULL,
    message_id text NOT NULL, -- of any version
    author_id  text NOT NULL, -- '': the channel did not say
    deleted_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL, -- when it is forgotten
    PRIMARY KEY (channel, message_id)
);
CREATE INDEX deletions_by_expiry ON deletions (expires_at);

-- +goose Down
DROP TABLE deletions;
