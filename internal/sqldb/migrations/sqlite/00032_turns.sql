-- What waits in the outbox is found by whose turn it is: the first of each queue. The
-- others cost nothing until then, however long the queues are.
-- +goose Up
ALTER TABLE outbox ADD COLUMN turn INTEGER NOT NULL DEFAULT 1 CHECK (turn IN (0, 1)); -- 0: something before it in its queue is pending
CREATE INDEX outbox_turn ON outbox (channel, kind, next_attempt_at, id) WHERE status = 'pending' AND turn = 1;

-- +goose Down
DROP INDEX outbox_turn;
ALTER TABLE outbox DROP COLUMN turn;
