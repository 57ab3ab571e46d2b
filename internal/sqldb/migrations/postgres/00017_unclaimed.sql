-- Money that was sent to somebody who is no customer, and who has not claimed it yet.
-- +goose Up

CREATE TABLE unclaimed_payments (
    order_id       uuid        PRIMARY KEY REFERENCES orders (id), -- posted, to the account of unclaimed payments
    payer_id       uuid        NOT NULL REFERENCES customers (id),
    channel        text        NOT NULL, -- with user_id, who may claim it: as in links
    user_id        text        NOT NULL,
    amount         int8        NOT NULL CHECK (amount > 0),
    currency       text        NOT NULL CHECK (length(currency) = 3),
    state          text        NOT NULL CHECK (state IN ('waiting', 'claimed', 'returned')),
    reason         text        NOT NULL, -- of its end, or why it waits though the payee is known; '': for the payee
    posted_on      date        NOT NULL, -- effective date
    created_at     timestamptz NOT NULL,
    expires_at     timestamptz NOT NULL, -- from then on it is returned and not claimed
    due_at         timestamptz NOT NULL, -- when it is looked at next
    reminded_at    timestamptz,
    customer_id    uuid        REFERENCES customers (id), -- who claimed it
    transaction_id uuid, -- which moved it on, or back
    closed_on      date, -- effective date of that
    closed_at      timestamptz,
    CONSTRAINT unclaimed_ended CHECK ((state = 'waiting') = (closed_at IS NULL) AND (state = 'waiting') = (transaction_id IS NULL)
        AND (state = 'waiting') = (closed_on IS NULL) AND (state = 'claimed') = (customer_id IS NOT NULL))
);
CREATE INDEX unclaimed_due ON unclaimed_payments (due_at, order_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_of_user ON unclaimed_payments (channel, user_id, created_at, order_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_of_payer ON unclaimed_payments (payer_id) WHERE state = 'waiting';
CREATE INDEX unclaimed_by_time ON unclaimed_payments (created_at, order_id);

-- +goose Down
DROP TABLE unclaimed_payments;
