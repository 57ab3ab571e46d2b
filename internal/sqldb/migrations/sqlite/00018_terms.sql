-- When payees are paid out, on which terms, and the VAT on commissions.
-- +goose Up

-- The day from which a payee's rhythm counts: its day of the week, every second week
-- from it, its day of the month. This one is a Monday and the first of its month.
ALTER TABLE payees ADD COLUMN anchor TEXT NOT NULL DEFAULT '2024-01-01';

-- What is agreed with a payee on its commission, and from when. The last one that begins
-- on a day or before it counts on that day.
CREATE TABLE payee_terms (
    payee_id   BLOB NOT NULL REFERENCES payees (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    valid_from TEXT NOT NULL,
    points     INTEGER NOT NULL CHECK (points BETWEEN 0 AND 10000), -- hundredths of a percent
    minimum    INTEGER NOT NULL CHECK (minimum >= 0),
    tiers      TEXT NOT NULL CHECK (json_valid(tiers)), -- JSON: from which amount on which points
    vat_points INTEGER NOT NULL CHECK (vat_points BETWEEN 0 AND 10000), -- of the commission
    PRIMARY KEY (payee_id, number)
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER payee_terms_no_update BEFORE UPDATE ON payee_terms BEGIN
    SELECT RAISE(ABORT, 'terms are never changed or deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER payee_terms_no_delete BEFORE DELETE ON payee_terms BEGIN
    SELECT RAISE(ABORT, 'terms are never changed or deleted');
END;
-- +goose StatementEnd
INSERT INTO payee_terms (payee_id, number, valid_from, points, minimum, tiers, vat_points)
    SELECT id, 1, '2014-01-01', commission_points, commission_minimum, '[]', 0 FROM payees;
ALTER TABLE payees DROP COLUMN commission_points;
ALTER TABLE payees DROP COLUMN commission_minimum;

ALTER TABLE payouts ADD COLUMN vat INTEGER NOT NULL DEFAULT 0 CHECK (vat >= 0); -- on the commission
ALTER TABLE payout_batches ADD COLUMN vat INTEGER NOT NULL DEFAULT 0 CHECK (vat >= 0);
-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html, section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '_adds_up CHECK (gross = commission + net)', '_adds_up CHECK (gross = commission + vat + net)')
    WHERE type = 'table' AND name IN ('payouts', 'payout_batches');
PRAGMA writable_schema = RESET;

-- New books get it with the rest of the default chart.
INSERT INTO chart_entries (category, valid_from, number, label)
    SELECT 'vat_collected', '2014-01-01', '44571', 'TVA collectée' WHERE EXISTS (SELECT 1 FROM chart_entries)
        AND NOT EXISTS (SELECT 1 FROM chart_entries WHERE category = 'vat_collected');

-- +goose Down
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, '_adds_up CHECK (gross = commission + vat + net)', '_adds_up CHECK (gross = commission + net)')
    WHERE type = 'table' AND name IN ('payouts', 'payout_batches');
PRAGMA writable_schema = RESET;
ALTER TABLE payout_batches DROP COLUMN vat;
ALTER TABLE payouts DROP COLUMN vat;
ALTER TABLE payees ADD COLUMN commission_points INTEGER NOT NULL DEFAULT 0 CHECK (commission_points BETWEEN 0 AND 10000);
ALTER TABLE payees ADD COLUMN commission_minimum INTEGER NOT NULL DEFAULT 0 CHECK (commission_minimum >= 0);
UPDATE payees SET
    commission_points = (SELECT t.points FROM payee_terms AS t WHERE t.payee_id = payees.id ORDER BY t.number DESC LIMIT 1),
    commission_minimum = (SELECT t.minimum FROM payee_terms AS t WHERE t.payee_id = payees.id ORDER BY t.number DESC LIMIT 1);
DROP TABLE payee_terms;
ALTER TABLE payees DROP COLUMN anchor;
