-- Customers' own bank accounts, to which e-money is redeemed: payees of a kind of their own.
-- +goose Up
ALTER TABLE payees DROP CONSTRAINT payees_kind_check;
ALTER TABLE payees ADD CONSTRAINT payees_kind_check CHECK (kind IN ('charity', 'business', 'customer'));

-- +goose Down
ALTER TABLE payees DROP CONSTRAINT payees_kind_check;
ALTER TABLE payees ADD CONSTRAINT payees_kind_check CHECK (kind IN ('charity', 'business'));
