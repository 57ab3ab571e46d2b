-- What one person wants done and another one decides: money that is moved by hand, and
-- the erasure of a customer's data.
-- +goose Up

CREATE TABLE approvals (
    number      INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    kind        TEXT NOT NULL CHECK (kind IN ('top_up', 'card_refund', 'erasure')),
    subject     TEXT NOT NULL CHECK (length(subject) BETWEEN 1 AND 64), -- the reference, charge or customer that it is about
    customer_id BLOB NOT NULL REFERENCES customers (id),
    amount      INTEGER CHECK (amount > 0), -- in minor units; NULL: no money is moved
    state       TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by TEXT NOT NULL,
    proposed_at TEXT NOT NULL,
    reason      TEXT NOT NULL,
    decided_by  TEXT,
    decided_at  TEXT,
    decision    TEXT, -- why
    CONSTRAINT approval_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (decided_at IS NULL) = (decision IS NULL)),
    CONSTRAINT approval_by_two CHECK (state <> 'approved' OR decided_by <> proposed_by),
    CONSTRAINT approval_amount CHECK ((amount IS NULL) = (kind = 'erasure'))
) STRICT;
CREATE UNIQUE INDEX approvals_one_open ON approvals (kind, subject) WHERE state = 'proposed';
CREATE INDEX approvals_of_customer ON approvals (customer_id, number);

-- When everything personal was erased; NULL: it was not.
ALTER TABLE customers ADD COLUMN erased_at TEXT;

-- The words of a person in a charge's history go with the person; all else of it stays.
DROP TRIGGER charge_events_no_update;
-- +goose StatementBegin
CREATE TRIGGER charge_events_no_update BEFORE UPDATE ON charge_events
WHEN NEW.reason <> '(erased)' OR NEW.charge_id <> OLD.charge_id OR NEW.ordinal <> OLD.ordinal OR NEW.at <> OLD.at OR NEW.actor <> OLD.actor
    OR NEW.from_state <> OLD.from_state OR NEW.to_state <> OLD.to_state BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd

-- +goose Down
ALTER TABLE customers DROP COLUMN erased_at;
DROP TABLE approvals;
DROP TRIGGER charge_events_no_update;
-- +goose StatementBegin
CREATE TRIGGER charge_events_no_update BEFORE UPDATE ON charge_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd
