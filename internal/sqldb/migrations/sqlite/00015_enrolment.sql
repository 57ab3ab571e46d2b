-- Enrolment by customers themselves, with codes that prove a mobile number; corrections
-- of customers; payees that a second person approves.
-- +goose Up

-- When a customer's mobile number was last proven to be the customer's. NULL: staff
-- have changed it since. Staff have made sure of the numbers that are there.
ALTER TABLE customers ADD COLUMN phone_verified_at TEXT;
UPDATE customers SET phone_verified_at = created_at;
CREATE INDEX customers_by_phone ON customers (phone);

-- People who become customers by themselves. The id becomes the customer's.
CREATE TABLE enrolments (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    token_hash  BLOB NOT NULL UNIQUE CHECK (length(token_hash) = 32),
    phone       TEXT NOT NULL, -- empty once forgotten, as the name
    name        TEXT NOT NULL CHECK (length(name) <= 120),
    named       INTEGER NOT NULL CHECK (named IN (0, 1)),
    language    TEXT NOT NULL CHECK (language IN ('fr', 'en')),
    state       TEXT NOT NULL CHECK (state IN ('started', 'phone_verified', 'card_registered', 'enrolled', 'refused', 'expired')),
    reason      TEXT NOT NULL, -- of the last change of state; private
    events      INTEGER NOT NULL CHECK (events > 0),
    customer_id BLOB REFERENCES customers (id),
    created_at  TEXT NOT NULL,
    expires_at  TEXT NOT NULL,
    closed_at   TEXT,
    CONSTRAINT enrolment_closed CHECK ((closed_at IS NOT NULL) = (state IN ('enrolled', 'refused', 'expired'))),
    CONSTRAINT enrolment_has_customer CHECK ((customer_id IS NOT NULL) = (state = 'enrolled')),
    CONSTRAINT enrolment_known CHECK (state IN ('refused', 'expired') OR (phone <> '' AND name <> ''))
) STRICT;
-- A telephone number has one enrolment that asks for its proof, and one that has it.
CREATE UNIQUE INDEX enrolments_one_asking ON enrolments (phone) WHERE state = 'started';
CREATE UNIQUE INDEX enrolments_one_proven ON enrolments (phone) WHERE state IN ('phone_verified', 'card_registered');
CREATE INDEX enrolments_to_expire ON enrolments (expires_at) WHERE closed_at IS NULL;
CREATE INDEX enrolments_to_forget ON enrolments (closed_at) WHERE state IN ('refused', 'expired') AND phone <> '';
CREATE INDEX enrolments_by_time ON enrolments (created_at, id);

CREATE TABLE enrolment_events (
    enrolment_id BLOB NOT NULL REFERENCES enrolments (id),
    ordinal      INTEGER NOT NULL CHECK (ordinal >= 0),
    at           TEXT NOT NULL,
    actor        TEXT NOT NULL,
    from_state   TEXT NOT NULL, -- empty for the first
    to_state     TEXT NOT NULL,
    reason       TEXT NOT NULL,
    PRIMARY KEY (enrolment_id, ordinal)
) STRICT;

-- Codes that prove a mobile number. A code itself is nowhere: it is made from the
-- nonce and a key that is not in the database, when it is sent.
CREATE TABLE one_time_codes (
    id              BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    purpose         TEXT NOT NULL CHECK (purpose IN ('enrolment', 'verification')),
    subject_id      BLOB NOT NULL, -- an enrolment or a customer; its own id where it is nobody's
    phone           TEXT NOT NULL,
    language        TEXT NOT NULL CHECK (language IN ('fr', 'en')),
    nonce           BLOB NOT NULL CHECK (length(nonce) = 16),
    code_hash       BLOB NOT NULL CHECK (length(code_hash) = 32), -- keyed, over purpose, subject and phone too
    token_hash      BLOB CHECK (length(token_hash) = 32),         -- of the page that asks for it, where that is only about it
    tries           INTEGER NOT NULL DEFAULT 0 CHECK (tries >= 0),     -- counted before each is looked at
    created_at      TEXT NOT NULL,
    expires_at      TEXT NOT NULL,
    closed_at       TEXT,
    outcome         TEXT CHECK (outcome IN ('used', 'exhausted', 'replaced')),
    status          TEXT NOT NULL CHECK (status IN ('pending', 'sent', 'dead')), -- of its sending
    attempts        INTEGER NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    next_attempt_at TEXT NOT NULL,
    last_error      TEXT NOT NULL DEFAULT '',
    CONSTRAINT one_time_code_closed CHECK ((closed_at IS NULL) = (outcome IS NULL))
) STRICT;
CREATE UNIQUE INDEX one_time_codes_one_open ON one_time_codes (subject_id, purpose) WHERE closed_at IS NULL;
CREATE UNIQUE INDEX one_time_codes_by_token ON one_time_codes (token_hash) WHERE token_hash IS NOT NULL;
CREATE INDEX one_time_codes_of_phone ON one_time_codes (phone, created_at);
CREATE INDEX one_time_codes_to_send ON one_time_codes (next_attempt_at, id) WHERE status = 'pending';
CREATE INDEX one_time_codes_by_time ON one_time_codes (created_at);

-- What staff have corrected of a customer, with what stood there before.
CREATE TABLE party_changes (
    party_id  BLOB NOT NULL,
    ordinal   INTEGER NOT NULL CHECK (ordinal >= 0),
    at        TEXT NOT NULL,
    actor     TEXT NOT NULL,
    field     TEXT NOT NULL,
    old_value TEXT NOT NULL,
    new_value TEXT NOT NULL,
    reason    TEXT NOT NULL,
    PRIMARY KEY (party_id, ordinal)
) STRICT;

-- The address of a payee, in the parts that a SEPA message has for it.
ALTER TABLE payees ADD COLUMN street TEXT NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN building TEXT NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN post_code TEXT NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN town TEXT NOT NULL DEFAULT '';
ALTER TABLE payees ADD COLUMN country TEXT NOT NULL DEFAULT '';

-- What one person wants to know of a payee, and another one decides: the payee itself,
-- or a change. There is no payee before its enrolment is approved.
CREATE TABLE payee_proposals (
    code        TEXT NOT NULL, -- of the payee
    number      INTEGER NOT NULL CHECK (number > 0),
    kind        TEXT NOT NULL CHECK (kind IN ('enrolment', 'change')),
    old_values  TEXT NOT NULL CHECK (json_valid(old_values)),
    new_values  TEXT NOT NULL CHECK (json_valid(new_values)),
    state       TEXT NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by TEXT NOT NULL,
    proposed_at TEXT NOT NULL,
    reason      TEXT NOT NULL,
    decided_by  TEXT,
    decided_at  TEXT,
    decision    TEXT, -- why
    PRIMARY KEY (code, number),
    CONSTRAINT proposal_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (decided_at IS NULL) = (decision IS NULL)),
    CONSTRAINT proposal_by_two CHECK (state <> 'approved' OR decided_by <> proposed_by)
) STRICT;
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
