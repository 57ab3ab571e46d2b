-- Reconciliation: runs that are kept, and breaks with a life.
-- +goose Up

CREATE TABLE reconciliation_runs (
    number      INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    job         TEXT    NOT NULL CHECK (length(job) BETWEEN 1 AND 32),
    from_date   TEXT    NOT NULL,
    to_date     TEXT    NOT NULL,
    subject     TEXT    NOT NULL CHECK (length(subject) <= 64), -- what it was limited to; empty: all
    state       TEXT    NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    reason      TEXT    NOT NULL, -- why it failed
    started_by  TEXT    NOT NULL CHECK (length(started_by) BETWEEN 1 AND 64),
    started_at  TEXT    NOT NULL,
    finished_at TEXT,
    inputs_hash BLOB    CHECK (length(inputs_hash) = 32), -- of all that was compared
    outcome     TEXT, -- counts, sums, breaks by number, and a digest of each day's inputs, as JSON
    CONSTRAINT run_finished CHECK ((finished_at IS NULL) = (state = 'running')
        AND (inputs_hash IS NULL) = (state <> 'finished') AND (outcome IS NULL) = (state <> 'finished'))
) STRICT;
CREATE INDEX reconciliation_runs_by_job ON reconciliation_runs (job, number);

-- Differences between the book and the world outside it, and what became of them.
CREATE TABLE breaks (
    number        INTEGER PRIMARY KEY NOT NULL CHECK (number > 0),
    job           TEXT    NOT NULL,
    break_key     TEXT    NOT NULL CHECK (length(break_key) BETWEEN 1 AND 512), -- the same in every run that finds it
    class         TEXT    NOT NULL CHECK (length(class) BETWEEN 1 AND 32),
    reference     TEXT    NOT NULL,
    subject       TEXT    NOT NULL, -- the payee that it concerns; empty: none
    amount        INTEGER NOT NULL,
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    happened_on   TEXT, -- what it is about
    message       TEXT    NOT NULL CHECK (length(message) BETWEEN 1 AND 2000),
    suggestion    TEXT    NOT NULL CHECK (length(suggestion) <= 2000), -- what may explain it, for a person to judge
    tweet_id      TEXT    NOT NULL, -- that can be fed into the inbox; never its text
    owner         TEXT    NOT NULL CHECK (length(owner) <= 64), -- who works on it; empty: nobody yet
    state         TEXT    NOT NULL CHECK (state IN ('open', 'explained', 'corrected', 'written_off', 'closed_by_match')),
    events        INTEGER NOT NULL CHECK (events > 0),
    first_run     INTEGER NOT NULL REFERENCES reconciliation_runs (number),
    last_run      INTEGER NOT NULL REFERENCES reconciliation_runs (number),
    first_seen_at TEXT    NOT NULL,
    last_seen_at  TEXT    NOT NULL,
    UNIQUE (job, break_key)
) STRICT;
CREATE INDEX breaks_by_state ON breaks (state, number);
CREATE INDEX breaks_open_of_job ON breaks (job, happened_on, number) WHERE state = 'open';

CREATE TABLE break_events (
    break_number INTEGER NOT NULL REFERENCES breaks (number),
    ordinal      INTEGER NOT NULL CHECK (ordinal >= 0),
    at           TEXT    NOT NULL,
    actor        TEXT    NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    event        TEXT    NOT NULL CHECK (event IN ('found', 'found_again', 'closed_by_match', 'assigned', 'comment', 'explained',
        'reopened', 'proposed', 'approved', 'rejected', 'fed')),
    run_number   INTEGER REFERENCES reconciliation_runs (number), -- of what a run did
    reason       TEXT    NOT NULL CHECK (length(reason) <= 2000),
    PRIMARY KEY (break_number, ordinal)
) STRICT;
CREATE INDEX break_events_of_run ON break_events (run_number, break_number) WHERE run_number IS NOT NULL;

-- What one person proposes to post for a break, and what another one has decided.
CREATE TABLE break_proposals (
    break_number   INTEGER NOT NULL REFERENCES breaks (number),
    number         INTEGER NOT NULL CHECK (number > 0), -- counts the proposals of a break
    kind           TEXT    NOT NULL CHECK (kind IN ('correction', 'write_off')),
    debit_code     TEXT    NOT NULL,
    credit_code    TEXT    NOT NULL,
    amount         INTEGER NOT NULL CHECK (amount > 0),
    currency       TEXT    NOT NULL CHECK (length(currency) = 3),
    effective_date TEXT, -- NULL: the day of the approval
    state          TEXT    NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by    TEXT    NOT NULL CHECK (length(proposed_by) BETWEEN 1 AND 64),
    proposed_at    TEXT    NOT NULL,
    reason         TEXT    NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    decided_by     TEXT    CHECK (length(decided_by) BETWEEN 1 AND 64),
    decided_at     TEXT,
    decision       TEXT,
    transaction_id BLOB    REFERENCES requests (id),
    PRIMARY KEY (break_number, number),
    CONSTRAINT break_proposal_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (state = 'approved') = (transaction_id IS NOT NULL)),
    CONSTRAINT break_proposal_four_eyes CHECK (state <> 'approved' OR lower(decided_by) <> lower(proposed_by))
) STRICT;
CREATE UNIQUE INDEX break_proposals_one_waits ON break_proposals (break_number) WHERE state = 'proposed';
-- +goose StatementBegin
CREATE TRIGGER break_events_no_update BEFORE UPDATE ON break_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER break_events_no_delete BEFORE DELETE ON break_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE break_proposals;
DROP TABLE break_events;
DROP TABLE breaks;
DROP TABLE reconciliation_runs;
