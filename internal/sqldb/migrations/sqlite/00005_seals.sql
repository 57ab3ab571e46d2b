-- Periods, the seal on the journal, roll-ups, and leases of jobs that run once.
-- See docs/decisions/0007-sealing.md.
-- +goose Up

-- A period without a row here is open.
CREATE TABLE periods (
    id          TEXT    PRIMARY KEY NOT NULL CHECK (length(id) = 7), -- 2026-11
    fiscal_year INTEGER NOT NULL,
    starts_on   TEXT    NOT NULL UNIQUE,
    ends_on     TEXT    NOT NULL CHECK (ends_on > starts_on),
    status      TEXT    NOT NULL CHECK (status IN ('open', 'soft_closed', 'hard_closed'))
) STRICT;

-- Who closed or reopened a period, and why.
CREATE TABLE period_changes (
    period_id   TEXT    NOT NULL REFERENCES periods (id),
    ordinal     INTEGER NOT NULL CHECK (ordinal > 0),
    from_status TEXT    NOT NULL,
    to_status   TEXT    NOT NULL CHECK (to_status <> from_status),
    changed_by  TEXT    NOT NULL,
    approved_by TEXT, -- a second person, for reopening
    reason      TEXT,
    changed_at  TEXT    NOT NULL,
    PRIMARY KEY (period_id, ordinal),
    CONSTRAINT reopening_takes_two CHECK (to_status <> 'open' OR (approved_by IS NOT NULL AND approved_by <> changed_by AND reason IS NOT NULL))
) STRICT;

-- Who closed an account or opened it again, and why.
CREATE TABLE account_changes (
    account_id BLOB NOT NULL REFERENCES accounts (id),
    ordinal    INTEGER NOT NULL CHECK (ordinal > 0),
    to_status  TEXT NOT NULL CHECK (to_status IN ('open', 'closed')),
    changed_by TEXT NOT NULL,
    reason     TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    PRIMARY KEY (account_id, ordinal)
) STRICT;

-- What stood on each account of the balance sheet when its fiscal year began,
-- kept when the year before was closed.
CREATE TABLE opening_balances (
    fiscal_year INTEGER NOT NULL,
    account_no  INTEGER NOT NULL,
    currency    TEXT    NOT NULL,
    amount      INTEGER NOT NULL CHECK (amount <> 0), -- minor units: debits less credits
    PRIMARY KEY (fiscal_year, account_no),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
) STRICT;

-- A run of gapless numbers: the transactions of one journal on one page.
CREATE TABLE seals (
    journal      TEXT    NOT NULL CHECK (length(journal) BETWEEN 1 AND 8),
    fiscal_year  INTEGER NOT NULL,
    first_number INTEGER NOT NULL CHECK (first_number > 0),
    last_number  INTEGER NOT NULL CHECK (last_number >= first_number),
    page_id      INTEGER NOT NULL REFERENCES pages (id),
    lines        BLOB   NOT NULL CHECK (length(lines) = 4 * (last_number - first_number + 1)), -- where each begins, 32 bits
    entries      BLOB    NOT NULL CHECK (length(entries) = 32 * (last_number - first_number + 1)), -- SHA-256 of each
    link         BLOB    NOT NULL CHECK (length(link) = 32), -- of the chain, after the last of them
    sealed_at    TEXT    NOT NULL,
    fence        INTEGER NOT NULL, -- token of the lease that the sealer held
    PRIMARY KEY (journal, fiscal_year, first_number),
    UNIQUE (page_id, journal)
) STRICT, WITHOUT ROWID;
CREATE INDEX seals_by_journal ON seals (journal, page_id);

-- Where each chain ends.
CREATE TABLE seal_heads (
    journal     TEXT    NOT NULL,
    fiscal_year INTEGER NOT NULL,
    number      INTEGER NOT NULL CHECK (number >= 0),
    link        BLOB    NOT NULL CHECK (length(link) = 32),
    PRIMARY KEY (journal, fiscal_year)
) STRICT;

-- Heads that were signed, so that each can be proved later.
CREATE TABLE signed_heads (
    digest    BLOB PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    signed_at TEXT NOT NULL,
    document  TEXT NOT NULL
) STRICT;

-- What the sealed postings of an effective date come to, by account. What is not
-- sealed yet is added when a balance is read.
CREATE TABLE account_days (
    account_no     INTEGER NOT NULL,
    effective_date TEXT    NOT NULL,
    currency       TEXT    NOT NULL,
    debits         INTEGER NOT NULL CHECK (debits >= 0),
    credits        INTEGER NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_no, effective_date),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
) STRICT, WITHOUT ROWID;

-- A job that only one process may do at a time. The token goes up with every
-- holder, so that what a former one still writes can be told and refused.
CREATE TABLE leases (
    name       TEXT    PRIMARY KEY NOT NULL,
    holder     TEXT    NOT NULL,
    token      INTEGER NOT NULL CHECK (token > 0),
    expires_at TEXT    NOT NULL
) STRICT;

-- +goose StatementBegin
CREATE TRIGGER pages_in_open_periods BEFORE INSERT ON pages
    WHEN EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date BETWEEN c.starts_on AND c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
BEGIN
    SELECT RAISE(ABORT, 'the period is closed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER seals_no_delete BEFORE DELETE ON seals BEGIN
    SELECT RAISE(ABORT, 'seals are never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER seals_no_update BEFORE UPDATE ON seals BEGIN
    SELECT RAISE(ABORT, 'seals are never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER account_changes_no_delete BEFORE DELETE ON account_changes BEGIN
    SELECT RAISE(ABORT, 'the trace of accounts is never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER account_changes_no_update BEFORE UPDATE ON account_changes BEGIN
    SELECT RAISE(ABORT, 'the trace of accounts is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER period_changes_no_delete BEFORE DELETE ON period_changes BEGIN
    SELECT RAISE(ABORT, 'the trace of periods is never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER period_changes_no_update BEFORE UPDATE ON period_changes BEGIN
    SELECT RAISE(ABORT, 'the trace of periods is never changed');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER signed_heads_no_delete BEFORE DELETE ON signed_heads BEGIN
    SELECT RAISE(ABORT, 'signed heads are never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER signed_heads_no_update BEFORE UPDATE ON signed_heads BEGIN
    SELECT RAISE(ABORT, 'signed heads are never changed');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER pages_in_open_periods;
DROP TABLE leases;
DROP TABLE account_days;
DROP TABLE signed_heads;
DROP TABLE seal_heads;
DROP TABLE seals;
DROP TABLE opening_balances;
DROP TABLE account_changes;
DROP TABLE period_changes;
DROP TABLE periods;
