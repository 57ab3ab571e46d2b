-- What the bank and the acquirers send: read piece by piece, and checked before it counts.
-- +goose Up

-- A statement or notification on its way into the book. A statement is loading until all
-- of it was read and adds up; then it is checked, stands in bank_statements, and its rows
-- are booked from here; when the last one is, it leaves this table. A notification books
-- nothing and stays, complete.
CREATE TABLE bank_messages (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- of a statement: its id in bank_statements
    kind         TEXT    NOT NULL CHECK (kind IN ('statement', 'notification')),
    iban         TEXT    NOT NULL,
    message_id   TEXT    NOT NULL CHECK (length(message_id) BETWEEN 1 AND 35), -- as the bank numbers it
    sequence     INTEGER NOT NULL CHECK (sequence >= 0), -- 0: the bank gives none
    state        TEXT    NOT NULL CHECK (state IN ('loading', 'checked', 'complete')),
    entries      INTEGER NOT NULL CHECK (entries >= 0), -- loaded so far
    details      INTEGER NOT NULL CHECK (details >= 0),
    content_hash BLOB    CHECK (length(content_hash) = 32), -- once all was read
    imported_by  TEXT    NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    started_at   TEXT    NOT NULL,
    touched_at   TEXT    NOT NULL, -- when rows were loaded last: what nobody goes on with is cleared away
    CONSTRAINT message_state CHECK ((state = 'loading') = (content_hash IS NULL) AND (state <> 'checked' OR kind = 'statement')
        AND (state <> 'complete' OR kind = 'notification'))
) STRICT;
CREATE UNIQUE INDEX bank_notifications ON bank_messages (iban, message_id) WHERE state = 'complete';
CREATE INDEX bank_messages_loading ON bank_messages (touched_at) WHERE state = 'loading';

-- Each movement of such a message, batch bookings taken apart.
CREATE TABLE bank_message_rows (
    bank_message_id   BLOB    NOT NULL CHECK (length(bank_message_id) = 16) REFERENCES bank_messages (id),
    pass              INTEGER NOT NULL CHECK (pass IN (0, 1)), -- money out is booked first
    entry             INTEGER NOT NULL CHECK (entry > 0),
    detail            INTEGER NOT NULL CHECK (detail > 0),
    announced         INTEGER NOT NULL CHECK (announced IN (0, 1)), -- 1: of a notification
    reference         TEXT    NOT NULL,
    end_to_end_id     TEXT    NOT NULL,
    message_id        TEXT    NOT NULL,
    amount            INTEGER NOT NULL, -- money in is positive
    entry_amount      INTEGER NOT NULL, -- of the entry that the row is a detail of
    reversal          INTEGER NOT NULL CHECK (reversal IN (0, 1)),
    booking_date      TEXT    NOT NULL,
    value_date        TEXT    NOT NULL,
    counterparty_name TEXT    NOT NULL,
    counterparty_iban TEXT    NOT NULL,
    counterparty_bic  TEXT    NOT NULL,
    remittance        TEXT    NOT NULL,
    return_reason     TEXT    NOT NULL,
    PRIMARY KEY (bank_message_id, pass, entry, detail)
) STRICT, WITHOUT ROWID;
CREATE INDEX announced_by_reference ON bank_message_rows (reference, bank_message_id, entry) WHERE announced = 1 AND reference <> '';
CREATE INDEX announced_by_message ON bank_message_rows (message_id, bank_message_id, entry) WHERE announced = 1 AND message_id <> '';
CREATE INDEX announced_returns ON bank_message_rows (end_to_end_id) WHERE announced = 1 AND return_reason <> '';

-- What is wrong with what was sent, as a whole: it closes itself when what is missing comes.
CREATE TABLE bank_findings (
    source       TEXT    NOT NULL CHECK (source IN ('statement', 'notification', 'settlement')),
    account      TEXT    NOT NULL, -- IBAN; of a settlement file, the acquirer
    message_id   TEXT    NOT NULL, -- of the statement, notification or file that it is about
    kind         TEXT    NOT NULL CHECK (kind IN ('other_content', 'sequence_gap', 'balance_gap', 'sequence_repeated')),
    content_hash BLOB    NOT NULL CHECK (length(content_hash) = 32), -- of the other content; else zeros
    amount       INTEGER NOT NULL, -- by which balances differ
    message      TEXT    NOT NULL,
    found_by     TEXT    NOT NULL CHECK (length(found_by) BETWEEN 1 AND 64),
    found_at     TEXT    NOT NULL,
    closed_by    TEXT    NOT NULL, -- id of the statement that closed it; empty while it is open
    closed_at    TEXT,
    PRIMARY KEY (source, account, message_id, kind, content_hash, found_at),
    CONSTRAINT finding_closed CHECK ((closed_at IS NULL) = (closed_by = ''))
) STRICT;
CREATE UNIQUE INDEX bank_findings_once ON bank_findings (source, account, message_id, kind, content_hash) WHERE closed_at IS NULL;
CREATE INDEX bank_findings_by_time ON bank_findings (found_at, source, account, message_id, kind, content_hash);

