-- Payouts: what is owed goes out in batches, and what the bank says comes in.
-- +goose Up

CREATE TABLE payout_batches (
    id             BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    reference      TEXT    NOT NULL UNIQUE CHECK (length(reference) BETWEEN 1 AND 35), -- from prepared_on and number
    prepared_on    TEXT    NOT NULL,
    number         INTEGER NOT NULL CHECK (number BETWEEN 1 AND 9999), -- of the day
    state          TEXT    NOT NULL CHECK (state IN ('prepared', 'approved', 'exported', 'settled', 'cancelled')),
    currency       TEXT    NOT NULL CHECK (length(currency) = 3),
    until_date     TEXT    NOT NULL, -- donations up to it were gathered
    execution_date TEXT    NOT NULL,
    message_id     TEXT    NOT NULL UNIQUE CHECK (length(message_id) BETWEEN 1 AND 35),
    -- the account that is debited, as it was when the batch was prepared
    debtor_name    TEXT    NOT NULL,
    debtor_iban    TEXT    NOT NULL,
    debtor_bic     TEXT    NOT NULL,
    payouts        INTEGER NOT NULL CHECK (payouts > 0),
    gross          INTEGER NOT NULL CHECK (gross > 0),
    commission     INTEGER NOT NULL CHECK (commission >= 0),
    net            INTEGER NOT NULL CHECK (net > 0),
    created_by     TEXT    NOT NULL CHECK (length(created_by) BETWEEN 1 AND 64),
    created_at     TEXT    NOT NULL,
    approved_by    TEXT,
    approved_at    TEXT,
    exported_by    TEXT,
    exported_at    TEXT,
    cancelled_by   TEXT,
    cancelled_at   TEXT,
    file_hash      BLOB    CHECK (length(file_hash) = 32), -- of the payment file, once exported
    UNIQUE (prepared_on, number),
    CONSTRAINT batch_adds_up CHECK (gross = commission + net),
    CONSTRAINT batch_four_eyes CHECK (approved_by IS NULL OR approved_by <> created_by),
    CONSTRAINT batch_approved CHECK ((approved_by IS NULL) = (approved_at IS NULL)
        AND (state NOT IN ('approved', 'exported', 'settled') OR approved_at IS NOT NULL)),
    CONSTRAINT batch_exported CHECK ((exported_at IS NOT NULL) = (state IN ('exported', 'settled'))
        AND (exported_at IS NULL) = (file_hash IS NULL) AND (exported_at IS NULL) = (exported_by IS NULL)),
    CONSTRAINT batch_cancelled CHECK ((cancelled_at IS NOT NULL) = (state = 'cancelled')
        AND (cancelled_at IS NULL) = (cancelled_by IS NULL))
) STRICT;
CREATE INDEX payout_batches_by_state ON payout_batches (state, reference);

