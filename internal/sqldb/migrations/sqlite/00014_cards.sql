-- Cards, charges of them, and disputes; and orders whose missing money a card pays
-- when they are confirmed: until then they hold nothing.
-- +goose Up

-- Cards of customers, as the card processor names them: no card number ever comes here.
CREATE TABLE cards (
    id                BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    customer_id       BLOB NOT NULL, -- or of the enrolment that becomes the customer, and has the same id
    token             TEXT NOT NULL UNIQUE CHECK (length(token) BETWEEN 1 AND 255), -- the processor's name of the card
    holder            TEXT NOT NULL CHECK (length(holder) <= 255),                  -- the processor's name of the customer, or empty
    brand             TEXT NOT NULL CHECK (length(brand) BETWEEN 1 AND 32),
    last_four         TEXT NOT NULL CHECK (length(last_four) = 4),
    expiry_year       INTEGER NOT NULL CHECK (expiry_year BETWEEN 2000 AND 9999),
    expiry_month      INTEGER NOT NULL CHECK (expiry_month BETWEEN 1 AND 12),
    country           TEXT NOT NULL CHECK (length(country) = 2),
    state             TEXT NOT NULL CHECK (state IN ('active', 'removed')),
    is_default        INTEGER NOT NULL CHECK (is_default IN (0, 1)),
    automatic_maximum INTEGER CHECK (automatic_maximum > 0), -- what one automatic top-up may be; NULL: the customer allows none
    created_at        TEXT NOT NULL,
    removed_at        TEXT,
    CONSTRAINT card_removed CHECK ((state = 'removed') = (removed_at IS NOT NULL)),
    CONSTRAINT card_removed_serves_no_more CHECK (state = 'active' OR (is_default = 0 AND automatic_maximum IS NULL))
) STRICT;
CREATE INDEX cards_of_customer ON cards (customer_id, created_at);
CREATE UNIQUE INDEX cards_one_default ON cards (customer_id) WHERE is_default = 1;

