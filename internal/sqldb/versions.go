package sqldb

import "github.com/pressly/goose/v3/database/dialect"

// cockroachVersions is goose's version table on CockroachDB. goose's own, made
// for PostgreSQL, numbers its rows with a sequence, and in CockroachDB 22.1 a
// transaction that uses a sequence it has just created waits for itself for ever.
type cockroachVersions struct{}

var _ dialect.QuerierExtender = cockroachVersions{}

// CreateTable implements dialect.Querier, as do the methods below.
func (cockroachVersions) CreateTable(table string) string {
	return `CREATE TABLE ` + table + ` (
		id         int8        PRIMARY KEY DEFAULT unique_rowid(),
		version_id int8        NOT NULL,
		is_applied bool        NOT NULL,
		tstamp     timestamptz NOT NULL DEFAULT now()
	)`
}

func (cockroachVersions) InsertVersion(table string) string {
	return `INSERT INTO ` + table + ` (version_id, is_applied) VALUES ($1, $2)`
}

func (cockroachVersions) DeleteVersion(table string) string {
	return `DELETE FROM ` + table + ` WHERE version_id = $1`
}

func (cockroachVersions) GetMigrationByVersion(table string) string {
	return `SELECT tstamp, is_applied FROM ` + table + ` WHERE version_id = $1 ORDER BY tstamp DESC LIMIT 1`
}

func (cockroachVersions) ListMigrations(table string) string {
	return `SELECT version_id, is_applied FROM ` + table + ` ORDER BY id DESC`
}

func (cockroachVersions) GetLatestVersion(table string) string {
	return `SELECT max(version_id) FROM ` + table
}

func (cockroachVersions) TableExists(table string) string {
	return `SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = '` + table + `')`
}
