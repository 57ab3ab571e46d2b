package sqldb

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"

	"tweetledger/ledger"
)

// Each engine has its own files with the same versions. One that has landed is
// never edited.
//
//go:embed migrations/sqlite/*.sql migrations/postgres/*.sql migrations/cockroach/*.sql
var migrations embed.FS

// Migration is one version of the schema, and since when the database has it.
type Migration struct {
	Version   int64
	Name      string
	AppliedAt time.Time // UTC; zero: pending
}

// MigrationFiles returns the migrations of an engine that this program carries.
func MigrationFiles(engine Engine) (fs.FS, error) {
	files, err := fs.Sub(migrations, "migrations/"+string(engine))
	if err != nil {
		return nil, fmt.Errorf("migrations of %s: %w", engine, err)
	}
	return files, nil
}

func (db *DB) provider() (*goose.Provider, error) {
	files, err := MigrationFiles(db.engine)
	if err != nil {
		return nil, err
	}
	dialect := goose.DialectPostgres
	options := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	switch db.engine {
	case SQLite:
		dialect = goose.DialectSQLite3
	case CockroachDB:
		store, err := database.NewStoreFromQuerier(goose.DefaultTablename, cockroachVersions{})
		if err != nil {
			return nil, fmt.Errorf("migrations of %s: %w", db.engine, err)
		}
		dialect = goose.DialectCustom
		options = append(options, goose.WithStore(store))
	}
	provider, err := goose.NewProvider(dialect, db.write, files, options...)
	if err != nil {
		return nil, fmt.Errorf("migrations of %s: %w", db.engine, err)
	}
	return provider, nil
}

// MigrateUp brings the schema to the newest version and returns what it applied.
func (db *DB) MigrateUp(ctx context.Context) ([]Migration, error) {
	provider, err := db.provider()
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate %s: %w", db, err)
	}
	applied := make([]Migration, len(results))
	for i, r := range results {
		applied[i] = Migration{Version: r.Source.Version, Name: r.Source.Path, AppliedAt: time.Now().UTC()}
	}
	return applied, nil
}

// MigrationStatus lists all versions of the schema that this program knows.
func (db *DB) MigrationStatus(ctx context.Context) ([]Migration, error) {
	provider, err := db.provider()
	if err != nil {
		return nil, err
	}
	status, err := provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status of %s: %w", db, err)
	}
	list := make([]Migration, len(status))
	for i, s := range status {
		list[i] = Migration{Version: s.Source.Version, Name: s.Source.Path, AppliedAt: s.AppliedAt.UTC()}
		if s.State == goose.StatePending {
			list[i].AppliedAt = time.Time{}
		}
	}
	return list, nil
}

// CheckSchema returns an error with CodeUnavailable that says what to do where
// the database's schema is not the one of this program.
func (db *DB) CheckSchema(ctx context.Context) error {
	provider, err := db.provider()
	if err != nil {
		return err
	}
	has, wants, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("schema version of %s: %w", db, err)
	}
	switch {
	case has < wants:
		return ledger.Errorf(ledger.CodeUnavailable, "the schema of %s is at version %d and this program needs %d; run: tweetledger migrate up --db %s",
			db, has, wants, db).InField("--db")
	case has > wants:
		return ledger.Errorf(ledger.CodeUnavailable, "the schema of %s is at version %d and this program knows only %d; use a newer tweetledger",
			db, has, wants).InField("--db")
	}
	return nil
}
