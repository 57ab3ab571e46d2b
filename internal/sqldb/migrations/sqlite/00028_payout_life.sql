-- The second half of a payout's life: what the bank reports of the file it was sent, the
-- accounts that it found wrong, and which payout is the next attempt of which.
-- +goose Up

ALTER TABLE payouts ADD COLUMN bank_status TEXT NOT NULL DEFAULT '' CHECK (length(bank_status) <= 4); -- ISO 20022, of the last report that counted
ALTER TABLE payouts ADD COLUMN reject_transaction_id BLOB REFERENCES requests (id);
ALTER TABLE payouts ADD COLUMN rejected_on TEXT CONSTRAINT payout_rejected CHECK ((reject_transaction_id IS NULL) = (rejected_on IS NULL)
    AND (rejected_on IS NOT NULL) = (state = 'rejected'));
ALTER TABLE payouts ADD COLUMN reject_reason TEXT NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN retry_of BLOB REFERENCES payouts (id); -- the rejected or returned payout whose donations it pays out again
-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html, section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''returned'', ''cancelled''))',
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''accepted'', ''rejected'', ''settled'', ''returned'', ''cancelled''))'),
        'state NOT IN (''approved'', ''exported'', ''settled'', ''returned'')',
        'state NOT IN (''approved'', ''exported'', ''accepted'', ''rejected'', ''settled'', ''returned'')')
    WHERE type = 'table' AND name = 'payouts';
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''cancelled''))',
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''rejected'', ''cancelled''))'),
        '(exported_at IS NOT NULL) = (state IN (''exported'', ''settled''))',
        '(exported_at IS NOT NULL) = (state IN (''exported'', ''settled'', ''rejected''))')
    WHERE type = 'table' AND name = 'payout_batches';
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (source IN (''statement'', ''notification'', ''settlement''))',
        'CHECK (source IN (''statement'', ''notification'', ''settlement'', ''report''))'),
        'CHECK (kind IN (''other_content'', ''sequence_gap'', ''balance_gap'', ''sequence_repeated''))',
        'CHECK (kind IN (''other_content'', ''sequence_gap'', ''balance_gap'', ''sequence_repeated'', ''contradiction'', ''status_refused''))')
    WHERE type = 'table' AND name = 'bank_findings';
PRAGMA writable_schema = RESET;
CREATE INDEX payouts_retried ON payouts (retry_of) WHERE retry_of IS NOT NULL;
CREATE INDEX payouts_failed ON payouts (payee_id) WHERE state IN ('rejected', 'returned');