-- One credit transfer to one payee.
CREATE TABLE payouts (
    id                        BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    batch_id                  BLOB    NOT NULL REFERENCES payout_batches (id),
    ordinal                   INTEGER NOT NULL CHECK (ordinal BETWEEN 1 AND 99999),
    payee_id                  BLOB    NOT NULL REFERENCES payees (id),
    account_id                BLOB    NOT NULL,
    currency                  TEXT    NOT NULL,
    donations                 INTEGER NOT NULL CHECK (donations > 0),
    gross                     INTEGER NOT NULL CHECK (gross > 0),
    commission                INTEGER NOT NULL CHECK (commission >= 0),
    net                       INTEGER NOT NULL CHECK (net > 0),
    end_to_end_id             TEXT    NOT NULL UNIQUE CHECK (length(end_to_end_id) BETWEEN 1 AND 35), -- for ever
    -- the account that is credited, as it was when the batch was prepared
    creditor_name             TEXT    NOT NULL,
    creditor_iban             TEXT    NOT NULL,
    creditor_bic              TEXT    NOT NULL,
    remittance                TEXT    NOT NULL,
    state                     TEXT    NOT NULL CHECK (state IN ('prepared', 'approved', 'exported', 'settled', 'returned', 'cancelled')),
    transaction_id            BLOB    REFERENCES transactions (id), -- of the approval
    cancel_transaction_id     BLOB    REFERENCES transactions (id),
    settlement_transaction_id BLOB    REFERENCES transactions (id),
    return_transaction_id     BLOB    REFERENCES transactions (id),
    approved_on               TEXT,
    cancelled_on              TEXT,
    settled_on                TEXT,
    returned_on               TEXT,
    return_reason             TEXT    NOT NULL DEFAULT '',
    UNIQUE (batch_id, ordinal),
    FOREIGN KEY (account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT payout_adds_up CHECK (gross = commission + net),
    CONSTRAINT payout_approved CHECK ((transaction_id IS NULL) = (approved_on IS NULL)
        AND (state NOT IN ('approved', 'exported', 'settled', 'returned') OR transaction_id IS NOT NULL)),
    CONSTRAINT payout_settled CHECK ((settlement_transaction_id IS NULL) = (settled_on IS NULL)
        AND (settled_on IS NOT NULL) = (state IN ('settled', 'returned'))),
    CONSTRAINT payout_returned CHECK ((return_transaction_id IS NULL) = (returned_on IS NULL)
        AND (returned_on IS NOT NULL) = (state = 'returned')),
    CONSTRAINT payout_cancelled CHECK ((cancelled_on IS NOT NULL) = (state = 'cancelled')
        AND (cancel_transaction_id IS NULL) = (state <> 'cancelled' OR transaction_id IS NULL))
) STRICT;
CREATE INDEX payouts_of_payee ON payouts (payee_id, end_to_end_id);

-- Which donations a payout consists of. A donation whose payout was cancelled or
-- returned is gathered again by a later one; live is 1 in the one that counts.
CREATE TABLE payout_items (
    payout_id      BLOB    NOT NULL REFERENCES payouts (id),
    ordinal        INTEGER NOT NULL CHECK (ordinal > 0),
    transaction_id BLOB    NOT NULL,
    posting        INTEGER NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    live           INTEGER NOT NULL CHECK (live IN (0, 1)),
    PRIMARY KEY (payout_id, ordinal),
    FOREIGN KEY (transaction_id, posting) REFERENCES postings (transaction_id, ordinal)
) STRICT;
CREATE UNIQUE INDEX payout_items_once ON payout_items (transaction_id, posting) WHERE live = 1;
CREATE INDEX payout_items_of_donation ON payout_items (transaction_id, posting);

CREATE TABLE bank_statements (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    iban         TEXT    NOT NULL,
    statement_id TEXT    NOT NULL CHECK (length(statement_id) BETWEEN 1 AND 35),
    sequence     INTEGER NOT NULL CHECK (sequence >= 0), -- 0: the bank gives none
    currency     TEXT    NOT NULL CHECK (length(currency) = 3),
    opening_date TEXT    NOT NULL,
    opening      INTEGER NOT NULL,
    closing_date TEXT    NOT NULL,
    closing      INTEGER NOT NULL,
    entries      INTEGER NOT NULL CHECK (entries >= 0),
    content_hash BLOB    NOT NULL CHECK (length(content_hash) = 32),
    imported_by  TEXT    NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    imported_at  TEXT    NOT NULL,
    UNIQUE (iban, statement_id)
) STRICT;
CREATE INDEX bank_statements_in_order ON bank_statements (iban, closing_date, sequence, statement_id);

-- Each movement of a statement, batch bookings taken apart, and what the book
-- made of it.
CREATE TABLE bank_entries (
    statement_id      BLOB    NOT NULL REFERENCES bank_statements (id),
    entry             INTEGER NOT NULL CHECK (entry > 0),
    detail            INTEGER NOT NULL CHECK (detail > 0),
    reference         TEXT    NOT NULL,
    end_to_end_id     TEXT    NOT NULL,
    message_id        TEXT    NOT NULL,
    amount            INTEGER NOT NULL, -- money in is positive
    reversal          INTEGER NOT NULL CHECK (reversal IN (0, 1)),
    booking_date      TEXT    NOT NULL,
    value_date        TEXT    NOT NULL,
    counterparty_name TEXT    NOT NULL,
    counterparty_iban TEXT    NOT NULL,
    counterparty_bic  TEXT    NOT NULL,
    remittance        TEXT    NOT NULL,
    return_reason     TEXT    NOT NULL,
    outcome           TEXT    NOT NULL CHECK (outcome IN ('settled', 'returned', 'suspense', 'nothing')),
    finding           TEXT    NOT NULL, -- why it went to suspense
    payout_id         BLOB    REFERENCES payouts (id),
    transaction_id    BLOB    REFERENCES transactions (id),
    PRIMARY KEY (statement_id, entry, detail),
    CONSTRAINT entry_is_posted CHECK ((transaction_id IS NULL) = (outcome = 'nothing') AND (outcome = 'nothing') = (amount = 0)),
    CONSTRAINT entry_of_payout CHECK (outcome NOT IN ('settled', 'returned') OR payout_id IS NOT NULL),
    CONSTRAINT entry_unmatched_has_finding CHECK ((outcome = 'suspense') = (finding <> ''))
) STRICT;
CREATE INDEX bank_entries_by_date ON bank_entries (booking_date, statement_id, entry, detail);
CREATE INDEX bank_entries_unmatched ON bank_entries (booking_date, statement_id, entry, detail) WHERE outcome = 'suspense';
CREATE INDEX bank_entries_of_payout ON bank_entries (payout_id) WHERE payout_id IS NOT NULL;

-- +goose Down
DROP TABLE bank_entries;
DROP TABLE bank_statements;
DROP TABLE payout_items;
DROP TABLE payouts;
DROP TABLE payout_batches;
