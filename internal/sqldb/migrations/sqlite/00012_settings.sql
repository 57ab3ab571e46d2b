-- What a book was made with and must be kept with: with another first month of
-- fiscal years its entries would be numbered in other chains.
-- +goose Up

-- One row; none in a book that was neither sealed nor closed by a program that knew of it.
CREATE TABLE book_settings (
    id                 INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
    fiscal_year_starts INTEGER NOT NULL CHECK (fiscal_year_starts BETWEEN 1 AND 12) -- the month
) STRICT;
-- +goose StatementBegin
CREATE TRIGGER book_settings_fixed BEFORE UPDATE ON book_settings BEGIN
    SELECT RAISE(ABORT, 'what a book was made with never changes');
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER book_settings_no_delete BEFORE DELETE ON book_settings BEGIN
    SELECT RAISE(ABORT, 'what a book was made with is never deleted');
END;
-- +goose StatementEnd

-- +goose Down
DROP TABLE book_settings;
