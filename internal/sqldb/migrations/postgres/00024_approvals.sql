-- What one person wants done and another one decides: money that is moved by hand, and
-- the erasure of a customer's data.
-- +goose Up

CREATE TABLE approvals (
    number      int8 PRIMARY KEY CHECK (number > 0),
    kind        text NOT NULL CHECK (kind IN ('top_up', 'card_refund', 'erasure')),
    subject     text NOT NULL CHECK (length(subject) BETWEEN 1 AND 64), -- the reference, charge or customer that it is about
    customer_id uuid NOT NULL REFERENCES customers (id),
    amount      int8 CHECK (amount > 0), -- in minor units; NULL: no money is moved
    state       text NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL,
    reason      text NOT NULL,
    decided_by  text,
    decided_at  timestamptz,
    decision    text, -- why
    CONSTRAINT approval_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (decided_at IS NULL) = (decision IS NULL)),
    CONSTRAINT approval_by_two CHECK (state <> 'approved' OR decided_by <> proposed_by),
    CONSTRAINT approval_amount CHECK ((amount IS NULL) = (kind = 'erasure'))
);
CREATE UNIQUE INDEX approvals_one_open ON approvals (kind, subject) WHERE state = 'proposed';
CREATE INDEX approvals_of_customer ON approvals (customer_id, number);

-- When everything personal was erased; NULL: it was not.
ALTER TABLE customers ADD COLUMN erased_at timestamptz;

-- +goose Down
ALTER TABLE customers DROP COLUMN erased_at;
DROP TABLE approvals;
