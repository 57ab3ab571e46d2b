-- The book: accounts, balances, transactions, postings, holds.
-- +goose Up

CREATE TABLE accounts (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    code        TEXT NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 64),
    name        TEXT NOT NULL,
    category    TEXT NOT NULL,
    side        TEXT NOT NULL CHECK (side IN ('debit', 'credit')),
    currency    TEXT NOT NULL CHECK (length(currency) = 3),
    min_balance INTEGER,
    max_balance INTEGER,
    shards      INTEGER NOT NULL CHECK (shards BETWEEN 1 AND 64),
    status      TEXT NOT NULL CHECK (status IN ('open', 'closed')),
    opened_at   TEXT NOT NULL,
    -- what postings and balances refer to, so that a currency mismatch cannot be stored
    UNIQUE (id, currency),
    CONSTRAINT limited_account_has_one_shard CHECK (shards = 1 OR (min_balance IS NULL AND max_balance IS NULL))
) STRICT;
CREATE INDEX accounts_by_category ON accounts (category, code);

-- One row an account, or one a shard of a hot account. side and the bounds are
-- copies from accounts, since a CHECK sees only its own row.
CREATE TABLE balances (
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
CREATE UNIQUE INDEX transactions_reversed_once ON transactions (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX transactions_of_hold ON transactions (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX transactions_by_date ON transactions (effective_date, recorded_at, id);

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
CREATE INDEX postings_by_debit ON postings (debit_account_id, effective_date, recorded_at, amount);
CREATE INDEX postings_by_credit ON postings (credit_account_id, effective_date, recorded_at, amount);

CREATE TABLE holds (
    id                BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of the idempotency key
    idempotency_key   TEXT NOT NULL,
    request_hash      BLOB NOT NULL CHECK (length(request_hash) = 32),
    debit_account_id  BLOB NOT NULL,
    credit_account_id BLOB NOT NULL,
    amount            INTEGER NOT NULL CHECK (amount > 0),
    posted            INTEGER NOT NULL CHECK (posted BETWEEN 0 AND amount),
    currency          TEXT NOT NULL,
    status            TEXT NOT NULL CHECK (status IN ('pending', 'posted', 'voided', 'expired')),
    expires_at        TEXT,
    recorded_at       TEXT NOT NULL,
    closed_at         TEXT,
    source_channel    TEXT,
    source_id         TEXT,
    source_date       TEXT,
    FOREIGN KEY (debit_account_id, currency) REFERENCES accounts (id, currency),
    FOREIGN KEY (credit_account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT hold_two_accounts CHECK (debit_account_id <> credit_account_id),
    CONSTRAINT hold_pending_is_open CHECK ((status = 'pending') = (closed_at IS NULL)),
    CONSTRAINT hold_pending_has_rest CHECK (status <> 'pending' OR posted < amount)
) STRICT;
CREATE INDEX holds_to_expire ON holds (expires_at) WHERE status = 'pending';

-- A request that voided a hold, kept for its idempotency key.
CREATE TABLE hold_releases (
    id              BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16), -- UUIDv5 of the idempotency key
    idempotency_key TEXT NOT NULL,
    request_hash    BLOB NOT NULL CHECK (length(request_hash) = 32),
    hold_id         BLOB NOT NULL UNIQUE REFERENCES holds (id),
    amount          INTEGER NOT NULL CHECK (amount > 0),
    recorded_at     TEXT NOT NULL
) STRICT;

-- Which account of the chart a category is, from which date on.
CREATE TABLE chart_entries (
    category   TEXT NOT NULL,
    valid_from TEXT NOT NULL,
    number     TEXT NOT NULL CHECK (length(number) BETWEEN 3 AND 20),
    label      TEXT NOT NULL,
    PRIMARY KEY (category, valid_from)
) STRICT;

-- What was posted stays as it is.
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
-- +goose StatementBegin
CREATE TRIGGER hold_releases_no_update BEFORE UPDATE ON hold_releases BEGIN
    SELECT RAISE(ABORT, 'hold_releases are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER hold_releases_no_delete BEFORE DELETE ON hold_releases BEGIN
    SELECT RAISE(ABORT, 'hold_releases are never changed or deleted');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE chart_entries;
DROP TABLE hold_releases;
DROP TABLE holds;
DROP TABLE postings;
DROP TABLE transactions;
DROP TABLE balances;
DROP TABLE accounts;
