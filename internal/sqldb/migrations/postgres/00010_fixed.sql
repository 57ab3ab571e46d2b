-- A closed period closes all that is before it, also months that nobody closed
-- since they had no postings.
-- +goose Up
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION check_page() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date <= c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
    THEN
        RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd

-- +goose Down
-- +goose StatementBegin
CREATE OR REPLACE FUNCTION check_page() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT 1 FROM periods AS c WHERE c.status <> 'open' AND NEW.effective_date BETWEEN c.starts_on AND c.ends_on
        AND (c.status = 'hard_closed' OR NEW.adjustment = 0))
    THEN
        RAISE EXCEPTION 'the period is closed' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
-- +goose StatementEnd
