-- Customers' own bank accounts, to which e-money is redeemed: payees of a kind of their own.
-- +goose NO TRANSACTION
-- +goose Up
ALTER TABLE payees DROP CONSTRAINT check_kind;
ALTER TABLE payees ADD CONSTRAINT payees_kind CHECK (kind IN ('charity', 'business', 'customer'));

-- +goose Down
ALTER TABLE payees DROP CONSTRAINT payees_kind;
ALTER TABLE payees ADD CONSTRAINT check_kind CHECK (kind IN ('charity', 'business'));
