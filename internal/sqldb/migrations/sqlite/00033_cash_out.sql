-- Customers' own bank accounts, to which e-money is redeemed: payees of a kind of their own.
-- +goose Up
-- The schema's text is changed as https://www.sqlite.org/lang_altertable.html, section 7, tells.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'kind IN (''charity'', ''business'')', 'kind IN (''charity'', ''business'', ''customer'')')
    WHERE type = 'table' AND name = 'payees';
PRAGMA writable_schema = RESET;

-- +goose Down
PRAGMA writable_schema = ON;
UPDATE sqlite_schema SET sql = replace(sql, 'kind IN (''charity'', ''business'', ''customer'')', 'kind IN (''charity'', ''business'')')
    WHERE type = 'table' AND name = 'payees';
PRAGMA writable_schema = RESET;
