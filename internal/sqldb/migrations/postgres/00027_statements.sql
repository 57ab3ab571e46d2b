-- Statements of donations that were issued: numbered, frozen and signed.
-- +goose Up

CREATE TABLE donation_statements (
    id          uuid        PRIMARY KEY,
    payee_id    uuid        NOT NULL REFERENCES payees (id),
    number      int8        NOT NULL CHECK (number > 0), -- of the payee, without a gap
    issuer      text        NOT NULL CHECK (length(issuer) BETWEEN 1 AND 120),
    payee_code  text        NOT NULL,
    payee_name  text        NOT NULL,
    from_date   date        NOT NULL, -- the day after the statement before
    to_date     date        NOT NULL,
    currency    text        NOT NULL CHECK (length(currency) = 3),
    opening     int8        NOT NULL, -- minor units that were owed: the closing of the statement before
    debits      int8        NOT NULL CHECK (debits >= 0), -- of its lines
    credits     int8        NOT NULL CHECK (credits >= 0),
    closing     int8        NOT NULL,
    lines       int8        NOT NULL CHECK (lines >= 0),
    issued_at   timestamptz NOT NULL,
    issued_by   text        NOT NULL CHECK (length(issued_by) BETWEEN 1 AND 64),
    before      bytea       CHECK (length(before) = 32), -- digest of the statement before; NULL: it is the first
    digest      bytea       NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of all that it says
    public_key  bytea       NOT NULL CHECK (length(public_key) = 32),
    signature   bytea       NOT NULL CHECK (length(signature) = 64),
    UNIQUE (payee_id, number),
    UNIQUE (payee_id, from_date),
    CONSTRAINT statement_adds_up CHECK (closing = opening + credits - debits),
    CONSTRAINT statement_has_days CHECK (to_date >= from_date),
    CONSTRAINT statement_follows CHECK ((number = 1) = (before IS NULL))
);

-- Each posting on the payee's account is on one statement.
CREATE TABLE donation_statement_lines (
    payee_id       uuid NOT NULL REFERENCES payees (id),
    effective_date date NOT NULL,
    transaction_id uuid NOT NULL REFERENCES requests (id),
    posting        int8 NOT NULL CHECK (posting BETWEEN 0 AND 999),
    statement_id   uuid NOT NULL REFERENCES donation_statements (id),
    ordinal        int8 NOT NULL CHECK (ordinal > 0),
    entry          text NOT NULL,
    reference      text NOT NULL,
    donor          text NOT NULL, -- name or pseudonym; '': no donation
    end_to_end_id  text NOT NULL, -- of the payout that it is part of; '': none yet
    payout_state   text NOT NULL,
    settled_on     date,
    bank_reference text NOT NULL,
    return_reason  text NOT NULL,
    amount         int8 NOT NULL CHECK (amount <> 0), -- minor units by which what is owed grows or shrinks
    PRIMARY KEY (statement_id, ordinal),
    CONSTRAINT stated_once UNIQUE (payee_id, effective_date, transaction_id, posting)
);

-- +goose Down
DROP TABLE donation_statement_lines;
DROP TABLE donation_statements;
