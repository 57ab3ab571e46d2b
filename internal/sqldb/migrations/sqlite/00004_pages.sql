-- The journal in pages: what one commit recorded for one effective date lies
-- together, and a transaction's header is on its first posting. See
-- docs/decisions/0006-journal-pages.md.
-- +goose Up

-- The short number by which postings and balances refer to an account.
ALTER TABLE accounts ADD COLUMN no INTEGER NOT NULL DEFAULT 0;
UPDATE accounts SET no = numbered.n FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY opened_at, id) AS n FROM accounts) AS numbered
    WHERE accounts.id = numbered.id;
CREATE UNIQUE INDEX accounts_by_no ON accounts (no, currency);

-- A request that was carried out: its key's id, and where its transaction is.
-- Requests of holds and of their release have no transaction.
CREATE TABLE requests (
    id           BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of the idempotency key
    request_hash BLOB NOT NULL CHECK (length(request_hash) = 32),
    page_id      INTEGER,
    line         INTEGER,
    CONSTRAINT request_place CHECK ((page_id IS NULL) = (line IS NULL))
) STRICT, WITHOUT ROWID;

-- id sorts by effective date, then by recording time: days since 1900-01-01 in
-- the high bits, 50-microsecond steps since 2000 in the low 46.
CREATE TABLE pages (
    id             INTEGER PRIMARY KEY NOT NULL,
    effective_date TEXT    NOT NULL,
    adjustment     INTEGER NOT NULL CHECK (adjustment IN (0, 1)), -- 1: may lie in a soft-closed period
    recorded_at    TEXT    NOT NULL,
    transactions   INTEGER NOT NULL CHECK (transactions > 0),
    postings       INTEGER NOT NULL CHECK (postings >= transactions),
    CONSTRAINT page_of_date CHECK (effective_date IS date(effective_date)
        AND id >> 46 IS (unixepoch(effective_date) - unixepoch('1900-01-01')) / 86400)
) STRICT;
CREATE UNIQUE INDEX pages_by_recording ON pages (recorded_at, id);

