-- The second half of a payout's life: what the bank reports of the file it was sent, the
-- accounts that it found wrong, and which payout is the next attempt of which.
-- +goose NO TRANSACTION
-- +goose Up

ALTER TABLE payouts ADD COLUMN bank_status text NOT NULL DEFAULT '' CHECK (length(bank_status) <= 4); -- ISO 20022, of the last report that counted
ALTER TABLE payouts ADD COLUMN reject_transaction_id uuid REFERENCES requests (id);
ALTER TABLE payouts ADD COLUMN rejected_on date;
ALTER TABLE payouts ADD COLUMN reject_reason text NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN retry_of uuid REFERENCES payouts (id); -- the rejected or returned payout whose donations it pays out again
ALTER TABLE payouts DROP CONSTRAINT check_state;
ALTER TABLE payouts ADD CONSTRAINT payout_state CHECK (state IN ('prepared', 'approved', 'exported', 'accepted', 'rejected', 'settled', 'returned', 'cancelled'));
ALTER TABLE payouts DROP CONSTRAINT payout_approved;
ALTER TABLE payouts ADD CONSTRAINT payout_approved CHECK ((transaction_id IS NULL) = (approved_on IS NULL)
    AND (state NOT IN ('approved', 'exported', 'accepted', 'rejected', 'settled', 'returned') OR transaction_id IS NOT NULL));
ALTER TABLE payouts ADD CONSTRAINT payout_rejected CHECK ((reject_transaction_id IS NULL) = (rejected_on IS NULL)
    AND (rejected_on IS NOT NULL) = (state = 'rejected'));
