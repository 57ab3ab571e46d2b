-- What the bank and the acquirers send: read piece by piece, and checked before it counts.
-- +goose Up

-- A statement or notification on its way into the book. A statement is loading until all
-- of it was read and adds up; then it is checked, stands in bank_statements, and its rows
-- are booked from here; when the last one is, it leaves this table. A notification books
-- nothing and stays, complete.
CREATE TABLE bank_messages (
    id           uuid        PRIMARY KEY, -- of a statement: its id in bank_statements
    kind         text        NOT NULL CHECK (kind IN ('statement', 'notification')),
    iban         text        NOT NULL,
    message_id   text        NOT NULL CHECK (length(message_id) BETWEEN 1 AND 35), -- as the bank numbers it
    sequence     int8        NOT NULL CHECK (sequence >= 0), -- 0: the bank gives none
    state        text        NOT NULL CHECK (state IN ('loading', 'checked', 'complete')),
    entries      int8        NOT NULL CHECK (entries >= 0), -- loaded so far
    details      int8        NOT NULL CHECK (details >= 0),
    content_hash bytea       CHECK (length(content_hash) = 32), -- once all was read
    imported_by  text        NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    started_at   timestamptz NOT NULL,
    touched_at   timestamptz NOT NULL, -- when rows were loaded last: what nobody goes on with is cleared away
    CONSTRAINT message_state CHECK ((state = 'loading') = (content_hash IS NULL) AND (state <> 'checked' OR kind = 'statement')
        AND (state <> 'complete' OR kind = 'notification'))
);
CREATE UNIQUE INDEX bank_notifications ON bank_messages (iban, message_id) WHERE state = 'complete';
CREATE INDEX bank_messages_loading ON bank_messages (touched_at) WHERE state = 'loading';

-- Each movement of such a message, batch bookings taken apart.
CREATE TABLE bank_message_rows (
    bank_message_id   uuid        NOT NULL REFERENCES bank_messages (id),
    pass              int8        NOT NULL CHECK (pass IN (0, 1)), -- money out is booked first
    entry             int8        NOT NULL CHECK (entry > 0),
    detail            int8        NOT NULL CHECK (detail > 0),
    announced         int8        NOT NULL CHECK (announced IN (0, 1)), -- 1: of a notification
    reference         text        NOT NULL,
    end_to_end_id     text        NOT NULL,
    message_id        text        NOT NULL,
    amount            int8        NOT NULL, -- money in is positive
    entry_amount      int8        NOT NULL, -- of the entry that the row is a detail of
    reversal          int8        NOT NULL CHECK (reversal IN (0, 1)),
    booking_date      date        NOT NULL,
    value_date        date        NOT NULL,
    counterparty_name text        NOT NULL,
    counterparty_iban text        NOT NULL,
    counterparty_bic  text        NOT NULL,
    remittance        text        NOT NULL,
    return_reason     text        NOT NULL,
    PRIMARY KEY (bank_message_id, pass, entry, detail)
);
CREATE INDEX announced_by_reference ON bank_message_rows (reference, bank_message_id, entry) WHERE announced = 1 AND reference <> '';
CREATE INDEX announced_by_message ON bank_message_rows (message_id, bank_message_id, entry) WHERE announced = 1 AND message_id <> '';
CREATE INDEX announced_returns ON bank_message_rows (end_to_end_id) WHERE announced = 1 AND return_reason <> '';

-- What is wrong with what was sent, as a whole: it closes itself when what is missing comes.
CREATE TABLE bank_findings (
    source       text        NOT NULL CHECK (source IN ('statement', 'notification', 'settlement')),
    account      text        NOT NULL, -- IBAN; of a settlement file, the acquirer
    message_id   text        NOT NULL, -- of the statement, notification or file that it is about
    kind         text        NOT NULL CHECK (kind IN ('other_content', 'sequence_gap', 'balance_gap', 'sequence_repeated')),
    content_hash bytea       NOT NULL CHECK (length(content_hash) = 32), -- of the other content; else zeros
    amount       int8        NOT NULL, -- by which balances differ
    message      text        NOT NULL,
    found_by     text        NOT NULL CHECK (length(found_by) BETWEEN 1 AND 64),
    found_at     timestamptz NOT NULL,
    closed_by    text        NOT NULL, -- id of the statement that closed it; empty while it is open
    closed_at    timestamptz,
    PRIMARY KEY (source, account, message_id, kind, content_hash, found_at),
    CONSTRAINT finding_closed CHECK ((closed_at IS NULL) = (closed_by = ''))
);
CREATE UNIQUE INDEX bank_findings_once ON bank_findings (source, account, message_id, kind, content_hash) WHERE closed_at IS NULL;
CREATE INDEX bank_findings_by_time ON bank_findings (found_at, source, account, message_id, kind, content_hash);

