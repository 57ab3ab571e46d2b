-- What a book was made with and must be kept with: with another first month of
-- fiscal years its entries would be numbered in other chains.
-- +goose Up

-- One row; none in a book that was neither sealed nor closed by a program that knew of it.
CREATE TABLE book_settings (
    id                 int8 PRIMARY KEY NOT NULL CHECK (id = 1),
    fiscal_year_starts int8 NOT NULL CHECK (fiscal_year_starts BETWEEN 1 AND 12) -- the month
);
-- +goose StatementBegin
CREATE FUNCTION check_settings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'what a book was made with never changes' USING ERRCODE = 'check_violation';
END $$;
-- +goose StatementEnd
CREATE TRIGGER book_settings_fixed BEFORE UPDATE OR DELETE ON book_settings FOR EACH ROW EXECUTE FUNCTION check_settings();

-- +goose Down
DROP TABLE book_settings;
DROP FUNCTION check_settings;