-- Settlement files of acquirers. A file is loading until all of it was read.
CREATE TABLE settlement_files (
    id           BLOB    PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    acquirer     TEXT    NOT NULL CHECK (length(acquirer) BETWEEN 1 AND 32),
    file_id      TEXT    NOT NULL CHECK (length(file_id) BETWEEN 1 AND 120),
    state        TEXT    NOT NULL CHECK (state IN ('loading', 'complete')),
    lines        INTEGER NOT NULL CHECK (lines >= 0), -- loaded so far
    content_hash BLOB    CHECK (length(content_hash) = 32),
    imported_by  TEXT    NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    imported_at  TEXT    NOT NULL,
    touched_at   TEXT    NOT NULL,
    CONSTRAINT settlement_file_state CHECK ((state = 'loading') = (content_hash IS NULL))
) STRICT;
CREATE UNIQUE INDEX settlement_files_once ON settlement_files (acquirer, file_id) WHERE state = 'complete';
CREATE UNIQUE INDEX settlement_files_content ON settlement_files (acquirer, content_hash) WHERE state = 'complete' AND lines > 0;
CREATE INDEX settlement_files_loading ON settlement_files (touched_at) WHERE state = 'loading';

CREATE TABLE settlement_lines (
    file_id          BLOB    NOT NULL CHECK (length(file_id) = 16) REFERENCES settlement_files (id),
    line             INTEGER NOT NULL CHECK (line > 0), -- in the file
    kind             TEXT    NOT NULL CHECK (kind IN ('charge', 'refund', 'chargeback', 'chargeback_won', 'fee', 'payout')),
    charge_reference TEXT    NOT NULL, -- ours
    reference        TEXT    NOT NULL, -- the acquirer's
    gross            INTEGER NOT NULL, -- what the acquirer owes us is positive
    fee              INTEGER NOT NULL, -- what it keeps
    net              INTEGER NOT NULL,
    currency         TEXT    NOT NULL CHECK (length(currency) = 3),
    settled_on       TEXT    NOT NULL,
    payout_reference TEXT    NOT NULL, -- of the transfer to the bank account; may be empty
    PRIMARY KEY (file_id, line),
    CONSTRAINT settlement_line_adds_up CHECK (net = gross - fee)
) STRICT, WITHOUT ROWID;
CREATE INDEX settlement_lines_by_charge ON settlement_lines (charge_reference, file_id, line);

-- What the lines of a transfer come to, and the movement on the bank account that booked it.
CREATE TABLE settlement_payouts (
    acquirer         TEXT    NOT NULL,
    payout_reference TEXT    NOT NULL CHECK (payout_reference <> ''),
    currency         TEXT    NOT NULL CHECK (length(currency) = 3),
    file_id          BLOB    NOT NULL REFERENCES settlement_files (id),
    lines            INTEGER NOT NULL CHECK (lines > 0),
    gross            INTEGER NOT NULL, -- of charges, less refunds and chargebacks
    fee              INTEGER NOT NULL, -- of all lines
    net              INTEGER NOT NULL,
    settled_on       TEXT    NOT NULL, -- of the last line
    statement_id     BLOB    REFERENCES bank_statements (id), -- with entry and detail: the movement; NULL until it was booked
    entry            INTEGER,
    detail           INTEGER,
    transaction_id   BLOB    REFERENCES requests (id),
    PRIMARY KEY (acquirer, payout_reference, currency),
    CONSTRAINT settlement_payout_adds_up CHECK (net = gross - fee),
    CONSTRAINT settlement_payout_booked CHECK ((transaction_id IS NULL) = (statement_id IS NULL) AND (statement_id IS NULL) = (entry IS NULL)
        AND (entry IS NULL) = (detail IS NULL))
) STRICT;
CREATE INDEX settlement_payouts_open ON settlement_payouts (net, settled_on) WHERE transaction_id IS NULL;

-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html,
-- section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (outcome IN (''settled'', ''returned'', ''suspense'', ''nothing''))',
        'CHECK (outcome IN (''settled'', ''returned'', ''card_settlement'', ''suspense'', ''nothing''))')
    WHERE type = 'table' AND name = 'bank_entries';
PRAGMA writable_schema = RESET;

-- +goose Down
DROP TABLE settlement_payouts;
DROP TABLE settlement_lines;
DROP TABLE settlement_files;
DROP TABLE bank_findings;
DROP TABLE bank_message_rows;
DROP TABLE bank_messages;
UPDATE bank_entries SET outcome = 'suspense', finding = 'unknown_in' WHERE outcome = 'card_settlement';
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'CHECK (outcome IN (''settled'', ''returned'', ''card_settlement'', ''suspense'', ''nothing''))',
        'CHECK (outcome IN (''settled'', ''returned'', ''suspense'', ''nothing''))')
    WHERE type = 'table' AND name = 'bank_entries';
PRAGMA writable_schema = RESET;