-- Settlement files of acquirers. A file is loading until all of it was read.
CREATE TABLE settlement_files (
    id           uuid        PRIMARY KEY,
    acquirer     text        NOT NULL CHECK (length(acquirer) BETWEEN 1 AND 32),
    file_id      text        NOT NULL CHECK (length(file_id) BETWEEN 1 AND 120),
    state        text        NOT NULL CHECK (state IN ('loading', 'complete')),
    lines        int8        NOT NULL CHECK (lines >= 0), -- loaded so far
    content_hash bytea       CHECK (length(content_hash) = 32),
    imported_by  text        NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    imported_at  timestamptz NOT NULL,
    touched_at   timestamptz NOT NULL,
    CONSTRAINT settlement_file_state CHECK ((state = 'loading') = (content_hash IS NULL))
);
CREATE UNIQUE INDEX settlement_files_once ON settlement_files (acquirer, file_id) WHERE state = 'complete';
CREATE UNIQUE INDEX settlement_files_content ON settlement_files (acquirer, content_hash) WHERE state = 'complete' AND lines > 0;
CREATE INDEX settlement_files_loading ON settlement_files (touched_at) WHERE state = 'loading';

CREATE TABLE settlement_lines (
    file_id          uuid        NOT NULL REFERENCES settlement_files (id),
    line             int8        NOT NULL CHECK (line > 0), -- in the file
    kind             text        NOT NULL CHECK (kind IN ('charge', 'refund', 'chargeback', 'chargeback_won', 'fee', 'payout')),
    charge_reference text        NOT NULL, -- ours
    reference        text        NOT NULL, -- the acquirer's
    gross            int8        NOT NULL, -- what the acquirer owes us is positive
    fee              int8        NOT NULL, -- what it keeps
    net              int8        NOT NULL,
    currency         text        NOT NULL CHECK (length(currency) = 3),
    settled_on       date        NOT NULL,
    payout_reference text        NOT NULL, -- of the transfer to the bank account; may be empty
    PRIMARY KEY (file_id, line),
    CONSTRAINT settlement_line_adds_up CHECK (net = gross - fee)
);
CREATE INDEX settlement_lines_by_charge ON settlement_lines (charge_reference, file_id, line);

-- What the lines of a transfer come to, and the movement on the bank account that booked it.
CREATE TABLE settlement_payouts (
    acquirer         text        NOT NULL,
    payout_reference text        NOT NULL CHECK (payout_reference <> ''),
    currency         text        NOT NULL CHECK (length(currency) = 3),
    file_id          uuid        NOT NULL REFERENCES settlement_files (id),
    lines            int8        NOT NULL CHECK (lines > 0),
    gross            int8        NOT NULL, -- of charges, less refunds and chargebacks
    fee              int8        NOT NULL, -- of all lines
    net              int8        NOT NULL,
    settled_on       date        NOT NULL, -- of the last line
    statement_id     uuid        REFERENCES bank_statements (id), -- with entry and detail: the movement; NULL until it was booked
    entry            int8,
    detail           int8,
    transaction_id   uuid        REFERENCES requests (id),
    PRIMARY KEY (acquirer, payout_reference, currency),
    CONSTRAINT settlement_payout_adds_up CHECK (net = gross - fee),
    CONSTRAINT settlement_payout_booked CHECK ((transaction_id IS NULL) = (statement_id IS NULL) AND (statement_id IS NULL) = (entry IS NULL)
        AND (entry IS NULL) = (detail IS NULL))
);
CREATE INDEX settlement_payouts_open ON settlement_payouts (net, settled_on) WHERE transaction_id IS NULL;

ALTER TABLE bank_entries
    DROP CONSTRAINT bank_entries_outcome_check,
    ADD CONSTRAINT bank_entries_outcome CHECK (outcome IN ('settled', 'returned', 'card_settlement', 'suspense', 'nothing'));

-- +goose Down
DROP TABLE settlement_payouts;
DROP TABLE settlement_lines;
DROP TABLE settlement_files;
DROP TABLE bank_findings;
DROP TABLE bank_message_rows;
DROP TABLE bank_messages;
UPDATE bank_entries SET outcome = 'suspense', finding = 'unknown_in' WHERE outcome = 'card_settlement';
ALTER TABLE bank_entries
    DROP CONSTRAINT bank_entries_outcome,
    ADD CONSTRAINT bank_entries_outcome_check CHECK (outcome IN ('settled', 'returned', 'suspense', 'nothing'));
