-- Money that was sent to somebody who is no customer, and who has not claimed it yet.
-- +goose Up

CREATE TABLE unclaimed_payments (
    order_id       BLOB    PRIMARY KEY NOT NULL CHECK (length(order_id) = 16) REFERENCES orders (id), -- posted, to the account of unclaimed payments
    payer_id       BLOB    NOT NULL REFERENCES customers (id),
    channel        TEXT    NOT NULL, -- with user_id, who may claim it: as in links
    user_id        TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL CHECK (length(currency) = 3),
    state          TEXT    NOT NULL CHECK (state IN ('waiting', 'claimed', 'returned')),
    reason         TEXT    NOT NULL, -- of its end, or why it waits though the payee is known; '': for the payee
    posted_on      TEXT    NOT NULL, -- effective date
    created_at     TEXT    NOT NULL,
    expires_at     TEXT    NOT NULL, -- from then on it is returned and not claimed
    due_at         TEXT    NOT NULL, -- when it is looked at next
    reminded_at    TEXT,
    customer_id    BLOB    REFERENCES customers (id), -- who claimed it
    transaction_id BLOB, -- which moved it on, or back
    closed_on      TEXT, -- effective date of that
    closed_at      TEXT,
    CONSTRAINT unclaimed_ended CHECK ((state = 'waiting') = (closed_at IS NULL) AND (state = 'waiting') = (transaction_id IS NULL)
        AND (state = 'waiting') = (closed_on IS NULL) AND (state = 'claimed') = (customer_id IS NOT NULL))
) STRICT;
CREATE INDEX unclaimed_due ON unclaimed_payments (due_at, order_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_of_user ON unclaimed_payments (channel, user_id, created_at, order_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_of_payer ON unclaimed_payments (payer_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_by_time ON unclaimed_payments (created_at, order_id);

-- +goose Down
DROP TABLE unclaimed_payments;
