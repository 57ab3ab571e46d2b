-- A closed period closes all that is before it, also months that nobody closed
-- since they had no postings. On SQLite and PostgreSQL a trigger says so, which
-- CockroachDB 22.1 does not have: here the engine alone does.
-- +goose Up
SELECT 1;

-- +goose Down
SELECT 1;
