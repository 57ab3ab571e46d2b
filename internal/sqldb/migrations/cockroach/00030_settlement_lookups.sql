-- Reconciliation looks for a charge's lines by the acquirer's reference, too, and for
-- transfers by what a movement on the bank account names.
-- +goose Up
CREATE INDEX settlement_lines_by_reference ON settlement_lines (reference, file_id, line) WHERE reference <> '';
CREATE INDEX settlement_payouts_by_reference ON settlement_payouts (payout_reference);

-- +goose Down
DROP INDEX settlement_payouts_by_reference;
DROP INDEX settlement_lines_by_reference;
