-- The days of a payee's account of which nothing is due any more.
-- +goose Up

CREATE TABLE gathered_days (
    account_id     BLOB    NOT NULL REFERENCES accounts (id),
    effective_date TEXT    NOT NULL,
    credits        INTEGER NOT NULL CHECK (credits >= 0), -- minor units: what was sealed of the day when nothing was due; 0: look again
    freed          INTEGER NOT NULL CHECK (freed >= 0), -- how often donations of the day became due again
    PRIMARY KEY (account_id, effective_date)
) STRICT, WITHOUT ROWID;

-- +goose Down
DROP TABLE gathered_days;
