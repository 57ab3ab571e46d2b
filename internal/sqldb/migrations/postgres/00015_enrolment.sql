-- Enrolment by customers themselves, with codes that prove a mobile number; corrections
-- of customers; payees that a second person approves.
-- +goose Up

-- When a customer's mobile number was last proven to be the customer's. NULL: staff
-- have changed it since. Staff have made sure of the numbers that are there.
ALTER TABLE customers ADD COLUMN phone_verified_at timestamptz;
UPDATE customers SET phone_verified_at = created_at;
CREATE INDEX customers_by_phone ON customers (phone);

-- People who become customers by themselves. The id becomes the customer's.
CREATE TABLE enrolments (
    id          uuid PRIMARY KEY,
    token_hash  bytea NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    phone       text NOT NULL, -- empty once forgotten, as the name
    name        text NOT NULL CHECK (length(name) <= 120),
    named       int8 NOT NULL CHECK (named IN (0, 1)),
    language    text NOT NULL CHECK (language IN ('fr', 'en')),
    state       text NOT NULL CHECK (state IN ('started', 'phone_verified', 'card_registered', 'enrolled', 'refused', 'expired')),
    reason      text NOT NULL, -- of the last change of state; private
    events      int8 NOT NULL CHECK (events > 0),
    customer_id uuid REFERENCES customers (id),
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    closed_at   timestamptz,
    CONSTRAINT enrolment_closed CHECK ((closed_at IS NOT NULL) = (state IN ('enrolled', 'refused', 'expired'))),
    CONSTRAINT enrolment_has_customer CHECK ((customer_id IS NOT NULL) = (state = 'enrolled')),
    CONSTRAINT enrolment_known CHECK (state IN ('refused', 'expired') OR (phone <> '' AND name <> ''))
);
-- A telephone number has one enrolment that asks for its proof, and one that has it.
CREATE UNIQUE INDEX enrolments_one_asking ON enrolments (phone) WHERE state = 'started';
CREATE UNIQUE INDEX enrolments_one_proven ON enrolments (phone) WHERE state IN ('phone_verified', 'card_registered');
CREATE INDEX enrolments_to_expire ON enrolments (expires_at) WHERE closed_at IS NULL;
CREATE INDEX enrolments_to_forget ON enrolments (closed_at) WHERE state IN ('refused', 'expired') AND phone <> '';
CREATE INDEX enrolments_by_time ON enrolments (created_at, id);

CREATE TABLE enrolment_events (
    enrolment_id uuid NOT NULL REFERENCES enrolments (id),
    ordinal      int8 NOT NULL CHECK (ordinal >= 0),
    at           timestamptz NOT NULL,
    actor        text NOT NULL,
    from_state   text NOT NULL, -- empty for the first
    to_state     text NOT NULL,
    reason       text NOT NULL,
    PRIMARY KEY (enrolment_id, ordinal)
);

-- Codes that prove a mobile number. A code itself is nowhere: it is made from the
-- nonce and a key that is not in the database, when it is sent.
CREATE TABLE one_time_codes (
    id              uuid PRIMARY KEY,
    purpose         text NOT NULL CHECK (purpose IN ('enrolment', 'verification')),
    subject_id      uuid NOT NULL, -- an enrolment or a customer; its own id where it is nobody's
    phone           text NOT NULL,
    language        text NOT NULL CHECK (language IN ('fr', 'en')),
    nonce           bytea NOT NULL CHECK (length(nonce) = 16),
    code_hash       bytea NOT NULL CHECK (length(code_hash) = 32), -- keyed, over purpose, subject and phone too
    token_hash      bytea CHECK (length(token_hash) = 32),         -- of the page that asks for it, where that is only about it
    tries           int8 NOT NULL DEFAULT 0 CHECK (tries >= 0),     -- counted before each is looked at
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    closed_at       timestamptz,
    outcome         text CHECK (outcome IN ('used', 'exhausted', 'replaced')),
    status          text NOT NULL CHECK (status IN ('pending', 'sent', 'dead')), -- of its sending
    attempts        int8 NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL,
    last_error      text NOT NULL DEFAULT '',
    CONSTRAINT one_time_code_closed CHECK ((closed_at IS NULL) = (outcome IS NULL))
);
CREATE UNIQUE INDEX one_time_codes_one_open ON one_time_codes (subject_id, purpose) WHERE closed_at IS NULL;
CREATE UNIQUE INDEX one_time_codes_by_token ON one_time_codes (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX one_time_codes_of_phone ON one_time_codes (phone, created_at);
CREATE INDEX one_time_codes_to_send ON one_time_codes (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX one_time_codes_by_time ON one_time_codes (created_at);

-- What staff have corrected of a customer, with what stood there before.
CREATE TABLE party_changes (
    party_id  uuid NOT NULL,
    ordinal   int8 NOT NULL CHECK (ordinal >= 0),
    at        timestamptz NOT NULL,
    actor     text NOT NULL,
    field     text NOT NULL,
    old_value text NOT NULL,
    new_value text NOT NULL,
    reason    text NOT NULL,
    PRIMARY KEY (party_id, ordinal)
);

-- The address of a payee, in the parts that a SEPA message has for it.
ALTER TABLE payees ADD COLUMN street text NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN building text NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN post_code text NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN town text NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN country text NOT NULL DEFAULT '';

-- What one person wants to know of a payee, and another one decides: the payee itself,
-- or a change. There is no payee before its enrolment is approved.
CREATE TABLE payee_proposals (
    code        text NOT NULL, -- of the payee
    number      int8 NOT NULL CHECK (number > 0),
    kind        text NOT NULL CHECK (kind IN ('enrolment', 'change')),
    old_values  text NOT NULL,
    new_values  text NOT NULL,
    state       text NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by text NOT NULL,
    proposed_at timestamptz NOT NULL,
    reason      text NOT NULL,
    decided_by  text,
    decided_at  timestamptz,
    decision    text, -- why
    PRIMARY KEY (code, number),
    CONSTRAINT proposal_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (decided_at IS NULL) = (decision IS NULL)),
    CONSTRAINT proposal_by_two CHECK (state <> 'approved' OR decided_by <> proposed_by)
);
CREATE UNIQUE INDEX payee_proposals_one_open ON payee_proposals (code) WHERE state = 'proposed';

-- +goose Down
DROP TABLE payee_proposals;
ALTER TABLE payees DROP COLUMN country;
ALTER TABLE payees DROP COLUMN town;
ALTER TABLE payees DROP COLUMN post_code;
ALTER TABLE payees DROP COLUMN building;
ALTER TABLE payees DROP COLUMN street;
DROP TABLE party_changes;
DROP TABLE one_time_codes;
DROP TABLE enrolment_events;
DROP TABLE enrolments;
DROP INDEX customers_by_phone;
ALTER TABLE customers DROP COLUMN phone_verified_at;
