-- Periods, the seal on the journal, roll-ups, and leases of jobs that run once.
-- See docs/decisions/0007-sealing.md.
-- +goose Up

-- A period without a row here is open.
CREATE TABLE periods (
    id          text PRIMARY KEY NOT NULL CHECK (length(id) = 7), -- 2026-11
    fiscal_year int8 NOT NULL,
    starts_on   date    NOT NULL UNIQUE,
    ends_on     date    NOT NULL CHECK (ends_on > starts_on),
    status      text    NOT NULL CHECK (status IN ('open', 'soft_closed', 'hard_closed'))
);

-- Who closed or reopened a period, and why.
CREATE TABLE period_changes (
    period_id   text    NOT NULL REFERENCES periods (id),
    ordinal     int8 NOT NULL CHECK (ordinal > 0),
    from_status text    NOT NULL,
    to_status   text    NOT NULL CHECK (to_status <> from_status),
    changed_by  text    NOT NULL,
    approved_by text, -- a second person, for reopening
    reason      text,
    changed_at  timestamptz    NOT NULL,
    PRIMARY KEY (period_id, ordinal),
    CONSTRAINT reopening_takes_two CHECK (to_status <> 'open' OR (approved_by IS NOT NULL AND approved_by <> changed_by AND reason IS NOT NULL))
);

-- Who closed an account or opened it again, and why.
CREATE TABLE account_changes (
    account_id uuid NOT NULL REFERENCES accounts (id),
    ordinal    int8 NOT NULL CHECK (ordinal > 0),
    to_status  text NOT NULL CHECK (to_status IN ('open', 'closed')),
    changed_by text NOT NULL,
    reason     text NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (account_id, ordinal)
);

-- What stood on each account of the balance sheet when its fiscal year began,
-- kept when the year before was closed.
CREATE TABLE opening_balances (
    fiscal_year int8 NOT NULL,
    account_no  int8 NOT NULL,
    currency    text    NOT NULL,
    amount      int8 NOT NULL CHECK (amount <> 0), -- minor units: debits less credits
    PRIMARY KEY (fiscal_year, account_no),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
);

-- A run of gapless numbers: the transactions of one journal on one page.
CREATE TABLE seals (
    journal      text    NOT NULL CHECK (length(journal) BETWEEN 1 AND 8),
    fiscal_year  int8 NOT NULL,
    first_number int8 NOT NULL CHECK (first_number > 0),
    last_number  int8 NOT NULL CHECK (last_number >= first_number),
    page_id      int8 NOT NULL REFERENCES pages (id),
    lines        bytea   NOT NULL CHECK (length(lines) = 4 * (last_number - first_number + 1)), -- where each begins, 32 bits
    entries      bytea    NOT NULL CHECK (length(entries) = 32 * (last_number - first_number + 1)), -- SHA-256 of each
    link         bytea    NOT NULL CHECK (length(link) = 32), -- of the chain, after the last of them
    sealed_at    timestamptz    NOT NULL,
    fence        int8 NOT NULL, -- token of the lease that the sealer held
    PRIMARY KEY (journal, fiscal_year, first_number),
    UNIQUE (page_id, journal)
);
CREATE INDEX seals_by_journal ON seals (journal, page_id);

-- Where each chain ends.
CREATE TABLE seal_heads (
    journal     text    NOT NULL,
    fiscal_year int8 NOT NULL,
    number      int8 NOT NULL CHECK (number >= 0),
    link        bytea    NOT NULL CHECK (length(link) = 32),
    PRIMARY KEY (journal, fiscal_year)
);

-- Heads that were signed, so that each can be proved later.
CREATE TABLE signed_heads (
    digest    bytea PRIMARY KEY NOT NULL CHECK (length(digest) = 32),
    signed_at timestamptz NOT NULL,
    document  text NOT NULL
);

-- What the sealed postings of an effective date come to, by account. What is not
-- sealed yet is added when a balance is read.
CREATE TABLE account_days (
    account_no     int8 NOT NULL,
    effective_date date    NOT NULL,
    currency       text    NOT NULL,
    debits         int8 NOT NULL CHECK (debits >= 0),
    credits        int8 NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_no, effective_date),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
);

-- A job that only one process may do at a time. The token goes up with every
-- holder, so that what a former one still writes can be told and refused.
CREATE TABLE leases (
    name       text PRIMARY KEY NOT NULL,
    holder     text    NOT NULL,
    token      int8 NOT NULL CHECK (token > 0),
    expires_at timestamptz    NOT NULL
);

-- +goose StatementBegin
CREATE FUNCTION check_page() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date BETWEEN c.starts_on AND c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
    THEN
        RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
CREATE TRIGGER pages_in_open_periods BEFORE INSERT ON pages FOR EACH ROW EXECUTE FUNCTION check_page();

-- +goose Down
DROP TRIGGER pages_in_open_periods ON pages;
DROP FUNCTION check_page;
DROP TABLE leases;
DROP TABLE account_days;
DROP TABLE signed_heads;
DROP TABLE seal_heads;
DROP TABLE seals;
DROP TABLE opening_balances;
DROP TABLE account_changes;
DROP TABLE period_changes;
DROP TABLE periods;
