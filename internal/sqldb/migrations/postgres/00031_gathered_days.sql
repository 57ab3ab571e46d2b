-- The days of a payee's account of which nothing is due any more.
-- +goose Up

CREATE TABLE gathered_days (
    account_id     uuid    NOT NULL REFERENCES accounts (id),
    effective_date date    NOT NULL,
    credits        int8    NOT NULL CHECK (credits >= 0), -- minor units: what was sealed of the day when nothing was due; 0: look again
    freed          int8    NOT NULL CHECK (freed >= 0), -- how often donations of the day became due again
    PRIMARY KEY (account_id, effective_date)
);

-- +goose Down
DROP TABLE gathered_days;