-- What the bank's news did to a payout. What we did ourselves stands in its batch.
CREATE TABLE payout_events (
    payout_id  BLOB    NOT NULL REFERENCES payouts (id),
    ordinal    INTEGER NOT NULL CHECK (ordinal > 0),
    at         TEXT    NOT NULL,
    actor      TEXT    NOT NULL CHECK (length(actor) BETWEEN 1 AND 64), -- who imported it
    from_state TEXT    NOT NULL,
    to_state   TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (length(status) <= 4), -- ISO 20022, of a report
    reason     TEXT    NOT NULL, -- code; may be empty
    info       TEXT    NOT NULL CHECK (length(info) <= 500), -- the bank's words
    source     TEXT    NOT NULL, -- id of the report or statement
    PRIMARY KEY (payout_id, ordinal)
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER payout_events_no_update BEFORE UPDATE ON payout_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER payout_events_no_delete BEFORE DELETE ON payout_events BEGIN
    SELECT RAISE(ABORT, 'events are never changed or deleted');
END;
-- +goose StatementEnd

-- Reports of the bank on payment files (pain.002).
CREATE TABLE payment_reports (
    message_id   TEXT    PRIMARY KEY NOT NULL CHECK (length(message_id) BETWEEN 1 AND 35), -- as the bank numbers it
    batch_id     BLOB    NOT NULL REFERENCES payout_batches (id),
    status       TEXT    NOT NULL CHECK (length(status) <= 4), -- of the group; empty: not given
    transactions INTEGER NOT NULL CHECK (transactions >= 0),
    content_hash BLOB    NOT NULL CHECK (length(content_hash) = 32),
    imported_by  TEXT    NOT NULL CHECK (length(imported_by) BETWEEN 1 AND 64),
    imported_at  TEXT    NOT NULL
) STRICT;
CREATE INDEX payment_reports_of_batch ON payment_reports (batch_id, imported_at);
-- +goose StatementBegin
CREATE TRIGGER payment_reports_no_update BEFORE UPDATE ON payment_reports BEGIN
    SELECT RAISE(ABORT, 'reports are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER payment_reports_no_delete BEFORE DELETE ON payment_reports BEGIN
    SELECT RAISE(ABORT, 'reports are never changed or deleted');
END;
-- +goose StatementEnd

-- Accounts that a payout was rejected or returned for. An account to which a flag stands
-- is not paid to, until two persons say that it is right; who has another account is.
CREATE TABLE iban_flags (
    payout_id    BLOB    PRIMARY KEY NOT NULL CHECK (length(payout_id) = 16) REFERENCES payouts (id),
    iban         TEXT    NOT NULL,
    reason       TEXT    NOT NULL, -- code; may be empty
    flagged_by   TEXT    NOT NULL CHECK (length(flagged_by) BETWEEN 1 AND 64), -- who imported it
    flagged_at   TEXT    NOT NULL,
    vouched_by   TEXT, -- the first person who says that it is right
    vouched_at   TEXT,
    vouched_for  TEXT, -- why
    lifted_by    TEXT, -- the second
    lifted_at    TEXT,
    lifted_for   TEXT,
    CONSTRAINT flag_vouched CHECK ((vouched_by IS NULL) = (vouched_at IS NULL) AND (vouched_at IS NULL) = (vouched_for IS NULL)),
    CONSTRAINT flag_lifted CHECK ((lifted_by IS NULL) = (lifted_at IS NULL) AND (lifted_at IS NULL) = (lifted_for IS NULL)),
    CONSTRAINT flag_lifted_by_two CHECK (lifted_by IS NULL OR (vouched_by IS NOT NULL AND vouched_by <> lifted_by))
) STRICT;
CREATE INDEX iban_flags_open ON iban_flags (iban) WHERE lifted_at IS NULL;

-- +goose Down
DELETE FROM bank_findings WHERE source = 'report';
DROP TABLE iban_flags;
DROP TABLE payment_reports;
DROP TABLE payout_events;
DROP INDEX payouts_failed;
DROP INDEX payouts_retried;
UPDATE payout_batches SET state = 'settled' WHERE state = 'rejected';
UPDATE payouts SET state = 'exported' WHERE state = 'accepted';
UPDATE payouts SET state = 'cancelled', cancelled_on = rejected_on, cancel_transaction_id = reject_transaction_id,
    rejected_on = NULL, reject_transaction_id = NULL WHERE state = 'rejected';
ALTER TABLE payouts DROP COLUMN retry_of;
ALTER TABLE payouts DROP COLUMN reject_reason;
ALTER TABLE payouts DROP COLUMN rejected_on;
ALTER TABLE payouts DROP COLUMN reject_transaction_id;
ALTER TABLE payouts DROP COLUMN bank_status;
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''accepted'', ''rejected'', ''settled'', ''returned'', ''cancelled''))',
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''returned'', ''cancelled''))'),
        'state NOT IN (''approved'', ''exported'', ''accepted'', ''rejected'', ''settled'', ''returned'')',
        'state NOT IN (''approved'', ''exported'', ''settled'', ''returned'')')
    WHERE type = 'table' AND name = 'payouts';
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''rejected'', ''cancelled''))',
        'CHECK (state IN (''prepared'', ''approved'', ''exported'', ''settled'', ''cancelled''))'),
        '(exported_at IS NOT NULL) = (state IN (''exported'', ''settled'', ''rejected''))',
        '(exported_at IS NOT NULL) = (state IN (''exported'', ''settled''))')
    WHERE type = 'table' AND name = 'payout_batches';
UPDATE sqlite_schema SET sql = replace(replace(sql,
        'CHECK (source IN (''statement'', ''notification'', ''settlement'', ''report''))',
        'CHECK (source IN (''statement'', ''notification'', ''settlement''))'),
        'CHECK (kind IN (''other_content'', ''sequence_gap'', ''balance_gap'', ''sequence_repeated'', ''contradiction'', ''status_refused''))',
        'CHECK (kind IN (''other_content'', ''sequence_gap'', ''balance_gap'', ''sequence_repeated''))')
    WHERE type = 'table' AND name = 'bank_findings';
PRAGMA writable_schema = RESET;
