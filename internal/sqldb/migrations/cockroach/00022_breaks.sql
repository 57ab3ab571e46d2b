-- Reconciliation: runs that are kept, and breaks with a life.
-- +goose Up

CREATE TABLE reconciliation_runs (
    number      int8        PRIMARY KEY CHECK (number > 0),
    job         text        NOT NULL CHECK (length(job) BETWEEN 1 AND 32),
    from_date   date        NOT NULL,
    to_date     date        NOT NULL,
    subject     text        NOT NULL CHECK (length(subject) <= 64), -- what it was limited to; empty: all
    state       text        NOT NULL CHECK (state IN ('running', 'finished', 'failed')),
    reason      text        NOT NULL, -- why it failed
    started_by  text        NOT NULL CHECK (length(started_by) BETWEEN 1 AND 64),
    started_at  timestamptz NOT NULL,
    finished_at timestamptz,
    inputs_hash bytea       CHECK (length(inputs_hash) = 32), -- of all that was compared
    outcome     text, -- counts, sums, breaks by number, and a digest of each day's inputs, as JSON
    CONSTRAINT run_finished CHECK ((finished_at IS NULL) = (state = 'running')
        AND (inputs_hash IS NULL) = (state <> 'finished') AND (outcome IS NULL) = (state <> 'finished'))
);
CREATE INDEX reconciliation_runs_by_job ON reconciliation_runs (job, number);

-- Differences between the book and the world outside it, and what became of them.
CREATE TABLE breaks (
    number        int8        PRIMARY KEY CHECK (number > 0),
    job           text        NOT NULL,
    break_key     text        NOT NULL CHECK (length(break_key) BETWEEN 1 AND 512), -- the same in every run that finds it
    class         text        NOT NULL CHECK (length(class) BETWEEN 1 AND 32),
    reference     text        NOT NULL,
    subject       text        NOT NULL, -- the payee that it concerns; empty: none
    amount        int8        NOT NULL,
    currency      text        NOT NULL CHECK (length(currency) = 3),
    happened_on   date, -- what it is about
    message       text        NOT NULL CHECK (length(message) BETWEEN 1 AND 2000),
    suggestion    text        NOT NULL CHECK (length(suggestion) <= 2000), -- what may explain it, for a person to judge
    tweet_id      text        NOT NULL, -- that can be fed into the inbox; never its text
    owner         text        NOT NULL CHECK (length(owner) <= 64), -- who works on it; empty: nobody yet
    state         text        NOT NULL CHECK (state IN ('open', 'explained', 'corrected', 'written_off', 'closed_by_match')),
    events        int8        NOT NULL CHECK (events > 0),
    first_run     int8        NOT NULL REFERENCES reconciliation_runs (number),
    last_run      int8        NOT NULL REFERENCES reconciliation_runs (number),
    first_seen_at timestamptz NOT NULL,
    last_seen_at  timestamptz NOT NULL,
    UNIQUE (job, break_key)
);
CREATE INDEX breaks_by_state ON breaks (state, number);
CREATE INDEX breaks_open_of_job ON breaks (job, happened_on, number) WHERE state = 'open';

CREATE TABLE break_events (
    break_number int8        NOT NULL REFERENCES breaks (number),
    ordinal      int8        NOT NULL CHECK (ordinal >= 0),
    at           timestamptz NOT NULL,
    actor        text        NOT NULL CHECK (length(actor) BETWEEN 1 AND 64),
    event        text        NOT NULL CHECK (event IN ('found', 'found_again', 'closed_by_match', 'assigned', 'comment', 'explained',
        'reopened', 'proposed', 'approved', 'rejected', 'fed')),
    run_number   int8        REFERENCES reconciliation_runs (number), -- of what a run did
    reason       text        NOT NULL CHECK (length(reason) <= 2000),
    PRIMARY KEY (break_number, ordinal)
);
CREATE INDEX break_events_of_run ON break_events (run_number, break_number) WHERE run_number IS NOT NULL;

-- What one person proposes to post for a break, and what another one has decided.
CREATE TABLE break_proposals (
    break_number   int8        NOT NULL REFERENCES breaks (number),
    number         int8        NOT NULL CHECK (number > 0), -- counts the proposals of a break
    kind           text        NOT NULL CHECK (kind IN ('correction', 'write_off')),
    debit_code     text        NOT NULL,
    credit_code    text        NOT NULL,
    amount         int8        NOT NULL CHECK (amount > 0),
    currency       text        NOT NULL CHECK (length(currency) = 3),
    effective_date date, -- NULL: the day of the approval
    state          text        NOT NULL CHECK (state IN ('proposed', 'approved', 'rejected')),
    proposed_by    text        NOT NULL CHECK (length(proposed_by) BETWEEN 1 AND 64),
    proposed_at    timestamptz NOT NULL,
    reason         text        NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    decided_by     text        CHECK (length(decided_by) BETWEEN 1 AND 64),
    decided_at     timestamptz,
    decision       text,
    transaction_id uuid        REFERENCES requests (id),
    PRIMARY KEY (break_number, number),
    CONSTRAINT break_proposal_decided CHECK ((state = 'proposed') = (decided_at IS NULL) AND (decided_at IS NULL) = (decided_by IS NULL)
        AND (state = 'approved') = (transaction_id IS NOT NULL)),
    CONSTRAINT break_proposal_four_eyes CHECK (state <> 'approved' OR lower(decided_by) <> lower(proposed_by))
);
CREATE UNIQUE INDEX break_proposals_one_waits ON break_proposals (break_number) WHERE state = 'proposed';

-- +goose Down
DROP TABLE break_proposals;
DROP TABLE break_events;
DROP TABLE breaks;
DROP TABLE reconciliation_runs;
