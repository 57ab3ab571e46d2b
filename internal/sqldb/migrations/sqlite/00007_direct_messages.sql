-- Direct messages, in which the service answers what only their reader may know.
-- +goose Up

-- A post answers in public; whom a direct message goes to is a user id of its channel.
ALTER TABLE outbox ADD COLUMN recipient_id TEXT NOT NULL DEFAULT ''
    CONSTRAINT outbox_direct_message CHECK ((kind = 'direct_message') = (recipient_id <> '') AND (kind <> 'direct_message' OR channel <> ''));

-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html,
-- section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (kind IN (''reply'', ''notice'', ''announcement''))',
        'CHECK (kind IN (''reply'', ''notice'', ''announcement'', ''direct_message''))')
    WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;

-- +goose Down
DELETE FROM outbox WHERE kind = 'direct_message';
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (kind IN (''reply'', ''notice'', ''announcement'', ''direct_message''))',
        'CHECK (kind IN (''reply'', ''notice'', ''announcement''))')
    WHERE type = 'table' AND name = 'outbox';
PRAGMA writable_schema = RESET;
ALTER TABLE outbox DROP COLUMN recipient_id;
