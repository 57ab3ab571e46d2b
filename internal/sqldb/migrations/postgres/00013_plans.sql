-- PostgreSQL keeps a function's plan for as long as it takes the tables not to have
-- changed much. One made while postings had a few rows read all of them for each new
-- one, and went on with that in the thousands that came before it looked again.
-- +goose Up
ALTER FUNCTION check_postings() SET enable_seqscan = off;

-- +goose Down
ALTER FUNCTION check_postings() RESET enable_seqscan;
