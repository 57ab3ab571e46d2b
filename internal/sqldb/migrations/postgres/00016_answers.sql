-- How many answers somebody got is counted before the next one, and the outbox is
-- listed by kind in the order of its making.
-- +goose Up
CREATE INDEX messages_answered ON messages (author_id, channel, handled_at)
    WHERE outcome IN ('answered', 'refused', 'rejected') AND reason <> 'answer_limit';
CREATE INDEX outbox_by_kind ON outbox (kind, created_at, id);

-- +goose Down
DROP INDEX outbox_by_kind;
DROP INDEX messages_answered;
