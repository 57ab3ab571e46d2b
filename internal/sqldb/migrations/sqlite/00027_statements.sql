-- Statements of donations that were issued: numbered, frozen and signed.
-- +goose Up

CREATE TABLE donation_statements (
    id          BLOB     PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    payee_id    BLOB     NOT NULL REFERENCES payees (id),
    number      INTEGER  NOT NULL CHECK (number > 0), -- of the payee, without a gap
    issuer      TEXT     NOT NULL CHECK (length(issuer) BETWEEN 1 AND 120),
    payee_code  TEXT     NOT NULL,
    payee_name  TEXT     NOT NULL,
    from_date   TEXT     NOT NULL, -- the day after the statement before
    to_date     TEXT     NOT NULL,
    currency    TEXT     NOT NULL CHECK (length(currency) = 3),
    opening     INTEGER  NOT NULL, -- minor units that were owed: the closing of the statement before
    debits      INTEGER  NOT NULL CHECK (debits >= 0), -- of its lines
    credits     INTEGER  NOT NULL CHECK (credits >= 0),
    closing     INTEGER  NOT NULL,
    lines       INTEGER  NOT NULL CHECK (lines >= 0),
    issued_at   TEXT     NOT NULL,
    issued_by   TEXT     NOT NULL CHECK (length(issued_by) BETWEEN 1 AND 64),
    before      BLOB     CHECK (length(before) = 32), -- digest of the statement before; NULL: it is the first
    digest      BLOB       NOT NULL UNIQUE CHECK (length(digest) = 32), -- SHA-256 of all that it says
    public_key  BLOB       NOT NULL CHECK (length(public_key) = 32),
    signature   BLOB       NOT NULL CHECK (length(signature) = 64),
    UNIQUE (payee_id, number),
    UNIQUE (payee_id, from_date),
    CONSTRAINT statement_adds_up CHECK (closing = opening + credits - debits),
    CONSTRAINT statement_has_days CHECK (to_date >= from_date),
    CONSTRAINT statement_follows CHECK ((number = 1) = (before IS NULL))
) STRICT;

-- Each posting on the payee's account is on one statement.
CREATE TABLE donation_statement_lines (
    payee_id       BLOB NOT NULL REFERENCES payees (id),
    effective_date TEXT NOT NULL,
    transaction_id BLOB NOT NULL REFERENCES requests (id),
    posting        INTEGER NOT NULL CHECK (posting BETWEEN 0 AND 999),
    statement_id   BLOB NOT NULL REFERENCES donation_statements (id),
    ordinal        INTEGER NOT NULL CHECK (ordinal > 0),
    entry          TEXT NOT NULL,
    reference      TEXT NOT NULL,
    donor          TEXT NOT NULL, -- name or pseudonym; '': no donation
    end_to_end_id  TEXT NOT NULL, -- of the payout that it is part of; '': none yet
    payout_state   TEXT NOT NULL,
    settled_on     TEXT,
    bank_reference TEXT NOT NULL,
    return_reason  TEXT NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount <> 0), -- minor units by which what is owed grows or shrinks
    PRIMARY KEY (statement_id, ordinal),
    CONSTRAINT stated_once UNIQUE (payee_id, effective_date, transaction_id, posting)
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER donation_statements_no_update BEFORE UPDATE ON donation_statements BEGIN
    SELECT RAISE(ABORT, 'issued statements are never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER donation_statements_no_delete BEFORE DELETE ON donation_statements BEGIN
    SELECT RAISE(ABORT, 'issued statements are never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER donation_statement_lines_no_update BEFORE UPDATE ON donation_statement_lines BEGIN
    SELECT RAISE(ABORT, 'issued statements are never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER donation_statement_lines_no_delete BEFORE DELETE ON donation_statement_lines BEGIN
    SELECT RAISE(ABORT, 'issued statements are never deleted');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE donation_statement_lines;
DROP TABLE donation_statements;
