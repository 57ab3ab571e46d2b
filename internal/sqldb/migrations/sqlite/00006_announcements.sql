-- Announcements, which the service posts of its own accord, and when jobs were
-- last done. See docs/decisions/0007-sealing.md.
-- +goose Up

-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html,
-- section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'CHECK (kind IN (''reply'', ''notice''))', 'CHECK (kind IN (''reply'', ''notice'', ''announcement''))'),
        'CONSTRAINT outbox_closed',
        'CONSTRAINT outbox_announcement CHECK (kind <> ''announcement'' OR (channel <> '''' AND in_reply_to = '''' AND order_id IS NULL AND text <> '''')),
    CONSTRAINT outbox_closed')
    WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;

ALTER TABLE leases ADD COLUMN done_at TEXT; -- when the job was last done to its end
CREATE INDEX signed_heads_by_time ON signed_heads (signed_at);

-- +goose Down
DROP INDEX signed_heads_by_time;
ALTER TABLE leases DROP COLUMN done_at;
DELETE FROM outbox WHERE kind = 'announcement';
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'CHECK (kind IN (''reply'', ''notice'', ''announcement''))', 'CHECK (kind IN (''reply'', ''notice''))'),
        'CONSTRAINT outbox_announcement CHECK (kind <> ''announcement'' OR (channel <> '''' AND in_reply_to = '''' AND order_id IS NULL AND text <> '''')),
    CONSTRAINT outbox_closed',
        'CONSTRAINT outbox_closed')
    WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;
