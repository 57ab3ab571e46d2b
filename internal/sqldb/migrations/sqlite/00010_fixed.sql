-- A closed period closes all that is before it, also months that nobody closed
-- since they had no postings. And what the grants of servers keep from the serving
-- role, triggers keep here: of accounts, balances, holds and periods only changes
-- what has a state, and none goes.
-- +goose Up
DROP TRIGGER pages_in_open_periods;
-- +goose StatementBegin
CREATE TRIGGER pages_in_open_periods BEFORE INSERT ON pages
    WHEN EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date <= c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
BEGIN
    SELECT RAISE(ABORT, 'the period is closed');
END;
-- +goose StatementEnd

-- +goose StatementBegin
CREATE TRIGGER accounts_fixed BEFORE UPDATE OF code, name, category, side, min_balance, max_balance, shards, opened_at ON accounts BEGIN
    SELECT RAISE(ABORT, 'what an account is never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER balances_fixed BEFORE UPDATE OF shard, side, min_balance, max_balance ON balances BEGIN
    SELECT RAISE(ABORT, 'bounds of a balance never change');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER holds_fixed BEFORE UPDATE OF id, idempotency_key, request_hash, debit_account_id, credit_account_id, amount, currency, expires_at, recorded_at, source_channel, source_id, source_date ON holds BEGIN
    SELECT RAISE(ABORT, 'what a hold is never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER periods_fixed BEFORE UPDATE OF id, fiscal_year, starts_on, ends_on ON periods BEGIN
    SELECT RAISE(ABORT, 'what a period is never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER holds_ended BEFORE UPDATE ON holds WHEN OLD.status <> 'pending' BEGIN
    SELECT RAISE(ABORT, 'a hold that has ended never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER balances_no_delete BEFORE DELETE ON balances BEGIN
    SELECT RAISE(ABORT, 'balances are never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER holds_no_delete BEFORE DELETE ON holds BEGIN
    SELECT RAISE(ABORT, 'holds are never deleted');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER periods_no_delete BEFORE DELETE ON periods BEGIN
    SELECT RAISE(ABORT, 'periods are never deleted');
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER accounts_fixed;
DROP TRIGGER balances_fixed;
DROP TRIGGER holds_fixed;
DROP TRIGGER periods_fixed;
DROP TRIGGER holds_ended;
DROP TRIGGER balances_no_delete;
DROP TRIGGER holds_no_delete;
DROP TRIGGER periods_no_delete;
DROP TRIGGER pages_in_open_periods;
-- +goose StatementBegin
CREATE TRIGGER pages_in_open_periods BEFORE INSERT ON pages
    WHEN EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date BETWEEN c.starts_on AND c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
BEGIN
    SELECT RAISE(ABORT, 'the period is closed');
END;
-- +goose StatementEnd
