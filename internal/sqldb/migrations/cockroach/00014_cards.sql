-- Cards, charges of them, and disputes; and orders whose missing money a card pays
-- when they are confirmed: until then they hold nothing.
-- +goose NO TRANSACTION
-- +goose Up

-- Cards of customers, as the card processor names them: no card number ever comes here.
CREATE TABLE cards (
    id                uuid PRIMARY KEY,
    customer_id       uuid NOT NULL, -- or of the enrolment that becomes the customer, and has the same id
    token             text NOT NULL UNIQUE CHECK (length(token) BETWEEN 1 AND 255), -- the processor's name of the card
    holder            text NOT NULL CHECK (length(holder) <= 255),                  -- the processor's name of the customer, or empty
    brand             text NOT NULL CHECK (length(brand) BETWEEN 1 AND 32),
    last_four         text NOT NULL CHECK (length(last_four) = 4),
    expiry_year       int8 NOT NULL CHECK (expiry_year BETWEEN 2000 AND 9999),
    expiry_month      int8 NOT NULL CHECK (expiry_month BETWEEN 1 AND 12),
    country           text NOT NULL CHECK (length(country) = 2),
    state             text NOT NULL CHECK (state IN ('active', 'removed')),
    is_default        int8 NOT NULL CHECK (is_default IN (0, 1)),
    automatic_maximum int8 CHECK (automatic_maximum > 0), -- what one automatic top-up may be; NULL: the customer allows none
    created_at        timestamptz NOT NULL,
    removed_at        timestamptz,
    CONSTRAINT card_removed CHECK ((state = 'removed') = (removed_at IS NOT NULL)),
    CONSTRAINT card_removed_serves_no_more CHECK (state = 'active' OR (is_default = 0 AND automatic_maximum IS NULL))
);
CREATE INDEX cards_of_customer ON cards (customer_id, created_at);
CREATE UNIQUE INDEX cards_one_default ON cards (customer_id) WHERE is_default = 1;

-- Charges of cards. One is written down before the processor is asked.
CREATE TABLE charges (
    id               uuid PRIMARY KEY, -- UUIDv5 of charge_key
    charge_key       text NOT NULL UNIQUE CHECK (length(charge_key) BETWEEN 1 AND 128), -- the idempotency key at the processor
    customer_id      uuid NOT NULL REFERENCES customers (id),
    card_id          uuid NOT NULL REFERENCES cards (id),
    order_id         uuid REFERENCES orders (id), -- that it pays for; NULL: a top-up of its own
    presence         text NOT NULL CHECK (presence IN ('present', 'off_session')),
    amount           int8 NOT NULL CHECK (amount > 0),
    currency         text NOT NULL CHECK (length(currency) = 3),
    state            text NOT NULL CHECK (state IN ('requested', 'challenged', 'succeeded', 'posted', 'declined', 'failed',
        'refunding', 'refunded', 'disputed')),
    reason           text NOT NULL, -- of the last change of state
    events           int8 NOT NULL CHECK (events > 0),
    reference        text UNIQUE CHECK (length(reference) BETWEEN 1 AND 64), -- the processor's
    challenge_url    text CHECK (length(challenge_url) BETWEEN 1 AND 2048),
    transaction_id   uuid REFERENCES requests (id), -- that credited the wallet; NULL: none did
    held_apart       int8 NOT NULL CHECK (held_apart >= 0), -- what stands in suspense until it is back on the card
    refunds          int8 NOT NULL CHECK (refunds >= 0), -- that the processor has definitely refused
    refund_reference text CHECK (length(refund_reference) BETWEEN 1 AND 64),
    disputed_from    text CHECK (disputed_from IN ('posted', 'refunding', 'refunded')),
    attempts         int8 NOT NULL CHECK (attempts >= 0), -- looks at the processor since the last change of state
    due_at           timestamptz, -- when it is to be looked at; NULL: nothing is to be done
    created_at       timestamptz NOT NULL,
    changed_at       timestamptz NOT NULL,
    CONSTRAINT charge_succeeded_has_reference CHECK (state IN ('requested', 'declined', 'failed') OR reference IS NOT NULL),
    CONSTRAINT charge_posted_has_transaction CHECK (state <> 'posted' OR transaction_id IS NOT NULL),
    CONSTRAINT charge_unfinished_is_due CHECK (state NOT IN ('requested', 'challenged', 'succeeded', 'refunding') OR due_at IS NOT NULL),
    CONSTRAINT charge_disputed_from CHECK ((state = 'disputed') = (disputed_from IS NOT NULL)),
    CONSTRAINT charge_held_apart CHECK (held_apart = 0 OR state IN ('refunding', 'disputed'))
);
CREATE INDEX charges_due ON charges (due_at, id) WHERE due_at IS NOT NULL;
CREATE INDEX charges_of_customer ON charges (customer_id, created_at, id);
CREATE INDEX charges_by_time ON charges (created_at, id);
CREATE INDEX charges_by_state ON charges (state, created_at, id);
CREATE INDEX charges_of_order ON charges (order_id, created_at) WHERE order_id IS NOT NULL;

CREATE TABLE charge_events (
    charge_id  uuid NOT NULL REFERENCES charges (id),
    ordinal    int8 NOT NULL CHECK (ordinal >= 0),
    at         timestamptz NOT NULL,
    actor      text NOT NULL,
    from_state text NOT NULL, -- empty for the first
    to_state   text NOT NULL,
    reason     text NOT NULL,
    PRIMARY KEY (charge_id, ordinal)
);

-- What cardholders have disputed. Each takes the money back once, and returns it once.
CREATE TABLE disputes (
    reference      text PRIMARY KEY CHECK (length(reference) BETWEEN 1 AND 64), -- the processor's
    charge_id      uuid NOT NULL REFERENCES charges (id),
    amount         int8 NOT NULL CHECK (amount > 0),
    state          text NOT NULL CHECK (state IN ('open', 'won', 'lost')),
    transaction_id uuid REFERENCES requests (id), -- the chargeback; NULL: it was won before it was heard of, or nothing was posted
    returned_id    uuid REFERENCES requests (id), -- what posted it back
    created_at     timestamptz NOT NULL,
    changed_at     timestamptz NOT NULL,
    CONSTRAINT dispute_returned CHECK (returned_id IS NULL OR (state = 'won' AND transaction_id IS NOT NULL))
);
CREATE INDEX disputes_of_charge ON disputes (charge_id);
CREATE INDEX disputes_by_time ON disputes (created_at, reference);

-- The card that pays what is missing of an order; NULL: all of it is held.
ALTER TABLE orders ADD COLUMN card_id uuid REFERENCES cards (id);
ALTER TABLE orders DROP CONSTRAINT order_awaiting_confirmation_is_held;
ALTER TABLE orders ADD CONSTRAINT order_is_paid_for CHECK (state NOT IN ('awaiting_confirmation', 'posted') OR hold_id IS NOT NULL OR (state = 'awaiting_confirmation' AND card_id IS NOT NULL));

-- +goose Down
ALTER TABLE orders DROP CONSTRAINT order_is_paid_for;
ALTER TABLE orders ADD CONSTRAINT order_awaiting_confirmation_is_held CHECK (state NOT IN ('awaiting_confirmation', 'posted') OR hold_id IS NOT NULL);
ALTER TABLE orders DROP COLUMN card_id;
DROP TABLE disputes;
DROP TABLE charge_events;
DROP TABLE charges;
DROP TABLE cards;
