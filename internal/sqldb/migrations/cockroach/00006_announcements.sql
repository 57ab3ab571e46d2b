-- Announcements, which the service posts of its own accord, and when jobs were
-- last done. See docs/decisions/0007-sealing.md.
-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE outbox DROP CONSTRAINT check_kind;
ALTER TABLE outbox
    ADD CONSTRAINT outbox_kind CHECK (kind IN ('reply', 'notice', 'announcement')),
    ADD CONSTRAINT outbox_announcement CHECK (kind <> 'announcement' OR (channel <> '' AND in_reply_to = '' AND order_id IS NULL AND text <> ''));
ALTER TABLE leases ADD COLUMN done_at timestamptz; -- when the job was last done to its end
CREATE INDEX signed_heads_by_time ON signed_heads (signed_at);

-- +goose Down
DROP INDEX signed_heads_by_time;
ALTER TABLE leases DROP COLUMN done_at;
DELETE FROM outbox WHERE kind = 'announcement';
ALTER TABLE outbox DROP CONSTRAINT outbox_announcement;
ALTER TABLE outbox DROP CONSTRAINT outbox_kind;
ALTER TABLE outbox ADD CONSTRAINT check_kind CHECK (kind IN ('reply', 'notice'));
