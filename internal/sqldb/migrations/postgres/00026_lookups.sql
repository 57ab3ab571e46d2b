-- What lists find pages by, and roll-ups by the day of recording too, so that
-- a past state of the book is added up from days and not from postings.
-- +goose Up

-- Which amounts are posted on a sealed page, and how often.
CREATE TABLE page_amounts (
    amount   int8 NOT NULL CHECK (amount > 0), -- minor units
    page_id  int8 NOT NULL,
    postings int8 NOT NULL CHECK (postings > 0),
    PRIMARY KEY (amount, page_id)
);

-- What else the transactions of a sealed page are found by, and how many have it:
-- "channel:" and the channel of the source, "key:" and a key of the metadata, and the
-- same with "=" and the value; the first 100 characters of it.
CREATE TABLE page_terms (
    term         text NOT NULL CHECK (length(term) BETWEEN 1 AND 100),
    page_id      int8 NOT NULL,
    transactions int8 NOT NULL CHECK (transactions > 0),
    PRIMARY KEY (term, page_id)
);

-- What the sealed postings of an effective date come to, by account and by the day on
-- which they were recorded.
CREATE TABLE new_account_days (
    account_no     int8 NOT NULL,
    effective_date date NOT NULL,
    recorded_on    date NOT NULL, -- in UTC, as recorded_at is
    currency       text NOT NULL,
    debits         int8 NOT NULL CHECK (debits >= 0),
    credits        int8 NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_no, effective_date, recorded_on),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
);

INSERT INTO page_amounts (amount, page_id, postings)
    SELECT p.amount, p.page_id, COUNT(*) FROM postings AS p JOIN pages AS g ON g.id = p.page_id
    WHERE NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)
    GROUP BY p.amount, p.page_id;
INSERT INTO page_terms (term, page_id, transactions)
    SELECT term, page_id, COUNT(*) FROM (
        SELECT 'channel:' || p.source_channel AS term, p.page_id FROM postings AS p WHERE p.source_channel IS NOT NULL
        UNION ALL SELECT 'key:' || m.key, p.page_id FROM postings AS p, jsonb_each_text(p.metadata) AS m WHERE p.metadata IS NOT NULL
        UNION ALL SELECT substr('key:' || m.key || '=' || m.value, 1, 100), p.page_id FROM postings AS p, jsonb_each_text(p.metadata) AS m WHERE p.metadata IS NOT NULL
    ) AS found JOIN pages AS g ON g.id = found.page_id
    WHERE NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)
    GROUP BY term, page_id;
INSERT INTO new_account_days (account_no, effective_date, recorded_on, currency, debits, credits)
    SELECT no, effective_date, recorded_on, currency, SUM(debits)::int8, SUM(credits)::int8 FROM (
        SELECT p.debit_no AS no, p.page_id, p.currency, p.amount AS debits, 0 AS credits FROM postings AS p
        UNION ALL SELECT p.credit_no, p.page_id, p.currency, 0, p.amount FROM postings AS p
    ) AS sides JOIN (SELECT g.id, g.effective_date, (g.recorded_at AT TIME ZONE 'UTC')::date AS recorded_on FROM pages AS g
        WHERE NOT EXISTS (SELECT 1 FROM unsealed_pages AS u WHERE u.page_id = g.id AND u.recorded_at = g.recorded_at)) AS sealed ON sealed.id = sides.page_id
    GROUP BY no, effective_date, recorded_on, currency;
DROP TABLE account_days;
ALTER TABLE new_account_days RENAME TO account_days;

-- A source's id finds its postings with the channel and without it; a channel alone is a term of pages.
CREATE INDEX postings_by_source_id ON postings (source_id, source_channel) WHERE source_id IS NOT NULL;
DROP INDEX postings_by_source;

-- +goose Down
CREATE INDEX postings_by_source ON postings (source_channel, source_id) WHERE source_id IS NOT NULL;
DROP INDEX postings_by_source_id;
CREATE TABLE old_account_days (
    account_no     int8 NOT NULL,
    effective_date date NOT NULL,
    currency       text NOT NULL,
    debits         int8 NOT NULL CHECK (debits >= 0),
    credits        int8 NOT NULL CHECK (credits >= 0),
    PRIMARY KEY (account_no, effective_date),
    FOREIGN KEY (account_no, currency) REFERENCES accounts (no, currency)
);
INSERT INTO old_account_days (account_no, effective_date, currency, debits, credits)
    SELECT account_no, effective_date, currency, SUM(debits)::int8, SUM(credits)::int8 FROM account_days GROUP BY account_no, effective_date, currency;
DROP TABLE account_days;
ALTER TABLE old_account_days RENAME TO account_days;
DROP TABLE page_terms;
DROP TABLE page_amounts;
