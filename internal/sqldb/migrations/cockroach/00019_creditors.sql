-- The postal address of a payout's creditor, as it was when the batch was prepared: the
-- same batch gives the same file, whatever becomes of the payee.
-- +goose NO TRANSACTION
-- +goose Up

ALTER TABLE payouts ADD COLUMN creditor_street text NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN creditor_building text NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN creditor_post_code text NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN creditor_town text NOT NULL DEFAULT '';
ALTER TABLE payouts ADD COLUMN creditor_country text NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE payouts DROP COLUMN creditor_country;
ALTER TABLE payouts DROP COLUMN creditor_town;
ALTER TABLE payouts DROP COLUMN creditor_post_code;
ALTER TABLE payouts DROP COLUMN creditor_building;
ALTER TABLE payouts DROP COLUMN creditor_street;
