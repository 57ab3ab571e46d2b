-- The book: accounts, balances, transactions, postings, holds.
-- +goose Up

CREATE TABLE accounts (
    id          uuid        PRIMARY KEY,
    code        text        NOT NULL UNIQUE CHECK (length(code) BETWEEN 1 AND 64),
    name        text        NOT NULL,
    category    text        NOT NULL,
    side        text        NOT NULL CHECK (side IN ('debit', 'credit')),
    currency    text        NOT NULL CHECK (length(currency) = 3),
    min_balance int8,
    max_balance int8,
    shards      int8        NOT NULL CHECK (shards BETWEEN 1 AND 64),
    status      text        NOT NULL CHECK (status IN ('open', 'closed')),
    opened_at   timestamptz NOT NULL,
    -- what postings and balances refer to, so that a currency mismatch cannot be stored
    UNIQUE (id, currency),
    CONSTRAINT limited_account_has_one_shard CHECK (shards = 1 OR (min_balance IS NULL AND max_balance IS NULL))
);
CREATE INDEX accounts_by_category ON accounts (category, code);

-- One row an account, or one a shard of a hot account. side and the bounds are
-- copies from accounts, since a CHECK sees only its own row.
CREATE TABLE balances (
    account_id      uuid NOT NULL,
    shard           int8 NOT NULL CHECK (shard BETWEEN 0 AND 63),
    currency        text NOT NULL,
    side            text NOT NULL CHECK (side IN ('debit', 'credit')),
    min_balance     int8,
    max_balance     int8,
    debits_posted   int8 NOT NULL DEFAULT 0 CHECK (debits_posted >= 0),
    credits_posted  int8 NOT NULL DEFAULT 0 CHECK (credits_posted >= 0),
    debits_pending  int8 NOT NULL DEFAULT 0,
    credits_pending int8 NOT NULL DEFAULT 0,
    version         int8 NOT NULL DEFAULT 0,
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
);

CREATE TABLE transactions (
    id              uuid        PRIMARY KEY, -- UUIDv5 of the idempotency key
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL CHECK (length(request_hash) = 32),
    journal         text        NOT NULL CHECK (length(journal) BETWEEN 1 AND 8),
    label           text        NOT NULL,
    effective_date  date        NOT NULL,
    recorded_at     timestamptz NOT NULL,
    source_channel  text,
    source_id       text,
    source_date     date,
    metadata        jsonb       NOT NULL,
    reverses        uuid        REFERENCES transactions (id),
    hold_id         uuid,
    postings        int8        NOT NULL CHECK (postings BETWEEN 1 AND 1000)
);
CREATE UNIQUE INDEX transactions_reversed_once ON transactions (reverses) WHERE reverses IS NOT NULL;
CREATE INDEX transactions_of_hold ON transactions (hold_id) WHERE hold_id IS NOT NULL;
CREATE INDEX transactions_by_date ON transactions (effective_date, recorded_at, id);

CREATE TABLE postings (
    transaction_id    uuid        NOT NULL REFERENCES transactions (id),
    ordinal           int8        NOT NULL CHECK (ordinal BETWEEN 0 AND 999),
    debit_account_id  uuid        NOT NULL,
    credit_account_id uuid        NOT NULL,
    amount            int8        NOT NULL CONSTRAINT posting_amount CHECK (amount > 0),
    currency          text        NOT NULL,
    effective_date    date        NOT NULL, -- copies of the transaction's,
    recorded_at       timestamptz NOT NULL, -- for the history indexes
    PRIMARY KEY (transaction_id, ordinal),
    FOREIGN KEY (debit_account_id, currency) REFERENCES accounts (id, currency),
    FOREIGN KEY (credit_account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT posting_two_accounts CHECK (debit_account_id <> credit_account_id)
);
CREATE INDEX postings_by_debit ON postings (debit_account_id, effective_date, recorded_at) INCLUDE (amount);
CREATE INDEX postings_by_credit ON postings (credit_account_id, effective_date, recorded_at) INCLUDE (amount);

CREATE TABLE holds (
    id                uuid        PRIMARY KEY, -- UUIDv5 of the idempotency key
    idempotency_key   text        NOT NULL,
    request_hash      bytea       NOT NULL CHECK (length(request_hash) = 32),
    debit_account_id  uuid        NOT NULL,
    credit_account_id uuid        NOT NULL,
    amount            int8        NOT NULL CHECK (amount > 0),
    posted            int8        NOT NULL CHECK (posted BETWEEN 0 AND amount),
    currency          text        NOT NULL,
    status            text        NOT NULL CHECK (status IN ('pending', 'posted', 'voided', 'expired')),
    expires_at        timestamptz,
    recorded_at       timestamptz NOT NULL,
    closed_at         timestamptz,
    source_channel    text,
    source_id         text,
    source_date       date,
    FOREIGN KEY (debit_account_id, currency) REFERENCES accounts (id, currency),
    FOREIGN KEY (credit_account_id, currency) REFERENCES accounts (id, currency),
    CONSTRAINT hold_two_accounts CHECK (debit_account_id <> credit_account_id),
    CONSTRAINT hold_pending_is_open CHECK ((status = 'pending') = (closed_at IS NULL)),
    CONSTRAINT hold_pending_has_rest CHECK (status <> 'pending' OR posted < amount)
);
CREATE INDEX holds_to_expire ON holds (expires_at) WHERE status = 'pending';

-- A request that voided a hold, kept for its idempotency key.
CREATE TABLE hold_releases (
    id              uuid        PRIMARY KEY, -- UUIDv5 of the idempotency key
    idempotency_key text        NOT NULL,
    request_hash    bytea       NOT NULL CHECK (length(request_hash) = 32),
    hold_id         uuid        NOT NULL UNIQUE REFERENCES holds (id),
    amount          int8        NOT NULL CHECK (amount > 0),
    recorded_at     timestamptz NOT NULL
);

-- Which account of the chart a category is, from which date on.
CREATE TABLE chart_entries (
    category   text NOT NULL,
    valid_from date NOT NULL,
    number     text NOT NULL CHECK (length(number) BETWEEN 3 AND 20),
    label      text NOT NULL,
    PRIMARY KEY (category, valid_from)
);

-- +goose Down
DROP TABLE chart_entries;
DROP TABLE hold_releases;
DROP TABLE holds;
DROP TABLE postings;
DROP TABLE transactions;
DROP TABLE balances;
DROP TABLE accounts;