CREATE INDEX payouts_retried ON payouts (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX payouts_failed ON payouts (payee_id) WHERE state IN ('rejected', 'returned');

ALTER TABLE payout_batches DROP CONSTRAINT check_state;
ALTER TABLE payout_batches ADD CONSTRAINT batch_state CHECK (state IN ('prepared', 'approved', 'exported', 'settled', 'rejected', 'cancelled'));
ALTER TABLE payout_batches DROP CONSTRAINT batch_exported;
ALTER TABLE payout_batches ADD CONSTRAINT batch_exported CHECK ((exported_at IS NOT NULL) = (state IN ('exported', 'settled', 'rejected'))
    AND (exported_at IS NULL) = (file_hash IS NULL) AND (exported_at IS NULL) = (exported_by IS NULL));

-- What the bank's news did to a payout. What we did ourselves stands in its batch.
CREATE TABLE payout_events (
    payout_id  uuid        NOT NULL REFERENCES payouts (id),
    ordinal    int8        NOT NULL CHECK (ordinal > 0),
    at         timestamptz NOT NULL,
    actor      text        NOT NULL CHECK (length(actor) BETWEEN 1 AND 64), -- who imported it
    from_state text        NOT NULL,
    to_state   text        NOT NULL,
    status     text        NOT NULL CHECK (length(status) <= 4), -- ISO 20022, of a report
    reason     text        NOT NULL, -- code; may be empty
    info       text        NOT NULL CHECK (length(info) <= 500), -- the bank's words
    source     text        NOT NULL, -- id of the report or statement
    PRIMARY KEY (payout_id, ordinal)
);

-- Reports of the bank on payment files (pain.002).
CREATE TABLE payment_reports (
    message_id   text        PRIMARY KEY CHECK (length(message_id) BETWEEN 1 AND 35), -- as the bank numbers it
    batch_id     uuid        NOT NULL REFERENCES payout_batches (id),
    status       text        NOT NULL CHECK (length(status) <= 4), -- of the group; empty: not given
    transactions int8        NOT NULL CHECK (transactions >= 0),
    content_hash bytea       NOT NULL CHECK (length(content_hash) = 32),
    imported_by  text        NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    imported_at  timestamptz NOT NULL
);
CREATE INDEX payment_reports_of_batch ON payment_reports (batch_id, imported_at);

-- Accounts that a payout was rejected or returned for. An account to which a flag stands
-- is not paid to, until two persons say that it is right; who has another account is.
CREATE TABLE iban_flags (
    payout_id    uuid        PRIMARY KEY REFERENCES payouts (id),
    iban         text        NOT NULL,
    reason       text        NOT NULL, -- code; may be empty
    flagged_by   text        NOT NULL CHECK (length(flagged_by) BETWEEN 1 AND 64), -- who imported it
    flagged_at   timestamptz NOT NULL,
    vouched_by   text, -- the first person who says that it is right
    vouched_at   timestamptz,
    vouched_for  text, -- why
    lifted_by    text, -- the second
    lifted_at    timestamptz,
    lifted_for   text,
    CONSTRAINT flag_vouched CHECK ((vouched_by IS NULL) = (vouched_at IS NULL) AND (vouched_at IS NULL) = (vouched_for IS NULL)),
    CONSTRAINT flag_lifted CHECK ((lifted_by IS NULL) = (lifted_at IS NULL) AND (lifted_at IS NULL) = (lifted_for IS NULL)),
    CONSTRAINT flag_lifted_by_two CHECK (lifted_by IS NULL OR (vouched_by IS NOT NULL AND vouched_by <> lifted_by))
);
CREATE INDEX iban_flags_open ON iban_flags (iban) WHERE lifted_at IS NULL;

ALTER TABLE bank_findings DROP CONSTRAINT check_source;
ALTER TABLE bank_findings ADD CONSTRAINT bank_findings_source CHECK (source IN ('statement', 'notification', 'settlement', 'report'));
ALTER TABLE bank_findings DROP CONSTRAINT check_kind;
ALTER TABLE bank_findings ADD CONSTRAINT bank_findings_kind CHECK (kind IN ('other_content', 'sequence_gap', 'balance_gap', 'sequence_repeated',
    'contradiction', 'status_refused'));

-- +goose Down
DELETE FROM bank_findings WHERE source = 'report';
ALTER TABLE bank_findings DROP CONSTRAINT bank_findings_kind;
ALTER TABLE bank_findings ADD CONSTRAINT check_kind CHECK (kind IN ('other_content', 'sequence_gap', 'balance_gap', 'sequence_repeated'));
ALTER TABLE bank_findings DROP CONSTRAINT bank_findings_source;
ALTER TABLE bank_findings ADD CONSTRAINT check_source CHECK (source IN ('statement', 'notification', 'settlement'));
DROP TABLE iban_flags;
DROP TABLE payment_reports;
DROP TABLE payout_events;
ALTER TABLE payout_batches DROP CONSTRAINT batch_exported;
ALTER TABLE payout_batches DROP CONSTRAINT batch_state;
UPDATE payout_batches SET state = 'settled' WHERE state = 'rejected';
ALTER TABLE payout_batches ADD CONSTRAINT batch_exported CHECK ((exported_at IS NOT NULL) = (state IN ('exported', 'settled'))
    AND (exported_at IS NULL) = (file_hash IS NULL) AND (exported_at IS NULL) = (exported_by IS NULL));
ALTER TABLE payout_batches ADD CONSTRAINT check_state CHECK (state IN ('prepared', 'approved', 'exported', 'settled', 'cancelled'));
DROP INDEX payouts@payouts_failed;
DROP INDEX payouts@payouts_retried;
ALTER TABLE payouts DROP CONSTRAINT payout_rejected;
ALTER TABLE payouts DROP CONSTRAINT payout_approved;
ALTER TABLE payouts DROP CONSTRAINT payout_state;
UPDATE payouts SET state = 'exported' WHERE state = 'accepted';
UPDATE payouts SET state = 'cancelled', cancelled_on = rejected_on, cancel_transaction_id = reject_transaction_id WHERE state = 'rejected';
ALTER TABLE payouts ADD CONSTRAINT payout_approved CHECK ((transaction_id IS NULL) = (approved_on IS NULL)
    AND (state NOT IN ('approved', 'exported', 'settled', 'returned') OR transaction_id IS NOT NULL));
ALTER TABLE payouts ADD CONSTRAINT check_state CHECK (state IN ('prepared', 'approved', 'exported', 'settled', 'returned', 'cancelled'));
ALTER TABLE payouts DROP COLUMN retry_of;
ALTER TABLE payouts DROP COLUMN reject_reason;
ALTER TABLE payouts DROP COLUMN rejected_on;
ALTER TABLE payouts DROP COLUMN reject_transaction_id;
ALTER TABLE payouts DROP COLUMN bank_status;