-- The pages that the sealer has yet to number, in the order in which it will.
CREATE TABLE unsealed_pages (
    recorded_at TEXT    NOT NULL,
    page_id     INTEGER NOT NULL,
    PRIMARY KEY (recorded_at, page_id),
    CONSTRAINT waiting_page_is_there FOREIGN KEY (recorded_at, page_id) REFERENCES pages (recorded_at, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE new_postings (
    page_id          INTEGER NOT NULL REFERENCES pages (id),
    line             INTEGER NOT NULL CHECK (line >= 0),
    transaction_id   BLOB    NOT NULL,
    ordinal          INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 999),
    debit_no         INTEGER NOT NULL,
    credit_no        INTEGER NOT NULL,
    amount           INTEGER NOT NULL CONSTRAINT posting_amount CHECK (amount > 0),
    currency         TEXT    NOT NULL,
    reverses_page_id INTEGER, -- the posting that this one undoes
    reverses_line    INTEGER,
    -- the transaction's header, where ordinal is 0
    postings         INTEGER CHECK (postings BETWEEN 1 AND 1000),
    idempotency_key  TEXT,
    journal          TEXT    CHECK (length(journal) BETWEEN 1 AND 8),
    label            TEXT,
    source_channel   TEXT,
    source_id        TEXT,
    source_date      TEXT,
    metadata         TEXT    CHECK (json_valid(metadata)), -- NULL: none
    reverses         BLOB    REFERENCES requests (id),
    hold_id          BLOB,
    PRIMARY KEY (page_id, line),
    FOREIGN KEY (debit_no, currency) REFERENCES accounts (no, currency),
    FOREIGN KEY (credit_no, currency) REFERENCES accounts (no, currency),
    CONSTRAINT undone_posting_is_there FOREIGN KEY (reverses_page_id, reverses_line) REFERENCES new_postings (page_id, line),
    CONSTRAINT posting_two_accounts CHECK (debit_no <> credit_no),
    CONSTRAINT posting_undoes_one CHECK ((reverses_page_id IS NULL) = (reverses_line IS NULL)),
    CONSTRAINT posting_header CHECK ((ordinal = 0) = (postings IS NOT NULL) AND (ordinal = 0) = (idempotency_key IS NOT NULL)
        AND (ordinal = 0) = (journal IS NOT NULL) AND (ordinal = 0) = (label IS NOT NULL)
        AND (ordinal = 0 OR (source_channel IS NULL AND source_id IS NULL AND source_date IS NULL AND metadata IS NULL
            AND reverses IS NULL AND hold_id IS NULL)))
) STRICT, WITHOUT ROWID;

CREATE TABLE placed AS
    SELECT t.id AS id,
        ((unixepoch(t.effective_date) - unixepoch('1900-01-01')) / 86400 << 46)
            + ROW_NUMBER() OVER (PARTITION BY t.effective_date ORDER BY t.recorded_at, t.id) AS page_id
    FROM transactions AS t;
CREATE UNIQUE INDEX placed_by_id ON placed (id);
INSERT INTO pages (id, effective_date, adjustment, recorded_at, transactions, postings)
    SELECT l.page_id, t.effective_date, 0, t.recorded_at, 1, t.postings FROM transactions AS t JOIN placed AS l ON l.id = t.id;
INSERT INTO unsealed_pages (recorded_at, page_id) SELECT recorded_at, id FROM pages;
INSERT INTO requests (id, request_hash, page_id, line)
    SELECT t.id, t.request_hash, l.page_id, 0 FROM transactions AS t JOIN placed AS l ON l.id = t.id
    UNION ALL SELECT id, request_hash, NULL, NULL FROM holds
    UNION ALL SELECT id, request_hash, NULL, NULL FROM hold_releases;
INSERT INTO new_postings (page_id, line, transaction_id, ordinal, debit_no, credit_no, amount, currency, reverses_page_id, reverses_line,
        postings, idempotency_key, journal, label, source_channel, source_id, source_date, metadata, reverses, hold_id)
    SELECT l.page_id, p.ordinal, p.transaction_id, p.ordinal, d.no, c.no, p.amount, p.currency, o.page_id,
        CASE WHEN o.page_id IS NOT NULL THEN p.ordinal END,
        CASE p.ordinal WHEN 0 THEN t.postings END, CASE p.ordinal WHEN 0 THEN t.idempotency_key END,
        CASE p.ordinal WHEN 0 THEN t.journal END, CASE p.ordinal WHEN 0 THEN t.label END,
        CASE p.ordinal WHEN 0 THEN t.source_channel END, CASE p.ordinal WHEN 0 THEN t.source_id END,
        CASE p.ordinal WHEN 0 THEN t.source_date END, CASE p.ordinal WHEN 0 THEN NULLIF(t.metadata, '{}') END,
        CASE p.ordinal WHEN 0 THEN t.reverses END, CASE p.ordinal WHEN 0 THEN t.hold_id END
    FROM postings AS p
    JOIN transactions AS t ON t.id = p.transaction_id
    JOIN placed AS l ON l.id = p.transaction_id
    JOIN accounts AS d ON d.id = p.debit_account_id
    JOIN accounts AS c ON c.id = p.credit_account_id
    LEFT JOIN placed AS o ON o.id = t.reverses;
DROP TABLE placed;

CREATE TABLE new_balances (
    account_no      INTEGER NOT NULL,
    shard           INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 63),
    currency        TEXT    NOT NULL,
    side            TEXT    NOT NULL CHECK (side IN ('debit', 'credit')),
    min_balance     INTEGER,
    max_balance     INTEGER,
    debits_posted   INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted  INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending  INTEGER NOT NULL DEFAULT 0,
    credits_pending INTEGER NOT NULL DEFAULT 0,
    version         INTEGER NOT NULL DEFAULT 0,
    changed_at      TEXT    NOT NULL, -- recording time of the last change; it never goes back
    closed_debits   INTEGER, -- what stood here when the account was closed
    closed_credits  INTEGER,
    PRIMARY KEY (account_no, shard),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency),
    CONSTRAINT balance_minimum CHECK (min_balance IS NULL OR min_balance <= CASE side
        WHEN 'credit' THEN credits_posted - debits_posted - debits_pending
        ELSE debits_posted - credits_posted - credits_pending END),
    CONSTRAINT balance_maximum CHECK (max_balance IS NULL OR max_balance >= CASE side
        WHEN 'credit' THEN credits_posted - debits_posted + credits_pending
        ELSE debits_posted - credits_posted + debits_pending END),
    -- a shard may release what another one held; a whole account cannot
    CONSTRAINT balance_pending CHECK ((min_balance IS NULL AND max_balance IS NULL)
        OR (debits_pending >= 0 AND credits_pending >= 0)),
    CONSTRAINT balance_closed CHECK ((closed_debits IS NULL AND closed_credits IS NULL)
        OR (closed_debits IS NOT NULL AND closed_credits IS NOT NULL AND debits_posted = closed_debits AND credits_posted = closed_credits AND debits_pending = 0 AND credits_pending = 0))
) STRICT, WITHOUT ROWID;
INSERT INTO new_balances (account_no, shard, currency, side, min_balance, max_balance, debits_posted, credits_posted,
        debits_pending, credits_pending, version, changed_at)
    SELECT a.no, b.shard, b.currency, b.side, b.min_balance, b.max_balance, b.debits_posted, b.credits_posted,
        b.debits_pending, b.credits_pending, b.version,
        COALESCE(MAX((SELECT MAX(recorded_at) FROM transactions), a.opened_at), a.opened_at)
    FROM balances AS b JOIN accounts AS a ON a.id = b.account_id;
