-- Direct messages, in which the service answers what only their reader may know.
-- +goose Up

-- A post answers in public; whom a direct message goes to is a user id of its channel.
ALTER TABLE outbox
    DROP CONSTRAINT outbox_kind,
    ADD COLUMN recipient_id text NOT NULL DEFAULT '';
ALTER TABLE outbox
    ADD CONSTRAINT outbox_kind CHECK (kind IN ('reply', 'notice', 'announcement', 'direct_message')),
    ADD CONSTRAINT outbox_direct_message CHECK ((kind = 'direct_message') = (recipient_id <> '') AND (kind <> 'direct_message' OR channel <> ''));

-- +goose Down
DELETE FROM outbox WHERE kind = 'direct_message';
ALTER TABLE outbox
    DROP CONSTRAINT outbox_direct_message,
    DROP CONSTRAINT outbox_kind,
    DROP COLUMN recipient_id;
ALTER TABLE outbox ADD CONSTRAINT outbox_kind CHECK (kind IN ('reply', 'notice', 'announcement'));