-- Charges of cards. One is written down before the processor is asked.
CREATE TABLE charges (
    id               BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of charge_key
    charge_key       TEXT NOT NULL UNIQUE CHECK (length(charge_key) BETWEEN 1 AND 128), -- the idempotency key at the processor
    customer_id      BLOB NOT NULL REFERENCES customers (id),
    card_id          BLOB NOT NULL REFERENCES cards (id),
    order_id         BLOB REFERENCES orders (id), -- that it pays for; NULL: a top-up of its own
    presence         TEXT NOT NULL CHECK (presence IN ('present', 'off_session')),
    amount           INTEGER NOT NULL CHECK (amount > 0),
    currency         TEXT NOT NULL CHECK (length(currency) = 3),
    state            TEXT NOT NULL CHECK (state IN ('requested', 'challenged', 'succeeded', 'posted', 'declined', 'failed',
        'refunding', 'refunded', 'disputed')),
    reason           TEXT NOT NULL, -- of the last change of state
    events           INTEGER NOT NULL CHECK (events > 0),
    reference        TEXT UNIQUE CHECK (length(reference) BETWEEN 1 AND 64), -- the processor's
    challenge_url    TEXT CHECK (length(challenge_url) BETWEEN 1 AND 2048),
    transaction_id   BLOB REFERENCES requests (id), -- that credited the wallet; NULL: none did
    held_apart       INTEGER NOT NULL CHECK (held_apart >= 0), -- what stands in suspense until it is back on the card
    refunds          INTEGER NOT NULL CHECK (refunds >= 0), -- that the processor has definitely refused
    refund_reference TEXT CHECK (length(refund_reference) BETWEEN 1 AND 64),
    disputed_from    TEXT CHECK (disputed_from IN ('posted', 'refunding', 'refunded')),
    attempts         INTEGER NOT NULL CHECK (attempts >= 0), -- looks at the processor since the last change of state
    due_at           TEXT, -- when it is to be looked at; NULL: nothing is to be done
    created_at       TEXT NOT NULL,
    changed_at       TEXT NOT NULL,
    CONSTRAINT charge_succeeded_has_reference CHECK (state IN ('requested', 'declined', 'failed') OR reference IS NOT NULL),
    CONSTRAINT charge_posted_has_transaction CHECK (state <> 'posted' OR transaction_id IS NOT NULL),
    CONSTRAINT charge_unfinished_is_due CHECK (state NOT IN ('requested', 'challenged', 'succeeded', 'refunding') OR due_at IS NOT NULL),
    CONSTRAINT charge_disputed_from CHECK ((state = 'disputed') = (disputed_from IS NOT NULL)),
    CONSTRAINT charge_held_apart CHECK (held_apart = 0 OR state IN ('refunding', 'disputed'))
) STRICT;
CREATE INDEX charges_due ON charges (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX charges_of_customer ON charges (customer_id, created_at, id);
CREATE INDEX charges_by_time ON charges (created_at, id);
CREATE INDEX charges_by_state ON charges (state, created_at, id);
CREATE INDEX charges_of_order ON charges (order_id, created_at) WHERE order_id IS NOT NULL;

CREATE TABLE charge_events (
    charge_id  BLOB NOT NULL REFERENCES charges (id),
    ordinal    INTEGER NOT NULL CHECK (ordinal >= 0),
    at         TEXT NOT NULL,
    actor      TEXT NOT NULL,
    from_state TEXT NOT NULL, -- empty for the first
    to_state   TEXT NOT NULL,
    reason     TEXT NOT NULL,
    PRIMARY KEY (charge_id, ordinal)
) STRICT;

-- What cardholders have disputed. Each takes the money back once, and returns it once.
CREATE TABLE disputes (
    reference      TEXT PRIMARY KEY NOT NULL CHECK (length(reference) BETWEEN 1 AND 64), -- the processor's
    charge_id      BLOB NOT NULL REFERENCES charges (id),
    amount         INTEGER NOT NULL CHECK (amount > 0),
    state          TEXT NOT NULL CHECK (state IN ('open', 'won', 'lost')),
    transaction_id BLOB REFERENCES requests (id), -- the chargeback; NULL: it was won before it was heard of, or nothing was posted
    returned_id    BLOB REFERENCES requests (id), -- what posted it back
    created_at     TEXT NOT NULL,
    changed_at     TEXT NOT NULL,
    CONSTRAINT dispute_returned CHECK (returned_id IS NULL OR (state = 'won' AND transaction_id IS NOT NULL))
) STRICT;
CREATE INDEX disputes_of_charge ON disputes (charge_id);
CREATE INDEX disputes_by_time ON disputes (created_at, reference);
-- +goose StatementBegin
CREATE TRIGGER charge_events_no_update BEFORE UPDATE ON charge_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER charge_events_no_delete BEFORE DELETE ON charge_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd

-- The card that pays what is missing of an order; NULL: all of it is held.
ALTER TABLE orders ADD COLUMN card_id BLOB REFERENCES cards (id);
-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html, section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'order_awaiting_confirmation_is_held CHECK (state NOT IN (''awaiting_confirmation'', ''posted'') OR hold_id IS NOT NULL)',
        'order_is_paid_for CHECK (state NOT IN (''awaiting_confirmation'', ''posted'') OR hold_id IS NOT NULL OR (state = ''awaiting_confirmation'' AND card_id IS NOT NULL))')
    WHERE type = 'table' AND name = 'orders';
PRAGMA writable_schema = RESET;

-- +goose Down
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'order_is_paid_for CHECK (state NOT IN (''awaiting_confirmation'', ''posted'') OR hold_id IS NOT NULL OR (state = ''awaiting_confirmation'' AND card_id IS NOT NULL))',
        'order_awaiting_confirmation_is_held CHECK (state NOT IN (''awaiting_confirmation'', ''posted'') OR hold_id IS NOT NULL)')
    WHERE type = 'table' AND name = 'orders';
PRAGMA writable_schema = RESET;
ALTER TABLE orders DROP COLUMN card_id;
DROP TABLE disputes;
DROP TABLE charge_events;
DROP TABLE charges;
DROP TABLE cards;