DROP TABLE balances;
ALTER TABLE new_balances RENAME TO balances;

-- What referred to transactions and postings refers to requests; the schema's
-- text is changed as https://www.sqlite.org/lang_altertable.html, section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'REFERENCES transactions (id)', 'REFERENCES requests (id)'),
        'FOREIGN KEY (transaction_id, posting) REFERENCES postings (transaction_id, ordinal)',
        'FOREIGN KEY (transaction_id) REFERENCES requests (id)')
    WHERE type = 'table' AND name IN ('orders', 'payouts', 'payout_items', 'bank_entries');
PRAGMA writable_schema = RESET;
DROP TABLE postings;
DROP TABLE transactions;
ALTER TABLE new_postings RENAME TO postings;
CREATE INDEX postings_by_debit ON postings (debit_no, page_id, line);
CREATE INDEX postings_by_credit ON postings (credit_no, page_id, line);
CREATE INDEX postings_by_source ON postings (source_channel, source_id) WHERE source_id IS NOT NULL;
CREATE INDEX postings_of_hold ON postings (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX postings_of_reversal ON postings (reverses) WHERE reverses IS NOT NULL;
CREATE UNIQUE INDEX postings_reversed_once ON postings (reverses_page_id, reverses_line) WHERE reverses_page_id IS NOT NULL;

CREATE VIEW transactions AS
    SELECT p.transaction_id AS id, p.idempotency_key, p.journal, p.label, g.effective_date, g.recorded_at, p.source_channel,
        p.source_id, p.source_date, p.metadata, p.reverses, p.hold_id, p.postings, g.adjustment, p.page_id, p.line
    FROM postings AS p JOIN pages AS g ON g.id = p.page_id WHERE p.ordinal = 0;

-- +goose StatementBegin
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings BEGIN
    SELECT RAISE(ABORT, 'postings are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings BEGIN
    SELECT RAISE(ABORT, 'postings are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER pages_no_delete BEFORE DELETE ON pages BEGIN
    SELECT RAISE(ABORT, 'pages are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER pages_no_update BEFORE UPDATE ON pages BEGIN
    SELECT RAISE(ABORT, 'pages are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER requests_no_delete BEFORE DELETE ON requests BEGIN
    SELECT RAISE(ABORT, 'requests are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER requests_no_update BEFORE UPDATE ON requests BEGIN
    SELECT RAISE(ABORT, 'requests are never changed or deleted');
END;
-- +goose StatementEnd

-- +goose Down
-- There is a way back for a book that has no postings yet. A book that has goes
-- back to its backup: the older program could not read what this one recorded.
CREATE TABLE way_back (postings INTEGER CHECK (postings = 0));
INSERT INTO way_back SELECT COUNT(*) FROM postings;
DROP TABLE way_back;
DROP VIEW transactions;
DROP TABLE postings;
CREATE TABLE transactions (
    id              BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of the idempotency key
    idempotency_key TEXT NOT NULL,
    request_hash    BLOB NOT NULL CHECK (length(request_hash) = 32),
    journal         TEXT NOT NULL CHECK (length(journal) BETWEEN 1 AND 8),
    label           TEXT NOT NULL,
    effective_date  TEXT NOT NULL,
    recorded_at     TEXT NOT NULL,
    source_channel  TEXT,
    source_id       TEXT,
    source_date     TEXT,
    metadata        TEXT NOT NULL CHECK (json_valid(metadata)),
    reverses        BLOB REFERENCES transactions (id),
    hold_id         BLOB,
    postings        INTEGER NOT NULL CHECK (postings BETWEEN 1 AND 1000)
) STRICT;
CREATE TABLE postings (
    transaction_id    BLOB NOT NULL REFERENCES transactions (id),
    ordinal           INTEGER NOT NULL CHECK (ordinal BETWEEN 0 AND 999),
    debit_account_id  BLOB NOT NULL,
    credit_account_id BLOB NOT NULL,
    amount            INTEGER NOT NULL CONSTRAINT posting_amount CHECK (amount > 0),
    currency          TEXT NOT NULL,
    effective_date    TEXT NOT NULL, -- copies of the transaction's,
    recorded_at       TEXT NOT NULL, -- for the history indexes
    PRIMARY KEY (transaction_id, ordinal),
    FOREIGN KEY (debit_account_id, currency) REFERENCES accounts (id, currency),
    FOREIGN KEY (credit_account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT posting_two_accounts CHECK (debit_account_id <> credit_account_id)
) STRICT;
CREATE UNIQUE INDEX transactions_reversed_once ON transactions (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX transactions_of_hold ON transactions (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX transactions_by_date ON transactions (effective_date, recorded_at, id);
CREATE INDEX postings_by_debit ON postings (debit_account_id, effective_date, recorded_at, amount);
CREATE INDEX postings_by_credit ON postings (credit_account_id, effective_date, recorded_at, amount);
-- +goose StatementBegin
CREATE TRIGGER transactions_no_update BEFORE UPDATE ON transactions BEGIN
    SELECT RAISE(ABORT, 'transactions are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER transactions_no_delete BEFORE DELETE ON transactions BEGIN
    SELECT RAISE(ABORT, 'transactions are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_update BEFORE UPDATE ON postings BEGIN
    SELECT RAISE(ABORT, 'postings are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER postings_no_delete BEFORE DELETE ON postings BEGIN
    SELECT RAISE(ABORT, 'postings are never changed or deleted');
END;
-- +goose StatementEnd
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql, 'FOREIGN KEY (transaction_id) REFERENCES requests (id)',
        'FOREIGN KEY (transaction_id, posting) REFERENCES postings (transaction_id, ordinal)'),
        'REFERENCES requests (id)', 'REFERENCES transactions (id)')
    WHERE type = 'table' AND name IN ('orders', 'payouts', 'payout_items', 'bank_entries');
PRAGMA writable_schema = RESET;
DROP TABLE unsealed_pages;
DROP TABLE pages;
DROP TABLE requests;
CREATE TABLE old_balances (
    account_id      BLOB NOT NULL,
    shard           INTEGER NOT NULL CHECK (shard BETWEEN 0 AND 63),
    currency        TEXT NOT NULL,
    side            TEXT NOT NULL CHECK (side IN ('debit', 'credit')),
    min_balance     INTEGER,
    max_balance     INTEGER,
    debits_posted   INTEGER NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted  INTEGER NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending  INTEGER NOT NULL DEFAULT 0,
    credits_pending INTEGER NOT NULL DEFAULT 0,
    version         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (account_id, shard),
    FOREIGN KEY (account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT balance_minimum CHECK (min_balance IS NULL OR min_balance <= CASE side
        WHEN 'credit' THEN credits_posted - debits_posted - debits_pending
        ELSE debits_posted - credits_posted - credits_pending END),
    CONSTRAINT balance_maximum CHECK (max_balance IS NULL OR max_balance >= CASE side
        WHEN 'credit' THEN credits_posted - debits_posted + credits_pending
        ELSE debits_posted - credits_posted + debits_pending END),
    -- a shard may release what another one held; a whole account cannot
    CONSTRAINT balance_pending CHECK ((min_balance IS NULL AND max_balance IS NULL)
        OR (debits_pending >= 0 AND credits_pending >= 0))
) STRICT;
INSERT INTO old_balances SELECT a.id, b.shard, b.currency, b.side, b.min_balance, b.max_balance, b.debits_posted, b.credits_posted,
        b.debits_pending, b.credits_pending, b.version FROM balances AS b JOIN accounts AS a ON a.no = b.account_no;
DROP TABLE balances;
ALTER TABLE old_balances RENAME TO balances;
DROP INDEX accounts_by_no;
ALTER TABLE accounts DROP COLUMN no;
